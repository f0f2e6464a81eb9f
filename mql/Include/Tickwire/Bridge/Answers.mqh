//+------------------------------------------------------------------+
//| Bridge/Answers.mqh: books and ticks that somebody asks for       |
//+------------------------------------------------------------------+
#ifndef TICKWIRE_BRIDGE_ANSWERS_MQH
#define TICKWIRE_BRIDGE_ANSWERS_MQH

#include <Tickwire\Bridge\Books.mqh>
#include <Tickwire\Bridge\Symbols.mqh>
#include <Tickwire\Bridge\Ticks.mqh>

//+------------------------------------------------------------------+
//| EaBooksRequest -> EaBooks                                        |
//+------------------------------------------------------------------+
class CTwBooks : public CNatsHandler
  {
private:
   CTwVoice         *m_voice;
   CTwSymbols       *m_symbols;
   CJson             m_json;
   bool              m_introduce;
   void              WriteHistory(CJsonWriter *json,string &problem);
public:
                     CTwBooks(void) : m_voice(NULL),m_symbols(NULL),m_introduce(false) {}
   void              Open(CTwVoice *voice,CTwSymbols *symbols) { m_voice=voice; m_symbols=symbols; }
   virtual void      OnNatsMessage(CNatsMessage &message);
   //--- somebody asked who we are (true once)
   bool              WantsIntroduction(void) { bool wants=m_introduce; m_introduce=false; return(wants); }
  };

void CTwBooks::OnNatsMessage(CNatsMessage &message)
  {
   if(message.reply=="" || !m_json.ParseUtf8(message.data) || m_json.GetString(0,"account")!=m_voice.Account())
      return;
   m_introduce=m_introduce || m_json.GetBool(0,"introduce");
   string names[];
   m_symbols.CopyNames(names);
   CJsonWriter *json=m_voice.BeginReply("EaBooks");
   json.MemberBool("connected",TwConnected());
   json.MemberBool("trade_allowed",TwMayTrade());
   json.MemberLong("build",TerminalInfoInteger(TERMINAL_BUILD));
   json.MemberLong("time_server_msc",TwServerMsc());
   json.Key("figures");
   TwWriteFigures(json);
   json.Key("quotes");
   TwWriteQuotes(json,names);
   json.Key("positions");
   TwWritePositions(json);
   json.Key("orders");
   TwWriteOrders(json);
   string problem="";
   WriteHistory(json,problem);
   json.MemberString("problem",problem);
   m_voice.Answer(message.reply);
  }

void CTwBooks::WriteHistory(CJsonWriter *json,string &problem)
  {
   datetime from=(datetime)m_json.GetLong(0,"from_s",0),to=(datetime)m_json.GetLong(0,"to_s",0);
   ulong order=m_json.GetULong(0,"order",0);
   if(order==0 && to>0)
     {
      if(HistorySelect(from,to))
        {
         TwWriteHistoryPage(json,(int)m_json.GetLong(0,"skip",0));
         return;
        }
      problem=StringFormat("the history cannot be selected (error %d)",GetLastError());
     }
   json.Key("deals");
   TwWriteDealsOfOrder(json,order);
   json.Key("history");
   json.BeginArray();
   json.EndArray();
   json.MemberLong("more",0);
  }

//+------------------------------------------------------------------+
//| EaHistoryRequest -> EaHistory                                    |
//+------------------------------------------------------------------+
class CTwHistory : public CNatsHandler
  {
private:
   CTwVoice         *m_voice;
   CJson             m_json;
   MqlTick           m_ticks[];
public:
                     CTwHistory(void) : m_voice(NULL) {}
   void              Open(CTwVoice *voice) { m_voice=voice; }
   virtual void      OnNatsMessage(CNatsMessage &message);
  };

void CTwHistory::OnNatsMessage(CNatsMessage &message)
  {
   if(message.reply=="" || !m_json.ParseUtf8(message.data) || m_json.GetString(0,"account")!=m_voice.Account())
      return;
   string symbol=m_json.GetString(0,"symbol");
   long from=m_json.GetLong(0,"from_msc",0),to=m_json.GetLong(0,"to_msc",0);
   int limit=(int)m_json.GetLong(0,"limit",TW_MAX_TICKS);
   if(limit<1 || limit>TW_MAX_TICKS)
      limit=TW_MAX_TICKS;
   // One more than asked for tells whether there are later ones.
   ResetLastError();
   int got=from>0 ? CopyTicks(symbol,m_ticks,COPY_TICKS_ALL,(ulong)from,(uint)(limit+1)) : -1;
   string problem="";
   if(got<0)
      problem=StringFormat("%s: the terminal gives no ticks (error %d)",symbol,GetLastError());
   int count=got<0 ? 0 : got;
   while(count>0 && to>0 && m_ticks[count-1].time_msc>to)
      count--;
   bool more=count>limit;
   if(more)
      count=limit;
   CJsonWriter *json=m_voice.BeginReply("EaHistory");
   json.MemberString("symbol",symbol);
   json.MemberString("problem",problem);
   json.MemberBool("more",more);
   TwWriteTicks(json,m_ticks,0,count);
   m_voice.Answer(message.reply);
  }

#endif
//+------------------------------------------------------------------+
