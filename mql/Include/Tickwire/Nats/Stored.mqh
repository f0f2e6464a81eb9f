//+------------------------------------------------------------------+
//| Nats/Stored.mqh: read what a stream holds, to its end            |
//+------------------------------------------------------------------+
#ifndef TICKWIRE_NATS_STORED_MQH
#define TICKWIRE_NATS_STORED_MQH

//--- whoever reads streams
class CNatsStoredHandler : public CNatsHandler
  {
public:
   //--- one stored message: its own subject and payload; number: the stream's
   virtual void      OnStored(CNatsMessage &message,const ulong number) {}
   virtual void      OnStoredEnd(void) {}
   virtual bool      WantsStored(void) { return(true); }     // false: the next batch waits
  };

// Reads in batches (JetStream direct get, nats-server 2.11 or newer), again after a reconnect or a silence, from
// where it stood: nothing is handed over twice.
class CNatsStored : public CNatsHandler
  {
private:
   CNatsClient        *m_client;
   CNatsStoredHandler *m_owner;
   string              m_stream;
   string              m_pattern;
   ulong               m_from;
   string              m_since;
   ulong               m_last;       // the highest number handed over
   ulong               m_request;
   bool                m_busy;
   bool                m_in_batch;
   ulong               m_retry_ms;
   void                Ask(void);
public:
                     CNatsStored(void) : m_client(NULL),m_owner(NULL),m_stream(""),m_pattern(""),m_from(0),m_since(""),
                        m_last(0),m_request(0),m_busy(false),m_in_batch(false),m_retry_ms(0) {}
   void              Bind(CNatsClient *client,CNatsStoredHandler *owner);
   //--- from: first stream number (0: since a time, or the start)
   void              Start(const string stream,const string pattern,const ulong from,const string since="");
   void              Stop(void);
   void              Poll(void);
   bool              IsBusy(void) const { return(m_busy); }
   ulong             Last(void) const   { return(m_last); }
   virtual void      OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message);
  };

void CNatsStored::Bind(CNatsClient *client,CNatsStoredHandler *owner)
  {
   m_client=client;
   m_owner=owner;
  }

void CNatsStored::Start(const string stream,const string pattern,const ulong from,const string since)
  {
   Stop();
   m_stream=stream;
   m_pattern=pattern;
   m_from=from;
   m_since=since;
   m_last=0;
   m_busy=true;
   m_retry_ms=0;
   Poll();
  }

void CNatsStored::Stop(void)
  {
   if(m_in_batch && CheckPointer(m_client)!=POINTER_INVALID)
      m_client.EndRequest(m_request);
   m_in_batch=false;
   m_busy=false;
  }

void CNatsStored::Poll(void)
  {
   if(m_busy && !m_in_batch && m_client.IsReady() && GetTickCount64()>=m_retry_ms && m_owner.WantsStored())
      Ask();
  }

void CNatsStored::Ask(void)
  {
   ulong from=m_last>0 ? m_last+1 : m_from;
   m_request=m_client.GetBatch(m_stream,m_pattern,from,m_since,NATS_BATCH,5000,GetPointer(this));
   m_in_batch=m_request!=0;
  }

void CNatsStored::OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message)
  {
   if(!m_in_batch || request!=m_request)
      return;
   if(status!=NATS_REPLY_ARRIVED)
     {
      m_in_batch=false;             // again, from where it stood
      m_retry_ms=GetTickCount64()+(status==NATS_REPLY_NOBODY ? 200 : 20);
      return;
     }
   if(message.status==0)
     {
      ulong number=(ulong)StringToInteger(message.Header("Nats-Sequence","0"));
      if(number<=m_last)
         return;
      m_last=number;
      message.subject=message.Header("Nats-Subject",message.subject);
      m_owner.OnStored(message,number);
      return;
     }
   m_client.EndRequest(m_request);
   m_in_batch=false;
   if(message.status==204 && StringToInteger(message.Header("Nats-Num-Pending","0"))>0)
     {
      Poll();
      return;
     }
   if(message.status!=204 && message.status!=404)
     {
      m_retry_ms=GetTickCount64()+200;
      return;
     }
   m_busy=false;
   m_owner.OnStoredEnd();
  }

#endif
//+------------------------------------------------------------------+
