//+------------------------------------------------------------------+
//| Nats/Message.mqh: a message as it came                           |
//+------------------------------------------------------------------+
#ifndef TICKWIRE_NATS_MESSAGE_MQH
#define TICKWIRE_NATS_MESSAGE_MQH

class CNatsMessage
  {
public:
   string            subject;
   string            reply;         // where an answer goes, "" none
   string            headers;       // the lines after NATS/1.0, each "Name: value"; "" none
   int               status;        // of the header line (404, 503, ...), 0 none
   int               sid;           // of the subscription that heard it
   long              seq;           // set by NatsBus.mqh: the publisher's number (of a command: the stream's)
   string            error;         // set by NatsBus.mqh: why this is no message of the bus, "" it is one
   uchar             data[];        // the payload; exactly its length
                     CNatsMessage(void) : subject(""),reply(""),headers(""),status(0),sid(0),seq(0),error("") {}
   void              Clear(void);
   void              CopyTo(CNatsMessage &target) const;
   void              Take(const CNatsMessage &source);        // the same the other way round
   //--- the payload from UTF-8
   string            Text(void) const;
   int               Size(void) const { return(ArraySize(data)); }
   //--- a header's value; names are compared without regard to case
   string            Header(const string name,const string otherwise="") const;
  };

void CNatsMessage::Clear(void)
  {
   subject="";
   reply="";
   headers="";
   status=0;
   sid=0;
   seq=0;
   error="";
   ArrayResize(data,0);
  }

void CNatsMessage::CopyTo(CNatsMessage &target) const
  {
   target.subject=subject;
   target.reply=reply;
   target.headers=headers;
   target.status=status;
   target.sid=sid;
   target.seq=seq;
   target.error=error;
   ArrayResize(target.data,ArraySize(data));
   if(ArraySize(data)>0)
      ArrayCopy(target.data,data);
  }

void CNatsMessage::Take(const CNatsMessage &source)
  {
   subject=source.subject;
   reply=source.reply;
   headers=source.headers;
   status=source.status;
   sid=source.sid;
   seq=source.seq;
   error=source.error;
   ArrayResize(data,ArraySize(source.data));
   if(ArraySize(source.data)>0)
      ArrayCopy(data,source.data);
  }

string CNatsMessage::Text(void) const
  {
   return(ArraySize(data)==0 ? "" : CharArrayToString(data,0,ArraySize(data),CP_UTF8));
  }

string CNatsMessage::Header(const string name,const string otherwise) const
  {
   string lines[];
   int count=StringSplit(headers,'\n',lines);
   for(int i=0; i<count; i++)
     {
      int colon=StringFind(lines[i],":");
      if(colon!=StringLen(name) || StringCompare(StringSubstr(lines[i],0,colon),name,false)!=0)
         continue;
      string value=StringSubstr(lines[i],colon+1);
      StringTrimLeft(value);
      StringTrimRight(value);
      return(value);
     }
   return(otherwise);
  }

//+------------------------------------------------------------------+
//| A queue of messages; it owns what is in it                       |
//+------------------------------------------------------------------+
class CNatsQueue
  {
private:
   CNatsMessage     *m_items[];     // circular
   int               m_first;
   int               m_size;
   long              m_bytes;
   void              Grow(void);
public:
                     CNatsQueue(void) : m_first(0),m_size(0),m_bytes(0) {}
                    ~CNatsQueue(void) { Clear(); }
   int               Size(void) const  { return(m_size);  }
   long              Bytes(void) const { return(m_bytes); }
   void              Clear(void);
   void              Push(const CNatsMessage &message);   // keeps a copy
   bool              Pop(CNatsMessage &message);          // false: empty
   void              Drop(void);                          // the first one
  };

void CNatsQueue::Clear(void)
  {
   while(m_size>0)
      Drop();
   ArrayResize(m_items,0);
   m_first=0;
  }

void CNatsQueue::Grow(void)
  {
   int room=ArraySize(m_items),more=2*room+16;
   CNatsMessage *straight[];
   ArrayResize(straight,more);
   for(int i=0; i<more; i++)
     {
      if(i<m_size)
         straight[i]=m_items[(m_first+i)%room];
      else
         straight[i]=NULL;
     }
   ArrayResize(m_items,more);
   for(int i=0; i<more; i++)
      m_items[i]=straight[i];
   m_first=0;
  }

void CNatsQueue::Push(const CNatsMessage &message)
  {
   if(m_size==ArraySize(m_items))
      Grow();
   CNatsMessage *kept=new CNatsMessage();
   kept.Take(message);
   m_items[(m_first+m_size)%ArraySize(m_items)]=kept;
   m_size++;
   m_bytes+=message.Size();
  }

bool CNatsQueue::Pop(CNatsMessage &message)
  {
   if(m_size==0)
      return(false);
   m_items[m_first].CopyTo(message);
   Drop();
   return(true);
  }

void CNatsQueue::Drop(void)
  {
   if(m_size==0)
      return;
   m_bytes-=m_items[m_first].Size();
   delete m_items[m_first];
   m_items[m_first]=NULL;
   m_first=(m_first+1)%ArraySize(m_items);
   m_size--;
  }

//--- one header line; line breaks inside a value become blanks
string NatsHeader(const string name,const string value)
  {
   string clean=value;
   StringReplace(clean,"\r"," ");
   StringReplace(clean,"\n"," ");
   return(name+": "+clean+"\r\n");
  }

#endif
//+------------------------------------------------------------------+
