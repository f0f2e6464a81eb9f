// Symbols, ticks, bars, book, calendar, account, terminal: the test answers.
#pragma once
#include "crypt.hpp"

#define MQL_ITSELF(T) T* operator->() { return this; } const T* operator->() const { return this; }

struct MqlTick {
  datetime time; double bid = 0, ask = 0, last = 0; ulong volume = 0; long time_msc = 0; uint flags = 0; double volume_real = 0;
  MQL_ITSELF(MqlTick)
};
struct MqlRates {
  datetime time; double open = 0, high = 0, low = 0, close = 0; long tick_volume = 0; int spread = 0; long real_volume = 0;
  MQL_ITSELF(MqlRates)
};
struct MqlBookInfo {
  ENUM_BOOK_TYPE type = BOOK_TYPE_SELL; double price = 0; long volume = 0; double volume_real = 0;
  MQL_ITSELF(MqlBookInfo)
};
struct MqlCalendarCountry {
  ulong id = 0; string name, code, currency, currency_symbol, url_name;
  MQL_ITSELF(MqlCalendarCountry)
};
struct MqlCalendarEvent {
  ulong id = 0; ENUM_CALENDAR_EVENT_TYPE type = CALENDAR_TYPE_EVENT; ENUM_CALENDAR_EVENT_SECTOR sector = CALENDAR_SECTOR_NONE;
  ENUM_CALENDAR_EVENT_FREQUENCY frequency = CALENDAR_FREQUENCY_NONE; ENUM_CALENDAR_EVENT_TIMEMODE time_mode = CALENDAR_TIMEMODE_DATETIME;
  ulong country_id = 0; ENUM_CALENDAR_EVENT_UNIT unit = CALENDAR_UNIT_NONE; ENUM_CALENDAR_EVENT_IMPORTANCE importance = CALENDAR_IMPORTANCE_NONE;
  ENUM_CALENDAR_EVENT_MULTIPLIER multiplier = CALENDAR_MULTIPLIER_NONE; uint digits = 0; string source_url, event_code, name;
  MQL_ITSELF(MqlCalendarEvent)
};
struct MqlCalendarValue {
  ulong id = 0, event_id = 0; datetime time, period; int revision = 0;
  long actual_value = LONG_MIN, prev_value = LONG_MIN, revised_prev_value = LONG_MIN, forecast_value = LONG_MIN;
  ENUM_CALENDAR_EVENT_IMPACT impact_type = CALENDAR_IMPACT_NA;
  MQL_ITSELF(MqlCalendarValue)
  static double real(long x) { return x == LONG_MIN ? std::nan("") : (double)x / 1e6; }
  bool HasActualValue() const { return actual_value != LONG_MIN; }
  bool HasPreviousValue() const { return prev_value != LONG_MIN; }
  bool HasRevisedValue() const { return revised_prev_value != LONG_MIN; }
  bool HasForecastValue() const { return forecast_value != LONG_MIN; }
  double GetActualValue() const { return real(actual_value); }
  double GetPreviousValue() const { return real(prev_value); }
  double GetRevisedValue() const { return real(revised_prev_value); }
  double GetForecastValue() const { return real(forecast_value); }
};

namespace mql {
inline MqlTick tick_of(const Value& v) {
  MqlTick t;
  t.time_msc = v["time_msc"].integer();
  t.time = v["time"].kind == Value::Nothing ? t.time_msc / 1000 : v["time"].integer();
  t.bid = v["bid"].number(); t.ask = v["ask"].number(); t.last = v["last"].number();
  t.volume = (ulong)v["volume"].integer(); t.flags = (uint)v["flags"].integer(); t.volume_real = v["volume_real"].number();
  return t;
}
inline MqlRates rates_of(const Value& v) {
  MqlRates r;
  r.time = v["time"].integer(); r.open = v["open"].number(); r.high = v["high"].number(); r.low = v["low"].number(); r.close = v["close"].number();
  r.tick_volume = v["tick_volume"].integer(); r.spread = (int)v["spread"].integer(); r.real_volume = v["real_volume"].integer();
  return r;
}
// Put a list of answers into an array of the program; -1 when the test answered null.
template <class T, class Make> int fill(Array<T>& to, const Value& v, Make make) {
  if (v.kind != Value::List) return -1;
  if (to.is_fixed && v.items.size() > to.items.size()) return -1;
  if (!to.is_fixed) to.resize(v.items.size());
  // Answers come oldest first; a series shows the newest at 0 because it is read backwards, not because it is stored so.
  for (size_t i = 0; i < v.items.size(); i++) to.items[i] = (typename Array<T>::Stored)make(v.items[i]);
  return (int)v.items.size();
}
template <class T> T as(const Value& v) {
  if constexpr (std::is_same_v<T, string>) return string(v.text);
  else if constexpr (std::is_floating_point_v<T>) return v.number();
  else return (T)v.integer();
}
// The shape MQL5 gives many functions: bool F(..., property, T &out).
template <class T, class... A> bool asked_into(T& out, const char* function, const A&... a) {
  Value v = ask(function, a...);
  if (v.kind == Value::Nothing) return false;
  out = as<T>(v);
  return true;
}
inline string chart_symbol() { return string(environment("MQL_SYMBOL")); }
inline ENUM_TIMEFRAMES chart_period() {
  static const ENUM_TIMEFRAMES all[] = {PERIOD_M1, PERIOD_M2, PERIOD_M3, PERIOD_M4, PERIOD_M5, PERIOD_M6, PERIOD_M10, PERIOD_M12, PERIOD_M15,
    PERIOD_M20, PERIOD_M30, PERIOD_H1, PERIOD_H2, PERIOD_H3, PERIOD_H4, PERIOD_H6, PERIOD_H8, PERIOD_H12, PERIOD_D1, PERIOD_W1, PERIOD_MN1};
  for (auto p : all) if (environment("MQL_PERIOD") == mql_name(p)) return p;
  return PERIOD_M1;
}
inline std::string symbol_name(const string& s) { return s.units.empty() ? environment("MQL_SYMBOL") : s.utf8(); }
inline const char* period_name(ENUM_TIMEFRAMES p) { return mql_name(p == PERIOD_CURRENT ? chart_period() : p); }
}  // namespace mql

#define MQL_PROPERTY(FUNCTION, ENUM, TYPE) \
  inline TYPE FUNCTION(const string& s, ENUM p) { return mql::as<TYPE>(mql::ask(#FUNCTION, mql::symbol_name(s), mql_name(p))); } \
  inline bool FUNCTION(const string& s, ENUM p, TYPE& out) { return mql::asked_into(out, #FUNCTION, mql::symbol_name(s), mql_name(p)); }
MQL_PROPERTY(SymbolInfoDouble, ENUM_SYMBOL_INFO_DOUBLE, double)
MQL_PROPERTY(SymbolInfoInteger, ENUM_SYMBOL_INFO_INTEGER, long)
MQL_PROPERTY(SymbolInfoString, ENUM_SYMBOL_INFO_STRING, string)
#undef MQL_PROPERTY
inline int SymbolsTotal(bool selected) { return (int)mql::ask("SymbolsTotal", selected).integer(); }
inline string SymbolName(int index, bool selected) { return string(mql::ask("SymbolName", index, selected).text); }
inline bool SymbolSelect(const string& s, bool select) { return mql::ask("SymbolSelect", s, select).truth(); }
inline bool SymbolExist(const string& s, bool& custom) { custom = false; return mql::ask("SymbolExist", s).truth(); }
inline bool SymbolIsSynchronized(const string& s) { return mql::ask("SymbolIsSynchronized", s).truth(); }
inline bool SymbolInfoTick(const string& s, MqlTick& out) {
  mql::Value v = mql::ask("SymbolInfoTick", mql::symbol_name(s));
  if (v.kind != mql::Value::Object) return false;
  out = mql::tick_of(v);
  return true;
}
namespace mql {
inline bool session(const char* function, const string& s, ENUM_DAY_OF_WEEK day, uint index, datetime& from, datetime& to) {
  Value v = ask(function, symbol_name(s), (int)day, index);
  if (v.kind != Value::List || v.items.size() != 2) return false;
  from = v.items[0].integer();
  to = v.items[1].integer();
  return true;
}
}  // namespace mql
inline bool SymbolInfoSessionTrade(const string& s, ENUM_DAY_OF_WEEK d, uint i, datetime& a, datetime& b) { return mql::session("SymbolInfoSessionTrade", s, d, i, a, b); }
inline bool SymbolInfoSessionQuote(const string& s, ENUM_DAY_OF_WEEK d, uint i, datetime& a, datetime& b) { return mql::session("SymbolInfoSessionQuote", s, d, i, a, b); }

inline int CopyTicks(const string& s, mql::Array<MqlTick>& out, uint flags = COPY_TICKS_ALL, ulong from_msc = 0, uint count = 0) {
  return mql::fill(out, mql::ask("CopyTicks", mql::symbol_name(s), flags, from_msc, count), mql::tick_of);
}
inline int CopyTicksRange(const string& s, mql::Array<MqlTick>& out, uint flags = COPY_TICKS_ALL, ulong from_msc = 0, ulong to_msc = 0) {
  return mql::fill(out, mql::ask("CopyTicksRange", mql::symbol_name(s), flags, from_msc, to_msc), mql::tick_of);
}
inline int CopyRates(const string& s, ENUM_TIMEFRAMES p, int start, int count, mql::Array<MqlRates>& out) {
  return mql::fill(out, mql::ask("CopyRates", mql::symbol_name(s), mql::period_name(p), start, count), mql::rates_of);
}
inline int CopyRates(const string& s, ENUM_TIMEFRAMES p, datetime start, int count, mql::Array<MqlRates>& out) {
  return mql::fill(out, mql::ask("CopyRatesFrom", mql::symbol_name(s), mql::period_name(p), start, count), mql::rates_of);
}
inline int CopyRates(const string& s, ENUM_TIMEFRAMES p, datetime start, datetime end, mql::Array<MqlRates>& out) {
  return mql::fill(out, mql::ask("CopyRatesRange", mql::symbol_name(s), mql::period_name(p), start, end), mql::rates_of);
}
namespace mql {
inline Value one_bar(const string& s, ENUM_TIMEFRAMES p, int index) {
  Value v = ask("CopyRates", symbol_name(s), period_name(p), index, 1);
  return v.kind == Value::List && v.items.size() == 1 ? v.items[0] : Value();
}
}  // namespace mql
inline datetime iTime(const string& s, ENUM_TIMEFRAMES p, int i) { return datetime(mql::one_bar(s, p, i)["time"].integer()); }
inline double iOpen(const string& s, ENUM_TIMEFRAMES p, int i) { return mql::one_bar(s, p, i)["open"].number(); }
inline double iHigh(const string& s, ENUM_TIMEFRAMES p, int i) { return mql::one_bar(s, p, i)["high"].number(); }
inline double iLow(const string& s, ENUM_TIMEFRAMES p, int i) { return mql::one_bar(s, p, i)["low"].number(); }
inline double iClose(const string& s, ENUM_TIMEFRAMES p, int i) { return mql::one_bar(s, p, i)["close"].number(); }
inline int Bars(const string& s, ENUM_TIMEFRAMES p) { return (int)mql::ask("Bars", mql::symbol_name(s), mql::period_name(p)).integer(); }
inline long SeriesInfoInteger(const string& s, ENUM_TIMEFRAMES p, ENUM_SERIES_INFO_INTEGER what) {
  return mql::ask("SeriesInfoInteger", mql::symbol_name(s), mql::period_name(p), mql_name(what)).integer();
}
inline bool SeriesInfoInteger(const string& s, ENUM_TIMEFRAMES p, ENUM_SERIES_INFO_INTEGER what, long& out) {
  return mql::asked_into(out, "SeriesInfoInteger", mql::symbol_name(s), mql::period_name(p), mql_name(what));
}
inline int PeriodSeconds(ENUM_TIMEFRAMES p = PERIOD_CURRENT) {
  int n = (int)(p == PERIOD_CURRENT ? mql::chart_period() : p);
  if (n >= 49152) return (n & 0xFFF) * 2592000;
  if (n >= 32768) return (n & 0xFFF) * 604800;
  if (n >= 16384) return (n & 0xFFF) * 3600;
  return n * 60;
}
inline bool MarketBookAdd(const string& s) { return mql::ask("MarketBookAdd", mql::symbol_name(s)).truth(); }
inline bool MarketBookRelease(const string& s) { return mql::ask("MarketBookRelease", mql::symbol_name(s)).truth(); }
inline bool MarketBookGet(const string& s, mql::Array<MqlBookInfo>& out) {
  return mql::fill(out, mql::ask("MarketBookGet", mql::symbol_name(s)), [](const mql::Value& v) {
    MqlBookInfo b;
    b.type = (ENUM_BOOK_TYPE)v["type"].integer(); b.price = v["price"].number(); b.volume = v["volume"].integer(); b.volume_real = v["volume_real"].number();
    return b;
  }) >= 0;
}

namespace mql {
inline MqlCalendarValue calendar_value(const Value& v) {
  MqlCalendarValue c;
  auto number = [&](const char* key) { return v[key].kind == Value::Nothing ? LONG_MIN : v[key].integer(); };
  c.id = (ulong)v["id"].integer(); c.event_id = (ulong)v["event_id"].integer(); c.time = v["time"].integer(); c.period = v["period"].integer();
  c.revision = (int)v["revision"].integer(); c.impact_type = (ENUM_CALENDAR_EVENT_IMPACT)v["impact_type"].integer();
  c.actual_value = number("actual_value"); c.prev_value = number("prev_value");
  c.revised_prev_value = number("revised_prev_value"); c.forecast_value = number("forecast_value");
  return c;
}
}  // namespace mql
inline int CalendarValueHistory(mql::Array<MqlCalendarValue>& out, datetime from, datetime to = 0, const string& country = NULL, const string& currency = NULL) {
  return std::max(0, mql::fill(out, mql::ask("CalendarValueHistory", from, to, country, currency), mql::calendar_value));
}
inline int CalendarValueLast(ulong& change, mql::Array<MqlCalendarValue>& out, const string& country = NULL, const string& currency = NULL) {
  mql::Value v = mql::ask("CalendarValueLast", change, country, currency);
  change = (ulong)v["change_id"].integer();
  return std::max(0, mql::fill(out, v["values"], mql::calendar_value));
}
inline bool CalendarEventById(ulong id, MqlCalendarEvent& out) {
  mql::Value v = mql::ask("CalendarEventById", id);
  if (v.kind != mql::Value::Object) return false;
  out.id = id; out.country_id = (ulong)v["country_id"].integer(); out.name = string(v["name"].text); out.event_code = string(v["event_code"].text);
  out.source_url = string(v["source_url"].text); out.digits = (uint)v["digits"].integer();
  out.type = (ENUM_CALENDAR_EVENT_TYPE)v["type"].integer(); out.sector = (ENUM_CALENDAR_EVENT_SECTOR)v["sector"].integer();
  out.frequency = (ENUM_CALENDAR_EVENT_FREQUENCY)v["frequency"].integer(); out.time_mode = (ENUM_CALENDAR_EVENT_TIMEMODE)v["time_mode"].integer();
  out.unit = (ENUM_CALENDAR_EVENT_UNIT)v["unit"].integer(); out.importance = (ENUM_CALENDAR_EVENT_IMPORTANCE)v["importance"].integer();
  out.multiplier = (ENUM_CALENDAR_EVENT_MULTIPLIER)v["multiplier"].integer();
  return true;
}
inline bool CalendarCountryById(long id, MqlCalendarCountry& out) {
  mql::Value v = mql::ask("CalendarCountryById", id);
  if (v.kind != mql::Value::Object) return false;
  out.id = (ulong)id; out.name = string(v["name"].text); out.code = string(v["code"].text); out.currency = string(v["currency"].text);
  out.currency_symbol = string(v["currency_symbol"].text); out.url_name = string(v["url_name"].text);
  return true;
}

#define MQL_PROPERTY(FUNCTION, ENUM, TYPE) inline TYPE FUNCTION(ENUM p) { return mql::as<TYPE>(mql::ask(#FUNCTION, mql_name(p))); }
MQL_PROPERTY(AccountInfoDouble, ENUM_ACCOUNT_INFO_DOUBLE, double)
MQL_PROPERTY(AccountInfoInteger, ENUM_ACCOUNT_INFO_INTEGER, long)
MQL_PROPERTY(AccountInfoString, ENUM_ACCOUNT_INFO_STRING, string)
MQL_PROPERTY(TerminalInfoInteger, ENUM_TERMINAL_INFO_INTEGER, int)
MQL_PROPERTY(TerminalInfoString, ENUM_TERMINAL_INFO_STRING, string)
#undef MQL_PROPERTY
inline int MQLInfoInteger(ENUM_MQL_INFO_INTEGER p) {
  if (p == MQL_TESTER || p == MQL_OPTIMIZATION || p == MQL_DEBUG) return 0;
  if (p == MQL_PROGRAM_TYPE) return PROGRAM_EXPERT;
  return (int)mql::ask("MQLInfoInteger", mql_name(p)).integer();
}
inline string MQLInfoString(ENUM_MQL_INFO_STRING) { return string(mql::environment("MQL_NAME")); }
inline bool TerminalClose(int code) { return mql::ask("TerminalClose", code).truth(); }

// What belongs to the chart.
inline const string _Symbol = mql::chart_symbol();
inline const ENUM_TIMEFRAMES _Period = mql::chart_period();
struct MqlChartDigits { operator int() const { return (int)SymbolInfoInteger(_Symbol, SYMBOL_DIGITS); } };
struct MqlChartPoint { operator double() const { return SymbolInfoDouble(_Symbol, SYMBOL_POINT); } };
inline const MqlChartDigits _Digits;
inline const MqlChartPoint _Point;
inline string Symbol() { return _Symbol; }
inline ENUM_TIMEFRAMES Period() { return _Period; }
inline int Digits() { return _Digits; }
inline double Point() { return _Point; }
inline long ChartID() { return 1; }
inline bool EventChartCustom(long chart, ushort id, long l, double d, const string& s) { return mql::ask("EventChartCustom", chart, (int)id, l, d, s).truth(); }
