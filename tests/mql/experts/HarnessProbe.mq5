//+------------------------------------------------------------------+
//| HarnessProbe.mq5: the language and the terminal, as the harness  |
//| shows them; a test names what to do                              |
//+------------------------------------------------------------------+
#property version     "1.00"
#property description "calls before definition, arrays, objects, files, faults"

#define  GREETING  "hello"
#define  TWICE(x)  ((x)+(x))

enum ENUM_PROBE
  {
   PROBE_FIRST,
   PROBE_SECOND = 5,
   PROBE_THIRD
  };

input group "Anything"
input int      InpNumber = 7;          // a number
input string   InpText   = "plain";
input double   InpReal   = 0.5;
input bool     InpFlag   = false;
input datetime InpSince  = D'2024.01.02 03:04';
input color    InpColor  = C'1,2,3';

struct Pair
  {
   int               left;
   string            names[];
   int               fixed[3];
  };

class CBase
  {
protected:
   int               m_value;
public:
                     CBase(const int value) : m_value(value) {}
   virtual          ~CBase(void) {}
   virtual string    Name(void) const { return("base"+(string)m_value); }
   CBase            *Itself(void) { return(GetPointer(this)); }
  };

class CChild : public CBase
  {
private:
   Pair              m_pair;
public:
                     CChild(void) : CBase(3) { ArrayResize(m_pair.names,1); m_pair.names[0]="x"; }
   virtual string    Name(void) const { return("child"+CBase::Name()+m_pair.names[0]); }
   void              Fill(Pair &pair) { pair.left=this.m_value; pair.fixed[2]=9; }
  };

int    time=4,socket=5;                 // names the C library uses as well
CBase *g_objects[];
static const string KINDS[]={"a","b","ü"};

int OnInit()
  {
   Print(GREETING," ",TWICE(InpNumber)," ",InpText," ",InpReal," ",InpFlag," ",InpSince," ",(string)InpColor);
   return(InpNumber>=0 ? INIT_SUCCEEDED : INIT_PARAMETERS_INCORRECT);
  }

void OnDeinit(const int reason)
  {
   Print("bye ",reason," ",_StopFlag);
   for(int i=0; i<ArraySize(g_objects); i++)
      delete g_objects[i];
  }

void OnChartEvent(const int id,const long &lparam,const double &dparam,const string &sparam)
  {
   if(sparam=="language")
      Language();
   else if(sparam=="series")
      Series();
   else if(sparam=="bounds")
      Print(Third(2));
   else if(sparam=="leak")
      new_object();
   else if(sparam=="twice")
      DeleteTwice();
   else if(sparam=="stale")
      Stale();
   else if(sparam=="files")
      Files();
   else if(sparam=="format")
      Print(StringFormat("%s %d",1.5,"text"));
   else if(sparam=="clock")
     {
      ulong before=GetTickCount64();
      Sleep(1500);
      Print(TimeToString(TimeGMT(),TIME_DATE|TIME_SECONDS)," ",GetTickCount64()-before);
     }
   else if(sparam=="unknown")
      Print(SymbolInfoDouble("EURUSD",SYMBOL_BID));
   else if(sparam=="hash")
      Hash();
   else if(sparam=="globals")
      Globals();
   else if(sparam=="onnx")
      Onnx(lparam);
  }

//--- called above, written here; a default in the definition
int Third(const int index,const int from=1)
  {
   int numbers[];
   ArrayResize(numbers,index);
   numbers[0]=from;
   return(numbers[index]);
  }

void new_object(void)
  {
   CBase *lost=new CBase(1);
   Print(CheckPointer(lost)==POINTER_DYNAMIC);
  }

void DeleteTwice(void)
  {
   CBase *one=new CBase(1);
   delete one;
   Print(CheckPointer(one)==POINTER_DYNAMIC);
   delete one;
  }

void Language(void)
  {
   CChild child;
   Pair pair={0};
   child.Fill(pair);
   int n=ArraySize(g_objects);
   ArrayResize(g_objects,n+2);
   g_objects[n]=new CChild();
   g_objects[n+1]=new CBase(8);
   string text=NULL;
   string parts[];
   double grid[][2];
   ArrayResize(grid,2);
   grid[1][1]=2.5;
   text+="1"+2+"3";
   Print(text," ",g_objects[n].Name()," ",g_objects[n].Itself().Itself().Name()," ",g_objects[n+1].Name()," ",pair.left,pair.fixed[2]," ",
         EnumToString(PROBE_THIRD)," ",(int)PROBE_THIRD," ",EnumToString(PERIOD_H4)," ",grid[1][1]," ",ArrayRange(grid,1)," ",time+socket);
   int count=StringSplit("a,b,,c",',',parts);      // arguments are evaluated in no certain order
   Print(count," ",parts[2]=="" ? "empty" : "full"," ",KINDS[2]," ",StringLen(KINDS[2])," ",'A'," ",StringGetCharacter("ü",0));
   ulong big=ULONG_MAX;
   datetime day=D'2024.02.29';
   Print(StringFormat("%I64u|%5.2f|%-4s|%04d|%x|%%|%s",big,1.005,"ab",7,255,TimeToString(day+86400,TIME_DATE)),
         " ",(string)1.0," ",(double)"2.5"*2,
         " ",(int)"12abc"," ",DoubleToString(0.375000001,2)," ",NormalizeDouble(1.23456,4)," ",MathMax(1,2.5));
  }

void Series(void)
  {
   int values[]={1,2,3};
   int copy[];
   ArraySetAsSeries(values,true);
   ArrayCopy(copy,values,0,1,2);
   Print(values[0],values[2]," ",copy[0],copy[1]," ",ArraySize(copy)," ",ArrayMaximum(values)," ",ArrayGetAsSeries(values));
  }

void Stale(void)
  {
   uchar bytes[];
   ArrayResize(bytes,2);
   Print(bytes[1]);
  }

void Files(void)
  {
   int handle=FileOpen("deep\\er\\notes.txt",FILE_READ|FILE_WRITE|FILE_TXT|FILE_ANSI);
   if(handle==INVALID_HANDLE)
     {
      Print("open failed ",GetLastError());
      return;
     }
   FileSeek(handle,0,SEEK_END);
   uint written=FileWriteString(handle,"line ü\n");
   FileFlush(handle);
   FileSeek(handle,0,SEEK_SET);
   string line=FileReadString(handle);
   Print(written," ",line," ",FileSize(handle)," ",FileIsEnding(handle));
   FileClose(handle);
   int escape=FileOpen("..\\outside.txt",FILE_WRITE|FILE_BIN);
   int why=GetLastError();
   bool there=FileIsExist("deep/er/notes.txt");
   bool moved=FileMove("deep\\er\\notes.txt",0,"moved.txt",FILE_REWRITE|FILE_COMMON);
   Print(escape," ",why," ",there," ",moved);
  }

void Hash(void)
  {
   uchar data[],key[],hash[];
   string text="";
   StringToCharArray("abc",data,0,3,CP_UTF8);
   CryptEncode(CRYPT_HASH_SHA256,data,key,hash);
   for(int i=0; i<ArraySize(hash); i++)
      text+=StringFormat("%02x",hash[i]);
   CryptEncode(CRYPT_BASE64,hash,key,data);
   Print(text," ",CharArrayToString(data));
  }

void Globals(void)
  {
   GlobalVariableSet("a",1.5);
   double value=0.0;
   double first=GlobalVariableGet("a");
   bool known=GlobalVariableCheck("b"),got=GlobalVariableGet("b",value);
   Print(first," ",known," ",got," ",GetLastError());
  }

void Onnx(const long batch)
  {
   long handle=OnnxCreate("model.onnx",ONNX_DEFAULT);
   if(handle==INVALID_HANDLE)
     {
      Print("no model ",GetLastError());
      return;
     }
   const long in[]={1,3};
   const long out[]={1,3};
   float x[3]={1.0,-2.0,0.5};
   float y[];
   ArrayResize(x,3);
   ArrayResize(y,(int)batch);
   bool shaped=OnnxSetInputShape(handle,0,in) && OnnxSetOutputShape(handle,0,out);
   ResetLastError();
   bool ran=OnnxRun(handle,ONNX_NO_CONVERSION,x,y);
   Print(shaped," ",ran," ",GetLastError()," ",ran ? (string)y[0]+"/"+(string)y[1]+"/"+(string)y[2] : ""," ",OnnxGetInputName(handle,0));
   OnnxRelease(handle);
  }
//+------------------------------------------------------------------+
