//+------------------------------------------------------------------+
//| Bridge/Voice.mqh: how a Tickwire program speaks on the bus       |
//+------------------------------------------------------------------+
// Subjects, envelopes, clocks: everything of mql/PROTOCOL.md that all messages share.
#ifndef TICKWIRE_BRIDGE_VOICE_MQH
#define TICKWIRE_BRIDGE_VOICE_MQH

#include <Tickwire\Nats.mqh>

#define TW_PROTOCOL   1
#define TW_FOLDER     "tickwire"

//--- one part of a subject: everything but letters, digits, _ and - as %XX of its UTF-8 bytes
string TwToken(const string name)
  {
   uchar bytes[];
   int count=StringToCharArray(name,bytes,0,WHOLE_ARRAY,CP_UTF8)-1;
   string token="";
   for(int i=0; i<count; i++)
     {
      uchar c=bytes[i];
      bool plain=(c>='a' && c<='z') || (c>='A' && c<='Z') || (c>='0' && c<='9') || c=='_' || c=='-';
      token+=plain ? CharToString(c) : StringFormat("%%%02X",(int)c);
     }
   return(token);
  }

//--- the name a token stands for
string TwName(const string token)
  {
   uchar bytes[];
   int count=StringToCharArray(token,bytes,0,WHOLE_ARRAY,CP_UTF8)-1;
   uchar plain[];
   ArrayResize(plain,count>0 ? count : 0);
   int n=0;
   for(int i=0; i<count; i++)
     {
      if(bytes[i]=='%' && i+2<count)
        {
         plain[n++]=(uchar)((TwHexDigit(bytes[i+1])<<4)|TwHexDigit(bytes[i+2]));
         i+=2;
        }
      else
         plain[n++]=bytes[i];
     }
   return(n>0 ? CharArrayToString(plain,0,n,CP_UTF8) : "");
  }

int TwHexDigit(const uchar c)
  {
   if(c>='0' && c<='9')
      return(c-'0');
   if(c>='a' && c<='f')
      return(c-'a'+10);
   if(c>='A' && c<='F')
      return(c-'A'+10);
   return(0);
  }

//+------------------------------------------------------------------+
//| The voice                                                        |
//+------------------------------------------------------------------+
class CTwVoice
  {
private:
   CNatsClient      *m_client;
   string            m_account;
   string            m_instance;
   string            m_program;
   string            m_subjects[];
   long              m_seqs[];
   string            m_subject;      // of the message being written
   CJsonWriter       m_json;
   datetime          m_gmt;
   ulong             m_gmt_us;
   int               SubjectIndex(const string subject);
   void              Stamp(void);
public:
                     CTwVoice(void) : m_client(NULL),m_account(""),m_instance(""),m_program(""),m_subject(""),m_gmt(0),m_gmt_us(0) {}
   void              Open(CNatsClient *client,const string account,const string program);
   string            Account(void) const  { return(m_account);  }
   string            Instance(void) const { return(m_instance); }
   CNatsClient      *Client(void)         { return(m_client);   }
   bool              IsReady(void) const  { return(m_client.IsReady()); }
   //--- the computer's clock, ns UTC (milliseconds are estimated between two seconds of TimeGMT)
   long              NowNs(void);
   //--- ea.<account>.<what>[.<symbol>]
   string            Subject(const string what,const string symbol="") const;
   //--- a message of its own: Begin, then write its members, then Send. false: not sent
   CJsonWriter      *Begin(const string type,const string what,const string symbol="");
   bool              Send(void);
   //--- an answer: Begin, write its members, then Answer
   CJsonWriter      *BeginReply(const string type);
   bool              Answer(const string reply);
   //--- tell people: the terminal's journal, and alerts.<severity>
   void              Alert(const string severity,const string name,const string detail);
   void              Halt(const string reason);
  };

void CTwVoice::Open(CNatsClient *client,const string account,const string program)
  {
   m_client=client;
   m_account=account;
   m_program=program;
   MathSrand((int)(GetMicrosecondCount()&0x7FFFFFFF));
   m_instance=StringFormat("%I64x%04x%04x",(long)TimeGMT(),(int)(GetMicrosecondCount()&0xFFFF),MathRand()&0xFFFF);
   Stamp();
  }

void CTwVoice::Stamp(void)
  {
   datetime now=TimeGMT();
   if(now!=m_gmt)
     {
      m_gmt=now;
      m_gmt_us=GetMicrosecondCount();
     }
  }

long CTwVoice::NowNs(void)
  {
   Stamp();
   ulong passed=GetMicrosecondCount()-m_gmt_us;
   if(passed>999999)
      passed=999999;
   return((long)m_gmt*1000000000+(long)passed*1000);
  }

string CTwVoice::Subject(const string what,const string symbol) const
  {
   return("ea."+TwToken(m_account)+"."+what+(symbol=="" ? "" : "."+TwToken(symbol)));
  }

int CTwVoice::SubjectIndex(const string subject)
  {
   int n=ArraySize(m_subjects);
   for(int i=0; i<n; i++)
      if(m_subjects[i]==subject)
         return(i);
   ArrayResize(m_subjects,n+1,64);
   ArrayResize(m_seqs,n+1,64);
   m_subjects[n]=subject;
   m_seqs[n]=0;
   return(n);
  }

CJsonWriter *CTwVoice::Begin(const string type,const string what,const string symbol)
  {
   m_subject=Subject(what,symbol);
   long now=NowNs();
   m_json.Clear();
   m_json.BeginObject();
   m_json.MemberString("type",type);
   m_json.MemberLong("ts_event_ns",now);
   m_json.MemberLong("ts_init_ns",now);
   m_json.MemberLong("seq",m_seqs[SubjectIndex(m_subject)]+1);
   m_json.MemberLong("protocol",TW_PROTOCOL);
   m_json.MemberString("account",m_account);
   m_json.MemberString("instance",m_instance);
   return(GetPointer(m_json));
  }

bool CTwVoice::Send(void)
  {
   m_json.EndObject();
   if(!m_json.IsComplete())
     {
      Print("tickwire: a message for ",m_subject," is not whole");
      return(false);
     }
   if(!m_client.PublishText(m_subject,m_json.Text()))
      return(false);
   m_seqs[SubjectIndex(m_subject)]++;
   return(true);
  }

CJsonWriter *CTwVoice::BeginReply(const string type)
  {
   m_json.Clear();
   m_json.BeginObject();
   m_json.MemberString("type",type);
   m_json.MemberLong("protocol",TW_PROTOCOL);
   m_json.MemberString("instance",m_instance);
   return(GetPointer(m_json));
  }

bool CTwVoice::Answer(const string reply)
  {
   m_json.EndObject();
   if(!m_json.IsComplete())
     {
      Print("tickwire: an answer is not whole");
      return(false);
     }
   return(reply!="" && m_client.PublishText(reply,m_json.Text()));
  }

void CTwVoice::Alert(const string severity,const string name,const string detail)
  {
   Print("tickwire ",severity,": ",name,": ",detail);
   CJsonWriter json;
   long now=NowNs();
   json.BeginObject();
   json.MemberString("type","Alert");
   json.MemberLong("ts_event_ns",now);
   json.MemberLong("ts_init_ns",now);
   json.MemberString("severity",severity);
   json.MemberString("service",m_program);
   json.MemberString("name",name);
   json.MemberString("detail",detail);
   json.EndObject();
   m_client.PublishText("alerts."+severity,json.Text());
  }

//--- stopping is everyone's right; the command's id makes a repetition harmless
void CTwVoice::Halt(const string reason)
  {
   CJsonWriter json;
   long now=NowNs();
   string id=m_program+"-"+m_instance+"-"+TwToken(reason);
   json.BeginObject();
   json.MemberString("type","Halt");
   json.MemberLong("ts_event_ns",now);
   json.MemberLong("ts_init_ns",now);
   json.MemberString("command_id",id);
   json.MemberString("issued_by",m_program);
   json.MemberString("reason",reason);
   json.EndObject();
   uchar data[];
   int size=StringToCharArray(json.Text(),data,0,WHOLE_ARRAY,CP_UTF8)-1;
   ArrayResize(data,size);
   m_client.PublishAcked("control.halt",data,id);
  }

#endif
//+------------------------------------------------------------------+
