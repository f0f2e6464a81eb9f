//+------------------------------------------------------------------+
//| Json.mqh: JSON reader and writer for MQL5, usable on its own     |
//+------------------------------------------------------------------+
// Reader                                     Writer
//   CJson json;                                CJsonWriter w;
//   if(!json.Parse(text))                      w.BeginObject();
//      Print(json.Error());                    w.MemberString("symbol", _Symbol);
//   double bid=json.GetDouble(0,"bid",0.0);    w.MemberDouble("bid", tick.bid);
//   int rows=json.Find(0,"rows");              w.Key("rows");
//   for(int n=json.First(rows);n>=0;           w.BeginArray();
//       n=json.Next(n))                        w.Long(1); w.Long(2);
//      Print(json.AsString(n,""));             w.EndArray();
//                                              w.EndObject();
//                                              string text=w.Text();
// A document is a table of nodes; a node is an index, 0 is the root, -1 is "not there". Every question may be
// asked of -1 and of a node of another kind: it answers with the default that was given.
//
// - Strict JSON (RFC 8259): no comments, no trailing commas, no leading zeros. All escapes, \uXXXX with
//   surrogate pairs included. An MQL5 string cannot hold a zero character: \u0000 reads as U+FFFD.
// - Numbers keep their text until asked: whole numbers are exact over all 64 bits, signed and unsigned, doubles
//   are rounded correctly here (not by StringToDouble) and written with 15 digits, or 16 or 17 where fewer
//   would not read back equal.
// - Depth and size are limited (SetLimits); parsing does not recurse. Errors name line, column and offset.
// - Of a key that stands twice in an object the last one counts.
#ifndef TICKWIRE_JSON_MQH
#define TICKWIRE_JSON_MQH

#define JSON_MAX_DEPTH   64
#define JSON_MAX_CHARS   8000000
#define JSON_MAX_DIGITS  800

enum ENUM_JSON_KIND
  {
   JSON_NONE,      // no such node
   JSON_NULL,
   JSON_BOOL,
   JSON_NUMBER,
   JSON_STRING,
   JSON_ARRAY,
   JSON_OBJECT
  };

//--- one value: where its text stands, and its neighbours
struct JsonNode
  {
   ENUM_JSON_KIND    kind;
   int               at;            // first character of the value (of a string: after the quote)
   int               length;
   int               key_at;        // of an object's member; -1 elsewhere
   int               key_length;
   int               first;         // first child, -1 none
   int               last;
   int               next;          // next sibling, -1 none
   int               size;          // number of children
   bool              escaped;       // the string has escapes
   bool              key_escaped;
  };

//+------------------------------------------------------------------+
//| Exact conversions between text and double                        |
//+------------------------------------------------------------------+
class CJsonNumber
  {
private:
   uint              m_top[];       // value * 2^k, 32 bits a word, lowest first
   uint              m_bottom[];
   static void       Scale(uint &words[],const uint factor,const uint carry_in);
   static void       ShiftLeft(uint &words[],const int bits);
   static int        Compare(const uint &a[],const uint &b[]);
   static void       Subtract(uint &a[],const uint &b[]);
   static int        Bits(const uint &words[]);
   double            Ratio(const int binary_exponent,const bool sticky);
   static double     Infinity(void) { double most=DBL_MAX; return(most*2.0); }
   static double     Assemble(const ulong mantissa,const int exponent);
public:
   double            Read(const ushort &text[],const int at,const int length);
   static bool       ReadLong(const ushort &text[],const int at,const int length,long &value);
   static bool       ReadULong(const ushort &text[],const int at,const int length,ulong &value);
   string            Write(const double value);
  };

//+------------------------------------------------------------------+
//| Reader                                                           |
//+------------------------------------------------------------------+
class CJson
  {
private:
   ushort            m_text[];
   int               m_length;
   JsonNode          m_nodes[];
   int               m_count;
   int               m_stack[];
   int               m_depth;
   int               m_at;
   int               m_max_depth;
   int               m_max_chars;
   string            m_error;
   int               m_error_at;
   CJsonNumber       m_number;

   bool              Fail(const string what);
   void              SkipSpace(void);
   int               Add(const ENUM_JSON_KIND kind);
   bool              ReadValue(bool &opened);
   bool              ReadText(int &at,int &length,bool &escaped);
   bool              ReadEscape(void);
   bool              ReadHex(const int at,uint &code) const;
   bool              ReadNumber(void);
   bool              ReadWord(const string word,const ENUM_JSON_KIND kind);
   bool              ReadKey(void);
   bool              AfterValue(bool &more);
   bool              KeyIs(const int node,const string key) const;
   string            Decode(const int at,const int length,const bool escaped) const;
   int               m_key_at;
   int               m_key_length;
   bool              m_key_escaped;
public:
                     CJson(void);
   void              SetLimits(const int max_depth,const int max_chars);
   //--- parse a whole document; false: see Error, and the document is empty
   bool              Parse(const string text);
   //--- the same from UTF-8 bytes [start, start+count)
   bool              ParseUtf8(const uchar &bytes[],const int start=0,const int count=WHOLE_ARRAY);
   string            Error(void) const       { return(m_error);    }
   int               ErrorOffset(void) const { return(m_error_at); }
   //--- walk
   ENUM_JSON_KIND    Kind(const int node) const;
   int               Size(const int node) const;
   int               First(const int node) const;                    // first child
   int               Next(const int node) const;                     // next sibling
   int               Item(const int node,const int index) const;     // child by position
   int               Find(const int node,const string key) const;    // member by key
   string            Key(const int node) const;
   //--- a node's value, or the default when the node is not there or of another kind
   string            AsString(const int node,const string otherwise) const;
   double            AsDouble(const int node,const double otherwise);
   long              AsLong(const int node,const long otherwise);
   ulong             AsULong(const int node,const ulong otherwise);
   bool              AsBool(const int node,const bool otherwise) const;
   bool              IsInteger(const int node) const;
   string            Raw(const int node) const;                      // the value's own text, unparsed
   //--- a member's value
   string            GetString(const int node,const string key,const string otherwise="") const;
   double            GetDouble(const int node,const string key,const double otherwise=0.0);
   long              GetLong(const int node,const string key,const long otherwise=0);
   ulong             GetULong(const int node,const string key,const ulong otherwise=0);
   bool              GetBool(const int node,const string key,const bool otherwise=false) const;
   //--- all numbers of an array; null reads as the default; returns how many, -1: not an array of numbers
   int               GetDoubles(const int node,const string key,double &values[],const double otherwise=0.0);
   int               GetLongs(const int node,const string key,long &values[]);
  };

//+------------------------------------------------------------------+
//| Writer                                                           |
//+------------------------------------------------------------------+
// Keys and values in the order they are said. Misuse (a value without a key inside an object, an end without a
// begin, ...) makes IsComplete() false for good; it never writes broken JSON silently.
class CJsonWriter
  {
private:
   string            m_text;
   int               m_open[];       // of each open container: 1 object, 2 array
   int               m_items[];
   int               m_depth;
   bool              m_keyed;
   bool              m_done;
   bool              m_wrong;
   CJsonNumber       m_number;
   bool              Before(void);
   void              After(void);
   void              End(const int kind,const string bracket);
   void              Begin(const int kind,const string bracket);
public:
                     CJsonWriter(void) { Clear(); }
   void              Clear(void);
   void              BeginObject(void) { Begin(1,"{"); }
   void              EndObject(void)   { End(1,"}");   }
   void              BeginArray(void)  { Begin(2,"["); }
   void              EndArray(void)    { End(2,"]");   }
   void              Key(const string key);
   void              String(const string value);
   void              Double(const double value);     // NaN and infinities are written as null
   void              Long(const long value);
   void              ULong(const ulong value);
   void              Bool(const bool value);
   void              Null(void);
   void              Raw(const string json);         // text that is JSON already
   void              MemberString(const string key,const string value) { Key(key); String(value); }
   void              MemberDouble(const string key,const double value) { Key(key); Double(value); }
   void              MemberLong(const string key,const long value)     { Key(key); Long(value);   }
   void              MemberULong(const string key,const ulong value)   { Key(key); ULong(value);  }
   void              MemberBool(const string key,const bool value)     { Key(key); Bool(value);   }
   void              MemberNull(const string key)                      { Key(key); Null();        }
   void              MemberRaw(const string key,const string json)     { Key(key); Raw(json);     }
   bool              IsComplete(void) const { return(m_done && !m_wrong); }
   string            Text(void) const       { return(m_text);             }
   //--- a string as JSON, quotes included
   static string     Quoted(const string value);
  };

//+------------------------------------------------------------------+
//| CJson                                                            |
//+------------------------------------------------------------------+
CJson::CJson(void) : m_length(0),m_count(0),m_depth(0),m_at(0),m_max_depth(JSON_MAX_DEPTH),
   m_max_chars(JSON_MAX_CHARS),m_error(""),m_error_at(-1),m_key_at(-1),m_key_length(0),m_key_escaped(false)
  {
  }

void CJson::SetLimits(const int max_depth,const int max_chars)
  {
   m_max_depth=max_depth;
   m_max_chars=max_chars;
  }

bool CJson::Fail(const string what)
  {
   int line=1,column=1;
   for(int i=0; i<m_at && i<m_length; i++)
     {
      column++;
      if(m_text[i]=='\n')
        {
         line++;
         column=1;
        }
     }
   m_error_at=m_at;
   m_error=m_at>m_length ? StringFormat("JSON offset %d: %s",m_at,what) :
           StringFormat("JSON line %d, column %d (offset %d): %s",line,column,m_at,what);
   m_count=0;
   return(false);
  }

bool CJson::ParseUtf8(const uchar &bytes[],const int start,const int count)
  {
   int end=count<0 ? ArraySize(bytes) : start+count;
   m_at=0;
   m_length=0;
   m_count=0;
   if(start<0 || end>ArraySize(bytes) || start>=end)
      return(Fail("nothing to read"));
   if(end-start>m_max_chars)
      return(Fail(StringFormat("%d bytes, at most %d are read",end-start,m_max_chars)));
   for(int i=start; i<end; i++)
      if(bytes[i]==0)
        {
         m_at=i-start;
         return(Fail("a zero byte"));
        }
   return(Parse(CharArrayToString(bytes,start,end-start,CP_UTF8)));
  }

bool CJson::Parse(const string text)
  {
   m_error="";
   m_error_at=-1;
   m_count=0;
   m_depth=0;
   m_at=0;
   m_key_at=-1;
   m_key_length=0;
   m_key_escaped=false;
   m_length=StringLen(text);
   if(m_length>m_max_chars)
      return(Fail(StringFormat("%d characters, at most %d are read",m_length,m_max_chars)));
   if(m_length>0)
      StringToShortArray(text,m_text,0,m_length);
   bool more=true;
   while(more)
     {
      bool opened=false;
      if(!ReadValue(opened))
         return(false);
      if(opened)
         continue;
      if(!AfterValue(more))
         return(false);
     }
   SkipSpace();
   if(m_at<m_length)
      return(Fail("text after the document's end"));
   return(true);
  }

void CJson::SkipSpace(void)
  {
   while(m_at<m_length)
     {
      ushort c=m_text[m_at];
      if(c!=' ' && c!='\n' && c!='\r' && c!='\t')
         return;
      m_at++;
     }
  }

int CJson::Add(const ENUM_JSON_KIND kind)
  {
   int node=m_count;
   if(node>=ArraySize(m_nodes))
      ArrayResize(m_nodes,node+1,node+256);
   m_count++;
   m_nodes[node].kind=kind;
   m_nodes[node].at=m_at;
   m_nodes[node].length=0;
   m_nodes[node].key_at=m_key_at;
   m_nodes[node].key_length=m_key_length;
   m_nodes[node].key_escaped=m_key_escaped;
   m_nodes[node].escaped=false;
   m_nodes[node].first=-1;
   m_nodes[node].last=-1;
   m_nodes[node].next=-1;
   m_nodes[node].size=0;
   m_key_at=-1;
   m_key_length=0;
   m_key_escaped=false;
   if(m_depth>0)
     {
      int parent=m_stack[m_depth-1];
      if(m_nodes[parent].last>=0)
         m_nodes[m_nodes[parent].last].next=node;
      else
         m_nodes[parent].first=node;
      m_nodes[parent].last=node;
      m_nodes[parent].size++;
     }
   return(node);
  }

//--- read one value; a container that is not empty is left open, its first child is read next
bool CJson::ReadValue(bool &opened)
  {
   SkipSpace();
   if(m_at>=m_length)
      return(Fail("a value is missing"));
   ushort c=m_text[m_at];
   if(c=='{' || c=='[')
     {
      if(m_depth>=m_max_depth)
         return(Fail(StringFormat("nested deeper than %d",m_max_depth)));
      int node=Add(c=='{' ? JSON_OBJECT : JSON_ARRAY);
      m_at++;
      if(m_depth>=ArraySize(m_stack))
         ArrayResize(m_stack,m_depth+1,JSON_MAX_DEPTH);
      m_stack[m_depth++]=node;
      SkipSpace();
      if(m_at<m_length && m_text[m_at]==(c=='{' ? '}' : ']'))
         return(true);              // AfterValue closes it
      opened=true;
      return(c=='[' || ReadKey());
     }
   if(c=='"')
     {
      int node=Add(JSON_STRING);
      int at=0,length=0;
      bool escaped=false;
      if(!ReadText(at,length,escaped))
         return(false);
      m_nodes[node].at=at;
      m_nodes[node].length=length;
      m_nodes[node].escaped=escaped;
      return(true);
     }
   if(c=='t')
      return(ReadWord("true",JSON_BOOL));
   if(c=='f')
      return(ReadWord("false",JSON_BOOL));
   if(c=='n')
      return(ReadWord("null",JSON_NULL));
   if(c=='-' || (c>='0' && c<='9'))
      return(ReadNumber());
   return(Fail("no value begins like this"));
  }

//--- close what ends here; more: another value follows
bool CJson::AfterValue(bool &more)
  {
   while(m_depth>0)
     {
      int parent=m_stack[m_depth-1];
      bool is_object=m_nodes[parent].kind==JSON_OBJECT;
      SkipSpace();
      if(m_at>=m_length)
         return(Fail(is_object ? "an object is not closed" : "an array is not closed"));
      ushort c=m_text[m_at];
      if(c==(is_object ? '}' : ']'))
        {
         m_at++;
         m_nodes[parent].length=m_at-m_nodes[parent].at;
         m_depth--;
         continue;
        }
      if(c!=',' || m_nodes[parent].size==0)
         return(Fail(is_object ? "expected , or }" : "expected , or ]"));
      m_at++;
      more=true;
      return(!is_object || ReadKey());
     }
   more=false;
   return(true);
  }

bool CJson::ReadKey(void)
  {
   SkipSpace();
   if(m_at>=m_length || m_text[m_at]!='"')
      return(Fail("expected a key in quotes"));
   if(!ReadText(m_key_at,m_key_length,m_key_escaped))
      return(false);
   SkipSpace();
   if(m_at>=m_length || m_text[m_at]!=':')
      return(Fail("expected : after the key"));
   m_at++;
   return(true);
  }

bool CJson::ReadText(int &at,int &length,bool &escaped)
  {
   int start=m_at+1;
   m_at=start;
   escaped=false;
   while(m_at<m_length)
     {
      ushort c=m_text[m_at];
      if(c=='"')
        {
         at=start;
         length=m_at-start;
         m_at++;
         return(true);
        }
      if(c<32)
         return(Fail("a control character inside a string must be escaped"));
      if(c=='\\')
        {
         escaped=true;
         if(!ReadEscape())
            return(false);
         continue;
        }
      m_at++;
     }
   return(Fail("a string is not closed"));
  }

bool CJson::ReadEscape(void)
  {
   ushort c=m_at+1<m_length ? m_text[m_at+1] : (ushort)0;
   if(c=='u')
     {
      uint code=0;
      if(!ReadHex(m_at+2,code))
         return(Fail("\\u needs four hex digits"));
      m_at+=6;
      return(true);
     }
   if(c!='"' && c!='\\' && c!='/' && c!='b' && c!='f' && c!='n' && c!='r' && c!='t')
      return(Fail("no such escape"));
   m_at+=2;
   return(true);
  }

bool CJson::ReadHex(const int at,uint &code) const
  {
   code=0;
   if(at+4>m_length)
      return(false);
   for(int i=at; i<at+4; i++)
     {
      ushort c=m_text[i];
      uint digit=0;
      if(c>='0' && c<='9')
         digit=(uint)(c-'0');
      else if(c>='a' && c<='f')
         digit=(uint)(c-'a'+10);
      else if(c>='A' && c<='F')
         digit=(uint)(c-'A'+10);
      else
         return(false);
      code=code*16+digit;
     }
   return(true);
  }

bool CJson::ReadWord(const string word,const ENUM_JSON_KIND kind)
  {
   int length=StringLen(word);
   for(int i=0; i<length; i++)
      if(m_at+i>=m_length || m_text[m_at+i]!=StringGetCharacter(word,i))
         return(Fail("expected "+word));
   int node=Add(kind);
   m_nodes[node].length=length;
   m_at+=length;
   return(true);
  }

bool CJson::ReadNumber(void)
  {
   int node=Add(JSON_NUMBER);
   int start=m_at;
   if(m_text[m_at]=='-')
      m_at++;
   int digits=m_at;
   while(m_at<m_length && m_text[m_at]>='0' && m_text[m_at]<='9')
      m_at++;
   if(m_at==digits)
      return(Fail("a number without digits"));
   if(m_text[digits]=='0' && m_at-digits>1)
      return(Fail("a number must not begin with 0"));
   if(m_at<m_length && m_text[m_at]=='.')
     {
      m_at++;
      digits=m_at;
      while(m_at<m_length && m_text[m_at]>='0' && m_text[m_at]<='9')
         m_at++;
      if(m_at==digits)
         return(Fail("expected digits after the point"));
     }
   if(m_at<m_length && (m_text[m_at]=='e' || m_text[m_at]=='E'))
     {
      m_at++;
      if(m_at<m_length && (m_text[m_at]=='+' || m_text[m_at]=='-'))
         m_at++;
      digits=m_at;
      while(m_at<m_length && m_text[m_at]>='0' && m_text[m_at]<='9')
         m_at++;
      if(m_at==digits)
         return(Fail("expected digits in the exponent"));
     }
   m_nodes[node].length=m_at-start;
   return(true);
  }

ENUM_JSON_KIND CJson::Kind(const int node) const
  {
   return(node<0 || node>=m_count ? JSON_NONE : m_nodes[node].kind);
  }

int CJson::Size(const int node) const
  {
   return(node<0 || node>=m_count ? 0 : m_nodes[node].size);
  }

int CJson::First(const int node) const
  {
   return(node<0 || node>=m_count ? -1 : m_nodes[node].first);
  }

int CJson::Next(const int node) const
  {
   return(node<0 || node>=m_count ? -1 : m_nodes[node].next);
  }

int CJson::Item(const int node,const int index) const
  {
   if(index<0 || index>=Size(node))
      return(-1);
   int child=First(node);
   for(int i=0; i<index && child>=0; i++)
      child=m_nodes[child].next;
   return(child);
  }

bool CJson::KeyIs(const int node,const string key) const
  {
   if(m_nodes[node].key_escaped)
      return(Key(node)==key);
   int length=m_nodes[node].key_length,at=m_nodes[node].key_at;
   if(length!=StringLen(key))
      return(false);
   for(int i=0; i<length; i++)
      if(m_text[at+i]!=StringGetCharacter(key,i))
         return(false);
   return(true);
  }

int CJson::Find(const int node,const string key) const
  {
   int found=-1;
   if(Kind(node)!=JSON_OBJECT)
      return(-1);
   for(int child=First(node); child>=0; child=m_nodes[child].next)
      if(KeyIs(child,key))
         found=child;
   return(found);
  }

string CJson::Key(const int node) const
  {
   if(node<0 || node>=m_count || m_nodes[node].key_at<0)
      return("");
   return(Decode(m_nodes[node].key_at,m_nodes[node].key_length,m_nodes[node].key_escaped));
  }

string CJson::Decode(const int at,const int length,const bool escaped) const
  {
   if(length<=0)
      return("");
   if(!escaped)
      return(ShortArrayToString(m_text,at,length));
   ushort plain[];
   ArrayResize(plain,length);
   int n=0;
   for(int i=at; i<at+length; i++)
     {
      ushort c=m_text[i];
      if(c=='\\')
        {
         i++;
         c=m_text[i];
         if(c=='n')
            c='\n';
         else if(c=='r')
            c='\r';
         else if(c=='t')
            c='\t';
         else if(c=='b')
            c=8;
         else if(c=='f')
            c=12;
         else if(c=='u')
           {
            uint code=0;
            ReadHex(i+1,code);
            c=code==0 ? (ushort)0xFFFD : (ushort)code;   // a pair of surrogates stays a pair
            i+=4;
           }
        }
      plain[n++]=c;
     }
   return(ShortArrayToString(plain,0,n));
  }

string CJson::AsString(const int node,const string otherwise) const
  {
   if(Kind(node)!=JSON_STRING)
      return(otherwise);
   return(Decode(m_nodes[node].at,m_nodes[node].length,m_nodes[node].escaped));
  }

double CJson::AsDouble(const int node,const double otherwise)
  {
   if(Kind(node)!=JSON_NUMBER)
      return(otherwise);
   return(m_number.Read(m_text,m_nodes[node].at,m_nodes[node].length));
  }

bool CJson::IsInteger(const int node) const
  {
   if(Kind(node)!=JSON_NUMBER)
      return(false);
   for(int i=m_nodes[node].at; i<m_nodes[node].at+m_nodes[node].length; i++)
      if(m_text[i]=='.' || m_text[i]=='e' || m_text[i]=='E')
         return(false);
   return(true);
  }

//--- a whole number outside the type's range, or one with a fraction, gives the default
long CJson::AsLong(const int node,const long otherwise)
  {
   if(Kind(node)!=JSON_NUMBER)
      return(otherwise);
   long value=0;
   if(IsInteger(node))
      return(CJsonNumber::ReadLong(m_text,m_nodes[node].at,m_nodes[node].length,value) ? value : otherwise);
   double real=AsDouble(node,0.0);
   if(real!=MathFloor(real) || MathAbs(real)>=9007199254740992.0)
      return(otherwise);
   return((long)real);
  }

ulong CJson::AsULong(const int node,const ulong otherwise)
  {
   if(Kind(node)!=JSON_NUMBER)
      return(otherwise);
   ulong value=0;
   if(IsInteger(node))
      return(CJsonNumber::ReadULong(m_text,m_nodes[node].at,m_nodes[node].length,value) ? value : otherwise);
   double real=AsDouble(node,-1.0);
   if(real!=MathFloor(real) || real<0.0 || real>=9007199254740992.0)
      return(otherwise);
   return((ulong)real);
  }

bool CJson::AsBool(const int node,const bool otherwise) const
  {
   return(Kind(node)==JSON_BOOL ? m_text[m_nodes[node].at]=='t' : otherwise);
  }

string CJson::Raw(const int node) const
  {
   ENUM_JSON_KIND kind=Kind(node);
   if(kind==JSON_NONE)
      return("");
   int quote=kind==JSON_STRING ? 1 : 0;
   return(ShortArrayToString(m_text,m_nodes[node].at-quote,m_nodes[node].length+2*quote));
  }

string CJson::GetString(const int node,const string key,const string otherwise) const
  {
   return(AsString(Find(node,key),otherwise));
  }

double CJson::GetDouble(const int node,const string key,const double otherwise)
  {
   return(AsDouble(Find(node,key),otherwise));
  }

long CJson::GetLong(const int node,const string key,const long otherwise)
  {
   return(AsLong(Find(node,key),otherwise));
  }

ulong CJson::GetULong(const int node,const string key,const ulong otherwise)
  {
   return(AsULong(Find(node,key),otherwise));
  }

bool CJson::GetBool(const int node,const string key,const bool otherwise) const
  {
   return(AsBool(Find(node,key),otherwise));
  }

int CJson::GetDoubles(const int node,const string key,double &values[],const double otherwise)
  {
   int list=Find(node,key);
   if(Kind(list)!=JSON_ARRAY)
      return(-1);
   int n=0;
   ArrayResize(values,Size(list));
   for(int child=First(list); child>=0; child=Next(child))
     {
      if(Kind(child)!=JSON_NUMBER && Kind(child)!=JSON_NULL)
         return(-1);
      values[n++]=AsDouble(child,otherwise);
     }
   return(n);
  }

int CJson::GetLongs(const int node,const string key,long &values[])
  {
   int list=Find(node,key);
   if(Kind(list)!=JSON_ARRAY)
      return(-1);
   int n=0;
   ArrayResize(values,Size(list));
   for(int child=First(list); child>=0; child=Next(child))
     {
      long value=AsLong(child,LONG_MIN);
      if(Kind(child)!=JSON_NUMBER || (value==LONG_MIN && AsLong(child,0)==0))
         return(-1);
      values[n++]=value;
     }
   return(n);
  }

//+------------------------------------------------------------------+
//| CJsonNumber                                                      |
//+------------------------------------------------------------------+
bool CJsonNumber::ReadULong(const ushort &text[],const int at,const int length,ulong &value)
  {
   value=0;
   int i=at;
   bool negative=text[i]=='-';
   if(negative)
      i++;
   for(; i<at+length; i++)
     {
      ulong digit=(ulong)(text[i]-'0');
      if(value>(ULONG_MAX-digit)/10)
         return(false);
      value=value*10+digit;
     }
   return(!negative || value==0);
  }

bool CJsonNumber::ReadLong(const ushort &text[],const int at,const int length,long &value)
  {
   bool negative=text[at]=='-';
   int skip=negative ? 1 : 0;
   ulong size=0;
   if(!ReadULong(text,at+skip,length-skip,size))
      return(false);
   ulong limit=(ulong)LONG_MAX;
   if(negative)
     {
      if(size>limit+1)
         return(false);
      value=size==limit+1 ? LONG_MIN : -(long)size;
      return(true);
     }
   value=(long)size;
   return(size<=limit);
  }

//--- the double nearest to a number's text, ties to even (Clinger's short way, else by long division)
double CJsonNumber::Read(const ushort &text[],const int at,const int length)
  {
   static const double tens[]={1e0,1e1,1e2,1e3,1e4,1e5,1e6,1e7,1e8,1e9,1e10,1e11,1e12,1e13,1e14,1e15,1e16,1e17,
                               1e18,1e19,1e20,1e21,1e22};
   int i=at,end=at+length;
   bool negative=text[i]=='-';
   if(negative)
      i++;
   ulong head=0;                    // the first digits, up to 19
   int digits=0,dropped=0,point=-1,seen=0,exponent=0;
   bool rest=false;                 // a digit that is not 0 was dropped
   int from=i;
   for(; i<end && text[i]!='e' && text[i]!='E'; i++)
     {
      if(text[i]=='.')
        {
         point=seen;
         continue;
        }
      seen++;
      if(head==0 && text[i]=='0')
         continue;
      if(digits<19)
        {
         head=head*10+(ulong)(text[i]-'0');
         digits++;
        }
      else
        {
         dropped++;
         rest=rest || text[i]!='0';
        }
     }
   int mantissa_end=i;
   if(i<end)
     {
      i++;
      bool down=text[i]=='-';
      if(text[i]=='-' || text[i]=='+')
         i++;
      for(; i<end; i++)
         if(exponent<100000)
            exponent=exponent*10+(int)(text[i]-'0');
      if(down)
         exponent=-exponent;
     }
   if(head==0)
      return(negative ? -0.0 : 0.0);
   exponent-=point<0 ? 0 : seen-point;
   int power=exponent+dropped;      // value = head * 10^power, but for dropped digits
   double value=0.0;
   if(!rest && head<=9007199254740992 && power>=-22 && power<=22)
      value=power<0 ? (double)head/tens[-power] : (double)head*tens[power];
   else if(power>310)
      value=Infinity();
   else if(power<-345)
      value=0.0;
   else
     {
      ArrayResize(m_top,1);
      ArrayResize(m_bottom,1);
      m_top[0]=0;
      m_bottom[0]=1;
      int taken=0,left=0;
      bool sticky=false;
      for(i=from; i<mantissa_end; i++)
        {
         if(text[i]=='.')
            continue;
         if(taken==0 && text[i]=='0')
            continue;
         if(taken<JSON_MAX_DIGITS)
           {
            Scale(m_top,10,(uint)(text[i]-'0'));
            taken++;
           }
         else
           {
            left++;
            sticky=sticky || text[i]!='0';
           }
        }
      int tens_power=exponent+left;
      for(int k=0; k<tens_power; k++)
         Scale(m_top,10,0);
      for(int k=0; k<-tens_power; k++)
         Scale(m_bottom,10,0);
      value=Ratio(0,sticky);
     }
   return(negative ? -value : value);
  }

//--- m_top / m_bottom, rounded to the nearest double
double CJsonNumber::Ratio(const int binary_exponent,const bool sticky)
  {
   // Shift so that the quotient has 53 bits (fewer below the normal range), and take them one by one.
   int exponent=binary_exponent+Bits(m_top)-Bits(m_bottom)-53;
   if(exponent<-1074)
      exponent=-1074;
   if(exponent>=0)
      ShiftLeft(m_bottom,exponent);
   else
      ShiftLeft(m_top,-exponent);
   ulong quotient=0;
   int steps=Bits(m_top)-Bits(m_bottom);
   if(steps<0)
      steps=0;
   ShiftLeft(m_bottom,steps);
   for(int k=0; k<=steps; k++)
     {
      quotient<<=1;
      if(Compare(m_top,m_bottom)>=0)
        {
         Subtract(m_top,m_bottom);
         quotient|=1;
        }
      ShiftLeft(m_top,1);
     }
   // What is left stands doubled steps+1 times: it is compared with half of what was divided by.
   int half=Compare(m_top,m_bottom);
   if(quotient>=((ulong)1<<53))     // one bit too many: halve, and remember what fell off
     {
      bool odd=(quotient&1)!=0;
      half=odd ? (half>0 || Bits(m_top)>0 ? 1 : 0) : -1;
      quotient>>=1;
      exponent++;
     }
   if(half>0 || (half==0 && (sticky || (quotient&1)!=0)))
      quotient++;
   return(Assemble(quotient,exponent));
  }

double CJsonNumber::Assemble(const ulong mantissa,const int exponent)
  {
   double value=(double)mantissa;
   int left=exponent;
   if(left>971)
      return(Infinity());
   for(; left>=32; left-=32)
      value*=4294967296.0;
   for(; left>0; left--)
      value*=2.0;
   for(; left<=-32; left+=32)       // exact: the mantissa has no bit below the smallest double
      value/=4294967296.0;
   for(; left<0; left++)
      value/=2.0;
   return(value);
  }

void CJsonNumber::Scale(uint &words[],const uint factor,const uint carry_in)
  {
   ulong carry=carry_in;
   int size=ArraySize(words);
   for(int i=0; i<size; i++)
     {
      carry+=(ulong)words[i]*factor;
      words[i]=(uint)(carry&0xFFFFFFFF);
      carry>>=32;
     }
   if(carry>0)
     {
      ArrayResize(words,size+1,64);
      words[size]=(uint)carry;
     }
  }

void CJsonNumber::ShiftLeft(uint &words[],const int bits)
  {
   int whole=bits/32,part=bits%32,size=ArraySize(words);
   if(bits<=0)
      return;
   ArrayResize(words,size+whole+1,64);
   for(int i=size+whole; i>=0; i--)
     {
      uint high=i-whole>=0 && i-whole<size ? words[i-whole] : 0;
      uint low=i-whole-1>=0 && i-whole-1<size ? words[i-whole-1] : 0;
      words[i]=part==0 ? high : (high<<part)|(low>>(32-part));
     }
   int used=size+whole+1;
   while(used>1 && words[used-1]==0)
      used--;
   ArrayResize(words,used,64);
  }

int CJsonNumber::Bits(const uint &words[])
  {
   for(int i=ArraySize(words)-1; i>=0; i--)
      if(words[i]!=0)
        {
         int bits=0;
         for(uint word=words[i]; word>0; word>>=1)
            bits++;
         return(32*i+bits);
        }
   return(0);
  }

int CJsonNumber::Compare(const uint &a[],const uint &b[])
  {
   int na=ArraySize(a),nb=ArraySize(b);
   for(int i=(na>nb ? na : nb)-1; i>=0; i--)
     {
      uint x=i<na ? a[i] : 0;
      uint y=i<nb ? b[i] : 0;
      if(x!=y)
         return(x>y ? 1 : -1);
     }
   return(0);
  }

void CJsonNumber::Subtract(uint &a[],const uint &b[])
  {
   long borrow=0;
   int nb=ArraySize(b);
   for(int i=0; i<ArraySize(a); i++)
     {
      long word=(long)a[i]-(i<nb ? (long)b[i] : 0)-borrow;
      borrow=word<0 ? 1 : 0;
      a[i]=(uint)(word&0xFFFFFFFF);
     }
  }

//--- 15 digits, or 16 or 17 where fewer would not read back as the same double
string CJsonNumber::Write(const double value)
  {
   if(!MathIsValidNumber(value))
      return("null");
   if(value!=0.0 && MathAbs(value)<1e15 && value==MathFloor(value))
      return(IntegerToString((long)value)+".0");
   string text="";
   for(int digits=15; digits<=17; digits++)
     {
      text=digits==15 ? StringFormat("%.15g",value) : digits==16 ? StringFormat("%.16g",value) : StringFormat("%.17g",value);
      ushort letters[];
      int length=StringLen(text);
      StringToShortArray(text,letters,0,length);
      if(digits==17 || Read(letters,0,length)==value)
         break;
     }
   if(StringFind(text,".")<0 && StringFind(text,"e")<0)
      text+=".0";
   return(text);
  }

//+------------------------------------------------------------------+
//| CJsonWriter                                                      |
//+------------------------------------------------------------------+
void CJsonWriter::Clear(void)
  {
   m_text="";
   m_depth=0;
   m_keyed=false;
   m_done=false;
   m_wrong=false;
  }

bool CJsonWriter::Before(void)
  {
   bool in_object=m_depth>0 && m_open[m_depth-1]==1;
   if(m_done || (in_object && !m_keyed))
     {
      m_wrong=true;
      return(false);
     }
   if(m_depth>0 && !in_object)
     {
      if(m_items[m_depth-1]>0)
         m_text+=",";
      m_items[m_depth-1]++;
     }
   m_keyed=false;
   return(true);
  }

void CJsonWriter::After(void)
  {
   if(m_depth==0)
      m_done=true;
  }

void CJsonWriter::Begin(const int kind,const string bracket)
  {
   if(!Before())
      return;
   if(m_depth>=ArraySize(m_open))
     {
      ArrayResize(m_open,m_depth+1,16);
      ArrayResize(m_items,m_depth+1,16);
     }
   m_open[m_depth]=kind;
   m_items[m_depth]=0;
   m_depth++;
   m_text+=bracket;
  }

void CJsonWriter::End(const int kind,const string bracket)
  {
   if(m_depth==0 || m_open[m_depth-1]!=kind || m_keyed)
     {
      m_wrong=true;
      return;
     }
   m_depth--;
   m_text+=bracket;
   After();
  }

void CJsonWriter::Key(const string key)
  {
   if(m_depth==0 || m_open[m_depth-1]!=1 || m_keyed)
     {
      m_wrong=true;
      return;
     }
   if(m_items[m_depth-1]>0)
      m_text+=",";
   m_items[m_depth-1]++;
   m_text+=Quoted(key)+":";
   m_keyed=true;
  }

void CJsonWriter::Raw(const string json)
  {
   if(!Before())
      return;
   m_text+=json;
   After();
  }

void CJsonWriter::String(const string value) { Raw(Quoted(value)); }

void CJsonWriter::Double(const double value) { Raw(m_number.Write(value)); }

void CJsonWriter::Long(const long value) { Raw(IntegerToString(value)); }

void CJsonWriter::ULong(const ulong value) { Raw(StringFormat("%I64u",value)); }

void CJsonWriter::Bool(const bool value) { Raw(value ? "true" : "false"); }

void CJsonWriter::Null(void) { Raw("null"); }

string CJsonWriter::Quoted(const string value)
  {
   int length=StringLen(value);
   string out="\"";
   int from=0;
   for(int i=0; i<length; i++)
     {
      ushort c=StringGetCharacter(value,i);
      string instead="";
      if(c=='"')
         instead="\\\"";
      else if(c=='\\')
         instead="\\\\";
      else if(c=='\n')
         instead="\\n";
      else if(c=='\r')
         instead="\\r";
      else if(c=='\t')
         instead="\\t";
      else if(c<32)
         instead=StringFormat("\\u%04x",c);
      else if(c>=0xD800 && c<=0xDFFF)
        {
         ushort next=i+1<length ? StringGetCharacter(value,i+1) : (ushort)0;
         if(c<0xDC00 && next>=0xDC00 && next<=0xDFFF)
           {
            i++;                    // a whole pair is written as it is
            continue;
           }
         instead=StringFormat("\\u%04x",c);
        }
      else
         continue;
      if(i>from)
         out+=StringSubstr(value,from,i-from);
      out+=instead;
      from=i+1;
     }
   if(from==0)
      return(out+value+"\"");
   return(out+StringSubstr(value,from)+"\"");
  }

#endif
//+------------------------------------------------------------------+
