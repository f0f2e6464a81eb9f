//+------------------------------------------------------------------+
//| Bridge/Books.mqh: account, positions, orders, deals as JSON      |
//+------------------------------------------------------------------+
// The terminal's own names and numbers; times are the server's clock.
#ifndef TICKWIRE_BRIDGE_BOOKS_MQH
#define TICKWIRE_BRIDGE_BOOKS_MQH

#include <Tickwire\Json.mqh>

#define TW_PAGE_RECORDS  1200     // of the history in one answer: below the server's largest message

long TwServerMsc(void)
  {
   MqlTick tick;
   datetime now=TimeCurrent();
   if(SymbolInfoTick(_Symbol,tick) && tick.time_msc/1000>=(long)now)
      return(tick.time_msc);
   return((long)now*1000);
  }

bool TwMayTrade(void)
  {
   return(TerminalInfoInteger(TERMINAL_TRADE_ALLOWED)!=0 && MQLInfoInteger(MQL_TRADE_ALLOWED)!=0);
  }

bool TwConnected(void)
  {
   return(TerminalInfoInteger(TERMINAL_CONNECTED)!=0);
  }

void TwWriteFigures(CJsonWriter *json)
  {
   json.BeginObject();
   json.MemberLong("login",AccountInfoInteger(ACCOUNT_LOGIN));
   json.MemberString("server",AccountInfoString(ACCOUNT_SERVER));
   json.MemberString("currency",AccountInfoString(ACCOUNT_CURRENCY));
   json.MemberString("company",AccountInfoString(ACCOUNT_COMPANY));
   json.MemberLong("trade_mode",AccountInfoInteger(ACCOUNT_TRADE_MODE));
   json.MemberLong("margin_mode",AccountInfoInteger(ACCOUNT_MARGIN_MODE));
   json.MemberBool("trade_allowed",AccountInfoInteger(ACCOUNT_TRADE_ALLOWED)!=0);
   json.MemberBool("trade_expert",AccountInfoInteger(ACCOUNT_TRADE_EXPERT)!=0);
   json.MemberLong("leverage",AccountInfoInteger(ACCOUNT_LEVERAGE));
   json.MemberDouble("balance",AccountInfoDouble(ACCOUNT_BALANCE));
   json.MemberDouble("credit",AccountInfoDouble(ACCOUNT_CREDIT));
   json.MemberDouble("profit",AccountInfoDouble(ACCOUNT_PROFIT));
   json.MemberDouble("equity",AccountInfoDouble(ACCOUNT_EQUITY));
   json.MemberDouble("margin",AccountInfoDouble(ACCOUNT_MARGIN));
   json.MemberDouble("margin_free",AccountInfoDouble(ACCOUNT_MARGIN_FREE));
   json.EndObject();
  }

//--- the selected position
void TwWritePosition(CJsonWriter *json,const ulong ticket)
  {
   json.BeginObject();
   json.MemberULong("ticket",ticket);
   json.MemberLong("identifier",PositionGetInteger(POSITION_IDENTIFIER));
   json.MemberLong("time_msc",PositionGetInteger(POSITION_TIME_MSC));
   json.MemberLong("type",PositionGetInteger(POSITION_TYPE));
   json.MemberLong("magic",PositionGetInteger(POSITION_MAGIC));
   json.MemberLong("reason",PositionGetInteger(POSITION_REASON));
   json.MemberDouble("volume",PositionGetDouble(POSITION_VOLUME));
   json.MemberDouble("price_open",PositionGetDouble(POSITION_PRICE_OPEN));
   json.MemberDouble("price_current",PositionGetDouble(POSITION_PRICE_CURRENT));
   json.MemberDouble("sl",PositionGetDouble(POSITION_SL));
   json.MemberDouble("tp",PositionGetDouble(POSITION_TP));
   json.MemberDouble("swap",PositionGetDouble(POSITION_SWAP));
   json.MemberDouble("profit",PositionGetDouble(POSITION_PROFIT));
   json.MemberString("symbol",PositionGetString(POSITION_SYMBOL));
   json.MemberString("comment",PositionGetString(POSITION_COMMENT));
   json.EndObject();
  }

void TwWritePositions(CJsonWriter *json)
  {
   json.BeginArray();
   for(int i=0; i<PositionsTotal(); i++)
     {
      ulong ticket=PositionGetTicket(i);      // selects it
      if(ticket>0)
         TwWritePosition(json,ticket);
     }
   json.EndArray();
  }

//--- the selected working order
void TwWriteOrder(CJsonWriter *json,const ulong ticket)
  {
   json.BeginObject();
   json.MemberULong("ticket",ticket);
   json.MemberLong("time_setup_msc",OrderGetInteger(ORDER_TIME_SETUP_MSC));
   json.MemberLong("time_done_msc",OrderGetInteger(ORDER_TIME_DONE_MSC));
   json.MemberLong("type",OrderGetInteger(ORDER_TYPE));
   json.MemberLong("type_time",OrderGetInteger(ORDER_TYPE_TIME));
   json.MemberLong("type_filling",OrderGetInteger(ORDER_TYPE_FILLING));
   json.MemberLong("state",OrderGetInteger(ORDER_STATE));
   json.MemberLong("magic",OrderGetInteger(ORDER_MAGIC));
   json.MemberLong("position_id",OrderGetInteger(ORDER_POSITION_ID));
   json.MemberLong("position_by_id",OrderGetInteger(ORDER_POSITION_BY_ID));
   json.MemberLong("reason",OrderGetInteger(ORDER_REASON));
   json.MemberDouble("volume_initial",OrderGetDouble(ORDER_VOLUME_INITIAL));
   json.MemberDouble("volume_current",OrderGetDouble(ORDER_VOLUME_CURRENT));
   json.MemberDouble("price_open",OrderGetDouble(ORDER_PRICE_OPEN));
   json.MemberDouble("price_stoplimit",OrderGetDouble(ORDER_PRICE_STOPLIMIT));
   json.MemberDouble("sl",OrderGetDouble(ORDER_SL));
   json.MemberDouble("tp",OrderGetDouble(ORDER_TP));
   json.MemberString("symbol",OrderGetString(ORDER_SYMBOL));
   json.MemberString("comment",OrderGetString(ORDER_COMMENT));
   json.EndObject();
  }

void TwWriteOrders(CJsonWriter *json)
  {
   json.BeginArray();
   for(int i=0; i<OrdersTotal(); i++)
     {
      ulong ticket=OrderGetTicket(i);         // selects it
      if(ticket>0)
         TwWriteOrder(json,ticket);
     }
   json.EndArray();
  }

//--- an order of the selected history
void TwWriteHistoryOrder(CJsonWriter *json,const ulong ticket)
  {
   json.BeginObject();
   json.MemberULong("ticket",ticket);
   json.MemberLong("time_setup_msc",HistoryOrderGetInteger(ticket,ORDER_TIME_SETUP_MSC));
   json.MemberLong("time_done_msc",HistoryOrderGetInteger(ticket,ORDER_TIME_DONE_MSC));
   json.MemberLong("type",HistoryOrderGetInteger(ticket,ORDER_TYPE));
   json.MemberLong("type_time",HistoryOrderGetInteger(ticket,ORDER_TYPE_TIME));
   json.MemberLong("type_filling",HistoryOrderGetInteger(ticket,ORDER_TYPE_FILLING));
   json.MemberLong("state",HistoryOrderGetInteger(ticket,ORDER_STATE));
   json.MemberLong("magic",HistoryOrderGetInteger(ticket,ORDER_MAGIC));
   json.MemberLong("position_id",HistoryOrderGetInteger(ticket,ORDER_POSITION_ID));
   json.MemberLong("position_by_id",HistoryOrderGetInteger(ticket,ORDER_POSITION_BY_ID));
   json.MemberLong("reason",HistoryOrderGetInteger(ticket,ORDER_REASON));
   json.MemberDouble("volume_initial",HistoryOrderGetDouble(ticket,ORDER_VOLUME_INITIAL));
   json.MemberDouble("volume_current",HistoryOrderGetDouble(ticket,ORDER_VOLUME_CURRENT));
   json.MemberDouble("price_open",HistoryOrderGetDouble(ticket,ORDER_PRICE_OPEN));
   json.MemberDouble("price_stoplimit",HistoryOrderGetDouble(ticket,ORDER_PRICE_STOPLIMIT));
   json.MemberDouble("sl",HistoryOrderGetDouble(ticket,ORDER_SL));
   json.MemberDouble("tp",HistoryOrderGetDouble(ticket,ORDER_TP));
   json.MemberString("symbol",HistoryOrderGetString(ticket,ORDER_SYMBOL));
   json.MemberString("comment",HistoryOrderGetString(ticket,ORDER_COMMENT));
   json.EndObject();
  }

//--- a deal of the selected history
void TwWriteDeal(CJsonWriter *json,const ulong ticket)
  {
   json.BeginObject();
   json.MemberULong("ticket",ticket);
   json.MemberLong("order",HistoryDealGetInteger(ticket,DEAL_ORDER));
   json.MemberLong("time_msc",HistoryDealGetInteger(ticket,DEAL_TIME_MSC));
   json.MemberLong("type",HistoryDealGetInteger(ticket,DEAL_TYPE));
   json.MemberLong("entry",HistoryDealGetInteger(ticket,DEAL_ENTRY));
   json.MemberLong("magic",HistoryDealGetInteger(ticket,DEAL_MAGIC));
   json.MemberLong("position_id",HistoryDealGetInteger(ticket,DEAL_POSITION_ID));
   json.MemberLong("reason",HistoryDealGetInteger(ticket,DEAL_REASON));
   json.MemberDouble("volume",HistoryDealGetDouble(ticket,DEAL_VOLUME));
   json.MemberDouble("price",HistoryDealGetDouble(ticket,DEAL_PRICE));
   json.MemberDouble("commission",HistoryDealGetDouble(ticket,DEAL_COMMISSION));
   json.MemberDouble("swap",HistoryDealGetDouble(ticket,DEAL_SWAP));
   json.MemberDouble("profit",HistoryDealGetDouble(ticket,DEAL_PROFIT));
   json.MemberDouble("fee",HistoryDealGetDouble(ticket,DEAL_FEE));
   json.MemberString("symbol",HistoryDealGetString(ticket,DEAL_SYMBOL));
   json.MemberString("comment",HistoryDealGetString(ticket,DEAL_COMMENT));
   json.EndObject();
  }

//--- the deals of one order, as far as the terminal shows them (a month back)
void TwWriteDealsOfOrder(CJsonWriter *json,const ulong order)
  {
   json.BeginArray();
   if(order>0 && HistorySelect(TimeCurrent()-30*86400,TimeCurrent()+2*86400))
      for(int i=0; i<HistoryDealsTotal(); i++)
        {
         ulong ticket=HistoryDealGetTicket(i);
         if(ticket>0 && (ulong)HistoryDealGetInteger(ticket,DEAL_ORDER)==order)
            TwWriteDeal(json,ticket);
        }
   json.EndArray();
  }

//--- members deals, history, more: a page of the selected history, deals first, then finished orders
void TwWriteHistoryPage(CJsonWriter *json,const int skip)
  {
   int deals=HistoryDealsTotal(),orders=HistoryOrdersTotal();
   int from=skip<0 ? 0 : skip,left=TW_PAGE_RECORDS;
   json.Key("deals");
   json.BeginArray();
   int i=from<deals ? from : deals;
   for(; i<deals && left>0; i++,left--)
     {
      ulong ticket=HistoryDealGetTicket(i);
      if(ticket>0)
         TwWriteDeal(json,ticket);
     }
   json.EndArray();
   int at=i;
   json.Key("history");
   json.BeginArray();
   if(i>=deals)
     {
      int j=from>deals ? from-deals : 0;
      for(; j<orders && left>0; j++,left--)
        {
         ulong ticket=HistoryOrderGetTicket(j);
         if(ticket>0)
            TwWriteHistoryOrder(json,ticket);
        }
      at=deals+j;
     }
   json.EndArray();
   json.MemberLong("more",deals+orders-at);
  }

void TwWriteQuotes(CJsonWriter *json,const string &symbols[])
  {
   json.BeginArray();
   for(int i=0; i<ArraySize(symbols); i++)
     {
      MqlTick tick;
      if(!SymbolInfoTick(symbols[i],tick))
         continue;
      json.BeginObject();
      json.MemberString("symbol",symbols[i]);
      json.MemberLong("time_msc",tick.time_msc);
      json.MemberDouble("bid",tick.bid);
      json.MemberDouble("ask",tick.ask);
      json.MemberDouble("last",tick.last);
      json.MemberDouble("volume_real",tick.volume_real);
      json.MemberLong("flags",(long)tick.flags);
      json.EndObject();
     }
   json.EndArray();
  }

#endif
//+------------------------------------------------------------------+
