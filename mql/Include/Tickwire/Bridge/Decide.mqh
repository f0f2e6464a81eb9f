//+------------------------------------------------------------------+
//| Bridge/Decide.mqh: asks somebody after each closed minute        |
//+------------------------------------------------------------------+
// The stand-alone mode of PROTOCOL.md: a request with the closed bar, an answer {action, size, sl, tp}. At most one
// answer is executed per bar, also over restarts. Never waits: the answer is picked up by the timer.
#ifndef TICKWIRE_BRIDGE_DECIDE_MQH
#define TICKWIRE_BRIDGE_DECIDE_MQH

#include <Tickwire\Bridge\Orders.mqh>
#include <Tickwire\Bridge\Ticks.mqh>

#define TW_BOOTSTRAP_BARS  5000
#define TW_HOLD            999

class CTwDecide : public CNatsHandler
  {
private:
   CTwVoice         *m_voice;
   CTwOrders        *m_orders;
   CTwLimits        *m_limits;
   string            m_symbol;
   int               m_version;
   long              m_namespace;
   uint              m_timeout_ms;
   int               m_deviation;
   bool              m_bootstrapped;
   datetime          m_bar;          // the bar asked about
   ulong             m_request;
   CJson             m_json;
   bool              Find(ulong &ticket,long &type,double &volume) const;
   bool              Ask(const MqlRates &rates[],const int count);
   string            BodyOfNow(const MqlRates &rates[],const int count);
   string            BodyOfOld(const MqlRates &rates[],const int count);
   static int        Action(CJson &json);
   void              Act(const int action,const double size,const double sl,const double tp);
   bool              Trade(const string step,const ENUM_ORDER_TYPE type,const double volume,const ulong position,
                           const double sl,const double tp);
   ulong             Magic(const string step) const;
   string            Id(void) const;
public:
                     CTwDecide(void) : m_voice(NULL),m_orders(NULL),m_limits(NULL),m_symbol(""),m_version(1),m_namespace(1),
                        m_timeout_ms(15000),m_deviation(20),m_bootstrapped(false),m_bar(0),m_request(0) {}
   void              Open(CTwVoice *voice,CTwOrders *orders,CTwLimits *limits,const string symbol,const int version,
                          const int magic_namespace,const int deviation);
   //--- ask when a bar has closed
   void              Pump(void);
   virtual void      OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message);
  };

void CTwDecide::Open(CTwVoice *voice,CTwOrders *orders,CTwLimits *limits,const string symbol,const int version,
                     const int magic_namespace,const int deviation)
  {
   m_voice=voice;
   m_orders=orders;
   m_limits=limits;
   m_symbol=symbol;
   m_version=version;
   m_namespace=magic_namespace;
   m_deviation=deviation;
  }

//--- a key of the table of orders: the symbol's odd characters as _XX
string CTwDecide::Id(void) const
  {
   string name=TwToken(m_symbol);
   StringReplace(name,"%","_");
   return("bar-"+name+"-"+IntegerToString((long)m_bar));
  }

void CTwDecide::Pump(void)
  {
   if(!m_voice.IsReady())
      return;
   datetime forming=(datetime)SeriesInfoInteger(m_symbol,PERIOD_M1,SERIES_LASTBAR_DATE);
   if(forming==0 || forming-60<=m_bar)
      return;
   MqlRates rates[];
   ArraySetAsSeries(rates,false);
   int got=CopyRates(m_symbol,PERIOD_M1,1,m_bootstrapped ? 1 : TW_BOOTSTRAP_BARS,rates);
   if(got<=0 || rates[got-1].time>=forming || rates[got-1].time<=m_bar)
      return;
   if(m_request!=0)
      m_voice.Client().EndRequest(m_request);     // what was asked about an older bar is not executed any more
   m_bar=rates[got-1].time;
   if(Ask(rates,got))
      m_bootstrapped=true;
  }

bool CTwDecide::Ask(const MqlRates &rates[],const int count)
  {
   string body=m_version==0 ? BodyOfOld(rates,count) : BodyOfNow(rates,count);
   m_request=m_voice.Client().RequestText(m_voice.Subject("decide",m_symbol),body,m_timeout_ms,GetPointer(this));
   return(m_request!=0);
  }

//--- our position of the symbol; false: there is none
bool CTwDecide::Find(ulong &ticket,long &type,double &volume) const
  {
   for(int i=PositionsTotal()-1; i>=0; i--)
     {
      ulong at=PositionGetTicket(i);
      if(at==0 || PositionGetString(POSITION_SYMBOL)!=m_symbol || (PositionGetInteger(POSITION_MAGIC)>>48)!=m_namespace)
         continue;
      ticket=at;
      type=PositionGetInteger(POSITION_TYPE);
      volume=PositionGetDouble(POSITION_VOLUME);
      return(true);
     }
   ticket=0;
   type=0;
   volume=0;
   return(false);
  }

string CTwDecide::BodyOfNow(const MqlRates &rates[],const int count)
  {
   ulong ticket;
   long type;
   double volume;
   bool open=Find(ticket,type,volume);
   CJsonWriter *json=m_voice.Begin("EaBarRequest","decide",m_symbol);
   json.MemberString("symbol",m_symbol);
   json.MemberString("id",Id());
   json.MemberBool("bootstrap",!m_bootstrapped);
   json.MemberLong("time_server_s",(long)TimeTradeServer());
   json.MemberLong("time_gmt_s",(long)TimeGMT());
   TwWriteRates(json,rates,0,count);
   json.MemberDouble("tick_value",SymbolInfoDouble(m_symbol,SYMBOL_TRADE_TICK_VALUE));
   json.MemberDouble("tick_size",SymbolInfoDouble(m_symbol,SYMBOL_TRADE_TICK_SIZE));
   json.MemberDouble("contract_size",SymbolInfoDouble(m_symbol,SYMBOL_TRADE_CONTRACT_SIZE));
   json.MemberLong("position",!open ? 0 : type==POSITION_TYPE_BUY ? 1 : -1);
   json.MemberDouble("position_lots",volume);
   json.MemberDouble("position_price",open ? PositionGetDouble(POSITION_PRICE_OPEN) : 0);
   json.MemberDouble("position_sl",open ? PositionGetDouble(POSITION_SL) : 0);
   json.MemberDouble("position_tp",open ? PositionGetDouble(POSITION_TP) : 0);
   json.MemberDouble("position_profit_ccy",open ? PositionGetDouble(POSITION_PROFIT) : 0);
   json.MemberDouble("balance_ccy",AccountInfoDouble(ACCOUNT_BALANCE));
   json.MemberDouble("equity_ccy",AccountInfoDouble(ACCOUNT_EQUITY));
   json.EndObject();
   return(json.Text());
  }

//--- protocol version 0
string CTwDecide::BodyOfOld(const MqlRates &rates[],const int count)
  {
   ulong ticket;
   long type;
   double volume;
   bool open=Find(ticket,type,volume);
   CJsonWriter json;
   json.BeginObject();
   json.Key("time");
   json.BeginObject();
   json.MemberLong("server",(long)TimeTradeServer());
   json.MemberLong("gmt",(long)TimeGMT());
   json.MemberLong("utc_offset_sec",(long)TimeTradeServer()-(long)TimeGMT());
   json.EndObject();
   json.Key("rates");
   json.BeginObject();
   json.Key("m1");
   json.BeginArray();
   for(int i=0; i<count; i++)
     {
      json.BeginArray();
      json.Long((long)rates[i].time);
      json.Double(rates[i].open);
      json.Double(rates[i].high);
      json.Double(rates[i].low);
      json.Double(rates[i].close);
      json.EndArray();
     }
   json.EndArray();
   json.EndObject();
   json.Key("symbol");
   json.BeginObject();
   json.MemberDouble("tick_value",SymbolInfoDouble(m_symbol,SYMBOL_TRADE_TICK_VALUE));
   json.MemberDouble("tick_size",SymbolInfoDouble(m_symbol,SYMBOL_TRADE_TICK_SIZE));
   json.MemberDouble("contract_size",SymbolInfoDouble(m_symbol,SYMBOL_TRADE_CONTRACT_SIZE));
   json.EndObject();
   json.MemberLong("bootstrap",m_bootstrapped ? 0 : 1);
   json.Key("position");
   json.BeginObject();
   json.MemberLong("type",!open ? 0 : type==POSITION_TYPE_BUY ? 1 : -1);
   json.MemberDouble("volume",volume);
   json.MemberDouble("price",open ? PositionGetDouble(POSITION_PRICE_OPEN) : 0);
   json.MemberDouble("sl",open ? PositionGetDouble(POSITION_SL) : 0);
   json.MemberDouble("tp",open ? PositionGetDouble(POSITION_TP) : 0);
   json.MemberDouble("profit",open ? PositionGetDouble(POSITION_PROFIT) : 0);
   json.MemberLong("open_time",open ? PositionGetInteger(POSITION_TIME) : 0);
   json.EndObject();
   json.Key("account");
   json.BeginObject();
   json.MemberDouble("balance",AccountInfoDouble(ACCOUNT_BALANCE));
   json.MemberDouble("equity",AccountInfoDouble(ACCOUNT_EQUITY));
   json.EndObject();
   json.EndObject();
   return(json.Text());
  }

void CTwDecide::OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message)
  {
   if(request!=m_request)
      return;
   m_request=0;
   if(status!=NATS_REPLY_ARRIVED)
     {
      Print("tickwire: nobody decided about ",Id());
      return;
     }
   if(!m_json.ParseUtf8(message.data))
     {
      m_voice.Alert("warning","decision_malformed",m_json.Error());
      return;
     }
   if(m_version!=0 && m_json.GetString(0,"id")!=Id())
     {
      m_voice.Alert("warning","decision_not_taken","it does not name the request "+Id());
      return;
     }
   int action=Action(m_json);
   if(action!=TW_HOLD)
      Act(action,m_json.GetDouble(0,"size",0),m_json.GetDouble(0,"sl",0),m_json.GetDouble(0,"tp",0));
  }

//--- 0 flat, 1 long, 2 short, 999 nothing; whatever else is said means nothing as well
int CTwDecide::Action(CJson &json)
  {
   int node=json.Find(0,"action");
   if(json.Kind(node)==JSON_NUMBER)
     {
      long number=json.AsLong(node,TW_HOLD);
      return(number>=0 && number<=2 ? (int)number : TW_HOLD);
     }
   string word=json.AsString(node,"");
   StringToUpper(word);
   if(word=="BUY")
      return(1);
   if(word=="SELL")
      return(2);
   return(word=="CLOSE" || word=="FLAT" ? 0 : TW_HOLD);
  }

//--- close what points the other way, then open; each step at most once per bar
void CTwDecide::Act(const int action,const double size,const double sl,const double tp)
  {
   ulong ticket;
   long type;
   double volume;
   if(Find(ticket,type,volume))
     {
      bool same=(action==1 && type==POSITION_TYPE_BUY) || (action==2 && type==POSITION_TYPE_SELL);
      if(same)
         return;
      if(!Trade("close",type==POSITION_TYPE_BUY ? ORDER_TYPE_SELL : ORDER_TYPE_BUY,volume,ticket,0,0))
         return;
     }
   if(action==1 || action==2)
      Trade("open",action==1 ? ORDER_TYPE_BUY : ORDER_TYPE_SELL,size,0,sl,tp);
  }

ulong CTwDecide::Magic(const string step) const
  {
   return(((ulong)m_namespace<<48)|((ulong)CTwOrderTable::Crc(Id()+step)&0xFFFFFFFF));
  }

bool CTwDecide::Trade(const string step,const ENUM_ORDER_TYPE type,const double volume,const ulong position,
                      const double sl,const double tp)
  {
   MqlTradeRequest request={};
   double volume_step=SymbolInfoDouble(m_symbol,SYMBOL_VOLUME_STEP);
   request.action=TRADE_ACTION_DEAL;
   request.symbol=m_symbol;
   request.volume=volume_step>0 ? NormalizeDouble(MathFloor(volume/volume_step+0.000001)*volume_step,8) : volume;
   request.type=type;
   request.price=SymbolInfoDouble(m_symbol,type==ORDER_TYPE_BUY ? SYMBOL_ASK : SYMBOL_BID);
   request.sl=NormalizeDouble(sl,(int)SymbolInfoInteger(m_symbol,SYMBOL_DIGITS));
   request.tp=NormalizeDouble(tp,(int)SymbolInfoInteger(m_symbol,SYMBOL_DIGITS));
   request.deviation=(ulong)m_deviation;
   request.magic=Magic(step);
   request.comment="tw:"+step;
   request.position=position;
   long filling=SymbolInfoInteger(m_symbol,SYMBOL_FILLING_MODE);
   request.type_filling=(filling&SYMBOL_FILLING_IOC)!=0 ? ORDER_FILLING_IOC
                        : (filling&SYMBOL_FILLING_FOK)!=0 ? ORDER_FILLING_FOK : ORDER_FILLING_RETURN;
   string refusal=m_limits.Refusal(request);
   if(refusal=="")
      m_orders.ExecuteOnce(Id()+"-"+step,request,refusal);
   if(refusal!="")
      m_voice.Alert("warning","order_refused",refusal+": "+Id()+"-"+step);
   return(refusal=="");
  }

#endif
//+------------------------------------------------------------------+
