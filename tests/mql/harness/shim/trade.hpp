// Orders, positions, deals: the test answers.
#pragma once
#include "market.hpp"

struct MqlTradeRequest {
  ENUM_TRADE_REQUEST_ACTIONS action = (ENUM_TRADE_REQUEST_ACTIONS)0; ulong magic = 0, order = 0; string symbol;
  double volume = 0, price = 0, stoplimit = 0, sl = 0, tp = 0; ulong deviation = 0; ENUM_ORDER_TYPE type = ORDER_TYPE_BUY;
  ENUM_ORDER_TYPE_FILLING type_filling = ORDER_FILLING_FOK; ENUM_ORDER_TYPE_TIME type_time = ORDER_TIME_GTC; datetime expiration;
  string comment; ulong position = 0, position_by = 0;
  MQL_ITSELF(MqlTradeRequest)
};
struct MqlTradeResult {
  uint retcode = 0; ulong deal = 0, order = 0; double volume = 0, price = 0, bid = 0, ask = 0; string comment; uint request_id = 0; int retcode_external = 0;
  MQL_ITSELF(MqlTradeResult)
};
struct MqlTradeCheckResult {
  uint retcode = 0; double balance = 0, equity = 0, profit = 0, margin = 0, margin_free = 0, margin_level = 0; string comment;
  MQL_ITSELF(MqlTradeCheckResult)
};
struct MqlTradeTransaction {
  ulong deal = 0, order = 0; string symbol; ENUM_TRADE_TRANSACTION_TYPE type = TRADE_TRANSACTION_ORDER_ADD;
  ENUM_ORDER_TYPE order_type = ORDER_TYPE_BUY; ENUM_ORDER_STATE order_state = ORDER_STATE_STARTED; ENUM_DEAL_TYPE deal_type = DEAL_TYPE_BUY;
  ENUM_ORDER_TYPE_TIME time_type = ORDER_TIME_GTC; datetime time_expiration; double price = 0, price_trigger = 0, price_sl = 0, price_tp = 0, volume = 0;
  ulong position = 0, position_by = 0;
  MQL_ITSELF(MqlTradeTransaction)
};

namespace mql {
inline Value value_of(const MqlTradeRequest& q) {
  Value v = Value::object();
  v.set("action", (int)q.action).set("magic", q.magic).set("order", q.order).set("symbol", q.symbol).set("volume", q.volume)
   .set("price", q.price).set("stoplimit", q.stoplimit).set("sl", q.sl).set("tp", q.tp).set("deviation", q.deviation)
   .set("type", (int)q.type).set("type_filling", (int)q.type_filling).set("type_time", (int)q.type_time).set("expiration", q.expiration)
   .set("comment", q.comment).set("position", q.position).set("position_by", q.position_by);
  return v;
}
inline MqlTradeRequest request_of(const Value& v) {
  MqlTradeRequest q;
  q.action = (ENUM_TRADE_REQUEST_ACTIONS)v["action"].integer(); q.magic = (ulong)v["magic"].integer(); q.order = (ulong)v["order"].integer();
  q.symbol = string(v["symbol"].text); q.volume = v["volume"].number(); q.price = v["price"].number(); q.stoplimit = v["stoplimit"].number();
  q.sl = v["sl"].number(); q.tp = v["tp"].number(); q.deviation = (ulong)v["deviation"].integer(); q.type = (ENUM_ORDER_TYPE)v["type"].integer();
  q.type_filling = (ENUM_ORDER_TYPE_FILLING)v["type_filling"].integer(); q.type_time = (ENUM_ORDER_TYPE_TIME)v["type_time"].integer();
  q.expiration = v["expiration"].integer(); q.comment = string(v["comment"].text); q.position = (ulong)v["position"].integer();
  q.position_by = (ulong)v["position_by"].integer();
  return q;
}
inline MqlTradeResult result_of(const Value& v) {
  MqlTradeResult r;
  r.retcode = (uint)v["retcode"].integer(); r.deal = (ulong)v["deal"].integer(); r.order = (ulong)v["order"].integer(); r.volume = v["volume"].number();
  r.price = v["price"].number(); r.bid = v["bid"].number(); r.ask = v["ask"].number(); r.comment = string(v["comment"].text);
  r.request_id = (uint)v["request_id"].integer(); r.retcode_external = (int)v["retcode_external"].integer();
  return r;
}
inline MqlTradeTransaction transaction_of(const Value& v) {
  MqlTradeTransaction t;
  t.deal = (ulong)v["deal"].integer(); t.order = (ulong)v["order"].integer(); t.symbol = string(v["symbol"].text);
  t.type = (ENUM_TRADE_TRANSACTION_TYPE)v["type"].integer(); t.order_type = (ENUM_ORDER_TYPE)v["order_type"].integer();
  t.order_state = (ENUM_ORDER_STATE)v["order_state"].integer(); t.deal_type = (ENUM_DEAL_TYPE)v["deal_type"].integer();
  t.time_type = (ENUM_ORDER_TYPE_TIME)v["time_type"].integer(); t.time_expiration = v["time_expiration"].integer();
  t.price = v["price"].number(); t.price_trigger = v["price_trigger"].number(); t.price_sl = v["price_sl"].number(); t.price_tp = v["price_tp"].number();
  t.volume = v["volume"].number(); t.position = (ulong)v["position"].integer(); t.position_by = (ulong)v["position_by"].integer();
  return t;
}
// Accepted, in whole or in part: what OrderSend returns. Null: nothing came back (the result stays empty).
inline bool send(const char* function, const MqlTradeRequest& q, MqlTradeResult& r) {
  Value v = ask(function, value_of(q));
  if (v.kind != Value::Object) { r = MqlTradeResult(); return false; }
  r = result_of(v);
  return r.retcode == TRADE_RETCODE_DONE || r.retcode == TRADE_RETCODE_PLACED || r.retcode == TRADE_RETCODE_DONE_PARTIAL;
}
}  // namespace mql

inline bool OrderSend(const MqlTradeRequest& q, MqlTradeResult& r) { return mql::send("OrderSend", q, r); }
inline bool OrderSendAsync(const MqlTradeRequest& q, MqlTradeResult& r) { return mql::send("OrderSendAsync", q, r); }
inline bool OrderCheck(const MqlTradeRequest& q, MqlTradeCheckResult& r) {
  mql::Value v = mql::ask("OrderCheck", mql::value_of(q));
  if (v.kind != mql::Value::Object) return false;
  r.retcode = (uint)v["retcode"].integer(); r.balance = v["balance"].number(); r.equity = v["equity"].number(); r.profit = v["profit"].number();
  r.margin = v["margin"].number(); r.margin_free = v["margin_free"].number(); r.margin_level = v["margin_level"].number(); r.comment = string(v["comment"].text);
  return r.retcode == 0;
}
inline bool OrderCalcMargin(ENUM_ORDER_TYPE type, const string& s, double volume, double price, double& margin) {
  return mql::asked_into(margin, "OrderCalcMargin", (int)type, s, volume, price);
}
inline bool OrderCalcProfit(ENUM_ORDER_TYPE type, const string& s, double volume, double open, double close, double& profit) {
  return mql::asked_into(profit, "OrderCalcProfit", (int)type, s, volume, open, close);
}

// Selected objects are dictionaries of the test, by property name.
namespace mql {
inline Value position, order;
inline std::map<ulong, Value> history_orders, history_deals;
inline std::vector<ulong> history_order_list, history_deal_list;
inline bool select(Value& into, const Value& answer, int error) {
  if (answer.kind != Value::Object) { _LastError = error; return false; }
  into = answer;
  return true;
}
template <class E> const Value& property(const Value& v, E p) {
  const Value& found = v[mql_name(p)];
  if (v.kind == Value::Object && found.kind == Value::Nothing) critical(std::string("the test's object has no ") + mql_name(p));
  return found;
}
inline void remember(std::map<ulong, Value>& by_ticket, std::vector<ulong>& list, const Value& answer, const char* ticket) {
  by_ticket.clear();
  list.clear();
  for (auto& item : answer.items) {
    ulong number = (ulong)item[ticket].integer();
    by_ticket[number] = item;
    list.push_back(number);
  }
}
inline const Value& of_ticket(const std::map<ulong, Value>& from, ulong ticket) {
  static const Value nothing;
  auto at = from.find(ticket);
  return at == from.end() ? nothing : at->second;
}
}  // namespace mql

#define MQL_SELECTED(PREFIX, ENUM, SELECTED) \
  inline double PREFIX##GetDouble(ENUM##_DOUBLE p) { return mql::property(SELECTED, p).number(); } \
  inline long PREFIX##GetInteger(ENUM##_INTEGER p) { return mql::property(SELECTED, p).integer(); } \
  inline string PREFIX##GetString(ENUM##_STRING p) { return string(mql::property(SELECTED, p).text); } \
  inline bool PREFIX##GetDouble(ENUM##_DOUBLE p, double& x) { x = PREFIX##GetDouble(p); return SELECTED.kind == mql::Value::Object; } \
  inline bool PREFIX##GetInteger(ENUM##_INTEGER p, long& x) { x = PREFIX##GetInteger(p); return SELECTED.kind == mql::Value::Object; } \
  inline bool PREFIX##GetString(ENUM##_STRING p, string& x) { x = PREFIX##GetString(p); return SELECTED.kind == mql::Value::Object; }
#define MQL_BY_TICKET(PREFIX, ENUM, FROM) \
  inline double PREFIX##GetDouble(ulong t, ENUM##_DOUBLE p) { return mql::property(mql::of_ticket(FROM, t), p).number(); } \
  inline long PREFIX##GetInteger(ulong t, ENUM##_INTEGER p) { return mql::property(mql::of_ticket(FROM, t), p).integer(); } \
  inline string PREFIX##GetString(ulong t, ENUM##_STRING p) { return string(mql::property(mql::of_ticket(FROM, t), p).text); }
MQL_SELECTED(Position, ENUM_POSITION_PROPERTY, mql::position)
MQL_SELECTED(Order, ENUM_ORDER_PROPERTY, mql::order)
MQL_BY_TICKET(HistoryOrder, ENUM_ORDER_PROPERTY, mql::history_orders)
MQL_BY_TICKET(HistoryDeal, ENUM_DEAL_PROPERTY, mql::history_deals)
#undef MQL_SELECTED
#undef MQL_BY_TICKET

inline int PositionsTotal() { return (int)mql::ask("PositionsTotal").integer(); }
inline bool PositionSelect(const string& s) { return mql::select(mql::position, mql::ask("PositionSelect", mql::symbol_name(s)), ERR_TRADE_POSITION_NOT_FOUND); }
inline bool PositionSelectByTicket(ulong t) { return mql::select(mql::position, mql::ask("PositionSelectByTicket", t), ERR_TRADE_POSITION_NOT_FOUND); }
inline ulong PositionGetTicket(int i) {
  return mql::select(mql::position, mql::ask("PositionByIndex", i), ERR_TRADE_POSITION_NOT_FOUND) ? (ulong)PositionGetInteger(POSITION_TICKET) : 0;
}
inline string PositionGetSymbol(int i) { return PositionGetTicket(i) ? PositionGetString(POSITION_SYMBOL) : string(""); }
inline int OrdersTotal() { return (int)mql::ask("OrdersTotal").integer(); }
inline bool OrderSelect(ulong t) { return mql::select(mql::order, mql::ask("OrderSelect", t), ERR_TRADE_ORDER_NOT_FOUND); }
inline ulong OrderGetTicket(int i) {
  return mql::select(mql::order, mql::ask("OrderByIndex", i), ERR_TRADE_ORDER_NOT_FOUND) ? (ulong)OrderGetInteger(ORDER_TICKET) : 0;
}
namespace mql {
inline bool remember_history(const Value& v) {
  if (v.kind != Value::Object) return false;
  remember(history_orders, history_order_list, v["orders"], "ORDER_TICKET");
  remember(history_deals, history_deal_list, v["deals"], "DEAL_TICKET");
  return true;
}
}  // namespace mql
inline bool HistorySelect(datetime from, datetime to) { return mql::remember_history(mql::ask("HistorySelect", from, to)); }
inline bool HistorySelectByPosition(long id) { return mql::remember_history(mql::ask("HistorySelectByPosition", id)); }
inline int HistoryOrdersTotal() { return (int)mql::history_order_list.size(); }
inline int HistoryDealsTotal() { return (int)mql::history_deal_list.size(); }
inline ulong HistoryOrderGetTicket(int i) { return i >= 0 && i < HistoryOrdersTotal() ? mql::history_order_list[i] : 0; }
inline ulong HistoryDealGetTicket(int i) { return i >= 0 && i < HistoryDealsTotal() ? mql::history_deal_list[i] : 0; }
inline bool HistoryOrderSelect(ulong t) {
  mql::Value v = mql::ask("HistoryOrderSelect", t);
  mql::history_orders.clear(); mql::history_order_list.clear();
  if (v.kind != mql::Value::Object) { _LastError = ERR_TRADE_ORDER_NOT_FOUND; return false; }
  mql::history_orders[t] = v; mql::history_order_list.push_back(t);
  return true;
}
inline bool HistoryDealSelect(ulong t) {
  mql::Value v = mql::ask("HistoryDealSelect", t);
  mql::history_deals.clear(); mql::history_deal_list.clear();
  if (v.kind != mql::Value::Object) { _LastError = ERR_TRADE_DEAL_NOT_FOUND; return false; }
  mql::history_deals[t] = v; mql::history_deal_list.push_back(t);
  return true;
}
