//+------------------------------------------------------------------+
//| BusProbe.mq5: everything NatsBus.mqh does, driven by a test      |
//+------------------------------------------------------------------+
// The test sends commands as chart events (JSON), the answers are prints (JSON).
#property version "1.00"
#include <Tickwire\NatsBus.mqh>

input string InpHost     = "127.0.0.1";
input int    InpPort     = 4222;
input string InpUser     = "";
input string InpPassword = "";
input string InpToken    = "";
input bool   InpTls      = false;
input int    InpPingMs   = 5000;
input int    InpQueue    = 8192;
input int    InpOverflow = 0;
input int    InpOutBytes = 8000000;
input bool   InpStrict   = false;   // readers check that a message is a TickBlock of its subject
input int    InpPause    = 0;       // 1: readers are not emptied until {"do":"take"}

//--- what the services' own decoding checks of a TickBlock
bool IsTickBlock(CJson &json,const string subject)
  {
   int bid=json.Find(0,"bid"),ask=json.Find(0,"ask"),time=json.Find(0,"time_ns");
   double values[];
   if(json.GetString(0,"type")!="TickBlock" || "ticks."+json.GetString(0,"symbol")!=subject)
      return(false);
   if(json.Size(bid)==0 || json.Size(bid)!=json.Size(ask) || json.Size(bid)!=json.Size(time))
      return(false);
   int count=json.GetDoubles(0,"bid",values,-1.0);
   for(int i=0; i<count; i++)
      if(values[i]<=0.0)
         return(false);
   return(count>0);
  }

class CProbeReader : public CNatsReader
  {
public:
   virtual bool      Accept(CJson &json,CNatsMessage &message,long &seq,string &error)
     {
      if(!CNatsReader::Accept(json,message,seq,error))
         return(false);
      if(InpStrict && !IsTickBlock(json,message.subject))
         error="no TickBlock of this subject";
      return(error=="");
     }
  };

class CProbePublisher : public CNatsPublisher
  {
public:
   virtual bool      IsOurs(CJson &json,const string subject)
     {
      return(json.Kind(0)==JSON_OBJECT && (!InpStrict || IsTickBlock(json,subject)));
     }
  };

CNatsClient      g_nats;
CProbePublisher  g_publisher;
CProbeReader    *g_readers[];
CNatsCommands   *g_commands[];
CNatsObject      g_object;
CNatsMessage     g_message;
ulong            g_requests[];
string           g_object_name="";
bool             g_was_ready=false;
bool             g_echo=false;

int OnInit()
  {
   NatsOptions options;
   options.host=InpHost;
   options.port=InpPort;
   options.user=InpUser;
   options.password=InpPassword;
   options.token=InpToken;
   options.tls=InpTls;
   options.ping_interval_ms=(uint)InpPingMs;
   options.max_queue_messages=InpQueue;
   options.overflow=(ENUM_NATS_OVERFLOW)InpOverflow;
   options.max_out_bytes=InpOutBytes;
   options.name="probe \"quoted\" é";
   if(!g_nats.Open(options))
      return(INIT_FAILED);
   g_publisher.Open(GetPointer(g_nats));
   EventSetMillisecondTimer(10);
   return(INIT_SUCCEEDED);
  }

void OnDeinit(const int reason)
  {
   for(int i=0; i<ArraySize(g_readers); i++)
      delete g_readers[i];
   for(int i=0; i<ArraySize(g_commands); i++)
      delete g_commands[i];
   g_object.Close();
   g_publisher.Close();
   g_nats.Close();
   EventKillTimer();
  }

void OnTick()
  {
   g_nats.Poll(false);
  }

void OnTimer()
  {
   g_nats.Poll();
   g_publisher.Poll();
   for(int i=0; i<ArraySize(g_readers); i++)
      g_readers[i].Poll();
   for(int i=0; i<ArraySize(g_commands); i++)
      g_commands[i].Poll();
   g_object.Poll();
   if(g_nats.IsReady()!=g_was_ready)
     {
      g_was_ready=g_nats.IsReady();
      Print("{\"ready\":",g_was_ready ? "true" : "false",",\"error\":",CJsonWriter::Quoted(g_nats.LastError()),"}");
     }
   if(InpPause==0)
     {
      Take(1000000);
      TakePlain();
     }
   TakeReplies();
   TakeObject();
  }

void Say(const string kind,const int id,CNatsMessage &message)
  {
   CJsonWriter w;
   w.BeginObject();
   w.MemberLong(kind,id);
   w.MemberString("subject",message.subject);
   w.MemberString("reply",message.reply);
   w.MemberString("headers",message.headers);
   w.MemberLong("status",message.status);
   w.MemberLong("seq",message.seq);
   w.MemberString("error",message.error);
   w.MemberLong("size",message.Size());
   w.MemberString("text",message.Text());
   w.EndObject();
   Print(w.Text());
  }

void Take(const int most)
  {
   int taken=0;
   for(int i=0; i<ArraySize(g_readers); i++)
      while(taken<most && g_readers[i].Next(g_message))
        {
         Say("reader",i,g_message);
         taken++;
        }
   for(int i=0; i<ArraySize(g_commands); i++)
      while(taken<most && g_commands[i].Next(g_message))
        {
         Say("commands",i,g_message);
         taken++;
        }
  }

void TakePlain()
  {
   while(g_nats.Next(g_message))
     {
      if(g_echo && g_message.reply!="")
         g_nats.Publish(g_message.reply,g_message.data);
      Say("plain",g_message.sid,g_message);
     }
  }

void TakeReplies()
  {
   for(int i=ArraySize(g_requests)-1; i>=0; i--)
     {
      ENUM_NATS_REPLY status=g_nats.Reply(g_requests[i],g_message);
      if(status==NATS_REPLY_WAITING)
         continue;
      NatsAck ack;
      bool stored=CNatsClient::ParseAck(g_message,ack);
      g_message.error=EnumToString(status);
      Print("{\"ack\":",stored ? "true" : "false",",\"duplicate\":",ack.duplicate ? "true" : "false",",\"seq\":",ack.sequence,
            ",\"stream\":",CJsonWriter::Quoted(ack.stream),",\"problem\":",CJsonWriter::Quoted(ack.error),
            ",\"request\":",g_requests[i],"}");
      Say("answer",(int)g_requests[i],g_message);
      for(int k=i; k+1<ArraySize(g_requests); k++)
         g_requests[k]=g_requests[k+1];
      ArrayResize(g_requests,ArraySize(g_requests)-1);
     }
  }

void TakeObject()
  {
   ENUM_NATS_OBJECT state=g_object.State();
   if(state==NATS_OBJECT_NONE || state==NATS_OBJECT_READING)
      return;
   uchar content[],key[],hash[];
   string digest="";
   if(g_object.Take(content) && CryptEncode(CRYPT_HASH_SHA256,content,key,hash)==32)
      for(int i=0; i<32; i++)
         digest+=StringFormat("%02x",hash[i]);
   string name=CJsonWriter::Quoted(g_object_name);
   Print("{\"object\":",name,",\"state\":",CJsonWriter::Quoted(EnumToString(state)),
         ",\"size\":",ArraySize(content),",\"sha256\":\"",digest,"\",\"error\":",CJsonWriter::Quoted(g_object.LastError()),"}");
   g_object.Close();
  }

void OnChartEvent(const int id,const long &lparam,const double &dparam,const string &sparam)
  {
   CJson json;
   if(!json.Parse(sparam))
     {
      Print("{\"bad\":",CJsonWriter::Quoted(json.Error()),"}");
      return;
     }
   string what=json.GetString(0,"do");
   if(what=="publish")
      DoPublish(json);
   else if(what=="reader")
      DoReader(json);
   else if(what=="commands")
      DoCommands(json);
   else if(what=="close")
      g_readers[(int)json.GetLong(0,"reader")].Close();
   else if(what=="status")
      DoStatus();
   else if(what=="core")
      DoCore(json);
   else if(what=="subscribe")
     {
      int sid=g_nats.Subscribe(json.GetString(0,"subject"),NULL,json.GetString(0,"queue"),(int)json.GetLong(0,"max"));
      Print("{\"subscribed\":",sid,",\"error\":",CJsonWriter::Quoted(g_nats.LastError()),"}");
     }
   else if(what=="unsubscribe")
      g_nats.Unsubscribe((int)json.GetLong(0,"sid"),(int)json.GetLong(0,"max"));
   else if(what=="request")
      DoRequest(json);
   else if(what=="take")
     {
      Take((int)json.GetLong(0,"count",1000000));
      TakePlain();
     }
   else if(what=="echo")
      g_echo=true;
   else if(what=="ask")
      g_publisher.AskNow();
   else if(what=="register")
      Print("{\"newest\":",g_publisher.Newest(g_publisher.Register(json.GetString(0,"subject"),json.GetString(0,"stream"))),"}");
   else if(what=="object")
     {
      g_object_name=json.GetString(0,"name");
      g_object.Open(GetPointer(g_nats),json.GetString(0,"bucket"),g_object_name,json.GetLong(0,"max",100000000));
     }
   else
      Print("{\"bad\":\"no such command\"}");
  }

void DoPublish(CJson &json)
  {
   int handle=g_publisher.Register(json.GetString(0,"subject"),json.GetString(0,"stream"));
   int items=json.Find(0,"items");
   for(int node=json.First(items); node>=0; node=json.Next(node))
      if(!g_publisher.PublishText(handle,json.GetLong(node,"seq"),json.GetString(node,"text")))
         Print("{\"refused\":",CJsonWriter::Quoted(g_publisher.LastError()),"}");
  }

void DoReader(CJson &json)
  {
   int n=ArraySize(g_readers);
   ArrayResize(g_readers,n+1);
   g_readers[n]=new CProbeReader();
   int after=json.Find(0,"after");
   for(int node=json.First(after); node>=0; node=json.Next(node))
      g_readers[n].After(json.Key(node),json.AsLong(node,0));
   g_readers[n].Open(GetPointer(g_nats),json.GetString(0,"pattern"),json.GetString(0,"stream"),json.GetBool(0,"from_start",true),
                     json.GetString(0,"since"));
  }

void DoCommands(CJson &json)
  {
   int n=ArraySize(g_commands);
   ArrayResize(g_commands,n+1);
   g_commands[n]=new CNatsCommands();
   g_commands[n].Open(GetPointer(g_nats),json.GetString(0,"pattern"),json.GetString(0,"stream"),json.GetBool(0,"from_start",true),
                      json.GetULong(0,"after"));
  }

void DoCore(CJson &json)
  {
   uchar data[];
   string text=json.GetString(0,"text");
   int size=StringToCharArray(text,data,0,WHOLE_ARRAY,CP_UTF8)-1;
   ArrayResize(data,size>0 ? size : 0);
   string headers="";
   int list=json.Find(0,"headers");
   for(int node=json.First(list); node>=0; node=json.Next(node))
      headers+=NatsHeader(json.Key(node),json.AsString(node,""));
   bool done=false;
   for(long i=json.GetLong(0,"count",1); i>0; i--)
      done=headers=="" ? g_nats.Publish(json.GetString(0,"subject"),data,json.GetString(0,"reply")) :
           g_nats.PublishWithHeaders(json.GetString(0,"subject"),headers,data,json.GetString(0,"reply"));
   Print("{\"published\":",done ? "true" : "false",",\"error\":",CJsonWriter::Quoted(done ? "" : g_nats.LastError()),"}");
  }

void DoRequest(CJson &json)
  {
   uchar data[];
   int size=StringToCharArray(json.GetString(0,"text"),data,0,WHOLE_ARRAY,CP_UTF8)-1;
   ArrayResize(data,size>0 ? size : 0);
   uint timeout_ms=(uint)json.GetLong(0,"timeout_ms",2000);
   ulong request=json.GetBool(0,"acked") ?
                 g_nats.PublishAcked(json.GetString(0,"subject"),data,json.GetString(0,"message_id"),timeout_ms) :
                 g_nats.Request(json.GetString(0,"subject"),data,timeout_ms);
   Print("{\"requested\":",request,"}");
   if(request==0)
      return;
   int n=ArraySize(g_requests);
   ArrayResize(g_requests,n+1);
   g_requests[n]=request;
  }

void DoStatus()
  {
   CJsonWriter w;
   w.BeginObject();
   w.MemberBool("status",true);
   w.MemberString("state",EnumToString(g_nats.State()));
   w.MemberBool("is_ready",g_nats.IsReady());
   w.MemberBool("refused_user",g_nats.IsRefused());
   w.MemberString("last_error",g_nats.LastError());
   w.MemberString("server",g_nats.ServerVersion());
   w.MemberULong("connections",g_nats.Connections());
   w.MemberULong("dropped",g_nats.Dropped());
   w.MemberULong("permission_errors",g_nats.PermissionErrors());
   w.MemberLong("waiting",g_nats.Waiting());
   w.MemberLong("max_payload",g_nats.MaxPayload());
   w.MemberBool("verified",g_publisher.IsVerified());
   w.MemberBool("flushed",g_publisher.IsFlushed());
   w.MemberULong("republished",g_publisher.Republished());
   w.Key("readers");
   w.BeginArray();
   for(int i=0; i<ArraySize(g_readers); i++)
     {
      w.BeginObject();
      w.MemberBool("joined",g_readers[i].IsJoined());
      w.MemberLong("ready_messages",g_readers[i].Waiting());
      w.MemberULong("gaps_detected",g_readers[i].GapsDetected());
      w.MemberULong("gaps_filled",g_readers[i].GapsFilled());
      w.MemberULong("duplicates",g_readers[i].Duplicates());
      w.MemberULong("lost",g_readers[i].Lost());
      w.EndObject();
     }
   w.EndArray();
   w.EndObject();
   Print(w.Text());
  }
//+------------------------------------------------------------------+
