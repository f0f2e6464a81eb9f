//+------------------------------------------------------------------+
//| Nats/Bytes.mqh: a queue of bytes                                 |
//+------------------------------------------------------------------+
#ifndef TICKWIRE_NATS_BYTES_MQH
#define TICKWIRE_NATS_BYTES_MQH

// Bytes go in at the tail and out at the head. Room is taken in steps and kept.
class CNatsBytes
  {
private:
   uchar             m_data[];
   int               m_head;
   int               m_tail;
   void              MakeRoom(const int count);
public:
                     CNatsBytes(void) : m_head(0),m_tail(0) {}
   int               Size(void) const { return(m_tail-m_head); }
   void              Clear(void);
   void              Append(const uchar &source[],const int from,const int count);
   void              AppendText(const string text);                       // as UTF-8
   uchar             At(const int index) const { return(m_data[m_head+index]); }
   int               LineEnd(const int from) const;                       // offset of CR LF at or after from, or -1
   string            Text(const int from,const int count) const;          // from UTF-8
   int               CopyTo(uchar &target[],const int from,const int count) const;
   void              Consume(const int count);
  };

void CNatsBytes::Clear(void)
  {
   m_head=0;
   m_tail=0;
  }

void CNatsBytes::MakeRoom(const int count)
  {
   if(m_head==m_tail)
      Clear();
   if(m_tail+count<=ArraySize(m_data))
      return;
   if(m_head>0)                     // move what is left to the front first
     {
      uchar left[];
      int size=Size();
      if(size>0)
        {
         ArrayCopy(left,m_data,0,m_head,size);
         ArrayCopy(m_data,left,0,0,size);
        }
      m_head=0;
      m_tail=size;
     }
   if(m_tail+count>ArraySize(m_data))
      ArrayResize(m_data,2*m_tail+count+4096);
  }

void CNatsBytes::Append(const uchar &source[],const int from,const int count)
  {
   if(count<=0)
      return;
   MakeRoom(count);
   ArrayCopy(m_data,source,m_tail,from,count);
   m_tail+=count;
  }

void CNatsBytes::AppendText(const string text)
  {
   uchar bytes[];
   int count=StringToCharArray(text,bytes,0,WHOLE_ARRAY,CP_UTF8)-1;      // without the zero at the end
   Append(bytes,0,count);
  }

int CNatsBytes::LineEnd(const int from) const
  {
   for(int i=m_head+from; i+1<m_tail; i++)
      if(m_data[i]=='\r' && m_data[i+1]=='\n')
         return(i-m_head);
   return(-1);
  }

string CNatsBytes::Text(const int from,const int count) const
  {
   return(count<=0 ? "" : CharArrayToString(m_data,m_head+from,count,CP_UTF8));
  }

int CNatsBytes::CopyTo(uchar &target[],const int from,const int count) const
  {
   ArrayResize(target,count);
   return(count<=0 ? 0 : ArrayCopy(target,m_data,0,m_head+from,count));
  }

void CNatsBytes::Consume(const int count)
  {
   m_head+=count;
   if(m_head>=m_tail)
      Clear();
  }

#endif
//+------------------------------------------------------------------+
