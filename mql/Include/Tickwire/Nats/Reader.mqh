//+------------------------------------------------------------------+
//| Nats/Reader.mqh: numbered messages, each once, in order          |
//+------------------------------------------------------------------+
#ifndef TICKWIRE_NATS_READER_MQH
#define TICKWIRE_NATS_READER_MQH

//--- what a reader knows of one subject
class CNatsSubject
  {
public:
   string            name;
   bool              known;         // last is true
   long              last;          // the number handed over last
   bool              hole;
   long              left;          // the highest number there was no room for: the stream has it
   CNatsMessage     *pending[];     // live messages that wait, by number
                     CNatsSubject(void) : name(""),known(false),last(0),hole(false),left(0) {}
                    ~CNatsSubject(void) { for(int i=ArraySize(pending)-1; i>=0; i--) delete pending[i]; }
   long              Last(void) const { return(known ? last : 0); }
   int               Place(const long seq) const;       // where it is or belongs among the pending
   bool              Has(const long seq) const;
   void              Hold(const CNatsMessage &message);
   void              Forget(const int count);           // the first ones
  };

int CNatsSubject::Place(const long seq) const
  {
   int low=0,high=ArraySize(pending);
   while(low<high)
     {
      int middle=(low+high)/2;
      if(pending[middle].seq<seq)
         low=middle+1;
      else
         high=middle;
     }
   return(low);
  }

bool CNatsSubject::Has(const long seq) const
  {
   int at=Place(seq);
   return(at<ArraySize(pending) && pending[at].seq==seq);
  }

void CNatsSubject::Hold(const CNatsMessage &message)
  {
   int n=ArraySize(pending),at=Place(message.seq);
   if(at<n && pending[at].seq==message.seq)
      return;
   if(n>=NATS_MAX_PENDING)
     {
      if(message.seq>left)
         left=message.seq;
      return;
     }
   ArrayResize(pending,n+1,256);
   for(int i=n; i>at; i--)
      pending[i]=pending[i-1];
   CNatsMessage *kept=new CNatsMessage();
   kept.Take(message);
   pending[at]=kept;
  }

void CNatsSubject::Forget(const int count)
  {
   int n=ArraySize(pending);
   for(int i=0; i<count; i++)
      delete pending[i];
   for(int i=count; i<n; i++)
      pending[i-count]=pending[i];
   ArrayResize(pending,n-count,256);
  }

//+------------------------------------------------------------------+
//| The reader                                                       |
//+------------------------------------------------------------------+
// Hears a pattern of one stream at core speed. At the start, after a reconnect and when a number jumps it reads the
// stream and joins both without hole or repeat. What neither the stream nor the publisher can bring within
// NATS_LOST_AFTER_MS of a working connection is given up and counted. When too many messages wait for Next, live
// ones are left to the stream and read from there once there is room.
class CNatsReader : public CNatsStoredHandler
  {
private:
   CNatsClient      *m_client;
   string            m_pattern;
   string            m_stream;
   bool              m_from_start;
   string            m_since;
   int               m_sid;
   CNatsSubject     *m_subjects[];
   CNatsQueue        m_ready;
   CNatsStored       m_stored;
   CNatsMessage      m_copy;
   bool              m_started;     // the first reading of the stream has begun
   bool              m_catching;    // the pattern is being read; live messages wait
   bool              m_filling;     // a hole is being read
   bool              m_overflowed;
   ulong             m_fill_since_ms;
   ulong             m_fill_next_ms;
   int               m_fill_attempt;
   bool              m_positioned;  // not from the start: it is known where the stream stood at the start
   ulong             m_mark;        // every stored message up to this number has been handled
   ulong             m_newer_mark;
   ulong             m_refresh;     // request
   ulong             m_refresh_ms;
   bool              m_heard;       // something since the last refresh
   ulong             m_gaps_detected;
   ulong             m_gaps_filled;
   ulong             m_duplicates;
   ulong             m_lost;
   CJson             m_json;
   CNatsSubject     *Subject(const string name);
   void              Emit(CNatsSubject *subject,const CNatsMessage &message);
   void              OpenHole(CNatsSubject *subject);
   void              Drain(CNatsSubject *subject);
   void              Live(CNatsMessage &message);
   void              GiveUp(CNatsSubject *subject);
   void              CatchUp(void);
   void              Fill(void);
   bool              HasHoles(void) const;
   void              Refresh(const ulong now_ms);
public:
                     CNatsReader(void);
                    ~CNatsReader(void) { Close(); }
   //--- say before Open: the last number handled on a subject
   void              After(const string subject,const long seq);
   //--- from_start: begin with what the stream holds (false: only what comes from now on). since: nothing stored
   //--- before this UTC time (2026-01-02T03:04:05Z) is wanted; "" reads from the start.
   bool              Open(CNatsClient *client,const string pattern,const string stream,const bool from_start=true,
                          const string since="");
   void              Close(void);
   //--- once per timer, after the client's Poll
   void              Poll(void);
   //--- the next message. error "": in order, once, seq is its number. Else it is no message of the bus (see Accept).
   bool              Next(CNatsMessage &message);
   int               Waiting(void) const      { return(m_ready.Size());      }
   bool              IsJoined(void) const;    // the stream was read to its end and no hole is open
   ulong             GapsDetected(void) const { return(m_gaps_detected);     }
   ulong             GapsFilled(void) const   { return(m_gaps_filled);       }
   ulong             Duplicates(void) const   { return(m_duplicates);        }
   ulong             Lost(void) const         { return(m_lost);              }
   //--- is it a message, and what is its number? Default: a JSON object with a positive "seq". Override to check more:
   //--- what is refused is handed over with the error and takes nobody's place.
   virtual bool      Accept(CJson &json,CNatsMessage &message,long &seq,string &error);
   virtual void      OnNatsMessage(CNatsMessage &message);
   virtual void      OnNatsState(const bool ready);
   virtual void      OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message);
   virtual void      OnStored(CNatsMessage &message,const ulong number);
   virtual void      OnStoredEnd(void);
   virtual bool      WantsStored(void) { return(m_ready.Size()<NATS_HIGH_WATER/2); }
private:
   bool              Check(CNatsMessage &message);
  };

CNatsReader::CNatsReader(void) : m_client(NULL),m_pattern(""),m_stream(""),m_from_start(true),m_since(""),m_sid(0),
   m_started(false),m_catching(false),m_filling(false),m_overflowed(false),m_fill_since_ms(0),m_fill_next_ms(0),
   m_fill_attempt(0),m_positioned(false),m_mark(0),m_newer_mark(0),m_refresh(0),m_refresh_ms(0),m_heard(false),
   m_gaps_detected(0),m_gaps_filled(0),m_duplicates(0),m_lost(0)
  {
  }

void CNatsReader::After(const string subject,const long seq)
  {
   CNatsSubject *it=Subject(subject);
   it.known=true;
   it.last=seq;
  }

bool CNatsReader::Open(CNatsClient *client,const string pattern,const string stream,const bool from_start,const string since)
  {
   if(CheckPointer(m_client)!=POINTER_INVALID || !CNatsClient::IsSubject(pattern,true))
      return(false);
   m_client=client;
   m_pattern=pattern;
   m_stream=stream;
   m_from_start=from_start;
   m_since=since;
   m_stored.Bind(client,GetPointer(this));
   m_client.AddHandler(GetPointer(this));
   // Heard first, read second: nothing can fall between (one connection, handled in order by the server).
   m_sid=m_client.Subscribe(pattern,GetPointer(this));
   if(m_client.IsReady())
      CatchUp();
   return(m_sid!=0);
  }

void CNatsReader::Close(void)
  {
   if(CheckPointer(m_client)!=POINTER_INVALID)
     {
      m_stored.Stop();
      m_client.RemoveHandler(GetPointer(this));
     }
   m_client=NULL;
   for(int i=ArraySize(m_subjects)-1; i>=0; i--)
      delete m_subjects[i];
   ArrayResize(m_subjects,0);
   m_ready.Clear();
   m_catching=false;
   m_filling=false;
   m_started=false;
  }

CNatsSubject *CNatsReader::Subject(const string name)
  {
   int n=ArraySize(m_subjects);
   for(int i=0; i<n; i++)
      if(m_subjects[i].name==name)
         return(m_subjects[i]);
   ArrayResize(m_subjects,n+1,64);
   m_subjects[n]=new CNatsSubject();
   m_subjects[n].name=name;
   return(m_subjects[n]);
  }

bool CNatsReader::Next(CNatsMessage &message)
  {
   return(m_ready.Pop(message));
  }

bool CNatsReader::HasHoles(void) const
  {
   for(int i=0; i<ArraySize(m_subjects); i++)
      if(m_subjects[i].hole)
         return(true);
   return(false);
  }

bool CNatsReader::IsJoined(void) const
  {
   return(CheckPointer(m_client)!=POINTER_INVALID && m_client.IsReady() && m_started && !m_catching && !m_overflowed &&
          !HasHoles());
  }

bool CNatsReader::Accept(CJson &json,CNatsMessage &message,long &seq,string &error)
  {
   seq=json.GetLong(0,"seq",0);
   if(json.Kind(0)!=JSON_OBJECT)
      error="no JSON object";
   else if(seq<=0)
      error="no sequence number (field seq)";
   return(error=="");
  }

bool CNatsReader::Check(CNatsMessage &message)
  {
   long seq=0;
   message.seq=0;
   message.error="";
   if(!m_json.ParseUtf8(message.data))
      message.error=m_json.Error();
   else if(!Accept(m_json,message,seq,message.error) && message.error=="")
      message.error="refused";
   if(message.error=="")
      message.seq=seq;
   return(message.error=="");
  }

//+------------------------------------------------------------------+
//| Joining                                                          |
//+------------------------------------------------------------------+
void CNatsReader::OnNatsMessage(CNatsMessage &message)
  {
   m_heard=true;
   if(m_ready.Size()>=NATS_HIGH_WATER)
     {
      m_overflowed=true;            // the rest is left to the stream and read from there
      return;
     }
   if(Check(message))
      Live(message);
   else
      m_ready.Push(message);
  }

void CNatsReader::Emit(CNatsSubject *subject,const CNatsMessage &message)
  {
   subject.known=true;
   subject.last=message.seq;
   m_ready.Push(message);
  }

void CNatsReader::OpenHole(CNatsSubject *subject)
  {
   if(!subject.hole)
      m_gaps_detected++;
   subject.hole=true;
  }

void CNatsReader::Live(CNatsMessage &message)
  {
   CNatsSubject *it=Subject(message.subject);
   if(it.known && message.seq<=it.last)
     {
      m_duplicates++;
      return;
     }
   if(!it.hole && !m_catching)
     {
      long before=it.known || m_from_start ? it.Last() : message.seq-1;
      if(message.seq==before+1)
        {
         Emit(it,message);
         return;
        }
      OpenHole(it);
     }
   if(it.Has(message.seq))
      m_duplicates++;
   it.Hold(message);
   if(!m_catching && it.hole && message.seq==it.Last()+1)
      Drain(it);                    // the publisher has sent the missing one again
  }

void CNatsReader::OnStored(CNatsMessage &message,const ulong number)
  {
   if(!Check(message))
      return;                       // complained about when it came
   CNatsSubject *it=Subject(message.subject);
   long last=it.known || m_from_start ? it.Last() : message.seq-1;
   if(message.seq<=last)
      return;
   if(message.seq>last+1)
     {
      OpenHole(it);
      it.Hold(message);
      return;
     }
   Emit(it,message);
   if(it.hole)
      Drain(it);
  }

//--- hand over what waits and now follows
void CNatsReader::Drain(CNatsSubject *subject)
  {
   int n=ArraySize(subject.pending),at=0;
   if(!subject.known && !m_from_start && n>0)
     {
      subject.known=true;
      subject.last=subject.pending[0].seq-1;
     }
   while(at<n && subject.pending[at].seq<=subject.Last()+1)
     {
      if(subject.pending[at].seq==subject.Last()+1)
        {
         subject.pending[at].CopyTo(m_copy);
         Emit(subject,m_copy);
        }
      at++;
     }
   if(at>0)
      subject.Forget(at);
   if(subject.left<=subject.Last())
      subject.left=0;
   if(ArraySize(subject.pending)>0 || subject.left>0)
      OpenHole(subject);
   else if(subject.hole)
     {
      subject.hole=false;
      m_gaps_filled++;
     }
  }

//--- what is missing will not come: go on with the first message held
void CNatsReader::GiveUp(CNatsSubject *subject)
  {
   long next=ArraySize(subject.pending)>0 ? subject.pending[0].seq : subject.left+1;
   long last=subject.Last();
   if(next>last+1)
     {
      m_lost+=(ulong)(next-last-1);
      subject.known=true;
      subject.last=next-1;
     }
   Drain(subject);
   if(ArraySize(subject.pending)==0 && subject.left<=subject.Last())
      subject.hole=false;
  }

//+------------------------------------------------------------------+
//| Reading the stream                                               |
//+------------------------------------------------------------------+
void CNatsReader::OnNatsState(const bool ready)
  {
   m_refresh=0;
   if(ready)
      CatchUp();
  }

void CNatsReader::CatchUp(void)
  {
   if(!m_from_start && !m_positioned)
     {
      m_started=true;               // nothing stored is wanted; where the stream stands is found out by Refresh
      m_heard=true;
      m_refresh_ms=0;
      return;
     }
   if(m_catching)
      return;                       // it goes on by itself, up to what the stream holds now
   m_stored.Stop();
   m_filling=false;
   m_catching=true;
   if(m_mark>0)
      m_stored.Start(m_stream,m_pattern,m_mark+1);
   else
      m_stored.Start(m_stream,m_pattern,0,m_since);
   m_started=true;
  }

void CNatsReader::OnStoredEnd(void)
  {
   if(m_filling)
     {
      m_filling=false;
      m_fill_next_ms=GetTickCount64()+200;
      return;
     }
   m_catching=false;
   if(m_stored.Last()>m_mark)
     {
      m_mark=m_stored.Last();
      m_newer_mark=m_mark;
     }
   for(int i=0; i<ArraySize(m_subjects); i++)
      if(ArraySize(m_subjects[i].pending)>0 || m_subjects[i].hole)
         Drain(m_subjects[i]);
  }

void CNatsReader::Fill(void)
  {
   ulong now_ms=GetTickCount64();
   if(m_fill_since_ms==0)
     {
      m_fill_since_ms=now_ms;
      m_fill_attempt=0;
      m_fill_next_ms=now_ms;
     }
   if(now_ms<m_fill_next_ms)
      return;
   if(now_ms-m_fill_since_ms>NATS_LOST_AFTER_MS)
     {
      for(int i=0; i<ArraySize(m_subjects); i++)
         if(m_subjects[i].hole)
            GiveUp(m_subjects[i]);
      m_fill_since_ms=0;
      return;
     }
   int holes=0;
   for(int i=0; i<ArraySize(m_subjects); i++)
      if(m_subjects[i].hole)
         holes++;
   int chosen=m_fill_attempt%holes;       // one after the other; from the mark first, then from the start
   ulong from=m_fill_attempt<holes && m_mark>0 ? m_mark+1 : 1;
   for(int i=0; i<ArraySize(m_subjects); i++)
      if(m_subjects[i].hole && chosen--==0)
        {
         m_fill_attempt++;
         m_filling=true;
         m_stored.Start(m_stream,m_subjects[i].name,from);
         return;
        }
  }

//--- now and then: up to which number of the stream has everything been handled?
void CNatsReader::Refresh(const ulong now_ms)
  {
   if(!m_heard || m_refresh!=0 || now_ms-m_refresh_ms<NATS_REFRESH_MS || !IsJoined())
      return;
   m_refresh_ms=now_ms;
   m_heard=false;
   CJsonWriter json;
   json.BeginObject();
   json.MemberString("last_by_subj",m_pattern);
   json.EndObject();
   m_refresh=m_client.RequestText("$JS.API.DIRECT.GET."+m_stream,json.Text(),2000,GetPointer(this));
  }

void CNatsReader::OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message)
  {
   if(request!=m_refresh)
      return;
   m_refresh=0;
   if(status!=NATS_REPLY_ARRIVED || !IsJoined())
      return;
   if(message.status==404)
      m_positioned=true;            // the stream holds nothing yet
   if(message.status!=0)
      return;
   ulong number=(ulong)StringToInteger(message.Header("Nats-Sequence","0"));
   message.subject=message.Header("Nats-Subject",m_pattern);
   if(!m_positioned)
     {
      m_positioned=true;
      m_mark=number;
      m_newer_mark=number;
      return;
     }
   if(!Check(message))
      return;
   CNatsSubject *it=Subject(message.subject);
   if((it.known || m_from_start) && message.seq>it.Last())
     {
      m_heard=true;                 // stored, and not heard here yet
      return;
     }
   // The last one but one: a neighbour stored just before this may still be on its way to us.
   if(m_newer_mark>m_mark)
      m_mark=m_newer_mark;
   m_newer_mark=number;
  }

void CNatsReader::Poll(void)
  {
   if(CheckPointer(m_client)==POINTER_INVALID)
      return;
   m_stored.Poll();
   if(!m_client.IsReady())
     {
      m_fill_since_ms=0;
      return;
     }
   if(m_overflowed && m_ready.Size()<NATS_HIGH_WATER/2)
     {
      m_overflowed=false;
      CatchUp();
     }
   if(m_catching)
      return;
   if(!HasHoles())
      m_fill_since_ms=0;
   else if(!m_filling)
      Fill();
   Refresh(GetTickCount64());
  }

#endif
//+------------------------------------------------------------------+
