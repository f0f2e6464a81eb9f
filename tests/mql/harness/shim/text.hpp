// string (UTF-16, as in MQL5), datetime, and everything that turns one into the other.
#pragma once
#include "core.hpp"

struct datetime {
  long seconds;
  datetime(long s = 0) : seconds(s) {}
  operator long() const { return seconds; }
  datetime& operator+=(long s) { seconds += s; return *this; }
  datetime& operator-=(long s) { seconds -= s; return *this; }
};

namespace mql {
inline std::u16string from_utf8(const char* text, size_t size) {
  std::u16string out;
  for (size_t i = 0; i < size;) {
    uint lead = (uchar)text[i], code = lead, extra = 0;
    if (lead >= 0xF0 && lead < 0xF8) code = lead & 7, extra = 3;
    else if (lead >= 0xE0 && lead < 0xF0) code = lead & 15, extra = 2;
    else if (lead >= 0xC2 && lead < 0xE0) code = lead & 31, extra = 1;
    else if (lead >= 0x80) code = 0xFFFD;
    size_t k = 1;
    for (; k <= extra; k++) {
      if (i + k >= size || ((uchar)text[i + k] & 0xC0) != 0x80) break;
      code = code << 6 | ((uchar)text[i + k] & 63);
    }
    if (k <= extra) code = 0xFFFD;
    i += k;
    if (code > 0xFFFF) {
      out += (char16_t)(0xD800 + ((code - 0x10000) >> 10));
      out += (char16_t)(0xDC00 + ((code - 0x10000) & 1023));
    } else {
      out += (char16_t)code;
    }
  }
  return out;
}

inline std::string to_utf8(const std::u16string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    uint code = text[i];
    if (code >= 0xD800 && code < 0xE000) {
      bool pair = code < 0xDC00 && i + 1 < text.size() && text[i + 1] >= 0xDC00 && text[i + 1] < 0xE000;
      code = pair ? 0x10000 + ((code - 0xD800) << 10) + (text[++i] - 0xDC00) : 0xFFFD;
    }
    if (code < 0x80) {
      out += (char)code;
      continue;
    }
    int extra = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    out += (char)((extra == 1 ? 0xC0 : extra == 2 ? 0xE0 : 0xF0) | code >> (6 * extra));
    while (extra-- > 0) out += (char)(0x80 | (code >> (6 * extra) & 63));
  }
  return out;
}

inline std::string number_text(double x) {
  char buffer[64];
  std::string text(buffer, std::to_chars(buffer, buffer + 64, x).ptr);
  if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
  return text;
}

inline std::string date_text(long seconds, int parts) {
  time_t t = seconds;
  struct tm split;
  gmtime_r(&t, &split);
  char buffer[64] = "";
  std::string out;
  if (parts & 1) { strftime(buffer, 64, "%Y.%m.%d", &split); out = buffer; }
  if (parts & 6) { strftime(buffer, 64, parts & 4 ? "%H:%M:%S" : "%H:%M", &split); out += (out.empty() ? "" : " ") + std::string(buffer); }
  return out;
}
}  // namespace mql

class string {
 public:
  std::u16string units;
  bool is_null = true;

  string() {}
  string(MqlNull) {}
  string(const char* text) : is_null(text == nullptr) { if (text) units = mql::from_utf8(text, strlen(text)); }
  string(const std::string& text) : units(mql::from_utf8(text.data(), text.size())), is_null(false) {}
  string(std::u16string text) : units(std::move(text)), is_null(false) {}
  string(bool x) : string(x ? "true" : "false") {}
  string(const datetime& x) : string(mql::date_text(x.seconds, 5)) {}
  template <class T, std::enable_if_t<(std::is_integral_v<T> && !std::is_same_v<T, bool>) || std::is_enum_v<T>, int> = 0>
  string(T x) : string(std::to_string((std::conditional_t<std::is_same_v<T, ulong>, unsigned long long, long long>)x)) {}
  template <class T, std::enable_if_t<std::is_floating_point_v<T>, int> = 0>
  string(T x) : string(mql::number_text(x)) {}

  std::string utf8() const { return mql::to_utf8(units); }
  template <class T, std::enable_if_t<std::is_arithmetic_v<T> && !std::is_same_v<T, bool>, int> = 0>
  explicit operator T() const {
    if constexpr (std::is_floating_point_v<T>) return (T)strtod(utf8().c_str(), nullptr);
    else return (T)strtol(utf8().c_str(), nullptr, 10);
  }
  explicit operator bool() const { return utf8() == "true" || strtol(utf8().c_str(), nullptr, 10) != 0; }
  ushort operator[](long i) const {
    if (i < 0 || (size_t)i > units.size()) mql::critical("string index out of range");
    return (size_t)i == units.size() ? (ushort)0 : (ushort)units[i];
  }
  string& operator+=(const string& other) { units += other.units; is_null = false; return *this; }
  friend string operator+(const string& a, const string& b) { string out(a); out += b; return out; }
  friend bool operator==(const string& a, const string& b) { return a.units == b.units && a.is_null == b.is_null; }
  friend bool operator!=(const string& a, const string& b) { return !(a == b); }
  friend bool operator<(const string& a, const string& b) { return a.units < b.units; }
  friend bool operator>(const string& a, const string& b) { return b < a; }
  friend bool operator<=(const string& a, const string& b) { return !(b < a); }
  friend bool operator>=(const string& a, const string& b) { return !(a < b); }
};
inline string operator""_ms(const char* text, size_t size) { return string(std::string(text, size)); }

inline int StringLen(const string& s) { return (int)s.units.size(); }
inline string StringSubstr(const string& s, int from, int count = -1) {
  if (from < 0 || (size_t)from >= s.units.size()) return string("");
  return string(s.units.substr(from, count < 0 ? std::u16string::npos : (size_t)count));
}
inline int StringFind(const string& s, const string& what, int from = 0) {
  auto at = s.units.find(what.units, from < 0 ? 0 : from);
  return at == std::u16string::npos ? -1 : (int)at;
}
inline int StringReplace(string& s, const string& what, const string& with) {
  if (what.units.empty()) return -1;
  int count = 0;
  for (size_t at = 0; (at = s.units.find(what.units, at)) != std::u16string::npos; at += with.units.size(), count++)
    s.units.replace(at, what.units.size(), with.units);
  return count;
}
inline int StringTrimLeft(string& s) {
  size_t n = 0;
  while (n < s.units.size() && s.units[n] <= 32) n++;
  s.units.erase(0, n);
  return (int)n;
}
inline int StringTrimRight(string& s) {
  int n = 0;
  for (; !s.units.empty() && s.units.back() <= 32; n++) s.units.pop_back();
  return n;
}
inline bool StringToLower(string& s) { for (auto& c : s.units) if (c >= 'A' && c <= 'Z') c += 32; return true; }
inline bool StringToUpper(string& s) { for (auto& c : s.units) if (c >= 'a' && c <= 'z') c -= 32; return true; }
inline ushort StringGetCharacter(const string& s, int i) { return i >= 0 && (size_t)i < s.units.size() ? (ushort)s.units[i] : (ushort)0; }
inline bool StringSetCharacter(string& s, int i, ushort c) {
  if (i < 0 || i > (int)s.units.size()) return false;
  if (i == (int)s.units.size()) s.units += (char16_t)c;
  else s.units[i] = c;
  return true;
}
inline bool StringAdd(string& s, const string& more) { s += more; return true; }
inline bool StringInit(string& s, int count = 0, ushort c = 0) { s = string(std::u16string(count, (char16_t)c)); return true; }
inline bool StringReserve(string& s, uint count) { s.units.reserve(count); return true; }
inline bool StringFill(string& s, ushort c) { for (auto& unit : s.units) unit = c; return true; }
inline int StringCompare(const string& a, const string& b, bool with_case = true) {
  string x = a, y = b;
  if (!with_case) { StringToLower(x); StringToLower(y); }
  return x.units < y.units ? -1 : x.units > y.units ? 1 : 0;
}
template <class... More> int StringConcatenate(string& s, const More&... more) { s = string(""); ((s += string(more)), ...); return StringLen(s); }
inline long StringToInteger(const string& s) { return strtol(s.utf8().c_str(), nullptr, 10); }
inline double StringToDouble(const string& s) { return strtod(s.utf8().c_str(), nullptr); }
inline string IntegerToString(long x, int width = 0, ushort fill = ' ') {
  string text(std::to_string(x));
  while ((int)text.units.size() < width) text.units.insert(text.units.begin(), (char16_t)fill);
  return text;
}
inline string DoubleToString(double x, int digits = 8) {
  char buffer[400];
  if (digits < 0) snprintf(buffer, sizeof buffer, "%.*e", -digits, x);
  else snprintf(buffer, sizeof buffer, "%.*f", digits, x);
  return string(buffer);
}
inline string ShortToString(ushort c) { return c == 0 ? string("") : string(std::u16string(1, (char16_t)c)); }
inline string CharToString(uchar c) { return ShortToString(c); }
inline string TimeToString(datetime t, int parts = TIME_DATE | TIME_MINUTES) { return string(mql::date_text(t.seconds, parts)); }
inline datetime StringToTime(const string& s) {
  int year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0;
  sscanf(s.utf8().c_str(), "%d.%d.%d %d:%d:%d", &year, &month, &day, &hour, &minute, &second);
  struct tm split = {};
  split.tm_year = year - 1900; split.tm_mon = month - 1; split.tm_mday = day;
  split.tm_hour = hour; split.tm_min = minute; split.tm_sec = second;
  return datetime(timegm(&split));
}
template <class E> string EnumToString(E x) { return string(mql_name(x)); }

namespace mql {
inline datetime date_literal(const char* text) { return StringToTime(string(text)); }
inline color color_literal(int red, int green, int blue) { return (color)(red | green << 8 | blue << 16); }

// One argument of StringFormat.
struct Argument {
  char kind;  // i whole number, d double, s text
  long whole = 0;
  double real = 0;
  std::string text;
  Argument(const string& x) : kind('s'), text(x.utf8()) {}
  Argument(const char* x) : kind('s'), text(x) {}
  Argument(const datetime& x) : kind('i'), whole(x.seconds), real((double)x.seconds) {}
  template <class T, std::enable_if_t<std::is_floating_point_v<T>, int> = 0> Argument(T x) : kind('d'), whole(0), real(x) {}
  template <class T, std::enable_if_t<std::is_integral_v<T> || std::is_enum_v<T>, int> = 0>
  Argument(T x) : kind('i'), whole((long)x), real((double)whole) {}
};

inline std::string format_one(const std::string& flags, char letter, const Argument& x) {
  char buffer[512];
  std::string form = flags;
  if (strchr("diuxXo", letter)) {
    // A wrong letter for an argument prints rubbish in the terminal as well; the test should see it.
    if (x.kind != 'i') critical(std::string("StringFormat: %") + letter + " for an argument that is no whole number");
    form += "l"; form += letter;
    snprintf(buffer, sizeof buffer, form.c_str(), x.whole);
  } else if (letter == 'c') {
    form += letter;
    snprintf(buffer, sizeof buffer, form.c_str(), (int)x.whole);
  } else if (strchr("eEfgGaA", letter)) {
    if (x.kind != 'd') critical(std::string("StringFormat: %") + letter + " for an argument that is no double");
    form += letter;
    snprintf(buffer, sizeof buffer, form.c_str(), x.real);
  } else {
    std::string text = x.kind == 's' ? x.text : x.kind == 'd' ? number_text(x.real) : std::to_string(x.whole);
    if (flags == "%") return text;
    form += 's';
    std::vector<char> room(text.size() + 600);
    snprintf(room.data(), room.size(), form.c_str(), text.c_str());
    return room.data();
  }
  return buffer;
}

inline string format(const string& pattern, const std::vector<Argument>& arguments) {
  std::string in = pattern.utf8(), out;
  size_t next = 0;
  for (size_t i = 0; i < in.size(); i++) {
    if (in[i] != '%') { out += in[i]; continue; }
    if (i + 1 < in.size() && in[i + 1] == '%') { out += '%'; i++; continue; }
    std::string flags = "%";
    size_t at = i + 1;
    for (; at < in.size() && strchr("-+ #0123456789.*", in[at]); at++) {
      if (in[at] == '*') flags += std::to_string(next < arguments.size() ? arguments[next++].whole : 0);
      else flags += in[at];
    }
    if (in.compare(at, 3, "I64") == 0) at += 3;
    while (at < in.size() && (in[at] == 'l' || in[at] == 'h')) at++;
    if (next >= arguments.size()) critical("StringFormat: an argument is missing for " + in);
    out += format_one(flags, at < in.size() ? in[at] : 's', arguments[next++]);
    i = at;
  }
  if (next < arguments.size()) critical("StringFormat: more arguments than places in " + in);
  return string(out);
}
}  // namespace mql

template <class... A> string StringFormat(const string& pattern, const A&... a) { return mql::format(pattern, {mql::Argument(a)...}); }
