//+------------------------------------------------------------------+
//| Bridge/Orders.mqh: executes signed-off orders, each at most once |
//+------------------------------------------------------------------+
#ifndef TICKWIRE_BRIDGE_ORDERS_MQH
#define TICKWIRE_BRIDGE_ORDERS_MQH

#include <Tickwire\Bridge\Limits.mqh>

class CTwOrders : public CNatsHandler
  {
private:
   CTwVoice         *m_voice;
   CTwLimits        *m_limits;
   CTwMac           *m_mac;
   CTwOrderTable     m_table;
   bool              m_require_mac;
   bool              m_open;
   long              m_executed;
   CJson             m_json;
   bool              ReadRequest(const int node,MqlTradeRequest &request);
   string            Objection(const CNatsMessage &message,const string key);
   void              Repeat(const string key,const ENUM_TW_KNOWN known,const string detail,const string reply);
   void              Reply(const string reply,const string key,const string outcome,const string reason,const bool repeated,
                           const string result);
   static string     ResultJson(const MqlTradeResult &result);
public:
                     CTwOrders(void) : m_voice(NULL),m_limits(NULL),m_mac(NULL),m_require_mac(true),m_open(false),m_executed(0) {}
   //--- false: the table cannot be kept, so no order is taken; see Error
   bool              Open(CTwVoice *voice,CTwLimits *limits,CTwMac *mac,const bool require_mac,const string table_file);
   void              Close(void);
   string            Error(void) const    { return(m_table.Error());  }
   bool              IsBroken(void) const { return(!m_table.IsOpen()); }
   long              Executed(void) const { return(m_executed);       }
   int               TornLines(void) const { return(m_table.Torn());  }
   virtual void      OnNatsMessage(CNatsMessage &message);
   //--- execute once under a key of our own; returns the answer's JSON, "" when it was refused or known
   string            ExecuteOnce(const string key,MqlTradeRequest &request,string &refusal);
  };

bool CTwOrders::Open(CTwVoice *voice,CTwLimits *limits,CTwMac *mac,const bool require_mac,const string table_file)
  {
   m_voice=voice;
   m_limits=limits;
   m_mac=mac;
   m_require_mac=require_mac;
   m_open=true;
   return(m_table.Open(table_file));
  }

void CTwOrders::Close(void)
  {
   m_open=false;
   m_table.Close();
  }

void CTwOrders::OnNatsMessage(CNatsMessage &message)
  {
   if(!m_open || message.reply=="")
      return;
   string reply=message.reply;
   if(!m_json.ParseUtf8(message.data))
     {
      m_voice.Alert("warning","order_malformed",m_json.Error());
      return;
     }
   string key=m_json.GetString(0,"key");
   string objection=Objection(message,key);
   if(objection!="")
     {
      // Nothing was proved about who says this: the key is not used up.
      m_voice.Alert("critical","order_not_taken",objection+": "+key);
      Reply(reply,key,"refused",objection,false,"");
      return;
     }
   MqlTradeRequest request={};
   bool readable=ReadRequest(m_json.Find(0,"request"),request);
   bool once=request.action!=TRADE_ACTION_SLTP;
   string detail;
   ENUM_TW_KNOWN known=once ? m_table.Known(key,detail) : TW_NEW;
   if(known!=TW_NEW)
     {
      Repeat(key,known,detail,reply);
      return;
     }
   string refusal="";
   if(!readable)
      refusal="the request cannot be read";
   else if(m_json.GetLong(0,"expires_ns",0)<=m_voice.NowNs())
      refusal="expired";
   else
      refusal=m_limits.Refusal(request);
   if(refusal!="")
     {
      if(once)
         m_table.Refuse(key,refusal);
      m_voice.Alert("warning","order_refused",refusal+": "+key);
      Reply(reply,key,"refused",refusal,false,"");
      return;
     }
   if(once)
     {
      string result=ExecuteOnce(key,request,refusal);
      Reply(reply,key,refusal=="" ? "answered" : "refused",refusal,false,result);
      return;
     }
   MqlTradeResult result={};
   if(!OrderSend(request,result))
      PrintFormat("tickwire: OrderSend %s: retcode %u, error %d",key,result.retcode,GetLastError());
   m_executed++;
   Reply(reply,key,"answered","",false,ResultJson(result));
  }

//--- why this is no order for us, "" when it is one
string CTwOrders::Objection(const CNatsMessage &message,const string key)
  {
   if(!CTwOrderTable::IsKey(key))
      return("key");
   if(m_json.GetString(0,"type")!="EaOrder" || m_json.GetLong(0,"protocol",-1)!=TW_PROTOCOL)
      return("protocol");
   if(m_json.GetString(0,"account")!=m_voice.Account())
      return("account");
   if(m_require_mac && !m_mac.IsRight(message.data,message.Header("Tickwire-Mac")))
      return("message_code");
   return("");
  }

bool CTwOrders::ReadRequest(const int node,MqlTradeRequest &request)
  {
   if(m_json.Kind(node)!=JSON_OBJECT)
      return(false);
   request.action=(ENUM_TRADE_REQUEST_ACTIONS)m_json.GetLong(node,"action",0);
   request.magic=m_json.GetULong(node,"magic",0);
   request.order=m_json.GetULong(node,"order",0);
   request.symbol=m_json.GetString(node,"symbol");
   request.volume=m_json.GetDouble(node,"volume",0);
   request.price=m_json.GetDouble(node,"price",0);
   request.stoplimit=m_json.GetDouble(node,"stoplimit",0);
   request.sl=m_json.GetDouble(node,"sl",0);
   request.tp=m_json.GetDouble(node,"tp",0);
   request.deviation=m_json.GetULong(node,"deviation",0);
   request.type=(ENUM_ORDER_TYPE)m_json.GetLong(node,"type",0);
   request.type_filling=(ENUM_ORDER_TYPE_FILLING)m_json.GetLong(node,"type_filling",0);
   request.type_time=(ENUM_ORDER_TYPE_TIME)m_json.GetLong(node,"type_time",0);
   request.expiration=(datetime)m_json.GetLong(node,"expiration",0);
   request.comment=m_json.GetString(node,"comment");
   request.position=m_json.GetULong(node,"position",0);
   request.position_by=m_json.GetULong(node,"position_by",0);
   return((int)request.action!=0 && request.symbol!="");
  }

//--- the key is on the disk before OrderSend is called
string CTwOrders::ExecuteOnce(const string key,MqlTradeRequest &request,string &refusal)
  {
   refusal="";
   string detail;
   if(m_table.Known(key,detail)!=TW_NEW)
     {
      refusal="known";
      return("");
     }
   if(!m_table.Begin(key))
     {
      refusal="table_broken";
      m_voice.Alert("critical","order_table_broken",m_table.Error());
      return("");
     }
   MqlTradeResult result={};
   ResetLastError();
   if(!OrderSend(request,result))
      PrintFormat("tickwire: OrderSend %s: retcode %u, error %d",key,result.retcode,GetLastError());
   m_executed++;
   string json=ResultJson(result);
   if(!m_table.Answer(key,json))
      m_voice.Alert("critical","order_table_broken",m_table.Error());
   return(json);
  }

void CTwOrders::Repeat(const string key,const ENUM_TW_KNOWN known,const string detail,const string reply)
  {
   if(known==TW_ANSWERED)
      Reply(reply,key,"answered","",true,detail);
   else if(known==TW_REFUSED)
      Reply(reply,key,"refused",detail,true,"");
   else
      Reply(reply,key,"unknown","it was being executed when an earlier life ended",true,"");
  }

string CTwOrders::ResultJson(const MqlTradeResult &result)
  {
   CJsonWriter json;
   json.BeginObject();
   json.MemberLong("retcode",(long)result.retcode);
   json.MemberULong("deal",result.deal);
   json.MemberULong("order",result.order);
   json.MemberDouble("volume",result.volume);
   json.MemberDouble("price",result.price);
   json.MemberDouble("bid",result.bid);
   json.MemberDouble("ask",result.ask);
   json.MemberString("comment",result.comment);
   json.MemberLong("request_id",(long)result.request_id);
   json.MemberLong("retcode_external",(long)result.retcode_external);
   json.EndObject();
   return(json.Text());
  }

void CTwOrders::Reply(const string reply,const string key,const string outcome,const string reason,const bool repeated,
                      const string result)
  {
   CJsonWriter *json=m_voice.BeginReply("EaOrderAnswer");
   json.MemberString("key",key);
   json.MemberString("outcome",outcome);
   json.MemberString("reason",reason);
   json.MemberBool("repeated",repeated);
   json.MemberLong("time_server_msc",TwServerMsc());
   if(result!="")
     {
      json.MemberRaw("result",result);
      CJson read;
      json.Key("deals");
      TwWriteDealsOfOrder(json,read.Parse(result) ? read.GetULong(0,"order",0) : 0);
     }
   m_voice.Answer(reply);
  }

#endif
//+------------------------------------------------------------------+
