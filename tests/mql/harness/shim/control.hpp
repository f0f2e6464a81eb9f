// The control channel to the test: one JSON object a line, both ways.
#pragma once
#include "arrays.hpp"

namespace mql {
// A JSON value of the control channel (the programs under test have their own Json.mqh).
struct Value {
  enum Kind { Nothing, Bool, Whole, Unsigned, Real, Text, List, Object } kind = Nothing;
  bool flag = false;
  long whole = 0;
  double real = 0;
  std::string text;
  std::vector<Value> items;
  std::vector<std::string> keys;

  Value() {}
  Value(bool x) : kind(Bool), flag(x) {}
  Value(int x) : kind(Whole), whole(x) {}
  Value(uint x) : kind(Whole), whole(x) {}
  Value(long x) : kind(Whole), whole(x) {}
  Value(ulong x) : kind(Unsigned), whole((long)x) {}
  Value(double x) : kind(Real), real(x) {}
  Value(const char* x) : kind(Text), text(x) {}
  Value(const std::string& x) : kind(Text), text(x) {}
  Value(const string& x) : kind(Text), text(x.utf8()) {}
  Value(const datetime& x) : kind(Whole), whole(x.seconds) {}
  static Value object() { Value v; v.kind = Object; return v; }
  static Value list() { Value v; v.kind = List; return v; }
  template <class T> static Value list_of(const std::vector<T>& xs) { Value v = list(); for (auto& x : xs) v.items.push_back(Value(x)); return v; }
  Value& set(const char* key, const Value& value) { keys.push_back(key); items.push_back(value); return *this; }
  const Value& operator[](const char* key) const {
    static const Value nothing;
    for (size_t i = 0; i < keys.size(); i++) if (keys[i] == key) return items[i];
    return nothing;
  }
  double number() const { return kind == Real ? real : kind == Unsigned ? (double)(ulong)whole : kind == Bool ? flag : (double)whole; }
  long integer() const { return kind == Real ? (long)real : kind == Bool ? flag : whole; }
  bool truth() const { return integer() != 0; }

  static void quote(std::string& out, const std::string& in) {
    out += '"';
    for (uchar c : in) {
      char code[8];
      if (c == '"' || c == '\\') { out += '\\'; out += (char)c; }
      else if (c < 32) { snprintf(code, sizeof code, "\\u%04x", c); out += code; }
      else out += (char)c;
    }
    out += '"';
  }
  void write(std::string& out) const {
    switch (kind) {
      case Nothing: out += "null"; break;
      case Bool: out += flag ? "true" : "false"; break;
      case Whole: out += std::to_string(whole); break;
      case Unsigned: out += std::to_string((ulong)whole); break;
      case Real: out += std::isfinite(real) ? number_text(real) : "null"; break;
      case Text: quote(out, text); break;
      case List:
      case Object:
        out += kind == List ? '[' : '{';
        for (size_t i = 0; i < items.size(); i++) {
          if (i) out += ',';
          if (kind == Object) { quote(out, keys[i]); out += ':'; }
          items[i].write(out);
        }
        out += kind == List ? ']' : '}';
    }
  }
  static void blanks(const char*& p) { while (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r') p++; }
  static std::string read_text(const char*& p) {
    std::u16string wide;
    std::string plain;
    for (p++; *p && *p != '"';) {
      if (*p != '\\') { plain += *p++; continue; }
      char c = *++p;
      p++;
      const char *from = "bfnrt", *to = "\b\f\n\r\t", *at = c ? strchr(from, c) : nullptr;
      if (c == 'u') {
        wide += from_utf8(plain.data(), plain.size());
        plain.clear();
        wide += (char16_t)strtol(std::string(p, 4).c_str(), nullptr, 16);
        p += 4;
      } else {
        plain += at ? to[at - from] : c;
      }
    }
    if (*p) p++;
    return wide.empty() ? plain : to_utf8(wide + from_utf8(plain.data(), plain.size()));
  }
  static Value read(const char*& p) {
    Value v;
    blanks(p);
    if (*p == '{' || *p == '[') {
      char end = *p == '{' ? '}' : ']';
      v.kind = *p == '{' ? Object : List;
      for (p++, blanks(p); *p && *p != end;) {
        if (v.kind == Object) { v.keys.push_back(read_text(p)); blanks(p); p++; }
        v.items.push_back(read(p));
        blanks(p);
        if (*p == ',') { p++; blanks(p); }
      }
      if (*p) p++;
    } else if (*p == '"') {
      v = Value(read_text(p));
    } else if (!strncmp(p, "true", 4)) { p += 4; v = Value(true);
    } else if (!strncmp(p, "false", 5)) { p += 5; v = Value(false);
    } else if (!strncmp(p, "null", 4)) { p += 4;
    } else {
      const char* from = p;
      while (*p && strchr("+-0123456789.eEINanfity", *p)) p++;
      std::string number(from, p);
      if (number.find_first_of(".eEIN") != std::string::npos) v = Value(strtod(number.c_str(), nullptr));
      else if (number[0] == '-') v = Value((long)strtoll(number.c_str(), nullptr, 10));
      else v = Value((ulong)strtoull(number.c_str(), nullptr, 10));
      if (p == from) p++;
    }
    return v;
  }
  static Value parse(const std::string& text) { const char* p = text.c_str(); return read(p); }
};

inline int control = -1;
inline std::string control_in;

inline void tell(const Value& value) {
  std::string line;
  value.write(line);
  line += '\n';
  for (size_t done = 0; done < line.size();) {
    ssize_t n = ::write(control, line.data() + done, line.size() - done);
    if (n <= 0) _exit(0);  // the test is gone
    done += n;
  }
}
inline bool hear(Value& value) {
  for (;;) {
    size_t end = control_in.find('\n');
    if (end != std::string::npos) {
      value = Value::parse(control_in.substr(0, end));
      control_in.erase(0, end + 1);
      return true;
    }
    char buffer[65536];
    ssize_t n = ::read(control, buffer, sizeof buffer);
    if (n <= 0) return false;
    control_in.append(buffer, n);
  }
}
// Ask the test: a function of the terminal by its name.
template <class... A> Value ask(const char* function, const A&... a) {
  Value arguments = Value::list();
  (arguments.items.push_back(Value(a)), ...);
  tell(Value::object().set("call", function).set("args", arguments));
  Value answer;
  if (!hear(answer)) _exit(0);
  if (answer["error"].kind != Value::Nothing) _LastError = (int)answer["error"].integer();
  return answer["ret"];
}
inline void say(const string& text) { tell(Value::object().set("print", text)); }

inline std::string environment(const char* name) { const char* value = getenv(name); return value ? value : ""; }

// The adversary's switches; README.md explains them.
struct Faults {
  long read_max = 0, write_max = 0, files_fail = 0, writes_fail = 0, drop_after_reads = 0, drop_after_writes = 0;
  bool refuse = false, mute = false, deaf = false;
  void set(const Value& v) {
    for (size_t i = 0; i < v.keys.size(); i++) {
      const std::string& key = v.keys[i];
      const Value& x = v.items[i];
      if (key == "read_max") read_max = x.integer();
      else if (key == "write_max") write_max = x.integer();
      else if (key == "files_fail") files_fail = x.integer();
      else if (key == "writes_fail") writes_fail = x.integer();
      else if (key == "drop_after_reads") drop_after_reads = x.integer();
      else if (key == "drop_after_writes") drop_after_writes = x.integer();
      else if (key == "refuse") refuse = x.truth();
      else if (key == "mute") mute = x.truth();
      else if (key == "deaf") deaf = x.truth();
      else if (key == "stale_arrays") stale_arrays = x.truth();
      else critical("no such fault: " + key);
    }
  }
};
inline Faults faults;
}  // namespace mql

template <class... A> void Print(const A&... a) { string out(""); ((out += string(a)), ...); mql::say(out); }
template <class... A> void Alert(const A&... a) { Print(a...); }
template <class... A> void Comment(const A&... a) { Print(a...); }
template <class... A> void PrintFormat(const string& pattern, const A&... a) { mql::say(StringFormat(pattern, a...)); }
template <class... A> int printf(const string& pattern, const A&... a) { PrintFormat(pattern, a...); return 0; }
inline int GetLastError() { return _LastError; }
inline void ResetLastError() { _LastError = 0; }
inline void SetUserError(ushort code) { _LastError = 65536 + code; }
inline bool IsStopped() { return _StopFlag; }
