//+------------------------------------------------------------------+
//| Nats/Object.mqh: read one object of a JetStream object store     |
//+------------------------------------------------------------------+
#ifndef TICKWIRE_NATS_OBJECT_MQH
#define TICKWIRE_NATS_OBJECT_MQH

enum ENUM_NATS_OBJECT
  {
   NATS_OBJECT_NONE,       // nothing was asked for
   NATS_OBJECT_READING,
   NATS_OBJECT_READY,      // whole, size and SHA-256 as the store says: take it with Take
   NATS_OBJECT_MISSING,    // the store holds no object of that name
   NATS_OBJECT_BROKEN      // not as the store says, or too large: see LastError
  };

class CNatsObject : public CNatsStoredHandler
  {
private:
   CNatsClient      *m_client;
   string            m_bucket;
   string            m_name;
   ENUM_NATS_OBJECT  m_state;
   CNatsStored       m_stored;
   CNatsBytes        m_bytes;
   ulong             m_request;
   ulong             m_retry_ms;
   long              m_size;
   long              m_max_size;
   string            m_digest;
   string            m_error;
   void              Fail(const string why);
   static string     Base64Url(const uchar &data[]);
public:
                     CNatsObject(void) : m_client(NULL),m_bucket(""),m_name(""),m_state(NATS_OBJECT_NONE),m_request(0),
                        m_retry_ms(0),m_size(0),m_max_size(0),m_digest(""),m_error("") {}
                    ~CNatsObject(void) { Close(); }
   bool              Open(CNatsClient *client,const string bucket,const string name,const long max_size=100000000);
   void              Close(void);
   void              Poll(void);
   ENUM_NATS_OBJECT  State(void) const     { return(m_state); }
   string            LastError(void) const { return(m_error); }
   bool              Take(uchar &content[]);              // false: not ready
   virtual void      OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message);
   virtual void      OnStored(CNatsMessage &message,const ulong number);
   virtual void      OnStoredEnd(void);
  };

bool CNatsObject::Open(CNatsClient *client,const string bucket,const string name,const long max_size)
  {
   Close();
   m_client=client;
   m_bucket=bucket;
   m_name=name;
   m_max_size=max_size;
   m_state=NATS_OBJECT_READING;
   m_error="";
   m_retry_ms=0;
   m_bytes.Clear();
   m_stored.Bind(client,GetPointer(this));
   Poll();
   return(true);
  }

void CNatsObject::Close(void)
  {
   if(CheckPointer(m_client)!=POINTER_INVALID)
     {
      m_stored.Stop();
      m_client.RemoveHandler(GetPointer(this));
     }
   m_client=NULL;
   m_state=NATS_OBJECT_NONE;
   m_request=0;
   m_bytes.Clear();
  }

void CNatsObject::Fail(const string why)
  {
   m_state=NATS_OBJECT_BROKEN;
   m_error=m_name+": "+why;
   m_bytes.Clear();
   m_stored.Stop();
  }

//--- base64 with - and _ (as subjects need it)
string CNatsObject::Base64Url(const uchar &data[])
  {
   uchar key[],coded[];
   if(ArraySize(data)==0 || CryptEncode(CRYPT_BASE64,data,key,coded)<=0)
      return("");
   string text=CharArrayToString(coded,0,ArraySize(coded),CP_UTF8);
   StringReplace(text,"+","-");
   StringReplace(text,"/","_");
   return(text);
  }

void CNatsObject::Poll(void)
  {
   if(m_state!=NATS_OBJECT_READING)
      return;
   m_stored.Poll();
   if(m_request!=0 || m_stored.IsBusy() || !m_client.IsReady() || GetTickCount64()<m_retry_ms)
      return;
   uchar letters[];
   int count=StringToCharArray(m_name,letters,0,WHOLE_ARRAY,CP_UTF8)-1;
   ArrayResize(letters,count>0 ? count : 0);
   m_request=m_client.GetLast("OBJ_"+m_bucket,"$O."+m_bucket+".M."+Base64Url(letters),5000,GetPointer(this));
   m_retry_ms=GetTickCount64()+200;
  }

void CNatsObject::OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message)
  {
   if(request!=m_request || m_state!=NATS_OBJECT_READING)
      return;
   m_request=0;
   if(status!=NATS_REPLY_ARRIVED)
      return;                       // Poll asks again
   CJson json;
   if(message.status==404)
     {
      m_state=NATS_OBJECT_MISSING;
      m_error="the store holds no object '"+m_name+"'";
      return;
     }
   if(message.status!=0 || !json.ParseUtf8(message.data))
     {
      Fail("the store's note cannot be read");
      return;
     }
   if(json.GetBool(0,"deleted"))
     {
      m_state=NATS_OBJECT_MISSING;
      m_error="'"+m_name+"' was deleted";
      return;
     }
   m_size=json.GetLong(0,"size",-1);
   m_digest=json.GetString(0,"digest");
   string id=json.GetString(0,"nuid");
   if(m_size<0 || m_size>m_max_size || !CNatsClient::IsSubject(id))
     {
      Fail(StringFormat("%I64d bytes, at most %I64d are taken",m_size,m_max_size));
      return;
     }
   m_bytes.Clear();
   if(m_size==0)
      OnStoredEnd();
   else
      m_stored.Start("OBJ_"+m_bucket,"$O."+m_bucket+".C."+id,0);
  }

void CNatsObject::OnStored(CNatsMessage &message,const ulong number)
  {
   m_bytes.Append(message.data,0,message.Size());
   if(m_bytes.Size()>m_size)
      Fail("larger than the store's note says");
  }

void CNatsObject::OnStoredEnd(void)
  {
   if(m_state!=NATS_OBJECT_READING)
      return;
   uchar content[],key[],hash[];
   m_bytes.CopyTo(content,0,m_bytes.Size());
   if(m_bytes.Size()!=m_size)
     {
      Fail(StringFormat("%d of %I64d bytes are there",m_bytes.Size(),m_size));
      return;
     }
   if(m_size>0 && m_digest!="" && (CryptEncode(CRYPT_HASH_SHA256,content,key,hash)<=0 || "SHA-256="+Base64Url(hash)!=m_digest))
     {
      Fail("its digest is not what the store says");
      return;
     }
   m_state=NATS_OBJECT_READY;
  }

bool CNatsObject::Take(uchar &content[])
  {
   if(m_state!=NATS_OBJECT_READY)
      return(false);
   m_bytes.CopyTo(content,0,m_bytes.Size());
   return(true);
  }

#endif
//+------------------------------------------------------------------+
