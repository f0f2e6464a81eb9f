// Types, NULL, the critical stop, objects made with new.
#pragma once
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <initializer_list>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include <cerrno>
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef MQL_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#endif
// No system header after this line: NULL is MQL5's from here on.

#define __MQL__ 1
#define __MQL5__ 1

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef unsigned int color;
static_assert(sizeof(long) == 8 && sizeof(int) == 4, "MQL5's long has 64 bits: an LP64 system is needed");

#undef INT_MIN
#undef INT_MAX
#undef UINT_MAX
#undef LONG_MIN
#undef LONG_MAX
#undef ULONG_MAX
#undef DBL_MAX
#undef DBL_MIN
#undef DBL_EPSILON
#undef FLT_MAX
#undef SHORT_MAX
#undef CHAR_MAX
#undef EOF
constexpr long LONG_MIN = std::numeric_limits<long>::min();
constexpr long LONG_MAX = std::numeric_limits<long>::max();
constexpr ulong ULONG_MAX = std::numeric_limits<ulong>::max();
constexpr double DBL_MAX = std::numeric_limits<double>::max();
constexpr double DBL_MIN = std::numeric_limits<double>::min();
constexpr double DBL_EPSILON = std::numeric_limits<double>::epsilon();
constexpr double EMPTY_VALUE = DBL_MAX;
constexpr float FLT_MAX = std::numeric_limits<float>::max();

#undef NULL
struct MqlNull {
  template <class T> operator T*() const { return nullptr; }
  operator int() const { return 0; }
};
#define NULL (MqlNull{})
template <class T> bool operator==(T* pointer, MqlNull) { return pointer == nullptr; }
template <class T> bool operator!=(T* pointer, MqlNull) { return pointer != nullptr; }

inline int _LastError = 0;
inline bool _StopFlag = false;

namespace mql {
// What makes a terminal stop a program for good.
struct Critical {
  std::string what;
};
[[noreturn]] inline void critical(const std::string& what) { throw Critical{what}; }

// Objects made with new and not deleted yet.
inline std::unordered_set<const void*> alive;
template <class T> T* keep(T* object) {
  alive.insert(object);
  return object;
}
template <class T> void destroy(T* object) {
  if (object == nullptr) return;
  if (alive.erase(object) == 0) critical("delete of an object that was not made with new, or is deleted already");
  delete object;
}
}  // namespace mql

template <class T> T* GetPointer(T& object) { return &object; }
template <class T> T* GetPointer(T* object) { return object; }
template <class T> void mql_swap(T& a, T& b) { std::swap(a, b); }
