//+------------------------------------------------------------------+
//| Nats.mqh: a small complete NATS client for MQL5                  |
//+------------------------------------------------------------------+
// Speaks to nats-server over the terminal's own sockets: no DLL, no bridge process. For Expert Advisors and
// scripts (services too; indicators may not use sockets, and sockets do nothing in the Strategy Tester). The
// server's address must be in Tools, Options, Expert Advisors, "Allow WebRequest for listed URL", also 127.0.0.1.
//
//   CNatsClient nats;
//   CNatsMessage message;
//
//   int OnInit()
//     {
//      NatsOptions options;
//      options.host="127.0.0.1";  options.port=4222;
//      options.user="ea";         options.password=InpPassword;
//      nats.Open(options);                        // does not connect yet
//      nats.Subscribe("greet.*");                 // may be said at any time; said again after every reconnect
//      EventSetMillisecondTimer(10);
//      return(INIT_SUCCEEDED);
//     }
//   void OnTimer()
//     {
//      nats.Poll();                               // all the work: connect, read, write, ping, reconnect
//      while(nats.Next(message))
//         if(message.reply!="")
//            nats.PublishText(message.reply,"hello "+message.Text());
//     }
//   void OnTick()          { nats.PublishText("ticks",DoubleToString(SymbolInfoDouble(_Symbol,SYMBOL_BID))); }
//   void OnDeinit(const int reason) { nats.Close(); }
//
// Nothing waits. Publish, Subscribe and Request put bytes into a bounded buffer and hand the socket what it takes
// at once. Poll does everything else within `budget_ms`. Connecting is the one thing a terminal's socket cannot do
// without waiting: it happens in Poll only, waits at most `connect_timeout_ms` (TLS: also for the handshake), and
// not at all in Poll(false): call that one from OnTick.
//
// What it promises: core NATS is at most once. Publish returns false, and sends nothing, while the connection is
// not ready, when the buffer is full, and when the message is larger than the server takes. What was accepted may
// still be lost with a connection that breaks. Who needs more takes PublishAcked (JetStream's answer proves it is
// stored) or the sequence rules of NatsBus.mqh. Messages that nobody has taken yet (Next) wait in a bounded queue;
// `overflow` says what happens when it is full.
#ifndef TICKWIRE_NATS_MQH
#define TICKWIRE_NATS_MQH

#include <Tickwire\Json.mqh>
#include <Tickwire\Nats\Transport.mqh>
#include <Tickwire\Nats\Parser.mqh>

enum ENUM_NATS_STATE
  {
   NATS_CLOSED,      // Open was not called, or Close was
   NATS_WAITING,     // not connected; the next attempt comes after the back-off
   NATS_GREETING,    // connected, the server's INFO is awaited
   NATS_PROVING,     // CONNECT, SUBs and PING are sent, the PONG is awaited
   NATS_READY
  };

//--- what happens when nobody takes messages (Next) and the queue is full
enum ENUM_NATS_OVERFLOW
  {
   NATS_HOLD_READING,   // stop reading until there is room: nothing is lost here, the server may drop a slow client
   NATS_DROP_OLDEST,
   NATS_DROP_NEWEST
  };

enum ENUM_NATS_REPLY
  {
   NATS_REPLY_UNKNOWN,        // no such request, or its answer was taken
   NATS_REPLY_WAITING,
   NATS_REPLY_ARRIVED,
   NATS_REPLY_TIMEOUT,        // it may have been handled all the same
   NATS_REPLY_NOBODY,         // nobody listens there: certainly not handled
   NATS_REPLY_LOST            // the connection broke first; it may have been handled all the same
  };

struct NatsOptions
  {
   string             host;
   int                port;
   string             user;               // user and password, or token, or none
   string             password;
   string             token;
   string             name;               // how the server lists this connection
   string             inbox_prefix;       // "" means _INBOX.<user>, or _INBOX without a user
   bool               tls;                // refuse a server without TLS; with one that asks for it TLS is used anyway
   bool               tls_first;          // TLS before the server's INFO (handshake_first)
   uint               connect_timeout_ms;
   uint               greeting_timeout_ms;
   uint               ping_interval_ms;   // of our pings; two without an answer: the connection is dead
   uint               backoff_min_ms;     // doubles up to the most, plus up to half of it by chance
   uint               backoff_max_ms;
   uint               budget_ms;          // most time one Poll spends on reading and handing over
   int                max_queue_messages; // waiting for Next
   int                max_queue_bytes;
   int                max_out_bytes;      // accepted and not yet taken by the socket
   ENUM_NATS_OVERFLOW overflow;
                      NatsOptions(void);
  };

NatsOptions::NatsOptions(void) : host("127.0.0.1"),port(4222),user(""),password(""),token(""),name("mql5"),
   inbox_prefix(""),tls(false),tls_first(false),connect_timeout_ms(500),greeting_timeout_ms(5000),
   ping_interval_ms(5000),backoff_min_ms(50),backoff_max_ms(2000),budget_ms(5),max_queue_messages(8192),
   max_queue_bytes(16000000),max_out_bytes(8000000),overflow(NATS_HOLD_READING)
  {
  }

//--- JetStream's answer to PublishAcked
struct NatsAck
  {
   bool              stored;        // the stream has it (now, or already: duplicate)
   bool              duplicate;     // its message id was stored before
   string            stream;
   ulong             sequence;      // the stream's number
   int               error_code;    // of a refusal, 0 none
   string            error;
                     NatsAck(void) : stored(false),duplicate(false),stream(""),sequence(0),error_code(0),error("") {}
  };

//--- Base class of whoever wants to be called instead of asking. Called from Poll only. The message is lent: copy
//--- what is to be kept. Handlers may publish, subscribe and request; they must not call Poll or Close.
class CNatsHandler
  {
public:
   virtual          ~CNatsHandler(void) {}
   virtual void      OnNatsMessage(CNatsMessage &message) {}
   virtual void      OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message) {}
   virtual void      OnNatsState(const bool ready) {}        // for those registered with AddHandler
  };

class CNatsSubscription
  {
public:
   int               sid;
   string            subject;
   string            queue;
   int               max;           // end after so many messages, 0 never
   int               received;
   CNatsHandler     *handler;       // NULL: messages wait for Next
                     CNatsSubscription(void) : sid(0),subject(""),queue(""),max(0),received(0),handler(NULL) {}
  };

class CNatsRequest
  {
public:
   ulong             id;
   ulong             deadline_ms;
   bool              many;          // every answer is handed over until EndRequest or the deadline
   CNatsHandler     *handler;       // NULL: ask with Reply
   ENUM_NATS_REPLY   status;
   CNatsMessage      answer;
                     CNatsRequest(void) : id(0),deadline_ms(0),many(false),handler(NULL),status(NATS_REPLY_WAITING) {}
  };

//+------------------------------------------------------------------+
//| The client                                                       |
//+------------------------------------------------------------------+
class CNatsClient
  {
private:
   NatsOptions         m_options;
   ENUM_NATS_STATE     m_state;
   CNatsTransport      m_wire;
   CNatsParser         m_parser;
   CNatsBytes          m_out;
   CNatsMessage        m_message;        // the one being read
   CNatsMessage        m_nothing;
   uchar               m_chunk[];
   CNatsSubscription  *m_subscriptions[];
   CNatsRequest       *m_requests[];
   CNatsHandler       *m_handlers[];
   CNatsQueue          m_queue;
   int                 m_last_sid;
   ulong               m_last_request;
   string              m_inbox;
   int                 m_inbox_sid;
   string              m_error;
   string              m_server;
   int                 m_max_payload;
   bool                m_headers;
   bool                m_polling;
   bool                m_refused;
   ulong               m_next_attempt_ms;
   uint                m_backoff_ms;
   ulong               m_since_ms;       // the present state began
   ulong               m_pinged_ms;
   int                 m_pings_out;
   ulong               m_connections;
   ulong               m_dropped;
   ulong               m_messages_in;
   ulong               m_messages_out;
   ulong               m_permission_errors;

   void              SetState(const ENUM_NATS_STATE state);
   void              Lost(const string why);
   void              TryConnect(void);
   bool              Secure(void);
   bool              Greet(const string info);
   void              ReadInfo(const string text);
   string            ConnectLine(void) const;
   void              Resubscribe(void);
   bool              Flush(void);
   void              Read(const ulong until_us);
   bool              Handle(const ENUM_NATS_OP op);
   void              HandleError(const string text);
   void              Deliver(void);
   bool              HoldsReading(void) const;
   void              Enqueue(void);
   void              DeliverReply(void);
   void              FinishRequest(const int index,const ENUM_NATS_REPLY status);
   void              ForgetRequest(const int index);
   int               FindRequest(const ulong id) const;
   int               FindSubscription(const int sid) const;
   void              ForgetSubscription(const int index);
   void              ExpireRequests(const ulong now_ms);
   void              CheckPings(const ulong now_ms);
   void              TellState(const bool ready);
   bool              Refuse(const string why);
   bool              Frame(const string subject,const string reply,const string headers,const uchar &data[]);
   void              EnsureInbox(void);
public:
                     CNatsClient(void);
                    ~CNatsClient(void);
   //--- life. Open remembers the options; the first Poll connects. Close says goodbye to what waits and forgets it.
   bool              Open(const NatsOptions &options);
   void              Close(void);
   //--- do what there is to do; true while the connection is ready. may_connect=false never waits at all.
   bool              Poll(const bool may_connect=true);
   ENUM_NATS_STATE   State(void) const       { return(m_state);             }
   bool              IsReady(void) const     { return(m_state==NATS_READY); }
   string            LastError(void) const   { return(m_error);             }
   bool              IsRefused(void) const   { return(m_refused);           } // user, password or token were refused
   ulong             Connections(void) const { return(m_connections);       } // how often it became ready
   ulong             Dropped(void) const     { return(m_dropped);           } // by the overflow rule
   ulong             MessagesIn(void) const  { return(m_messages_in);       }
   ulong             MessagesOut(void) const { return(m_messages_out);      }
   ulong             PermissionErrors(void) const { return(m_permission_errors); }
   int               WaitingBytes(void) const { return(m_out.Size());       } // accepted, not yet sent
   int               MaxPayload(void) const  { return(m_max_payload);       }
   string            ServerVersion(void) const { return(m_server);          }
   //--- publish. false: not sent, see LastError
   bool              Publish(const string subject,const uchar &data[],const string reply="");
   bool              PublishText(const string subject,const string text,const string reply="");
   //--- with headers: lines made by NatsHeader(name,value), one after the other
   bool              PublishWithHeaders(const string subject,const string headers,const uchar &data[],const string reply="");
   //--- subscribe; wildcards * and > as everywhere in NATS. Returns the subscription's number, 0: see LastError.
   //--- max: end after so many messages
   int               Subscribe(const string subject,CNatsHandler *handler=NULL,const string queue="",const int max=0);
   bool              Unsubscribe(const int sid,const int max=0);
   //--- the next message heard by a subscription without a handler
   bool              Next(CNatsMessage &message);
   int               Waiting(void) const     { return(m_queue.Size());        }
   //--- request and reply. Returns the request's number, 0: not sent. Ask with Reply, or give a handler.
   ulong             Request(const string subject,const uchar &data[],const uint timeout_ms,CNatsHandler *handler=NULL,
                             const bool many=false,const string headers="");
   ulong             RequestText(const string subject,const string text,const uint timeout_ms,CNatsHandler *handler=NULL,
                                 const bool many=false);
   ENUM_NATS_REPLY   Reply(const ulong request,CNatsMessage &answer);
   void              EndRequest(const ulong request);
   //--- JetStream: publish and have the stream's answer. The id makes a repetition harmless (within the stream's window)
   ulong             PublishAcked(const string subject,const uchar &data[],const string message_id,const uint timeout_ms=5000,
                                  CNatsHandler *handler=NULL);
   static bool       ParseAck(const CNatsMessage &answer,NatsAck &ack);
   //--- JetStream: the newest stored message of a subject (status 404: none); its headers name its stream number
   ulong             GetLast(const string stream,const string subject,const uint timeout_ms,CNatsHandler *handler=NULL);
   //--- JetStream: up to `batch` stored messages of a pattern, from a stream number (0: from a time, UTC text such as
   //--- 2026-01-02T03:04:05Z, or from the start), each as one answer; then one with status 204 (done) or 404 (none)
   ulong             GetBatch(const string stream,const string pattern,const ulong from,const string since,const int batch,
                              const uint timeout_ms,CNatsHandler *handler);
   //--- whoever wants OnNatsState
   void              AddHandler(CNatsHandler *handler);
   void              RemoveHandler(CNatsHandler *handler);
   //--- is it a subject that can be published to (no blanks, no empty parts; with wildcards: that can be heard)?
   static bool       IsSubject(const string subject,const bool wildcards=false);
   //--- does a pattern with * and > cover a subject?
   static bool       Matches(const string pattern,const string subject);
  };

CNatsClient::CNatsClient(void) : m_state(NATS_CLOSED),m_last_sid(0),
   m_last_request(0),m_inbox(""),m_inbox_sid(0),m_error(""),m_server(""),m_max_payload(1048576),m_headers(true),
   m_polling(false),m_refused(false),m_next_attempt_ms(0),m_backoff_ms(0),m_since_ms(0),m_pinged_ms(0),m_pings_out(0),
   m_connections(0),m_dropped(0),m_messages_in(0),m_messages_out(0),m_permission_errors(0)
  {
  }

CNatsClient::~CNatsClient(void)
  {
   Close();
  }

//+------------------------------------------------------------------+
//| Life                                                             |
//+------------------------------------------------------------------+
bool CNatsClient::Open(const NatsOptions &options)
  {
   Close();
   if(options.host=="" || options.port<1 || options.port>65535)
      return(Refuse("host or port is missing"));
   m_options=options;
   m_backoff_ms=0;
   m_next_attempt_ms=0;
   m_refused=false;
   m_error="";
   m_inbox="";
   SetState(NATS_WAITING);
   return(true);
  }

void CNatsClient::Close(void)
  {
   bool was_ready=m_state==NATS_READY;
   if(was_ready)
      m_wire.Write(m_out,64);
   m_wire.Close();
   m_state=NATS_CLOSED;
   m_parser.Clear();
   m_out.Clear();
   if(was_ready)
      TellState(false);
   for(int i=ArraySize(m_requests)-1; i>=0; i--)
      delete m_requests[i];
   ArrayResize(m_requests,0);
   for(int i=ArraySize(m_subscriptions)-1; i>=0; i--)
      delete m_subscriptions[i];
   ArrayResize(m_subscriptions,0);
   m_queue.Clear();
   m_inbox_sid=0;
  }

void CNatsClient::SetState(const ENUM_NATS_STATE state)
  {
   m_state=state;
   m_since_ms=GetTickCount64();
  }

bool CNatsClient::Refuse(const string why)
  {
   m_error=why;
   return(false);
  }

//--- the connection is gone: tell everybody, try again after the back-off
void CNatsClient::Lost(const string why)
  {
   bool was_ready=m_state==NATS_READY;
   m_error=why;
   m_wire.Close();
   m_parser.Clear();
   m_out.Clear();
   m_pings_out=0;
   if(was_ready)
      m_backoff_ms=0;
   uint step=m_backoff_ms==0 ? m_options.backoff_min_ms : m_backoff_ms*2;
   if(step>m_options.backoff_max_ms || m_refused)
      step=m_options.backoff_max_ms;
   m_backoff_ms=step;
   uint chance=step/2>0 ? (uint)(((uint)MathRand()<<15|(uint)MathRand())%(step/2+1)) : 0;
   SetState(NATS_WAITING);
   m_next_attempt_ms=m_since_ms+step+chance;
   for(int i=ArraySize(m_requests)-1; i>=0; i--)
      if(i<ArraySize(m_requests) && m_requests[i].status==NATS_REPLY_WAITING)
         FinishRequest(i,NATS_REPLY_LOST);
   if(was_ready)
      TellState(false);
  }

void CNatsClient::TellState(const bool ready)
  {
   for(int i=0; i<ArraySize(m_handlers); i++)
      m_handlers[i].OnNatsState(ready);
  }

void CNatsClient::AddHandler(CNatsHandler *handler)
  {
   RemoveHandler(handler);
   int n=ArraySize(m_handlers);
   ArrayResize(m_handlers,n+1);
   m_handlers[n]=handler;
  }

void CNatsClient::RemoveHandler(CNatsHandler *handler)
  {
   int n=0;
   for(int i=0; i<ArraySize(m_handlers); i++)
      if(m_handlers[i]!=handler)
         m_handlers[n++]=m_handlers[i];
   ArrayResize(m_handlers,n);
   for(int i=ArraySize(m_subscriptions)-1; i>=0; i--)
      if(m_subscriptions[i].handler==handler)
         Unsubscribe(m_subscriptions[i].sid);
   for(int i=ArraySize(m_requests)-1; i>=0; i--)
      if(m_requests[i].handler==handler)
         ForgetRequest(i);
  }

bool CNatsClient::Poll(const bool may_connect)
  {
   if(m_polling || m_state==NATS_CLOSED)
      return(false);
   m_polling=true;
   ulong now_ms=GetTickCount64();
   if(m_state==NATS_WAITING && may_connect && now_ms>=m_next_attempt_ms)
      TryConnect();
   if(m_state>=NATS_GREETING && !m_wire.IsOpen())
      Lost(m_wire.Error());         // a write outside Poll found it broken
   if(m_wire.IsOpen())
     {
      Flush();
      Read(GetMicrosecondCount()+(ulong)m_options.budget_ms*1000);
      now_ms=GetTickCount64();
      if((m_state==NATS_GREETING || m_state==NATS_PROVING) && now_ms-m_since_ms>m_options.greeting_timeout_ms)
         Lost("the server did not greet in time");
      CheckPings(now_ms);
      Flush();
     }
   ExpireRequests(now_ms);
   m_polling=false;
   return(m_state==NATS_READY);
  }

//+------------------------------------------------------------------+
//| Connecting                                                       |
//+------------------------------------------------------------------+
void CNatsClient::TryConnect(void)
  {
   if(!m_wire.Connect(m_options.host,m_options.port,m_options.connect_timeout_ms))
     {
      Lost(m_wire.Error());
      return;
     }
   SetState(NATS_GREETING);
   if(m_options.tls_first)
      Secure();
  }

bool CNatsClient::Secure(void)
  {
   if(m_wire.Secure(m_options.host))
      return(true);
   Lost(m_wire.Error());
   return(false);
  }

//--- the first INFO: answer with CONNECT, everything heard, and a PING whose PONG says that all of it was taken
bool CNatsClient::Greet(const string info)
  {
   CJson json;
   if(!json.Parse(info))
     {
      Lost("the server's INFO cannot be read: "+json.Error());
      return(false);
     }
   bool offered=json.GetBool(0,"tls_required") || json.GetBool(0,"tls_available");
   if(m_options.tls && !offered && !m_options.tls_first)
     {
      Lost("the server offers no TLS");
      return(false);
     }
   if(!m_options.tls_first && (json.GetBool(0,"tls_required") || m_options.tls) && !Secure())
      return(false);
   SetState(NATS_PROVING);
   m_out.AppendText(ConnectLine());
   Resubscribe();
   m_out.AppendText("PING\r\n");
   m_pings_out=1;
   m_pinged_ms=GetTickCount64();
   return(Flush());
  }

void CNatsClient::ReadInfo(const string text)
  {
   CJson json;
   if(!json.Parse(text))
      return;
   m_max_payload=(int)json.GetLong(0,"max_payload",m_max_payload);
   m_headers=json.GetBool(0,"headers",true);
   m_server=json.GetString(0,"version",m_server);
  }

string CNatsClient::ConnectLine(void) const
  {
   CJsonWriter json;
   json.BeginObject();
   json.MemberBool("verbose",false);
   json.MemberBool("pedantic",false);
   json.MemberBool("tls_required",m_options.tls);
   if(m_options.user!="")
     {
      json.MemberString("user",m_options.user);
      json.MemberString("pass",m_options.password);
     }
   if(m_options.token!="")
      json.MemberString("auth_token",m_options.token);
   json.MemberString("name",m_options.name);
   json.MemberString("lang","mql5");
   json.MemberString("version","1.0");
   json.MemberLong("protocol",1);
   json.MemberBool("echo",true);
   json.MemberBool("headers",true);
   json.MemberBool("no_responders",true);
   json.EndObject();
   return("CONNECT "+json.Text()+"\r\n");
  }

void CNatsClient::Resubscribe(void)
  {
   for(int i=ArraySize(m_subscriptions)-1; i>=0; i--)
      if(m_subscriptions[i].max>0 && m_subscriptions[i].received>=m_subscriptions[i].max)
         ForgetSubscription(i);
   for(int i=0; i<ArraySize(m_subscriptions); i++)
     {
      CNatsSubscription *it=m_subscriptions[i];
      m_out.AppendText("SUB "+it.subject+(it.queue=="" ? "" : " "+it.queue)+" "+IntegerToString(it.sid)+"\r\n");
      if(it.max>0)
         m_out.AppendText("UNSUB "+IntegerToString(it.sid)+" "+IntegerToString(it.max-it.received)+"\r\n");
     }
  }

void CNatsClient::CheckPings(const ulong now_ms)
  {
   if(m_state!=NATS_READY || now_ms-m_pinged_ms<m_options.ping_interval_ms)
      return;
   if(m_pings_out>=2)
     {
      Lost("the server does not answer pings");
      return;
     }
   m_pings_out++;
   m_pinged_ms=now_ms;
   m_out.AppendText("PING\r\n");
  }

//+------------------------------------------------------------------+
//| Reading                                                          |
//+------------------------------------------------------------------+
bool CNatsClient::HoldsReading(void) const
  {
   return(m_options.overflow==NATS_HOLD_READING &&
          (m_queue.Size()>=m_options.max_queue_messages || m_queue.Bytes()>=m_options.max_queue_bytes));
  }

void CNatsClient::Read(const ulong until_us)
  {
   while(m_wire.IsOpen() && !HoldsReading())
     {
      ENUM_NATS_OP op=m_parser.Next(m_message);
      if(op!=NATS_OP_NONE)
        {
         if(!Handle(op))
            return;
        }
      else
        {
         int count=m_wire.Read(m_chunk);
         if(count<0)
            Lost(m_wire.Error());
         if(count<=0)
            return;
         m_parser.Feed(m_chunk,count);
        }
      if(GetMicrosecondCount()>=until_us)
         return;
     }
  }

//--- one operation; false: the connection is gone
bool CNatsClient::Handle(const ENUM_NATS_OP op)
  {
   switch(op)
     {
      case NATS_OP_MSG:
         Deliver();
         break;
      case NATS_OP_PING:
         m_out.AppendText("PONG\r\n");
         break;
      case NATS_OP_PONG:
         m_pings_out=0;
         if(m_state==NATS_PROVING)
           {
            m_connections++;
            m_refused=false;
            m_backoff_ms=0;
            SetState(NATS_READY);
            TellState(true);
           }
         break;
      case NATS_OP_INFO:
         ReadInfo(m_parser.Text());
         if(m_state==NATS_GREETING && !Greet(m_parser.Text()))
            return(false);
         break;
      case NATS_OP_ERR:
         HandleError(m_parser.Text());
         break;
      case NATS_OP_BROKEN:
         Lost(m_parser.Text());
         break;
      default:
         break;
     }
   return(m_wire.IsOpen());
  }

//--- the server closes the connection itself after most errors; the ones named here leave it open
void CNatsClient::HandleError(const string text)
  {
   m_error="the server says: "+text;
   string lower=text;
   StringToLower(lower);
   if(StringFind(lower,"authorization")>=0 || StringFind(lower,"authentication")>=0)
      m_refused=true;
   if(StringFind(lower,"permissions violation")>=0)
      m_permission_errors++;
   else if(StringFind(lower,"invalid subject")<0)
      Lost(m_error);
  }

void CNatsClient::Deliver(void)
  {
   m_messages_in++;
   if(m_message.sid==m_inbox_sid)
     {
      DeliverReply();
      return;
     }
   int index=FindSubscription(m_message.sid);
   if(index<0)
      return;                       // unsubscribed meanwhile
   CNatsHandler *handler=m_subscriptions[index].handler;
   m_subscriptions[index].received++;
   if(m_subscriptions[index].max>0 && m_subscriptions[index].received>=m_subscriptions[index].max)
      ForgetSubscription(index);
   if(handler==NULL)
      Enqueue();
   else
      handler.OnNatsMessage(m_message);
  }

void CNatsClient::Enqueue(void)
  {
   if(m_queue.Size()>=m_options.max_queue_messages || m_queue.Bytes()>=m_options.max_queue_bytes)
     {
      if(m_options.overflow==NATS_DROP_NEWEST)
        {
         m_dropped++;
         return;
        }
      if(m_options.overflow==NATS_DROP_OLDEST)
        {
         m_dropped++;
         m_queue.Drop();
        }
     }
   m_queue.Push(m_message);
  }

bool CNatsClient::Next(CNatsMessage &message)
  {
   return(m_queue.Pop(message));
  }

//+------------------------------------------------------------------+
//| Writing                                                          |
//+------------------------------------------------------------------+
bool CNatsClient::Flush(void)
  {
   if(m_out.Size()==0 || m_wire.Write(m_out,8))
      return(true);
   Lost(m_wire.Error());
   return(false);
  }

bool CNatsClient::Frame(const string subject,const string reply,const string headers,const uchar &data[])
  {
   if(m_state!=NATS_READY)
      return(Refuse("not connected"));
   if(!IsSubject(subject) || (reply!="" && !IsSubject(reply)))
      return(Refuse("'"+subject+"' is no subject to publish to"));
   if(headers!="" && !m_headers)
      return(Refuse("the server knows no headers"));
   int size=ArraySize(data);
   uchar head[];
   int head_size=0;
   if(headers!="")
      head_size=StringToCharArray("NATS/1.0\r\n"+headers+"\r\n",head,0,WHOLE_ARRAY,CP_UTF8)-1;
   if(head_size+size>m_max_payload)
      return(Refuse(StringFormat("a message of %d bytes; the server takes %d",head_size+size,m_max_payload)));
   if(m_out.Size()+head_size+size+512>m_options.max_out_bytes)
      return(Refuse("the buffer of unsent bytes is full"));
   string line=(headers=="" ? "PUB " : "HPUB ")+subject+(reply=="" ? "" : " "+reply);
   if(headers!="")
      line+=" "+IntegerToString(head_size);
   m_out.AppendText(line+" "+IntegerToString(head_size+size)+"\r\n");
   m_out.Append(head,0,head_size);
   m_out.Append(data,0,size);
   m_out.AppendText("\r\n");
   m_messages_out++;
   // A socket that fails here is noticed by the next Poll; what called us need not expect that yet.
   m_wire.Write(m_out,1);
   return(true);
  }

bool CNatsClient::Publish(const string subject,const uchar &data[],const string reply)
  {
   return(Frame(subject,reply,"",data));
  }

bool CNatsClient::PublishText(const string subject,const string text,const string reply)
  {
   uchar data[];
   int size=StringToCharArray(text,data,0,WHOLE_ARRAY,CP_UTF8)-1;
   ArrayResize(data,size>0 ? size : 0);
   return(Frame(subject,reply,"",data));
  }

bool CNatsClient::PublishWithHeaders(const string subject,const string headers,const uchar &data[],const string reply)
  {
   return(Frame(subject,reply,headers,data));
  }

//+------------------------------------------------------------------+
//| Subscriptions                                                    |
//+------------------------------------------------------------------+
int CNatsClient::Subscribe(const string subject,CNatsHandler *handler,const string queue,const int max)
  {
   if(!IsSubject(subject,true) || (queue!="" && !IsSubject(queue)))
     {
      Refuse("'"+subject+"' is no subject to hear");
      return(0);
     }
   CNatsSubscription *it=new CNatsSubscription();
   it.sid=++m_last_sid;
   it.subject=subject;
   it.queue=queue;
   it.max=max;
   it.handler=handler;
   int n=ArraySize(m_subscriptions);
   ArrayResize(m_subscriptions,n+1,32);
   m_subscriptions[n]=it;
   if(m_state==NATS_READY || m_state==NATS_PROVING)
     {
      m_out.AppendText("SUB "+subject+(queue=="" ? "" : " "+queue)+" "+IntegerToString(it.sid)+"\r\n");
      if(max>0)
         m_out.AppendText("UNSUB "+IntegerToString(it.sid)+" "+IntegerToString(max)+"\r\n");
     }
   return(it.sid);
  }

bool CNatsClient::Unsubscribe(const int sid,const int max)
  {
   int index=FindSubscription(sid);
   if(index<0)
      return(Refuse("no such subscription"));
   if(m_state==NATS_READY || m_state==NATS_PROVING)
      m_out.AppendText("UNSUB "+IntegerToString(sid)+(max>0 ? " "+IntegerToString(max) : "")+"\r\n");
   m_subscriptions[index].max=max;
   if(max<=m_subscriptions[index].received)
      ForgetSubscription(index);
   return(true);
  }

int CNatsClient::FindSubscription(const int sid) const
  {
   for(int i=ArraySize(m_subscriptions)-1; i>=0; i--)
      if(m_subscriptions[i].sid==sid)
         return(i);
   return(-1);
  }

void CNatsClient::ForgetSubscription(const int index)
  {
   int last=ArraySize(m_subscriptions)-1;
   delete m_subscriptions[index];
   for(int i=index; i<last; i++)
      m_subscriptions[i]=m_subscriptions[i+1];
   ArrayResize(m_subscriptions,last);
  }

//+------------------------------------------------------------------+
//| Requests: one subscription hears all answers                     |
//+------------------------------------------------------------------+
void CNatsClient::EnsureInbox(void)
  {
   if(m_inbox_sid!=0)
      return;
   static const string letters="0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
   string prefix=m_options.inbox_prefix;
   if(prefix=="")
      prefix=m_options.user=="" ? "_INBOX" : "_INBOX."+m_options.user;
   MathSrand((int)(GetMicrosecondCount()&0x7FFF)^(int)(TimeLocal()&0x7FFF));
   string own="";
   for(int i=0; i<22; i++)
      own+=ShortToString(StringGetCharacter(letters,(int)((uint)(MathRand()+(int)(GetMicrosecondCount()&1023))%62)));
   m_inbox=prefix+"."+own;
   m_inbox_sid=Subscribe(m_inbox+".*");
  }

ulong CNatsClient::Request(const string subject,const uchar &data[],const uint timeout_ms,CNatsHandler *handler,
                           const bool many,const string headers)
  {
   if(m_state!=NATS_READY)
     {
      Refuse("not connected");
      return(0);
     }
   EnsureInbox();
   ulong id=++m_last_request;
   if(!Frame(subject,m_inbox+"."+IntegerToString((long)id),headers,data))
      return(0);
   CNatsRequest *it=new CNatsRequest();
   it.id=id;
   it.deadline_ms=GetTickCount64()+timeout_ms;
   it.many=many;
   it.handler=handler;
   int n=ArraySize(m_requests);
   ArrayResize(m_requests,n+1,64);
   m_requests[n]=it;
   return(id);
  }

ulong CNatsClient::RequestText(const string subject,const string text,const uint timeout_ms,CNatsHandler *handler,
                               const bool many)
  {
   uchar data[];
   int size=StringToCharArray(text,data,0,WHOLE_ARRAY,CP_UTF8)-1;
   ArrayResize(data,size>0 ? size : 0);
   return(Request(subject,data,timeout_ms,handler,many));
  }

int CNatsClient::FindRequest(const ulong id) const
  {
   for(int i=0; i<ArraySize(m_requests); i++)
      if(m_requests[i].id==id)
         return(i);
   return(-1);
  }

void CNatsClient::ForgetRequest(const int index)
  {
   int last=ArraySize(m_requests)-1;
   delete m_requests[index];
   for(int i=index; i<last; i++)
      m_requests[i]=m_requests[i+1];
   ArrayResize(m_requests,last);
  }

void CNatsClient::DeliverReply(void)
  {
   string token=StringSubstr(m_message.subject,StringLen(m_inbox)+1);
   int index=FindRequest((ulong)StringToInteger(token));
   if(index<0)
      return;                       // too late: it was given up
   bool nobody=m_message.status==503;
   CNatsRequest *it=m_requests[index];
   if(it.handler==NULL)
     {
      if(it.status==NATS_REPLY_WAITING)
        {
         it.answer.Take(m_message);
         it.status=nobody ? NATS_REPLY_NOBODY : NATS_REPLY_ARRIVED;
        }
      return;
     }
   CNatsHandler *handler=it.handler;
   ulong id=it.id;
   if(!it.many || nobody)
      ForgetRequest(index);
   handler.OnNatsReply(id,nobody ? NATS_REPLY_NOBODY : NATS_REPLY_ARRIVED,m_message);
  }

void CNatsClient::FinishRequest(const int index,const ENUM_NATS_REPLY status)
  {
   CNatsRequest *it=m_requests[index];
   if(it.handler==NULL)
     {
      it.status=status;
      return;
     }
   CNatsHandler *handler=it.handler;
   ulong id=it.id;
   ForgetRequest(index);
   m_nothing.Clear();
   handler.OnNatsReply(id,status,m_nothing);
  }

void CNatsClient::ExpireRequests(const ulong now_ms)
  {
   for(int i=ArraySize(m_requests)-1; i>=0; i--)
      if(i<ArraySize(m_requests) && m_requests[i].status==NATS_REPLY_WAITING && now_ms>=m_requests[i].deadline_ms)
         FinishRequest(i,NATS_REPLY_TIMEOUT);
  }

ENUM_NATS_REPLY CNatsClient::Reply(const ulong request,CNatsMessage &answer)
  {
   int index=FindRequest(request);
   if(index<0)
      return(NATS_REPLY_UNKNOWN);
   ENUM_NATS_REPLY status=m_requests[index].status;
   if(status==NATS_REPLY_WAITING)
      return(status);
   m_requests[index].answer.CopyTo(answer);
   ForgetRequest(index);
   return(status);
  }

void CNatsClient::EndRequest(const ulong request)
  {
   int index=FindRequest(request);
   if(index>=0)
      ForgetRequest(index);
  }

//+------------------------------------------------------------------+
//| JetStream                                                        |
//+------------------------------------------------------------------+
ulong CNatsClient::PublishAcked(const string subject,const uchar &data[],const string message_id,const uint timeout_ms,
                                CNatsHandler *handler)
  {
   return(Request(subject,data,timeout_ms,handler,false,message_id=="" ? "" : NatsHeader("Nats-Msg-Id",message_id)));
  }

bool CNatsClient::ParseAck(const CNatsMessage &answer,NatsAck &ack)
  {
   CJson json;
   ack.stored=false;
   ack.error="";
   ack.error_code=0;
   if(!json.ParseUtf8(answer.data))
     {
      ack.error=json.Error();
      return(false);
     }
   int error=json.Find(0,"error");
   ack.stream=json.GetString(0,"stream");
   ack.sequence=json.GetULong(0,"seq");
   ack.duplicate=json.GetBool(0,"duplicate");
   if(error>=0)
     {
      ack.error_code=(int)json.GetLong(error,"err_code",json.GetLong(error,"code"));
      ack.error=json.GetString(error,"description");
     }
   ack.stored=error<0 && ack.sequence>0;
   return(ack.stored);
  }

ulong CNatsClient::GetLast(const string stream,const string subject,const uint timeout_ms,CNatsHandler *handler)
  {
   return(RequestText("$JS.API.DIRECT.GET."+stream+"."+subject,"",timeout_ms,handler));
  }

ulong CNatsClient::GetBatch(const string stream,const string pattern,const ulong from,const string since,const int batch,
                            const uint timeout_ms,CNatsHandler *handler)
  {
   CJsonWriter json;
   json.BeginObject();
   json.MemberString("next_by_subj",pattern);
   json.MemberLong("batch",batch);
   if(from==0 && since!="")
      json.MemberString("start_time",since);
   else
      json.MemberULong("seq",from==0 ? 1 : from);
   json.EndObject();
   return(RequestText("$JS.API.DIRECT.GET."+stream,json.Text(),timeout_ms,handler,true));
  }

//+------------------------------------------------------------------+
//| Subjects                                                         |
//+------------------------------------------------------------------+
bool CNatsClient::IsSubject(const string subject,const bool wildcards)
  {
   int length=StringLen(subject);
   ushort before='.';
   if(length==0 || length>1000)
      return(false);
   for(int i=0; i<length; i++)
     {
      ushort c=StringGetCharacter(subject,i);
      if(c<=' ' || c==127 || (c=='.' && before=='.'))
         return(false);
      if(!wildcards && (c=='*' || c=='>') && before=='.' && (i+1==length || StringGetCharacter(subject,i+1)=='.'))
         return(false);
      before=c;
     }
   return(before!='.');
  }

bool CNatsClient::Matches(const string pattern,const string subject)
  {
   string wanted[],found[];
   int n=StringSplit(pattern,'.',wanted),m=StringSplit(subject,'.',found);
   for(int i=0; i<n; i++)
     {
      if(wanted[i]==">")
         return(m>i);
      if(i>=m || (wanted[i]!="*" && wanted[i]!=found[i]))
         return(false);
     }
   return(n==m);
  }

#endif
//+------------------------------------------------------------------+
