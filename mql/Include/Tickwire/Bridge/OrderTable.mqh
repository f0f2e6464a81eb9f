//+------------------------------------------------------------------+
//| Bridge/OrderTable.mqh: which orders were taken up, for ever      |
//+------------------------------------------------------------------+
// An append-only file. A key is written and flushed before OrderSend is called, its answer after it. Every line
// ends with a checksum:
//   B <tab> key <tab> seconds <tab> crc          OrderSend is about to be called
//   A <tab> key <tab> answer as JSON <tab> crc   what it gave
//   R <tab> key <tab> reason <tab> crc           refused; OrderSend was not and will not be called
// A torn last line is what an interrupted write leaves behind. Torn "B": OrderSend was not called yet, the key is
// new. Torn "A": the "B" line before it stands, the outcome is unknown.
#ifndef TICKWIRE_BRIDGE_ORDER_TABLE_MQH
#define TICKWIRE_BRIDGE_ORDER_TABLE_MQH

#define TW_TABLE_KEEP_S    604800    // an older order has long expired
#define TW_TABLE_COMPACT   2000000   // bytes

enum ENUM_TW_KNOWN
  {
   TW_NEW,           // never heard of
   TW_BEGUN,         // OrderSend was called in an earlier life, the answer is lost
   TW_ANSWERED,
   TW_REFUSED
  };

class CTwOrderTable
  {
private:
   string            m_file;
   int               m_handle;
   string            m_keys[];
   ENUM_TW_KNOWN     m_states[];
   string            m_details[];
   long              m_times[];
   int               m_torn;
   string            m_error;
   bool              Fail(const string what);
   int               Find(const string key) const;
   int               Enter(const string key);
   bool              Append(const string kind,const string key,const string detail);
   bool              Write(const string text);
   bool              Load(const string file);
   bool              TakeLine(const string line);
   bool              Compact(const long now_s);
public:
                     CTwOrderTable(void) : m_file(""),m_handle(INVALID_HANDLE),m_torn(0),m_error("not open") {}
                    ~CTwOrderTable(void) { Close(); }
   bool              Open(const string file);
   void              Close(void);
   bool              IsOpen(void) const   { return(m_handle!=INVALID_HANDLE); }
   string            Error(void) const    { return(m_error);                  }
   int               Size(void) const     { return(ArraySize(m_keys));        }
   int               Torn(void) const     { return(m_torn);                   }
   //--- what is known of a key; detail: the answer as JSON, or the reason
   ENUM_TW_KNOWN     Known(const string key,string &detail) const;
   //--- false: it is not on the disk, so do not call OrderSend
   bool              Begin(const string key);
   bool              Answer(const string key,const string json);
   bool              Refuse(const string key,const string reason);
   static uint       Crc(const string text);
   static bool       IsKey(const string key);
  };

bool CTwOrderTable::Fail(const string what)
  {
   m_error=what;
   return(false);
  }

//--- letters, digits, _ - : up to 64 of them
bool CTwOrderTable::IsKey(const string key)
  {
   int n=StringLen(key);
   if(n<1 || n>64)
      return(false);
   for(int i=0; i<n; i++)
     {
      ushort c=StringGetCharacter(key,i);
      bool plain=(c>='a' && c<='z') || (c>='A' && c<='Z') || (c>='0' && c<='9') || c=='_' || c=='-' || c==':';
      if(!plain)
         return(false);
     }
   return(true);
  }

//--- CRC-32 (IEEE) of the UTF-8 bytes
uint CTwOrderTable::Crc(const string text)
  {
   uchar bytes[];
   int count=StringToCharArray(text,bytes,0,WHOLE_ARRAY,CP_UTF8)-1;
   uint crc=0xFFFFFFFF;
   for(int i=0; i<count; i++)
     {
      crc^=bytes[i];
      for(int bit=0; bit<8; bit++)
         crc=(crc&1)!=0 ? (crc>>1)^0xEDB88320 : crc>>1;
     }
   return(crc^0xFFFFFFFF);
  }

bool CTwOrderTable::Open(const string file)
  {
   Close();
   m_file=file;
   m_torn=0;
   ArrayResize(m_keys,0);
   ArrayResize(m_states,0);
   ArrayResize(m_details,0);
   ArrayResize(m_times,0);
   string fresh=file+".new";
   // A compaction that was interrupted between the removal of the old file and the renaming of the new one.
   if(!FileIsExist(file) && FileIsExist(fresh) && !FileMove(fresh,0,file,FILE_REWRITE))
      return(Fail(StringFormat("%s cannot be renamed (error %d)",fresh,GetLastError())));
   if(FileIsExist(file))
     {
      if(!Load(file))
         return(false);
      if(!Compact((long)TimeGMT()))
         return(false);
     }
   m_handle=FileOpen(file,FILE_READ|FILE_WRITE|FILE_BIN|FILE_SHARE_READ);
   if(m_handle==INVALID_HANDLE)
      return(Fail(StringFormat("%s cannot be opened (error %d)",file,GetLastError())));
   FileSeek(m_handle,0,SEEK_END);
   m_error="";
   return(true);
  }

void CTwOrderTable::Close(void)
  {
   if(m_handle!=INVALID_HANDLE)
      FileClose(m_handle);
   m_handle=INVALID_HANDLE;
  }

bool CTwOrderTable::Load(const string file)
  {
   int handle=FileOpen(file,FILE_READ|FILE_BIN|FILE_SHARE_READ|FILE_SHARE_WRITE);
   if(handle==INVALID_HANDLE)
      return(Fail(StringFormat("%s cannot be read (error %d)",file,GetLastError())));
   uchar bytes[];
   ulong size=FileSize(handle);
   uint got=FileReadArray(handle,bytes);
   FileClose(handle);
   if(got!=size)
      return(Fail(StringFormat("%s: %d of %d bytes were read",file,(int)got,(int)size)));
   int from=0;
   for(int i=0; i<(int)got; i++)
      if(bytes[i]=='\n')
        {
         if(!TakeLine(i>from ? CharArrayToString(bytes,from,i-from,CP_UTF8) : ""))
            m_torn++;
         from=i+1;
        }
   if(from<(int)got)
      m_torn++;
   return(true);
  }

bool CTwOrderTable::TakeLine(const string line)
  {
   string parts[];
   if(StringSplit(line,'\t',parts)!=4 || !IsKey(parts[1]))
      return(false);
   if(StringFormat("%08x",Crc(parts[0]+"\t"+parts[1]+"\t"+parts[2]))!=parts[3])
      return(false);
   int at=Enter(parts[1]);
   if(parts[0]=="B")
     {
      m_states[at]=TW_BEGUN;
      m_times[at]=StringToInteger(parts[2]);
     }
   else if(parts[0]=="A" || parts[0]=="R")
     {
      m_states[at]=parts[0]=="A" ? TW_ANSWERED : TW_REFUSED;
      m_details[at]=parts[2];
      if(m_times[at]==0)
         m_times[at]=(long)TimeGMT();
     }
   else
      return(false);
   return(true);
  }

//--- write the table anew without torn lines and without what is long over
bool CTwOrderTable::Compact(const long now_s)
  {
   int handle=FileOpen(m_file,FILE_READ|FILE_BIN|FILE_SHARE_READ|FILE_SHARE_WRITE);
   ulong size=handle==INVALID_HANDLE ? 0 : FileSize(handle);
   if(handle!=INVALID_HANDLE)
      FileClose(handle);
   if(m_torn==0 && size<TW_TABLE_COMPACT)
      return(true);
   string fresh=m_file+".new";
   m_handle=FileOpen(fresh,FILE_WRITE|FILE_BIN);
   if(m_handle==INVALID_HANDLE)
      return(Fail(StringFormat("%s cannot be written (error %d)",fresh,GetLastError())));
   bool whole=true;
   int kept=0;
   for(int i=0; i<ArraySize(m_keys); i++)
     {
      if(now_s-m_times[i]>TW_TABLE_KEEP_S)
         continue;
      m_keys[kept]=m_keys[i];
      m_states[kept]=m_states[i];
      m_details[kept]=m_details[i];
      m_times[kept]=m_times[i];
      if(m_states[kept]!=TW_REFUSED)
         whole=whole && Append("B",m_keys[kept],IntegerToString(m_times[kept]));
      if(m_states[kept]!=TW_BEGUN)
         whole=whole && Append(m_states[kept]==TW_ANSWERED ? "A" : "R",m_keys[kept],m_details[kept]);
      kept++;
     }
   ArrayResize(m_keys,kept);
   ArrayResize(m_states,kept);
   ArrayResize(m_details,kept);
   ArrayResize(m_times,kept);
   Close();
   if(!whole)
      return(false);
   if(!FileMove(fresh,0,m_file,FILE_REWRITE))
      return(Fail(StringFormat("%s cannot be renamed (error %d)",fresh,GetLastError())));
   return(true);
  }

int CTwOrderTable::Find(const string key) const
  {
   for(int i=ArraySize(m_keys)-1; i>=0; i--)
      if(m_keys[i]==key)
         return(i);
   return(-1);
  }

int CTwOrderTable::Enter(const string key)
  {
   int at=Find(key);
   if(at>=0)
      return(at);
   at=ArraySize(m_keys);
   ArrayResize(m_keys,at+1,1024);
   ArrayResize(m_states,at+1,1024);
   ArrayResize(m_details,at+1,1024);
   ArrayResize(m_times,at+1,1024);
   m_keys[at]=key;
   m_states[at]=TW_NEW;
   m_details[at]="";
   m_times[at]=0;
   return(at);
  }

ENUM_TW_KNOWN CTwOrderTable::Known(const string key,string &detail) const
  {
   int at=Find(key);
   detail=at<0 ? "" : m_details[at];
   return(at<0 ? TW_NEW : m_states[at]);
  }

bool CTwOrderTable::Write(const string text)
  {
   uchar bytes[];
   int count=StringToCharArray(text,bytes,0,WHOLE_ARRAY,CP_UTF8)-1;
   if((int)FileWriteArray(m_handle,bytes,0,count)!=count)
     {
      // What stands in the file now is a torn line: nothing more may follow it.
      int error=GetLastError();
      Close();
      return(Fail(StringFormat("%s cannot be written (error %d)",m_file,error)));
     }
   FileFlush(m_handle);
   return(true);
  }

bool CTwOrderTable::Append(const string kind,const string key,const string detail)
  {
   if(m_handle==INVALID_HANDLE)
      return(Fail(m_error=="" ? "the table is closed" : m_error));
   string clean=detail;
   StringReplace(clean,"\t"," ");
   StringReplace(clean,"\r"," ");
   StringReplace(clean,"\n"," ");
   string line=kind+"\t"+key+"\t"+clean;
   return(Write(line+"\t"+StringFormat("%08x",Crc(line))+"\n"));
  }

bool CTwOrderTable::Begin(const string key)
  {
   long now=(long)TimeGMT();
   if(!IsKey(key) || Find(key)>=0 || !Append("B",key,IntegerToString(now)))
      return(false);
   int at=Enter(key);
   m_states[at]=TW_BEGUN;
   m_times[at]=now;
   return(true);
  }

bool CTwOrderTable::Answer(const string key,const string json)
  {
   int at=Find(key);
   if(at<0)
      return(Fail("an answer without a beginning"));
   m_states[at]=TW_ANSWERED;         // in this life we know, whatever the disk does
   m_details[at]=json;
   return(Append("A",key,json));
  }

bool CTwOrderTable::Refuse(const string key,const string reason)
  {
   if(!IsKey(key) || Find(key)>=0)
      return(false);
   int at=Enter(key);
   m_states[at]=TW_REFUSED;
   m_details[at]=reason;
   m_times[at]=(long)TimeGMT();
   return(Append("R",key,reason));
  }

#endif
//+------------------------------------------------------------------+
