// Clocks (real, or frozen by the test), numbers and chance.
#pragma once
#include "control.hpp"

struct MqlDateTime {
  int year = 0, mon = 0, day = 0, hour = 0, min = 0, sec = 0, day_of_week = 0, day_of_year = 0;
  MqlDateTime* operator->() { return this; }
  const MqlDateTime* operator->() const { return this; }
};

namespace mql {
inline long frozen_ms = -1;
inline long utc_us() {
  if (frozen_ms >= 0) return frozen_ms * 1000;
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}
inline ulong running_us() {
  if (frozen_ms >= 0) return (ulong)frozen_ms * 1000;
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
}  // namespace mql

inline datetime TimeGMT() { return datetime(mql::utc_us() / 1000000); }
inline datetime TimeLocal() { return TimeGMT(); }
inline int TimeGMTOffset() { return 0; }
inline int TimeDaylightSavings() { return 0; }
inline datetime TimeCurrent() { return datetime(mql::ask("TimeCurrent").integer()); }
inline datetime TimeTradeServer() { return datetime(mql::ask("TimeTradeServer").integer()); }
inline ulong GetTickCount64() { return mql::running_us() / 1000; }
inline uint GetTickCount() { return (uint)GetTickCount64(); }
inline ulong GetMicrosecondCount() { return mql::running_us(); }
inline void Sleep(int ms) {
  if (mql::frozen_ms >= 0) mql::frozen_ms += ms;
  else std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}
inline bool TimeToStruct(datetime t, MqlDateTime& out) {
  time_t seconds = t.seconds;
  struct tm split;
  gmtime_r(&seconds, &split);
  out.year = split.tm_year + 1900; out.mon = split.tm_mon + 1; out.day = split.tm_mday;
  out.hour = split.tm_hour; out.min = split.tm_min; out.sec = split.tm_sec;
  out.day_of_week = split.tm_wday; out.day_of_year = split.tm_yday;
  return true;
}
inline datetime StructToTime(const MqlDateTime& in) {
  struct tm split = {};
  split.tm_year = in.year - 1900; split.tm_mon = in.mon - 1; split.tm_mday = in.day;
  split.tm_hour = in.hour; split.tm_min = in.min; split.tm_sec = in.sec;
  return datetime(timegm(&split));
}

template <class A, class B> auto MathMax(A a, B b) { using C = std::common_type_t<A, B>; return (C)a > (C)b ? (C)a : (C)b; }
template <class A, class B> auto MathMin(A a, B b) { using C = std::common_type_t<A, B>; return (C)a < (C)b ? (C)a : (C)b; }
template <class A> A MathAbs(A a) { return a < 0 ? -a : a; }
inline double MathRound(double x) { return std::round(x); }
inline double MathFloor(double x) { return std::floor(x); }
inline double MathCeil(double x) { return std::ceil(x); }
inline double MathSqrt(double x) { return std::sqrt(x); }
inline double MathPow(double x, double y) { return std::pow(x, y); }
inline double MathExp(double x) { return std::exp(x); }
inline double MathLog(double x) { return std::log(x); }
inline double MathLog10(double x) { return std::log10(x); }
inline double MathMod(double x, double y) { return std::fmod(x, y); }
inline double MathSin(double x) { return std::sin(x); }
inline double MathCos(double x) { return std::cos(x); }
inline double MathTanh(double x) { return std::tanh(x); }
inline bool MathIsValidNumber(double x) { return std::isfinite(x); }
inline double NormalizeDouble(double x, int digits) {
  // As the terminal does it: the nearest decimal of so many digits.
  char text[400];
  snprintf(text, sizeof text, "%.*f", digits, x + (x < 0 ? -1 : 1) * std::fabs(x) * 1e-15);
  return strtod(text, nullptr);
}
inline void MathSrand(int seed) { srand((unsigned)seed); }
inline int MathRand() { return rand() & 32767; }

inline bool EventSetMillisecondTimer(int ms) { return mql::ask("EventSetMillisecondTimer", ms).truth(); }
inline bool EventSetTimer(int seconds) { return EventSetMillisecondTimer(seconds * 1000); }
inline void EventKillTimer() { mql::ask("EventKillTimer"); }
inline void ExpertRemove() { _StopFlag = true; mql::ask("ExpertRemove"); }

inline datetime GlobalVariableSet(const string& name, double x) { return datetime(mql::ask("GlobalVariableSet", name, x).integer()); }
inline double GlobalVariableGet(const string& name) { return mql::ask("GlobalVariableGet", name).number(); }
inline bool GlobalVariableGet(const string& name, double& x) {
  _LastError = 0;
  double got = mql::ask("GlobalVariableGet", name).number();
  if (_LastError) return false;
  x = got;
  return true;
}
inline bool GlobalVariableCheck(const string& name) { return mql::ask("GlobalVariableCheck", name).truth(); }
inline bool GlobalVariableDel(const string& name) { return mql::ask("GlobalVariableDel", name).truth(); }
inline bool GlobalVariableTemp(const string& name) { return mql::ask("GlobalVariableSet", name, 0.0).truth(); }
inline bool GlobalVariableSetOnCondition(const string& name, double x, double expected) {
  return mql::ask("GlobalVariableSetOnCondition", name, x, expected).truth();
}
inline void GlobalVariablesFlush() {}
