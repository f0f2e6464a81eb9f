//+------------------------------------------------------------------+
//| Bridge/Symbols.mqh: specifications, sessions, economic calendar  |
//+------------------------------------------------------------------+
#ifndef TICKWIRE_BRIDGE_SYMBOLS_MQH
#define TICKWIRE_BRIDGE_SYMBOLS_MQH

#include <Tickwire\Bridge\Voice.mqh>

#define TW_CALENDAR_MAX  2000

//--- both kinds of sessions of a week
void TwWriteSessions(CJsonWriter *json,const string symbol,const bool trade)
  {
   json.BeginArray();
   for(int day=0; day<7; day++)
      for(uint i=0; i<16; i++)
        {
         datetime from=0,to=0;
         bool there=trade ? SymbolInfoSessionTrade(symbol,(ENUM_DAY_OF_WEEK)day,i,from,to)
                    : SymbolInfoSessionQuote(symbol,(ENUM_DAY_OF_WEEK)day,i,from,to);
         if(!there)
            break;
         json.BeginObject();
         json.MemberLong("day",day);
         json.MemberLong("from_s",(long)from);
         json.MemberLong("to_s",(long)to);
         json.EndObject();
        }
   json.EndArray();
  }

//--- the members of an EaSpecification, from symbol on
void TwWriteSpecification(CJsonWriter *json,const string symbol)
  {
   json.MemberString("symbol",symbol);
   json.MemberLong("digits",SymbolInfoInteger(symbol,SYMBOL_DIGITS));
   json.MemberDouble("point",SymbolInfoDouble(symbol,SYMBOL_POINT));
   json.MemberDouble("contract_size",SymbolInfoDouble(symbol,SYMBOL_TRADE_CONTRACT_SIZE));
   json.MemberDouble("tick_size",SymbolInfoDouble(symbol,SYMBOL_TRADE_TICK_SIZE));
   json.MemberDouble("tick_value",SymbolInfoDouble(symbol,SYMBOL_TRADE_TICK_VALUE));
   json.MemberDouble("volume_min",SymbolInfoDouble(symbol,SYMBOL_VOLUME_MIN));
   json.MemberDouble("volume_max",SymbolInfoDouble(symbol,SYMBOL_VOLUME_MAX));
   json.MemberDouble("volume_step",SymbolInfoDouble(symbol,SYMBOL_VOLUME_STEP));
   json.MemberDouble("volume_limit",SymbolInfoDouble(symbol,SYMBOL_VOLUME_LIMIT));
   json.MemberLong("stops_level",SymbolInfoInteger(symbol,SYMBOL_TRADE_STOPS_LEVEL));
   json.MemberLong("freeze_level",SymbolInfoInteger(symbol,SYMBOL_TRADE_FREEZE_LEVEL));
   json.MemberLong("filling_mode",SymbolInfoInteger(symbol,SYMBOL_FILLING_MODE));
   json.MemberLong("execution_mode",SymbolInfoInteger(symbol,SYMBOL_TRADE_EXEMODE));
   json.MemberLong("calc_mode",SymbolInfoInteger(symbol,SYMBOL_TRADE_CALC_MODE));
   json.MemberLong("trade_mode",SymbolInfoInteger(symbol,SYMBOL_TRADE_MODE));
   json.MemberLong("expiration_mode",SymbolInfoInteger(symbol,SYMBOL_EXPIRATION_MODE));
   json.MemberLong("order_mode",SymbolInfoInteger(symbol,SYMBOL_ORDER_MODE));
   json.MemberLong("swap_mode",SymbolInfoInteger(symbol,SYMBOL_SWAP_MODE));
   json.MemberDouble("swap_long",SymbolInfoDouble(symbol,SYMBOL_SWAP_LONG));
   json.MemberDouble("swap_short",SymbolInfoDouble(symbol,SYMBOL_SWAP_SHORT));
   json.MemberLong("swap_rollover_day",SymbolInfoInteger(symbol,SYMBOL_SWAP_ROLLOVER3DAYS));
   json.MemberString("currency_base",SymbolInfoString(symbol,SYMBOL_CURRENCY_BASE));
   json.MemberString("currency_profit",SymbolInfoString(symbol,SYMBOL_CURRENCY_PROFIT));
   json.MemberString("currency_margin",SymbolInfoString(symbol,SYMBOL_CURRENCY_MARGIN));
   json.MemberString("path",SymbolInfoString(symbol,SYMBOL_PATH));
   json.MemberString("description",SymbolInfoString(symbol,SYMBOL_DESCRIPTION));
   json.Key("quote_sessions");
   TwWriteSessions(json,symbol,false);
   json.Key("trade_sessions");
   TwWriteSessions(json,symbol,true);
  }

//+------------------------------------------------------------------+
//| Tells specifications when they change and when asked to          |
//+------------------------------------------------------------------+
class CTwSymbols
  {
private:
   CTwVoice         *m_voice;
   string            m_symbols[];
   string            m_told[];       // what was said last
public:
                     CTwSymbols(void) : m_voice(NULL) {}
   //--- comma-separated names; "" means the chart's symbol alone
   void              Open(CTwVoice *voice,const string list);
   int               Total(void) const             { return(ArraySize(m_symbols)); }
   string            Name(const int index) const   { return(m_symbols[index]);     }
   void              CopyNames(string &names[]) const;
   //--- all: also those that have not changed
   void              Tell(const bool all);
  };

void CTwSymbols::Open(CTwVoice *voice,const string list)
  {
   m_voice=voice;
   ArrayResize(m_symbols,0);
   string parts[];
   int count=StringSplit(list,',',parts);
   for(int i=0; i<count; i++)
     {
      string name=parts[i];
      StringTrimLeft(name);
      StringTrimRight(name);
      if(name=="")
         continue;
      if(!SymbolSelect(name,true))
        {
         Print("tickwire: the broker has no symbol ",name);
         continue;
        }
      int n=ArraySize(m_symbols);
      ArrayResize(m_symbols,n+1);
      m_symbols[n]=name;
     }
   if(ArraySize(m_symbols)==0)
     {
      ArrayResize(m_symbols,1);
      m_symbols[0]=_Symbol;
     }
   ArrayResize(m_told,ArraySize(m_symbols));
   for(int i=0; i<ArraySize(m_told); i++)
      m_told[i]="";
  }

void CTwSymbols::CopyNames(string &names[]) const
  {
   ArrayResize(names,ArraySize(m_symbols));
   for(int i=0; i<ArraySize(m_symbols); i++)
      names[i]=m_symbols[i];
  }

void CTwSymbols::Tell(const bool all)
  {
   for(int i=0; i<ArraySize(m_symbols); i++)
     {
      CJsonWriter probe;
      probe.BeginObject();
      TwWriteSpecification(GetPointer(probe),m_symbols[i]);
      probe.EndObject();
      string now=probe.Text();
      // The value of a tick follows the exchange rate: no news.
      int from=StringFind(now,"\"tick_value\"");
      int to=StringFind(now,"\"volume_min\"");
      string lasting=from>=0 && to>from ? StringSubstr(now,0,from)+StringSubstr(now,to) : now;
      if(!all && lasting==m_told[i])
         continue;
      CJsonWriter *json=m_voice.Begin("EaSpecification","specification",m_symbols[i]);
      TwWriteSpecification(json,m_symbols[i]);
      if(m_voice.Send())
         m_told[i]=lasting;
     }
  }

//+------------------------------------------------------------------+
//| The economic calendar                                            |
//+------------------------------------------------------------------+
class CTwCalendar
  {
private:
   CTwVoice         *m_voice;
   string            m_told;
   static void       Figure(CJsonWriter *json,const string name,const long millionths);
   bool              Values(string &text);
public:
                     CTwCalendar(void) : m_voice(NULL),m_told("") {}
   void              Open(CTwVoice *voice) { m_voice=voice; }
   //--- yesterday to a week ahead, when it has changed or all is asked for
   void              Tell(const bool all);
  };

void CTwCalendar::Figure(CJsonWriter *json,const string name,const long millionths)
  {
   if(millionths==LONG_MIN)
      json.MemberNull(name);
   else
      json.MemberDouble(name,(double)millionths/1000000.0);
  }

bool CTwCalendar::Values(string &text)
  {
   MqlCalendarValue values[];
   datetime now=TimeTradeServer();
   if(!CalendarValueHistory(values,now-86400,now+7*86400))
      return(false);
   CJsonWriter json;
   json.BeginArray();
   int count=ArraySize(values)<TW_CALENDAR_MAX ? ArraySize(values) : TW_CALENDAR_MAX;
   for(int i=0; i<count; i++)
     {
      MqlCalendarEvent event;
      MqlCalendarCountry country;
      if(!CalendarEventById(values[i].event_id,event) || !CalendarCountryById((long)event.country_id,country))
         continue;
      json.BeginObject();
      json.MemberULong("value_id",values[i].id);
      json.MemberULong("event_id",values[i].event_id);
      json.MemberLong("time_s",(long)values[i].time);
      json.MemberString("currency",country.currency);
      json.MemberString("country",country.code);
      json.MemberString("name",event.name);
      json.MemberLong("importance",(long)event.importance);
      Figure(GetPointer(json),"actual",values[i].actual_value);
      Figure(GetPointer(json),"forecast",values[i].forecast_value);
      Figure(GetPointer(json),"previous",values[i].prev_value);
      json.EndObject();
     }
   json.EndArray();
   text=json.Text();
   return(true);
  }

void CTwCalendar::Tell(const bool all)
  {
   string values;
   if(!m_voice.IsReady() || !Values(values) || (!all && values==m_told))
      return;
   CJsonWriter *json=m_voice.Begin("EaCalendar","calendar");
   json.MemberRaw("values",values);
   if(m_voice.Send())
      m_told=values;
  }

#endif
//+------------------------------------------------------------------+
