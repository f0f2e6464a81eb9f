// CryptEncode: SHA-256 (FIPS 180-4) and base64 (RFC 4648), the two methods our programs use.
#pragma once
#include "net.hpp"

namespace mql {
inline std::vector<uchar> sha256(const std::vector<uchar>& message) {
  static const std::array<uint, 64> k = [] {
    // The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
    std::array<uint, 64> out{};
    for (int n = 2, found = 0; found < 64; n++) {
      bool prime = true;
      for (int d = 2; d * d <= n; d++) prime = prime && n % d;
      if (prime) {
        long double root = cbrtl((long double)n);
        out[found++] = (uint)((root - floorl(root)) * 4294967296.0L);
      }
    }
    return out;
  }();
  uint h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::vector<uchar> padded = message;
  padded.push_back(0x80);
  while (padded.size() % 64 != 56) padded.push_back(0);
  for (int shift = 56; shift >= 0; shift -= 8) padded.push_back((uchar)((ulong)message.size() * 8 >> shift));
  auto turn = [](uint x, int n) { return x >> n | x << (32 - n); };
  for (size_t block = 0; block < padded.size(); block += 64) {
    uint w[64], v[8];
    for (int i = 0; i < 16; i++) {
      const uchar* p = &padded[block + 4 * i];
      w[i] = (uint)p[0] << 24 | (uint)p[1] << 16 | (uint)p[2] << 8 | p[3];
    }
    for (int i = 16; i < 64; i++)
      w[i] = (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10) + w[i - 7] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 16];
    std::copy(h, h + 8, v);
    for (int i = 0; i < 64; i++) {
      uint a = v[7] + (turn(v[4], 6) ^ turn(v[4], 11) ^ turn(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
      uint b = (turn(v[0], 2) ^ turn(v[0], 13) ^ turn(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
      for (int j = 7; j > 0; j--) v[j] = v[j - 1];
      v[4] += a;
      v[0] = a + b;
    }
    for (int i = 0; i < 8; i++) h[i] += v[i];
  }
  std::vector<uchar> out;
  for (uint word : h) for (int shift = 24; shift >= 0; shift -= 8) out.push_back((uchar)(word >> shift));
  return out;
}

inline std::vector<uchar> base64(const std::vector<uchar>& in) {
  static const char* letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<uchar> out;
  for (size_t i = 0; i < in.size(); i += 3) {
    uint three = (uint)in[i] << 16 | (i + 1 < in.size() ? (uint)in[i + 1] << 8 : 0) | (i + 2 < in.size() ? in[i + 2] : 0);
    for (int part = 0; part < 4; part++)
      out.push_back(i + part > in.size() ? '=' : (uchar)letters[three >> (18 - 6 * part) & 63]);
  }
  return out;
}
}  // namespace mql

inline int CryptEncode(ENUM_CRYPT_METHOD method, const mql::Array<uchar>& in, const mql::Array<uchar>&, mql::Array<uchar>& out) {
  if (method != CRYPT_HASH_SHA256 && method != CRYPT_BASE64) mql::critical("CryptEncode: the harness knows SHA256 and BASE64 only");
  auto made = method == CRYPT_BASE64 ? mql::base64(in.items) : mql::sha256(in.items);
  ArrayResize(out, (int)made.size());
  out.items = made;
  return (int)made.size();
}
inline int CryptDecode(ENUM_CRYPT_METHOD, const mql::Array<uchar>&, const mql::Array<uchar>&, mql::Array<uchar>&) {
  mql::critical("CryptDecode is not known to the harness");
}
