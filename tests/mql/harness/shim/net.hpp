// Sockets and TLS: real ones. The adversary cuts reads and writes short, drops connections, refuses addresses.
#pragma once
#include "files.hpp"

namespace mql {
struct Socket {
  int fd = -1;
  bool lost = false;
#ifdef MQL_TLS
  SSL* tls = nullptr;
#endif
};
inline std::map<int, Socket> sockets;
inline int last_socket = 0;

inline Socket* socket_of(int handle) {
  auto at = sockets.find(handle);
  if (at == sockets.end()) { _LastError = ERR_NETSOCKET_INVALIDHANDLE; return nullptr; }
  return &at->second;
}
inline void drop(Socket& s) {
#ifdef MQL_TLS
  if (s.tls) SSL_free(s.tls);
  s.tls = nullptr;
#endif
  if (s.fd >= 0) ::close(s.fd);
  s.fd = -1;
  s.lost = true;
  _LastError = ERR_NETSOCKET_IO_ERROR;
}
inline bool allowed(const std::string& host) {
  return ("," + environment("MQL_ALLOWED") + ",").find("," + host + ",") != std::string::npos;
}
// The adversary drops the connection after so many more reads or writes.
inline bool drops(long& counter, Socket& s) {
  if (counter <= 0 || --counter > 0) return false;
  drop(s);
  return true;
}
inline long cut(long size, long most) { return most > 0 && size > most ? most : size; }
}  // namespace mql

inline int SocketCreate(uint = SOCKET_DEFAULT) {
  if (mql::sockets.size() >= 128) { _LastError = ERR_NETSOCKET_TOO_MANY_OPENED; return INVALID_HANDLE; }
  mql::sockets[++mql::last_socket] = {};
  return mql::last_socket;
}
inline bool SocketClose(int handle) {
  mql::Socket* s = mql::socket_of(handle);
  if (!s) return false;
  int before = _LastError;
  mql::drop(*s);
  _LastError = before;
  mql::sockets.erase(handle);
  return true;
}
inline bool SocketConnect(int handle, const string& server, uint port, uint timeout_ms) {
  mql::Socket* s = mql::socket_of(handle);
  if (!s) return false;
  std::string host = server.utf8();
  if (!mql::allowed(host)) { _LastError = ERR_FUNCTION_NOT_ALLOWED; return false; }
  addrinfo hints = {}, *found = nullptr;
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  if (mql::faults.refuse || getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found)) {
    _LastError = ERR_NETSOCKET_CANNOT_CONNECT;
    return false;
  }
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, error = 0;
  socklen_t size = sizeof error;
  bool done = ::connect(fd, found->ai_addr, found->ai_addrlen) == 0;
  if (!done && errno == EINPROGRESS) {
    pollfd p{fd, POLLOUT, 0};
    done = poll(&p, 1, (int)timeout_ms) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
  }
  freeaddrinfo(found);
  if (!done) {
    ::close(fd);
    _LastError = ERR_NETSOCKET_CANNOT_CONNECT;
    return false;
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  s->fd = fd;
  s->lost = false;
  return true;
}
inline bool SocketIsConnected(int handle) {
  mql::Socket* s = mql::socket_of(handle);
  if (!s || s->fd < 0) return false;
  char c;
  ssize_t n = recv(s->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
  return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}
inline uint SocketIsReadable(int handle) {
  mql::Socket* s = mql::socket_of(handle);
  int n = 0;
  if (!s || s->fd < 0 || mql::faults.deaf || ioctl(s->fd, FIONREAD, &n)) return 0;
  return (uint)n;
}
inline bool SocketIsWritable(int handle) {
  mql::Socket* s = mql::socket_of(handle);
  if (!s || s->fd < 0) return false;
  pollfd p{s->fd, POLLOUT, 0};
  return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT);
}
inline bool SocketTimeouts(int handle, uint, uint) { return mql::socket_of(handle) != nullptr; }
inline int SocketSend(int handle, const mql::Array<uchar>& from, uint count) {
  mql::Socket* s = mql::socket_of(handle);
  if (!s || s->fd < 0) { if (s) _LastError = ERR_NETSOCKET_IO_ERROR; return -1; }
  if (mql::drops(mql::faults.drop_after_writes, *s)) return -1;
  if (count > from.items.size()) mql::critical("SocketSend: more bytes than the array has");
  if (mql::faults.mute) return (int)count;  // swallowed on the way
  pollfd p{s->fd, POLLOUT, 0};
  poll(&p, 1, 5000);
  ssize_t n = ::send(s->fd, from.items.data(), mql::cut(count, mql::faults.write_max), MSG_NOSIGNAL);
  if (n < 0) { mql::drop(*s); return -1; }
  return (int)n;
}
inline int SocketRead(int handle, mql::Array<uchar>& to, uint most, uint timeout_ms) {
  mql::Socket* s = mql::socket_of(handle);
  if (!s || s->fd < 0) { if (s) _LastError = ERR_NETSOCKET_IO_ERROR; return -1; }
  if (mql::drops(mql::faults.drop_after_reads, *s)) return -1;
  pollfd p{s->fd, POLLIN, 0};
  if (poll(&p, 1, timeout_ms ? (int)timeout_ms : 120000) != 1) return -1;
  std::vector<uchar> got(mql::cut(most, mql::faults.read_max));
  ssize_t n = ::recv(s->fd, got.data(), got.size(), 0);
  if (n <= 0) { mql::drop(*s); return -1; }
  // As the terminal does it: the array grows, it never shrinks, and what was there before stays behind the new bytes.
  if ((ssize_t)to.items.size() < n) {
    if (to.is_fixed) mql::critical("SocketRead into a fixed array that is too small");
    to.resize(n);
  }
  std::copy(got.begin(), got.begin() + n, to.items.begin());
  return (int)n;
}

#ifdef MQL_TLS
namespace mql {
inline SSL_CTX* tls_context() {
  static SSL_CTX* context = [] {
    SSL_CTX* made = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(made, SSL_VERIFY_PEER, nullptr);
    if (environment("MQL_CA").empty()) SSL_CTX_set_default_verify_paths(made);
    else SSL_CTX_load_verify_locations(made, environment("MQL_CA").c_str(), nullptr);
    return made;
  }();
  return context;
}
// Do a step of OpenSSL until it is done or time is up.
template <class Step> int tls_step(Socket& s, long timeout_ms, Step step) {
  auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    ERR_clear_error();
    int result = step();
    if (result > 0) return result;
    int why = SSL_get_error(s.tls, result);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) return -1;
    long left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd p{s.fd, (short)(why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT), 0};
    if (left <= 0 || poll(&p, 1, (int)left) != 1) return 0;
  }
}
inline Socket* tls_of(int handle) {
  Socket* s = socket_of(handle);
  if (s && (s->fd < 0 || !s->tls)) { _LastError = ERR_NETSOCKET_IO_ERROR; return nullptr; }
  return s;
}
}  // namespace mql
inline bool SocketTlsHandshake(int handle, const string& host) {
  mql::Socket* s = mql::socket_of(handle);
  if (!s || s->fd < 0) return false;
  std::string name = host.utf8();
  s->tls = SSL_new(mql::tls_context());
  SSL_set_fd(s->tls, s->fd);
  SSL_set_tlsext_host_name(s->tls, name.c_str());
  in_addr numeric;
  if (inet_pton(AF_INET, name.c_str(), &numeric) == 1) X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s->tls), name.c_str());
  else SSL_set1_host(s->tls, name.c_str());
  if (mql::tls_step(*s, 5000, [&] { return SSL_connect(s->tls); }) > 0) return true;
  mql::drop(*s);
  _LastError = ERR_NETSOCKET_HANDSHAKE_FAILED;
  return false;
}
inline int SocketTlsSend(int handle, const mql::Array<uchar>& from, uint count) {
  mql::Socket* s = mql::tls_of(handle);
  if (!s) return -1;
  if (mql::drops(mql::faults.drop_after_writes, *s)) return -1;
  if (count > from.items.size()) mql::critical("SocketTlsSend: more bytes than the array has");
  int n = mql::tls_step(*s, 5000, [&] { return SSL_write(s->tls, from.items.data(), (int)mql::cut(count, mql::faults.write_max)); });
  if (n < 0) mql::drop(*s);
  return n;
}
inline int SocketTlsReadAvailable(int handle, mql::Array<uchar>& to, uint most) {
  mql::Socket* s = mql::tls_of(handle);
  if (!s) return -1;
  if (mql::drops(mql::faults.drop_after_reads, *s)) return -1;
  std::vector<uchar> got(mql::cut(most, mql::faults.read_max));
  int n = mql::tls_step(*s, 0, [&] { return SSL_read(s->tls, got.data(), (int)got.size()); });
  if (n < 0) { mql::drop(*s); return -1; }
  if ((int)to.items.size() < n) to.resize(n);
  std::copy(got.begin(), got.begin() + n, to.items.begin());
  return n;
}
inline int SocketTlsRead(int handle, mql::Array<uchar>& to, uint count) {
  mql::Socket* s = mql::tls_of(handle);
  if (!s) return -1;
  pollfd p{s->fd, POLLIN, 0};
  if (!SSL_pending(s->tls)) poll(&p, 1, 5000);
  return SocketTlsReadAvailable(handle, to, count);
}
#else
inline bool SocketTlsHandshake(int, const string&) { mql::critical("TLS is not built in: apt-get install libssl-dev"); }
inline int SocketTlsSend(int, const mql::Array<uchar>&, uint) { return -1; }
inline int SocketTlsRead(int, mql::Array<uchar>&, uint) { return -1; }
inline int SocketTlsReadAvailable(int, mql::Array<uchar>&, uint) { return -1; }
#endif

inline int WebRequest(const string&, const string&, const string&, int, const mql::Array<uchar>&, mql::Array<uchar>&, string&) {
  _LastError = ERR_FUNCTION_NOT_ALLOWED;
  return -1;
}
