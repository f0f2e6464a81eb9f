// Inputs and the loop that waits for events. The prepass writes main().
#pragma once
#include "onnx.hpp"

namespace mql {
template <class T> T input(const char* name, const T& otherwise) {
  static const Value given = Value::parse(environment("MQL_INPUTS"));
  const Value& found = given[name];
  if (found.kind == Value::Nothing) return otherwise;
  if constexpr (std::is_same_v<T, string>) return string(found.text);
  else if constexpr (std::is_same_v<T, bool>) return found.text == "true" || found.text == "1";
  else if constexpr (std::is_floating_point_v<T>) return (T)strtod(found.text.c_str(), nullptr);
  else if constexpr (std::is_same_v<T, ulong>) return strtoull(found.text.c_str(), nullptr, 10);
  else return (T)strtol(found.text.c_str(), nullptr, 10);
}

struct Handlers {
  int (*init)() = nullptr;
  void (*deinit)(int) = nullptr;
  void (*tick)() = nullptr;
  void (*timer)() = nullptr;
  void (*trade)() = nullptr;
  void (*transaction)(const MqlTradeTransaction&, const MqlTradeRequest&, const MqlTradeResult&) = nullptr;
  void (*book)(const string&) = nullptr;
  void (*chart)(int, const long&, const double&, const string&) = nullptr;
  void (*start)() = nullptr;
};

inline Value handle(const Handlers& on, const Value& e) {
  const std::string& kind = e["event"].text;
  if (kind == "init") return on.init ? Value(on.init()) : Value(0);
  if (kind == "tick" && on.tick) on.tick();
  else if (kind == "timer" && on.timer) on.timer();
  else if (kind == "trade" && on.trade) on.trade();
  else if (kind == "transaction" && on.transaction) on.transaction(transaction_of(e["trans"]), request_of(e["request"]), result_of(e["result"]));
  else if (kind == "book" && on.book) on.book(string(e["symbol"].text));
  else if (kind == "chart" && on.chart) on.chart((int)e["id"].integer(), e["lparam"].integer(), e["dparam"].number(), string(e["sparam"].text));
  else if (kind == "start" && on.start) on.start();
  else if (kind == "faults") faults.set(e["faults"]);
  else if (kind == "clock") frozen_ms = e["ms"].integer();
  else if (kind == "deinit") {
    _StopFlag = true;
    if (on.deinit) on.deinit((int)e["reason"].integer());
  }
  return Value();
}

// Globals of the program are made before main: what they ask of the terminal is answered from the first line on.
inline bool ready = [] {
  std::string fd = environment("MQL_CONTROL_FD");
  control = fd.empty() ? -1 : atoi(fd.c_str());
  faults.set(Value::parse(environment("MQL_FAULTS")));
  std::string clock = environment("MQL_CLOCK_MS");
  if (!clock.empty()) frozen_ms = atol(clock.c_str());
  return true;
}();

inline int run(const Handlers& on) {
  if (control < 0) {
    fprintf(stderr, "this program runs under its test harness only (tests/mql)\n");
    return 2;
  }
  try {
    Value event;
    while (hear(event)) {
      Value returned = handle(on, event);
      bool last = event["event"].text == "deinit";
      tell(Value::object().set("done", event["event"]).set("returned", returned).set("leaks", (long)alive.size()));
      if (last) return 0;
    }
  } catch (const Critical& stop) {
    tell(Value::object().set("critical", stop.what));
    _exit(4);
  }
  return 0;
}
}  // namespace mql
