// Arrays: bounds are checked, a dynamic one may be a series (index 0 is the last element).
#pragma once
#include "text.hpp"

namespace mql {
inline bool stale_arrays = false;  // the adversary fills what an array grows by with rubbish, as the terminal may

[[noreturn]] inline void out_of_range(long index, size_t size) {
  critical("array out of range: index " + std::to_string(index) + " of " + std::to_string(size));
}

// A row of a many-dimensional array.
template <class T, size_t N> struct Row {
  std::array<T, N> items{};
  T& operator[](long i) { if (i < 0 || (size_t)i >= N) out_of_range(i, N); return items[i]; }
  const T& operator[](long i) const { if (i < 0 || (size_t)i >= N) out_of_range(i, N); return items[i]; }
};

template <class T> struct Array {
  using Stored = std::conditional_t<std::is_same_v<T, bool>, uchar, T>;
  std::vector<Stored> items;
  bool is_fixed = false, is_series = false;

  Array() {}
  template <class U> Array(std::initializer_list<U> list) { for (auto& x : list) items.push_back((Stored)x); }
  static Array fixed(size_t n) { Array a; a.items.resize(n); a.is_fixed = true; return a; }
  template <class U> static Array fixed(size_t n, std::initializer_list<U> list) {
    Array a = fixed(n);
    size_t i = 0;
    for (auto& x : list) a.items.at(i++) = (Stored)x;
    return a;
  }
  Stored& at(long i) {
    if (i < 0 || (size_t)i >= items.size()) out_of_range(i, items.size());
    return items[is_series ? items.size() - 1 - i : i];
  }
  T& operator[](long i) { return reinterpret_cast<T&>(at(i)); }
  const T& operator[](long i) const { return reinterpret_cast<const T&>(const_cast<Array*>(this)->at(i)); }
  void resize(size_t n) {
    size_t before = items.size();
    items.resize(n);
    if constexpr (std::is_trivially_copyable_v<Stored> && !std::is_pointer_v<Stored>)
      if (stale_arrays && n > before) memset((void*)(items.data() + before), 0xA5, (n - before) * sizeof(Stored));
  }
};
}  // namespace mql

template <class T> int ArraySize(const mql::Array<T>& a) { return (int)a.items.size(); }
template <class T, size_t N> int ArraySize(const mql::Array<mql::Row<T, N>>& a) { return (int)(a.items.size() * N); }
template <class T> int ArrayRange(const mql::Array<T>& a, int) { return (int)a.items.size(); }
template <class T, size_t N> int ArrayRange(const mql::Array<mql::Row<T, N>>& a, int rank) { return rank ? (int)N : (int)a.items.size(); }
template <class T> int ArrayResize(mql::Array<T>& a, int n, int = 0) {
  if (a.is_fixed || n < 0) return -1;
  a.resize(n);
  return n;
}
template <class T> void ArrayFree(mql::Array<T>& a) { if (!a.is_fixed) a.items.clear(); }
template <class T> bool ArraySetAsSeries(mql::Array<T>& a, bool flag) { if (a.is_fixed) return false; a.is_series = flag; return true; }
template <class T> bool ArrayGetAsSeries(const mql::Array<T>& a) { return a.is_series; }
template <class T> bool ArrayIsDynamic(const mql::Array<T>& a) { return !a.is_fixed; }
template <class T> bool ArrayIsSeries(const mql::Array<T>&) { return false; }
template <class T, class U> int ArrayInitialize(mql::Array<T>& a, U x) { for (auto& e : a.items) e = (T)x; return (int)a.items.size(); }
template <class T, class U> void ArrayFill(mql::Array<T>& a, int from, int n, U x) { for (int i = 0; i < n; i++) a[from + i] = (T)x; }
template <class T> void ArraySwap(mql::Array<T>& a, mql::Array<T>& b) { std::swap(a.items, b.items); }
template <class T, class U> int ArrayCopy(mql::Array<T>& to, const mql::Array<U>& from, int at = 0, int start = 0, int count = WHOLE_ARRAY) {
  long n = (long)from.items.size() - start;
  if (count >= 0 && count < n) n = count;
  if (start < 0 || at < 0 || n <= 0) return 0;
  if ((long)to.items.size() < at + n) {
    if (to.is_fixed) n = (long)to.items.size() - at;
    else to.resize(at + n);
  }
  if (n <= 0) return 0;
  // Series or not, arrays are copied as they lie in memory.
  std::vector<U> between(n);
  for (long i = 0; i < n; i++) between[i] = (U)from.items[start + i];
  for (long i = 0; i < n; i++) to.items[at + i] = (T)between[i];
  return (int)n;
}
template <class T> int ArrayInsert(mql::Array<T>& to, const mql::Array<T>& from, uint at, uint start = 0, uint count = (uint)WHOLE_ARRAY) {
  size_t n = std::min<size_t>(count, from.items.size() - start);
  to.items.insert(to.items.begin() + at, from.items.begin() + start, from.items.begin() + start + n);
  return (int)n;
}
template <class T> bool ArrayRemove(mql::Array<T>& a, uint from, uint count = (uint)WHOLE_ARRAY) {
  if (a.is_fixed || from >= a.items.size()) return false;
  size_t n = std::min<size_t>(count, a.items.size() - from);
  a.items.erase(a.items.begin() + from, a.items.begin() + from + n);
  return true;
}
template <class T> bool ArrayReverse(mql::Array<T>& a, uint from = 0, uint count = (uint)WHOLE_ARRAY) {
  size_t n = std::min<size_t>(count, a.items.size() - from);
  std::reverse(a.items.begin() + from, a.items.begin() + from + n);
  return true;
}
template <class T> int ArrayMaximum(const mql::Array<T>& a, int from = 0, int count = WHOLE_ARRAY) {
  int end = count < 0 ? ArraySize(a) : from + count, best = -1;
  for (int i = from; i < end; i++) if (best < 0 || a[i] > a[best]) best = i;
  return best;
}
template <class T> int ArrayMinimum(const mql::Array<T>& a, int from = 0, int count = WHOLE_ARRAY) {
  int end = count < 0 ? ArraySize(a) : from + count, best = -1;
  for (int i = from; i < end; i++) if (best < 0 || a[i] < a[best]) best = i;
  return best;
}
template <class T> bool ArraySort(mql::Array<T>& a) { std::sort(a.items.begin(), a.items.end()); return true; }
template <class T> int ArrayBsearch(const mql::Array<T>& a, T x) {
  auto at = std::lower_bound(a.items.begin(), a.items.end(), x) - a.items.begin();
  return (int)std::min<long>(at, (long)a.items.size() - 1);
}
template <class T> void ArrayPrint(const mql::Array<T>&) {}
template <class T> void ZeroMemory(T& x) { x = T(); }
template <class T> void ZeroMemory(mql::Array<T>& x) { for (auto& e : x.items) e = T(); }
template <class T> ENUM_POINTER_TYPE CheckPointer(T* p) {
  return p == nullptr ? POINTER_INVALID : mql::alive.count(p) ? POINTER_DYNAMIC : POINTER_AUTOMATIC;
}

inline int StringSplit(const string& s, ushort separator, mql::Array<string>& parts) {
  parts.items.clear();
  if (s.units.empty()) return 0;
  for (size_t from = 0;;) {
    size_t end = s.units.find((char16_t)separator, from);
    parts.items.push_back(string(s.units.substr(from, end == std::u16string::npos ? end : end - from)));
    if (end == std::u16string::npos) return (int)parts.items.size();
    from = end + 1;
  }
}
namespace mql {
template <class T> int put(Array<T>& to, int at, const std::vector<T>& what) {
  size_t n = what.size();
  if (to.items.size() < at + n) {
    if (to.is_fixed) n = to.items.size() - at;
    else to.resize(at + n);
  }
  std::copy(what.begin(), what.begin() + n, to.items.begin() + at);
  return (int)n;
}
}  // namespace mql
// count -1 copies up to and including the zero at the end: the result is one more than the text's bytes
inline int StringToCharArray(const string& s, mql::Array<uchar>& to, int at = 0, int count = -1, uint codepage = CP_ACP) {
  std::string text;
  if (codepage == CP_UTF8) text = s.utf8();
  else for (char16_t c : s.units) text += c < 256 ? (char)c : '?';
  if (count < 0) text += '\0';
  else text.resize(std::min<size_t>(count, text.size()));
  return mql::put(to, at, std::vector<uchar>(text.begin(), text.end()));
}
inline string CharArrayToString(const mql::Array<uchar>& from, int at = 0, int count = -1, uint codepage = CP_ACP) {
  size_t end = count < 0 ? from.items.size() : std::min(from.items.size(), (size_t)at + count);
  if (at < 0 || (size_t)at > end) return string("");
  auto first = from.items.begin() + at, last = std::find(first, from.items.begin() + end, (uchar)0);
  if (codepage == CP_UTF8) return string(std::string(first, last));
  std::u16string wide(first, last);
  return string(wide);
}
inline int StringToShortArray(const string& s, mql::Array<ushort>& to, int at = 0, int count = -1) {
  std::vector<ushort> text(s.units.begin(), s.units.end());
  if (count < 0) text.push_back(0);
  else text.resize(std::min<size_t>(count, text.size()));
  return mql::put(to, at, text);
}
inline string ShortArrayToString(const mql::Array<ushort>& from, int at = 0, int count = -1) {
  size_t end = count < 0 ? from.items.size() : std::min(from.items.size(), (size_t)at + count);
  if (at < 0 || (size_t)at > end) return string("");
  auto first = from.items.begin() + at;
  return string(std::u16string(first, std::find(first, from.items.begin() + end, (ushort)0)));
}
