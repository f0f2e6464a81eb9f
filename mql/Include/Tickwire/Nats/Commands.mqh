//+------------------------------------------------------------------+
//| Nats/Commands.mqh: subjects with many writers, in stream order   |
//+------------------------------------------------------------------+
#ifndef TICKWIRE_NATS_COMMANDS_MQH
#define TICKWIRE_NATS_COMMANDS_MQH

// A live message only says that there is something to read; what is handed over is read from the stream, so that a
// halt, a resume and a halt never come in another order. message.seq is the stream's number.
class CNatsCommands : public CNatsStoredHandler
  {
private:
   CNatsClient      *m_client;
   string            m_pattern;
   string            m_stream;
   CNatsStored       m_stored;
   CNatsQueue        m_ready;
   ulong             m_last;        // number of the last one read
   bool              m_placed;      // where to begin is known
   ulong             m_request;
   ulong             m_next_ms;
   int               m_eager;       // how often to look at short intervals: the live one may be ahead of the stream
   void              Place(void);
public:
                     CNatsCommands(void) : m_client(NULL),m_pattern(""),m_stream(""),m_last(0),m_placed(false),m_request(0),
                        m_next_ms(0),m_eager(0) {}
                    ~CNatsCommands(void) { Close(); }
   //--- pattern: all commands whose order matters together (control.*). after: the stream's number of the last one
   //--- handled (0 none). from_start=false: only what comes from now on
   bool              Open(CNatsClient *client,const string pattern,const string stream,const bool from_start=true,
                          const ulong after=0);
   void              Close(void);
   void              Poll(void);
   bool              Next(CNatsMessage &message) { return(m_ready.Pop(message)); }
   //--- the number of the last one read, to be kept for the next start
   ulong             Last(void) const { return(m_last); }
   virtual void      OnNatsMessage(CNatsMessage &message);
   virtual void      OnNatsState(const bool ready);
   virtual void      OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message);
   virtual void      OnStored(CNatsMessage &message,const ulong number);
   virtual bool      WantsStored(void) { return(m_ready.Size()<NATS_HIGH_WATER); }
  };

bool CNatsCommands::Open(CNatsClient *client,const string pattern,const string stream,const bool from_start,const ulong after)
  {
   if(CheckPointer(m_client)!=POINTER_INVALID)
      return(false);
   m_client=client;
   m_pattern=pattern;
   m_stream=stream;
   m_last=after;
   m_placed=from_start || after>0;
   m_next_ms=0;
   m_eager=5;
   m_stored.Bind(client,GetPointer(this));
   m_client.AddHandler(GetPointer(this));
   return(m_client.Subscribe(pattern,GetPointer(this))!=0);
  }

void CNatsCommands::Close(void)
  {
   if(CheckPointer(m_client)!=POINTER_INVALID)
     {
      m_stored.Stop();
      m_client.RemoveHandler(GetPointer(this));
     }
   m_client=NULL;
   m_ready.Clear();
  }

void CNatsCommands::OnNatsMessage(CNatsMessage &message)
  {
   m_eager=5;
   m_next_ms=0;
  }

void CNatsCommands::OnNatsState(const bool ready)
  {
   m_request=0;
   m_eager=5;
   m_next_ms=0;
  }

void CNatsCommands::Place(void)
  {
   CJsonWriter json;
   json.BeginObject();
   json.MemberString("last_by_subj",m_pattern);
   json.EndObject();
   m_request=m_client.RequestText("$JS.API.DIRECT.GET."+m_stream,json.Text(),2000,GetPointer(this));
  }

void CNatsCommands::OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message)
  {
   if(request!=m_request)
      return;
   m_request=0;
   if(status!=NATS_REPLY_ARRIVED || (message.status!=0 && message.status!=404))
      return;
   m_placed=true;
   if(message.status==0)
      m_last=(ulong)StringToInteger(message.Header("Nats-Sequence","0"));
  }

void CNatsCommands::OnStored(CNatsMessage &message,const ulong number)
  {
   if(number<=m_last)
      return;
   m_last=number;
   message.seq=(long)number;
   message.error="";
   m_ready.Push(message);
   m_eager=0;
  }

void CNatsCommands::Poll(void)
  {
   if(CheckPointer(m_client)==POINTER_INVALID)
      return;
   m_stored.Poll();
   ulong now_ms=GetTickCount64();
   if(!m_client.IsReady() || m_stored.IsBusy() || now_ms<m_next_ms)
      return;
   if(!m_placed)
     {
      if(m_request==0)
         Place();
      return;
     }
   m_next_ms=now_ms+(m_eager>0 ? 20 : 2000);
   if(m_eager>0)
      m_eager--;
   m_stored.Start(m_stream,m_pattern,m_last+1);
  }

#endif
//+------------------------------------------------------------------+
