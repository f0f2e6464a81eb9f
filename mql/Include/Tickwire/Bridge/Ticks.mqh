//+------------------------------------------------------------------+
//| Bridge/Ticks.mqh: every tick and every closed bar, none twice    |
//+------------------------------------------------------------------+
// One OnTick may stand for many ticks, and a tick may be dropped from the event queue: so CopyTicks is asked from
// the last tick given out, and what was given out of that very millisecond is skipped.
#ifndef TICKWIRE_BRIDGE_TICKS_MQH
#define TICKWIRE_BRIDGE_TICKS_MQH

#include <Tickwire\Bridge\Voice.mqh>

#define TW_MAX_TICKS    4096     // in one message
#define TW_MAX_BARS     512
#define TW_UNSENT_BYTES 1000000  // while more waits for the socket, ticks stay where they are

class CTwTicks
  {
private:
   CTwVoice         *m_voice;
   string            m_symbol;
   long              m_last_msc;     // of the last tick given out, 0 none
   int               m_at_last;      // how many ticks of that millisecond were given out
   long              m_next;         // number of the next tick
   datetime          m_last_bar;     // open time of the last closed bar given out
   ENUM_TIMEFRAMES   m_bars;
   MqlTick           m_ticks[];
   int               Fresh(const int got) const;
   bool              Publish(const int from,const int count);
public:
                     CTwTicks(void) : m_voice(NULL),m_symbol(""),m_last_msc(0),m_at_last(0),m_next(1),m_last_bar(0),
                        m_bars(PERIOD_M1) {}
   void              Open(CTwVoice *voice,const string symbol,const ENUM_TIMEFRAMES bars);
   string            Symbol(void) const    { return(m_symbol); }
   long              Published(void) const { return(m_next-1); }
   //--- publish what is new, at most `messages` messages; true: there may be more
   bool              Pump(const int messages);
   void              PumpBars(void);
  };

void CTwTicks::Open(CTwVoice *voice,const string symbol,const ENUM_TIMEFRAMES bars)
  {
   m_voice=voice;
   m_symbol=symbol;
   m_bars=bars;
   SymbolSelect(symbol,true);
  }

//--- index of the first tick that was not given out yet, -1 none
int CTwTicks::Fresh(const int got) const
  {
   if(m_last_msc==0)
      return(got>0 ? 0 : -1);
   int at=0,skip=m_at_last;
   while(at<got && m_ticks[at].time_msc<m_last_msc)
      at++;
   while(at<got && skip>0 && m_ticks[at].time_msc==m_last_msc)
     {
      at++;
      skip--;
     }
   return(at<got ? at : -1);
  }

bool CTwTicks::Pump(const int messages)
  {
   if(!m_voice.IsReady() || m_voice.Client().WaitingBytes()>TW_UNSENT_BYTES)
      return(false);
   for(int i=0; i<messages; i++)
     {
      // The first time only the newest tick: ingest asks for what lies before.
      int wanted=m_last_msc==0 ? 1 : TW_MAX_TICKS+m_at_last;
      int got=CopyTicks(m_symbol,m_ticks,COPY_TICKS_ALL,m_last_msc==0 ? 0 : (ulong)m_last_msc,(uint)wanted);
      int from=got>0 ? Fresh(got) : -1;
      if(from<0)
         return(false);
      int count=got-from<TW_MAX_TICKS ? got-from : TW_MAX_TICKS;
      if(!Publish(from,count))
         return(false);
      if(got<wanted)
         return(false);
     }
   return(true);
  }

bool CTwTicks::Publish(const int from,const int count)
  {
   CJsonWriter *json=m_voice.Begin("EaTicks","ticks",m_symbol);
   json.MemberString("symbol",m_symbol);
   json.MemberLong("first",m_next);
   json.MemberLong("after_msc",m_last_msc);
   json.MemberLong("after_count",m_at_last);
   TwWriteTicks(json,m_ticks,from,count);
   if(!m_voice.Send())
      return(false);                 // the cursor stays: they go out once the bus is back
   for(int i=from; i<from+count; i++)
     {
      if(m_ticks[i].time_msc==m_last_msc)
         m_at_last++;
      else
        {
         m_last_msc=m_ticks[i].time_msc;
         m_at_last=1;
        }
     }
   m_next+=count;
   return(true);
  }

//--- the columns of some ticks
void TwWriteTicks(CJsonWriter *json,const MqlTick &ticks[],const int from,const int count)
  {
   json.Key("time_msc");
   json.BeginArray();
   for(int i=from; i<from+count; i++)
      json.Long(ticks[i].time_msc);
   json.EndArray();
   json.Key("bid");
   json.BeginArray();
   for(int i=from; i<from+count; i++)
      json.Double(ticks[i].bid);
   json.EndArray();
   json.Key("ask");
   json.BeginArray();
   for(int i=from; i<from+count; i++)
      json.Double(ticks[i].ask);
   json.EndArray();
   json.Key("last");
   json.BeginArray();
   for(int i=from; i<from+count; i++)
      json.Double(ticks[i].last);
   json.EndArray();
   json.Key("volume");
   json.BeginArray();
   for(int i=from; i<from+count; i++)
      json.Double(ticks[i].volume_real>0 ? ticks[i].volume_real : (double)ticks[i].volume);
   json.EndArray();
   json.Key("flags");
   json.BeginArray();
   for(int i=from; i<from+count; i++)
      json.Long((long)ticks[i].flags);
   json.EndArray();
  }

//--- bars that have closed since the last time; the forming one never
void CTwTicks::PumpBars(void)
  {
   if(!m_voice.IsReady())
      return;
   datetime forming=(datetime)SeriesInfoInteger(m_symbol,m_bars,SERIES_LASTBAR_DATE);
   int seconds=PeriodSeconds(m_bars);
   if(forming==0 || (m_last_bar!=0 && forming-seconds<=m_last_bar))
      return;
   MqlRates rates[];
   ArraySetAsSeries(rates,false);
   datetime next=(datetime)(m_last_bar+seconds),last=(datetime)(forming-1);
   int got=m_last_bar==0 ? CopyRates(m_symbol,m_bars,1,1,rates) : CopyRates(m_symbol,m_bars,next,last,rates);
   int from=0;
   while(from<got && (rates[from].time<=m_last_bar || rates[from].time>=forming))
      from++;
   int count=got-from<TW_MAX_BARS ? got-from : TW_MAX_BARS;
   while(count>0 && rates[from+count-1].time>=forming)
      count--;
   if(count<=0)
     {
      m_last_bar=forming-seconds;    // a minute without ticks has no bar
      return;
     }
   CJsonWriter *json=m_voice.Begin("EaBars","bars",m_symbol);
   json.MemberString("symbol",m_symbol);
   json.MemberLong("timeframe_s",seconds);
   TwWriteRates(json,rates,from,count);
   if(m_voice.Send())
      m_last_bar=rates[from+count-1].time;
  }

//--- the columns of some bars
void TwWriteRates(CJsonWriter *json,const MqlRates &rates[],const int from,const int count)
  {
   json.Key("time_s");
   json.BeginArray();
   for(int i=from; i<from+count; i++)
      json.Long((long)rates[i].time);
   json.EndArray();
   json.Key("open");
   json.BeginArray();
   for(int i=from; i<from+count; i++)
      json.Double(rates[i].open);
   json.EndArray();
   json.Key("high");
   json.BeginArray();
   for(int i=from; i<from+count; i++)
      json.Double(rates[i].high);
   json.EndArray();
   json.Key("low");
   json.BeginArray();
   for(int i=from; i<from+count; i++)
      json.Double(rates[i].low);
   json.EndArray();
   json.Key("close");
   json.BeginArray();
   for(int i=from; i<from+count; i++)
      json.Double(rates[i].close);
   json.EndArray();
   json.Key("tick_volume");
   json.BeginArray();
   for(int i=from; i<from+count; i++)
      json.Long(rates[i].tick_volume);
   json.EndArray();
   json.Key("spread");
   json.BeginArray();
   for(int i=from; i<from+count; i++)
      json.Long(rates[i].spread);
   json.EndArray();
  }

#endif
//+------------------------------------------------------------------+
