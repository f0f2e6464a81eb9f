//+------------------------------------------------------------------+
//| Nats/Publisher.mqh: numbered messages that reach their stream    |
//+------------------------------------------------------------------+
#ifndef TICKWIRE_NATS_PUBLISHER_MQH
#define TICKWIRE_NATS_PUBLISHER_MQH

//--- what happens when the rings are full (max_bytes): the stream has not confirmed for too long
enum ENUM_NATS_RING
  {
   NATS_RING_REFUSE,        // Publish returns false
   NATS_RING_DROP_OLDEST    // the oldest unconfirmed message of that subject goes; Dropped() counts
  };

//--- one message that the stream is not yet known to hold
class CNatsHeld
  {
public:
   long              seq;
   ulong             sent_ms;       // 0: not handed to this connection yet
   uchar             data[];
                     CNatsHeld(void) : seq(0),sent_ms(0) {}
  };

//--- all of them on one subject
class CNatsRing
  {
public:
   string            subject;
   string            stream;
   long              held;          // the last number the stream is known to hold, -1 not yet known
   long              newest;        // the last number published here
   CNatsHeld        *entries[];     // in order; [0, sent) were handed to the present connection
   int               sent;
   bool              verified;      // on this connection the stream has said what it holds
   bool              scanning;      // its newest message is no message of ours: the ones before are looked at
   long              scan_seq;
   ulong             scan_from;
   ulong             request;
   ulong             asked_ms;
   ulong             next_ask_ms;
                     CNatsRing(void) : subject(""),stream(""),held(-1),newest(-1),sent(0),verified(false),scanning(false),
                        scan_seq(0),scan_from(0),request(0),asked_ms(0),next_ask_ms(0) {}
                    ~CNatsRing(void);
   long              Confirm(const long number);      // forget what the stream holds; returns the bytes freed
  };

CNatsRing::~CNatsRing(void)
  {
   for(int i=ArraySize(entries)-1; i>=0; i--)
      delete entries[i];
  }

long CNatsRing::Confirm(const long number)
  {
   if(number>held)
      held=number;
   if(held>newest)
      newest=held;
   int n=0,size=ArraySize(entries);
   long freed=0;
   while(n<size && entries[n].seq<=held)
     {
      freed+=ArraySize(entries[n].data);
      delete entries[n];
      n++;
     }
   if(n>0)
     {
      for(int i=n; i<size; i++)
         entries[i-n]=entries[i];
      ArrayResize(entries,size-n,1024);
      sent=sent>n ? sent-n : 0;
     }
   return(freed);
  }

//+------------------------------------------------------------------+
//| The publisher                                                    |
//+------------------------------------------------------------------+
// A message goes out at once and stays in its subject's ring until the stream holds it. Once a second, and after
// every reconnect before anything new goes out, the stream is asked for its newest message on the subject; what is
// missing is sent again, same bytes, same number. While disconnected messages wait in the ring. A number the stream
// holds already is not sent: a restarted program may say everything again. One writer per subject.
class CNatsPublisher : public CNatsStoredHandler
  {
private:
   CNatsClient      *m_client;
   CNatsRing        *m_rings[];
   CNatsStored       m_stored;
   CJson             m_json;
   int               m_scanned;     // ring whose stream is being looked through, -1 none
   long              m_bytes;
   long              m_max_bytes;
   ENUM_NATS_RING    m_overflow;
   ulong             m_republished;
   ulong             m_dropped;
   string            m_error;
   void              Ask(CNatsRing *ring);
   void              Settle(CNatsRing *ring,const long number);
   void              Pump(CNatsRing *ring);
   bool              Send(CNatsRing *ring,CNatsHeld *entry);
   void              BeginScan(const int index,const ulong number);
   long              SeqOf(CNatsRing *ring,CNatsMessage &message);
   bool              MakeRoom(CNatsRing *ring,const int size);
public:
                     CNatsPublisher(void) : m_client(NULL),m_scanned(-1),m_bytes(0),m_max_bytes(0),
                        m_overflow(NATS_RING_REFUSE),m_republished(0),m_dropped(0),m_error("") {}
                    ~CNatsPublisher(void) { Close(); }
   void              Open(CNatsClient *client,const long max_bytes=16000000,const ENUM_NATS_RING overflow=NATS_RING_REFUSE);
   void              Close(void);
   //--- name a subject and the stream that captures it; returns its handle (the same again for the same subject)
   int               Register(const string subject,const string stream);
   //--- the last number published or held; -1 until the stream has answered for the first time. Number from it on.
   long              Newest(const int handle) const;
   //--- the last number the stream is known to hold, -1 not yet known
   long              Held(const int handle) const;
   //--- publish the JSON text of a message whose field "seq" is `seq`. true: the ring has it (or the stream already).
   //--- Numbers must rise. May be called before Newest is known, and while disconnected.
   bool              Publish(const int handle,const long seq,const uchar &data[]);
   bool              PublishText(const int handle,const long seq,const string json);
   //--- once per timer, after the client's Poll
   void              Poll(void);
   bool              IsVerified(void) const;      // connected, and every stream has said where it stands
   bool              IsFlushed(void) const;       // the streams hold everything
   void              AskNow(void);                // do not wait a second to find out
   long              WaitingBytes(void) const   { return(m_bytes);       }
   ulong             Republished(void) const    { return(m_republished); }
   ulong             Dropped(void) const        { return(m_dropped);     }
   string            LastError(void) const      { return(m_error);       }
   virtual void      OnNatsState(const bool ready);
   virtual void      OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message);
   virtual void      OnStored(CNatsMessage &message,const ulong number);
   virtual void      OnStoredEnd(void);
   //--- is it a message of this bus? Default: a JSON object. Where others may write garbage, check the type here.
   virtual bool      IsOurs(CJson &json,const string subject) { return(json.Kind(0)==JSON_OBJECT); }
  };

void CNatsPublisher::Open(CNatsClient *client,const long max_bytes,const ENUM_NATS_RING overflow)
  {
   Close();
   m_client=client;
   m_max_bytes=max_bytes;
   m_overflow=overflow;
   m_stored.Bind(client,GetPointer(this));
   m_client.AddHandler(GetPointer(this));
  }

void CNatsPublisher::Close(void)
  {
   if(CheckPointer(m_client)!=POINTER_INVALID)
     {
      m_stored.Stop();
      m_client.RemoveHandler(GetPointer(this));
     }
   m_client=NULL;
   for(int i=ArraySize(m_rings)-1; i>=0; i--)
      delete m_rings[i];
   ArrayResize(m_rings,0);
   m_bytes=0;
   m_scanned=-1;
  }

int CNatsPublisher::Register(const string subject,const string stream)
  {
   int n=ArraySize(m_rings);
   for(int i=0; i<n; i++)
      if(m_rings[i].subject==subject)
         return(i);
   ArrayResize(m_rings,n+1);
   m_rings[n]=new CNatsRing();
   m_rings[n].subject=subject;
   m_rings[n].stream=stream;
   Ask(m_rings[n]);
   return(n);
  }

long CNatsPublisher::Newest(const int handle) const
  {
   if(handle<0 || handle>=ArraySize(m_rings) || m_rings[handle].held<0)
      return(-1);
   return(m_rings[handle].newest);
  }

long CNatsPublisher::Held(const int handle) const
  {
   return(handle<0 || handle>=ArraySize(m_rings) ? -1 : m_rings[handle].held);
  }

bool CNatsPublisher::PublishText(const int handle,const long seq,const string json)
  {
   uchar data[];
   int size=StringToCharArray(json,data,0,WHOLE_ARRAY,CP_UTF8)-1;
   ArrayResize(data,size>0 ? size : 0);
   return(Publish(handle,seq,data));
  }

bool CNatsPublisher::Publish(const int handle,const long seq,const uchar &data[])
  {
   if(handle<0 || handle>=ArraySize(m_rings))
     {
      m_error="no such subject: Register it first";
      return(false);
     }
   CNatsRing *ring=m_rings[handle];
   if(seq<=0)
     {
      m_error=ring.subject+": a sequenced message needs its number";
      return(false);
     }
   if(ring.held>=0 && seq<=ring.held)
      return(true);
   int size=ArraySize(data);
   if(m_client.MaxPayload()<size)
     {
      m_error=StringFormat("%s: a message of %d bytes; the server takes %d",ring.subject,size,m_client.MaxPayload());
      return(false);
     }
   if(!MakeRoom(ring,size))
      return(false);
   int n=ArraySize(ring.entries);
   ArrayResize(ring.entries,n+1,1024);
   CNatsHeld *entry=new CNatsHeld();
   entry.seq=seq;
   ArrayResize(entry.data,size);
   if(size>0)
      ArrayCopy(entry.data,data);
   ring.entries[n]=entry;
   if(seq>ring.newest)
      ring.newest=seq;
   m_bytes+=size;
   Pump(ring);
   return(true);
  }

bool CNatsPublisher::MakeRoom(CNatsRing *ring,const int size)
  {
   while(m_bytes+size>m_max_bytes)
     {
      int n=ArraySize(ring.entries);
      if(m_overflow==NATS_RING_REFUSE || n==0)
        {
         m_error=ring.subject+": the stream has not confirmed for too long, the ring is full";
         return(false);
        }
      m_bytes-=ArraySize(ring.entries[0].data);
      delete ring.entries[0];
      for(int i=1; i<n; i++)
         ring.entries[i-1]=ring.entries[i];
      ArrayResize(ring.entries,n-1,1024);
      ring.sent=ring.sent>0 ? ring.sent-1 : 0;
      m_dropped++;
     }
   return(true);
  }

//--- hand the connection what it has not had yet
void CNatsPublisher::Pump(CNatsRing *ring)
  {
   int n=ArraySize(ring.entries);
   if(!ring.verified || !m_client.IsReady())
      return;
   while(ring.sent<n && Send(ring,ring.entries[ring.sent]))
      ring.sent++;
  }

bool CNatsPublisher::Send(CNatsRing *ring,CNatsHeld *entry)
  {
   if(!m_client.Publish(ring.subject,entry.data))
     {
      m_error=m_client.LastError();
      return(false);
     }
   entry.sent_ms=GetTickCount64();
   return(true);
  }

void CNatsPublisher::Ask(CNatsRing *ring)
  {
   ulong now_ms=GetTickCount64();
   ring.next_ask_ms=now_ms+NATS_CONFIRM_MS;
   ring.asked_ms=now_ms;
   if(CheckPointer(m_client)!=POINTER_INVALID && m_client.IsReady())
      ring.request=m_client.GetLast(ring.stream,ring.subject,2000,GetPointer(this));
  }

void CNatsPublisher::AskNow(void)
  {
   for(int i=0; i<ArraySize(m_rings); i++)
      if(m_rings[i].request==0 && !m_rings[i].scanning && ArraySize(m_rings[i].entries)>0)
         Ask(m_rings[i]);
  }

void CNatsPublisher::OnNatsState(const bool ready)
  {
   for(int i=0; i<ArraySize(m_rings); i++)
     {
      m_rings[i].verified=false;
      m_rings[i].sent=0;
      m_rings[i].request=0;
      if(ready)
         Ask(m_rings[i]);
     }
  }

void CNatsPublisher::Poll(void)
  {
   if(CheckPointer(m_client)==POINTER_INVALID)
      return;
   m_stored.Poll();
   if(!m_client.IsReady())
      return;
   ulong now_ms=GetTickCount64();
   for(int i=0; i<ArraySize(m_rings); i++)
     {
      CNatsRing *ring=m_rings[i];
      if(ring.scanning && m_scanned<0)
         BeginScan(i,ring.scan_from);
      if(ring.request==0 && !ring.scanning && now_ms>=ring.next_ask_ms && (!ring.verified || ArraySize(ring.entries)>0))
         Ask(ring);
      Pump(ring);
     }
  }

long CNatsPublisher::SeqOf(CNatsRing *ring,CNatsMessage &message)
  {
   if(!m_json.ParseUtf8(message.data) || !IsOurs(m_json,ring.subject))
      return(0);
   long seq=m_json.GetLong(0,"seq",0);
   return(seq>0 ? seq : 0);
  }

void CNatsPublisher::OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message)
  {
   int index=-1;
   for(int i=0; i<ArraySize(m_rings); i++)
      if(m_rings[i].request==request)
         index=i;
   if(index<0)
      return;
   CNatsRing *ring=m_rings[index];
   ring.request=0;
   if(status!=NATS_REPLY_ARRIVED || (message.status!=0 && message.status!=404))
     {
      m_error=ring.subject+": stream "+ring.stream+" does not answer";
      ring.next_ask_ms=GetTickCount64()+100;
      return;
     }
   if(message.status==404)
     {
      Settle(ring,0);
      return;
     }
   long seq=SeqOf(ring,message);
   if(seq>0)
      Settle(ring,seq);
   else                             // somebody else's: what came before it counts
     {
      ring.scanning=true;
      ring.scan_from=(ulong)StringToInteger(message.Header("Nats-Sequence","1"));
     }
  }

void CNatsPublisher::BeginScan(const int index,const ulong number)
  {
   m_scanned=index;
   m_rings[index].scan_seq=0;
   m_rings[index].scan_from=number>1000 ? number-1000 : 1;
   m_stored.Start(m_rings[index].stream,m_rings[index].subject,m_rings[index].scan_from);
  }

void CNatsPublisher::OnStored(CNatsMessage &message,const ulong number)
  {
   if(m_scanned<0)
      return;
   long seq=SeqOf(m_rings[m_scanned],message);
   if(seq>m_rings[m_scanned].scan_seq)
      m_rings[m_scanned].scan_seq=seq;
  }

void CNatsPublisher::OnStoredEnd(void)
  {
   if(m_scanned<0)
      return;
   int index=m_scanned;
   CNatsRing *ring=m_rings[index];
   m_scanned=-1;
   if(ring.scan_seq==0 && ring.scan_from>1)
     {
      BeginScan(index,0);
      return;
     }
   ring.scanning=false;
   Settle(ring,ring.scan_seq);
  }

//--- the stream has said what it holds: forget that, and send again what it lacks
void CNatsPublisher::Settle(CNatsRing *ring,const long number)
  {
   m_bytes-=ring.Confirm(number);
   int n=ArraySize(ring.entries);
   if(!ring.verified)
     {
      for(int i=0; i<n; i++)
         if(ring.entries[i].sent_ms>0)
            m_republished++;
      ring.verified=true;
      ring.sent=0;
      Pump(ring);
      return;
     }
   // Still missing long after it was sent on this connection: what came first is sent first.
   for(int i=0; i<ring.sent && ring.entries[i].sent_ms+2*NATS_CONFIRM_MS<ring.asked_ms; i++)
     {
      if(!Send(ring,ring.entries[i]))
         return;
      m_republished++;
     }
  }

bool CNatsPublisher::IsVerified(void) const
  {
   if(!m_client.IsReady())
      return(false);
   for(int i=0; i<ArraySize(m_rings); i++)
      if(!m_rings[i].verified)
         return(false);
   return(true);
  }

bool CNatsPublisher::IsFlushed(void) const
  {
   for(int i=0; i<ArraySize(m_rings); i++)
      if(ArraySize(m_rings[i].entries)>0)
         return(false);
   return(true);
  }

#endif
//+------------------------------------------------------------------+
