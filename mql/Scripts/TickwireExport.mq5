//+------------------------------------------------------------------+
//| TickwireExport.mq5: tick and bar history of what was traded      |
//+------------------------------------------------------------------+
// For every symbol in the account's history (or the ones named): one file of ticks and one of bars in
// MQL5\Files\tickwire\export, in the layout of MetaTrader's own export, which Tickwire's ingest and backtest read
// as they are (times are the server's clock). A file appears under its name only when it is whole.
#property copyright "Tickwire"
#property version   "1.00"
#property strict
#property script_show_inputs
#property description "Exports ticks and bars of every symbol of the account's history"

#define EXPORT_PAGE   100000      // ticks or bars asked for at once
#define EXPORT_LINES  2000        // lines written at once
#define EXPORT_WAITS  60          // half seconds to wait for the terminal to load history

input string          InpSymbols   = "";                  // comma-separated, empty: every symbol of the account's history
input datetime        InpFrom      = 0;                   // first day, 0: a day before the symbol's first deal
input datetime        InpTo        = 0;                   // up to, 0: now
input bool            InpTicks     = true;                // ticks
input bool            InpBars      = true;                // bars
input ENUM_TIMEFRAMES InpTimeframe = PERIOD_M1;           // of the bars
input string          InpFolder    = "tickwire\\export";  // folder in MQL5\Files
input bool            InpOverwrite = false;               // write files anew that are there already

void OnStart()
  {
   string symbols[];
   datetime since[];
   FindSymbols(symbols,since);
   if(ArraySize(symbols)==0)
     {
      Print("tickwire export: the account's history names no symbol; name some in InpSymbols");
      return;
     }
   FolderCreate("tickwire");
   FolderCreate(InpFolder);
   int whole=0;
   for(int i=0; i<ArraySize(symbols) && !IsStopped(); i++)
      if(Export(symbols[i],since[i]))
         whole++;
   PrintFormat("tickwire export: %d of %d symbols are in MQL5\\Files\\%s",whole,ArraySize(symbols),InpFolder);
  }

//--- the symbols and where each begins
void FindSymbols(string &symbols[],datetime &since[])
  {
   datetime start=InpFrom>0 ? InpFrom : (datetime)(TimeCurrent()-30*86400);
   string named[];
   int count=StringSplit(InpSymbols,',',named);
   for(int i=0; i<count; i++)
     {
      string name=named[i];
      StringTrimLeft(name);
      StringTrimRight(name);
      if(name!="")
         Note(symbols,since,name,start);
     }
   if(ArraySize(symbols)>0 || !HistorySelect(0,TimeCurrent()+86400))
      return;
   for(int i=0; i<HistoryDealsTotal(); i++)
     {
      ulong ticket=HistoryDealGetTicket(i);
      string name=HistoryDealGetString(ticket,DEAL_SYMBOL);
      if(ticket>0 && name!="")
         Note(symbols,since,name,InpFrom>0 ? InpFrom : (datetime)(HistoryDealGetInteger(ticket,DEAL_TIME)-86400));
     }
  }

void Note(string &symbols[],datetime &since[],const string name,const datetime from)
  {
   int n=ArraySize(symbols);
   for(int i=0; i<n; i++)
      if(symbols[i]==name)
        {
         if(from<since[i])
            since[i]=from;
         return;
        }
   ArrayResize(symbols,n+1,64);
   ArrayResize(since,n+1,64);
   symbols[n]=name;
   since[n]=from;
  }

bool Export(const string symbol,const datetime from)
  {
   if(!SymbolSelect(symbol,true))
     {
      PrintFormat("tickwire export: %s: the broker does not have it any more",symbol);
      return(false);
     }
   bool whole=true;
   if(InpTicks)
      whole=ExportTicks(symbol,from) && whole;
   if(InpBars)
      whole=ExportBars(symbol,from) && whole;
   return(whole);
  }

datetime Until(void)
  {
   return(InpTo>0 ? InpTo : (datetime)(TimeCurrent()+1));
  }

//--- letters that file names may not have become _
string FileName(const string symbol,const string kind)
  {
   string name=symbol;
   static const string forbidden="\\/:*?\"<>|";
   for(int i=0; i<StringLen(forbidden); i++)
      StringReplace(name,ShortToString(StringGetCharacter(forbidden,i)),"_");
   return(InpFolder+"\\"+name+"_"+kind+".csv");
  }

string DayAndTime(const long msc)
  {
   string text=TimeToString((datetime)(msc/1000),TIME_DATE|TIME_SECONDS);
   StringReplace(text," ","\t");
   return(text);
  }

//+------------------------------------------------------------------+
//| A file that appears when it is whole                             |
//+------------------------------------------------------------------+
class CExportFile
  {
private:
   string            m_name;
   int               m_handle;
   string            m_text;
   int               m_lines;
   long              m_total;
   bool              m_failed;
   void              Flush(void);
public:
                     CExportFile(void) : m_name(""),m_handle(INVALID_HANDLE),m_text(""),m_lines(0),m_total(0),m_failed(false) {}
                    ~CExportFile(void) { if(m_handle!=INVALID_HANDLE) FileClose(m_handle); }
   bool              Open(const string name,const string header);
   void              Line(const string text);
   bool              Close(const bool whole);
   long              Total(void) const { return(m_total); }
  };

bool CExportFile::Open(const string name,const string header)
  {
   m_name=name;
   m_handle=FileOpen(name+".part",FILE_WRITE|FILE_BIN);
   if(m_handle==INVALID_HANDLE)
     {
      PrintFormat("tickwire export: %s cannot be written (error %d)",name,GetLastError());
      return(false);
     }
   m_text=header+"\n";
   return(true);
  }

void CExportFile::Line(const string text)
  {
   m_text+=text+"\n";
   m_total++;
   if(++m_lines>=EXPORT_LINES)
      Flush();
  }

void CExportFile::Flush(void)
  {
   uchar bytes[];
   int count=StringToCharArray(m_text,bytes,0,WHOLE_ARRAY,CP_UTF8)-1;
   if(count>0 && (int)FileWriteArray(m_handle,bytes,0,count)!=count)
      m_failed=true;
   m_text="";
   m_lines=0;
  }

bool CExportFile::Close(const bool whole)
  {
   Flush();
   FileClose(m_handle);
   m_handle=INVALID_HANDLE;
   if(!whole || m_failed || m_total==0)
     {
      FileDelete(m_name+".part");
      PrintFormat("tickwire export: %s was not written: %s",m_name,m_failed ? "the disk refuses"
                  : m_total==0 ? "there is no history" : "the terminal did not give all of it");
      return(false);
     }
   if(!FileMove(m_name+".part",0,m_name,FILE_REWRITE))
     {
      PrintFormat("tickwire export: %s.part cannot be renamed (error %d)",m_name,GetLastError());
      return(false);
     }
   PrintFormat("tickwire export: %s: %I64d lines",m_name,m_total);
   return(true);
  }

//--- ticks, a page at a time; a page that ends inside a millisecond is asked for again from that millisecond on
bool ExportTicks(const string symbol,const datetime from)
  {
   string name=FileName(symbol,"ticks");
   if(FileIsExist(name) && !InpOverwrite)
     {
      PrintFormat("tickwire export: %s is there already",name);
      return(true);
     }
   CExportFile file;
   if(!file.Open(name,"<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>"))
      return(false);
   int digits=(int)SymbolInfoInteger(symbol,SYMBOL_DIGITS);
   ulong at=(ulong)from*1000,until=(ulong)Until()*1000;
   uint page=EXPORT_PAGE;
   bool whole=true;
   while(whole && !IsStopped())
     {
      MqlTick ticks[];
      int got=LoadTicks(symbol,ticks,at,page);
      if(got<0)
         whole=false;
      if(got<=0)
         break;
      bool last=(uint)got<page || (ulong)ticks[got-1].time_msc>=until;
      int count=got;
      if(!last)
         while(count>0 && ticks[count-1].time_msc==ticks[got-1].time_msc)
            count--;
      if(count==0)
        {
         page*=2;                    // one millisecond fills a whole page
         continue;
        }
      for(int i=0; i<count && (ulong)ticks[i].time_msc<until; i++)
         file.Line(TickLine(ticks[i],digits));
      if(last)
         break;
      at=(ulong)ticks[got-1].time_msc;
      page=EXPORT_PAGE;
     }
   return(file.Close(whole && !IsStopped()));
  }

string TickLine(const MqlTick &tick,const int digits)
  {
   return(DayAndTime(tick.time_msc)+StringFormat(".%03d",(int)(tick.time_msc%1000))+"\t"+DoubleToString(tick.bid,digits)+"\t"+
          DoubleToString(tick.ask,digits)+"\t"+(tick.last>0 ? DoubleToString(tick.last,digits) : "")+"\t"+
          (tick.volume_real>0 ? DoubleToString(tick.volume_real,2) : "")+"\t"+IntegerToString((long)tick.flags));
  }

//--- the terminal loads history in the background: the first answers may be errors
int LoadTicks(const string symbol,MqlTick &ticks[],const ulong from,const uint count)
  {
   for(int i=0; i<EXPORT_WAITS && !IsStopped(); i++)
     {
      ResetLastError();
      int got=CopyTicks(symbol,ticks,COPY_TICKS_ALL,from,count);
      if(got>=0 && GetLastError()==0)
         return(got);
      if(got>0 && (uint)got==count)
         return(got);
      Sleep(500);
     }
   PrintFormat("tickwire export: %s: the terminal gives no ticks (error %d)",symbol,GetLastError());
   return(-1);
  }

bool ExportBars(const string symbol,const datetime from)
  {
   string name=FileName(symbol,StringSubstr(EnumToString(InpTimeframe),7));
   if(FileIsExist(name) && !InpOverwrite)
     {
      PrintFormat("tickwire export: %s is there already",name);
      return(true);
     }
   CExportFile file;
   if(!file.Open(name,"<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"))
      return(false);
   int digits=(int)SymbolInfoInteger(symbol,SYMBOL_DIGITS);
   int seconds=PeriodSeconds(InpTimeframe);
   datetime until=Until();
   bool whole=true;
   for(datetime at=from; at<until && whole && !IsStopped(); at+=seconds*EXPORT_PAGE)
     {
      datetime to=(datetime)(at+seconds*EXPORT_PAGE-1);
      if(to>=until)
         to=(datetime)(until-1);
      MqlRates rates[];
      ArraySetAsSeries(rates,false);
      int got=LoadRates(symbol,rates,at,to);
      if(got<0)
         whole=false;
      for(int i=0; i<got; i++)
         if(rates[i].time+seconds<=TimeCurrent())      // the forming bar is not one yet
            file.Line(BarLine(rates[i],digits));
     }
   return(file.Close(whole && !IsStopped()));
  }

string BarLine(const MqlRates &bar,const int digits)
  {
   return(DayAndTime((long)bar.time*1000)+"\t"+DoubleToString(bar.open,digits)+"\t"+DoubleToString(bar.high,digits)+"\t"+
          DoubleToString(bar.low,digits)+"\t"+DoubleToString(bar.close,digits)+"\t"+IntegerToString(bar.tick_volume)+"\t"+
          IntegerToString(bar.real_volume)+"\t"+IntegerToString((long)bar.spread));
  }

int LoadRates(const string symbol,MqlRates &rates[],const datetime from,const datetime to)
  {
   for(int i=0; i<EXPORT_WAITS && !IsStopped(); i++)
     {
      ResetLastError();
      int got=CopyRates(symbol,InpTimeframe,from,to,rates);
      if(got>=0 && GetLastError()==0)
         return(got);
      Sleep(500);
     }
   PrintFormat("tickwire export: %s: the terminal gives no bars (error %d)",symbol,GetLastError());
   return(-1);
  }
//+------------------------------------------------------------------+
