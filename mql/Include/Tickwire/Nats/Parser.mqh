//+------------------------------------------------------------------+
//| Nats/Parser.mqh: the protocol's server side, without any socket  |
//+------------------------------------------------------------------+
#ifndef TICKWIRE_NATS_PARSER_MQH
#define TICKWIRE_NATS_PARSER_MQH

#include <Tickwire\Nats\Bytes.mqh>
#include <Tickwire\Nats\Message.mqh>

#define NATS_MAX_LINE 65536

enum ENUM_NATS_OP
  {
   NATS_OP_NONE,     // more bytes are needed
   NATS_OP_INFO,
   NATS_OP_MSG,      // MSG and HMSG: the message is filled
   NATS_OP_PING,
   NATS_OP_PONG,
   NATS_OP_OK,
   NATS_OP_ERR,
   NATS_OP_BROKEN    // not the NATS protocol: the connection is of no use any more
  };

// Give it bytes as they come (Feed), take whole operations (Next) until NATS_OP_NONE.
class CNatsParser
  {
private:
   CNatsBytes        m_in;
   int               m_looked;      // bytes already searched for a line's end
   bool              m_waiting;     // a MSG line was read, its payload is not all there
   int               m_header_size;
   int               m_total_size;
   int               m_max_bytes;
   string            m_text;
   ENUM_NATS_OP      Broken(const string why);
   ENUM_NATS_OP      MessageLine(const string line,const bool with_headers,CNatsMessage &message);
   ENUM_NATS_OP      Payload(CNatsMessage &message);
   static bool       ParseSize(const string text,int &value);
   static bool       ParseHeaders(const string block,CNatsMessage &message);
public:
                     CNatsParser(void) : m_max_bytes(64000000),m_text("") { Clear(); }
   void              Clear(void);
   void              SetMaxBytes(const int max_bytes) { m_max_bytes=max_bytes; }
   void              Feed(const uchar &bytes[],const int count) { m_in.Append(bytes,0,count); }
   //--- the next operation; INFO's JSON, the error's text and the reason of BROKEN are in Text()
   ENUM_NATS_OP      Next(CNatsMessage &message);
   string            Text(void) const { return(m_text); }
   int               Waiting(void) const { return(m_in.Size()); }
  };

void CNatsParser::Clear(void)
  {
   m_in.Clear();
   m_looked=0;
   m_waiting=false;
   m_header_size=0;
   m_total_size=0;
  }

ENUM_NATS_OP CNatsParser::Broken(const string why)
  {
   m_text="the server does not speak NATS: "+why;
   return(NATS_OP_BROKEN);
  }

ENUM_NATS_OP CNatsParser::Next(CNatsMessage &message)
  {
   if(m_waiting)
      return(Payload(message));
   int end=m_in.LineEnd(m_looked);
   if(end<0)
     {
      m_looked=m_in.Size()>0 ? m_in.Size()-1 : 0;
      return(m_in.Size()>NATS_MAX_LINE ? Broken("a line without end") : NATS_OP_NONE);
     }
   m_looked=0;
   string line=m_in.Text(0,end);
   m_in.Consume(end+2);
   StringReplace(line,"\t"," ");
   int blank=StringFind(line," ");
   string op=blank<0 ? line : StringSubstr(line,0,blank);
   string rest=blank<0 ? "" : StringSubstr(line,blank+1);
   StringToUpper(op);
   if(op=="MSG")
      return(MessageLine(rest,false,message));
   if(op=="HMSG")
      return(MessageLine(rest,true,message));
   if(op=="PING")
      return(NATS_OP_PING);
   if(op=="PONG")
      return(NATS_OP_PONG);
   if(op=="+OK")
      return(NATS_OP_OK);
   m_text=rest;
   if(op=="INFO")
      return(NATS_OP_INFO);
   if(op=="-ERR")
     {
      StringReplace(m_text,"'","");
      return(NATS_OP_ERR);
     }
   return(Broken(StringSubstr(line,0,40)));
  }

bool CNatsParser::ParseSize(const string text,int &value)
  {
   int length=StringLen(text);
   value=0;
   if(length<1 || length>9)
      return(false);
   for(int i=0; i<length; i++)
     {
      ushort c=StringGetCharacter(text,i);
      if(c<'0' || c>'9')
         return(false);
      value=value*10+(int)(c-'0');
     }
   return(true);
  }

//--- MSG <subject> <sid> [reply] <size> and HMSG <subject> <sid> [reply] <header size> <total size>
ENUM_NATS_OP CNatsParser::MessageLine(const string line,const bool with_headers,CNatsMessage &message)
  {
   string parts[],words[];
   int count=StringSplit(line,' ',parts),n=0;
   ArrayResize(words,count);
   for(int i=0; i<count; i++)
      if(StringLen(parts[i])>0)
         words[n++]=parts[i];
   int sizes=with_headers ? 2 : 1;
   if(n<2+sizes || n>3+sizes)
      return(Broken("a message line of "+IntegerToString(n)+" words"));
   message.Clear();
   message.subject=words[0];
   message.reply=n==3+sizes ? words[2] : "";
   m_header_size=0;
   if(!ParseSize(words[1],message.sid) || !ParseSize(words[n-1],m_total_size))
      return(Broken("a message line without numbers"));
   if(with_headers && (!ParseSize(words[n-2],m_header_size) || m_header_size>m_total_size))
      return(Broken("a message line with wrong sizes"));
   if(m_total_size>m_max_bytes)
      return(Broken("a message of "+IntegerToString(m_total_size)+" bytes"));
   m_waiting=true;
   return(Payload(message));
  }

ENUM_NATS_OP CNatsParser::Payload(CNatsMessage &message)
  {
   if(m_in.Size()<m_total_size+2)
      return(NATS_OP_NONE);
   m_waiting=false;
   if(m_in.At(m_total_size)!='\r' || m_in.At(m_total_size+1)!='\n')
      return(Broken("a message without its end"));
   if(m_header_size>0 && !ParseHeaders(m_in.Text(0,m_header_size),message))
      return(Broken("a header block without NATS/1.0"));
   m_in.CopyTo(message.data,m_header_size,m_total_size-m_header_size);
   m_in.Consume(m_total_size+2);
   return(NATS_OP_MSG);
  }

bool CNatsParser::ParseHeaders(const string block,CNatsMessage &message)
  {
   if(StringFind(block,"NATS/1.0")!=0)
      return(false);
   int end=StringFind(block,"\r\n");
   if(end<0)
      return(false);
   string status=StringSubstr(block,8,end-8);
   StringTrimLeft(status);
   message.status=(int)StringToInteger(StringSubstr(status,0,3));
   message.headers=StringSubstr(block,end+2);
   return(true);
  }

#endif
//+------------------------------------------------------------------+
