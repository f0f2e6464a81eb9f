//+------------------------------------------------------------------+
//| Bridge/Limits.mqh: the program's own last word on new orders     |
//+------------------------------------------------------------------+
// A copy of the hard limits that needs nobody: it holds when the rest of Tickwire is wrong, silent or gone.
// What only reduces always passes.
#ifndef TICKWIRE_BRIDGE_LIMITS_MQH
#define TICKWIRE_BRIDGE_LIMITS_MQH

#include <Tickwire\Bridge\Books.mqh>
#include <Tickwire\Bridge\Mac.mqh>
#include <Tickwire\Bridge\OrderTable.mqh>

#define TW_LOTS_DUST  0.00000001

class CTwLimits
  {
private:
   double            m_max_lots;
   int               m_max_positions;
   double            m_max_daily_loss_pct;
   uint              m_dead_man_ms;
   string            m_kill_file;
   string            m_state_file;
   ulong             m_risk_ms;          // when risk was heard last, 0 never
   ulong             m_opened_ms;
   long              m_day;
   double            m_day_equity;
   void              LoadDay(void);
   void              SaveDay(void);
public:
                     CTwLimits(void) : m_max_lots(0),m_max_positions(0),m_max_daily_loss_pct(0),m_dead_man_ms(0),m_kill_file(""),
                        m_state_file(""),m_risk_ms(0),m_opened_ms(0),m_day(-1),m_day_equity(0) {}
   void              Open(const double max_lots,const int max_positions,const double max_daily_loss_pct,const double dead_man_s,
                          const string kill_file,const string state_file);
   void              HeardRisk(void)     { m_risk_ms=GetTickCount64(); }
   //--- seconds since risk was heard, -1 never
   double            RiskAge(void) const { return(m_risk_ms==0 ? -1.0 : (double)(GetTickCount64()-m_risk_ms)/1000.0); }
   //--- seconds for which risk has been silent, from our start on when it was never heard
   double            RiskSilence(void) const
     { return((double)(GetTickCount64()-(m_risk_ms==0 ? m_opened_ms : m_risk_ms))/1000.0); }
   //--- call often: notices the server's midnight
   void              Watch(void);
   double            DayEquity(void) const { return(m_day_equity); }
   //--- why nothing may be opened at all, "" when it may
   string            Blocked(void);
   //--- why this request must not be sent, "" when it may
   string            Refusal(const MqlTradeRequest &request);
   static bool       OnlyReduces(const MqlTradeRequest &request);
   bool              IsKilled(void) const { return(m_kill_file!="" && FileIsExist(m_kill_file)); }
  };

void CTwLimits::Open(const double max_lots,const int max_positions,const double max_daily_loss_pct,const double dead_man_s,
                     const string kill_file,const string state_file)
  {
   m_max_lots=max_lots;
   m_max_positions=max_positions;
   m_max_daily_loss_pct=max_daily_loss_pct;
   m_dead_man_ms=(uint)MathRound(dead_man_s*1000);
   m_kill_file=kill_file;
   m_state_file=state_file;
   m_opened_ms=GetTickCount64();
   m_risk_ms=0;
   m_day=-1;
   LoadDay();
   Watch();
  }

//--- "<day> <equity at its start> <crc>", so that a restart does not grant a new allowance
void CTwLimits::LoadDay(void)
  {
   string parts[];
   if(StringSplit(TwReadLine(m_state_file),'|',parts)!=3)
      return;
   if(StringFormat("%08x",CTwOrderTable::Crc(parts[0]+"|"+parts[1]))!=parts[2])
      return;
   m_day=StringToInteger(parts[0]);
   m_day_equity=StringToDouble(parts[1]);
  }

void CTwLimits::SaveDay(void)
  {
   string text=IntegerToString(m_day)+"|"+DoubleToString(m_day_equity,8);
   uchar bytes[];
   int count=StringToCharArray(text+"|"+StringFormat("%08x",CTwOrderTable::Crc(text))+"\n",bytes,0,WHOLE_ARRAY,CP_UTF8)-1;
   int handle=FileOpen(m_state_file+".new",FILE_WRITE|FILE_BIN);
   if(handle==INVALID_HANDLE)
      return;
   FileWriteArray(handle,bytes,0,count);
   FileClose(handle);
   FileMove(m_state_file+".new",0,m_state_file,FILE_REWRITE);
  }

void CTwLimits::Watch(void)
  {
   long day=(long)TimeCurrent()/86400;
   double equity=AccountInfoDouble(ACCOUNT_EQUITY);
   // The terminal may know neither clock nor account yet; and a server's clock that goes back changes nothing.
   if(day<=m_day || day==0 || equity<=0)
      return;
   m_day=day;
   m_day_equity=equity;
   SaveDay();
  }

string CTwLimits::Blocked(void)
  {
   Watch();
   if(IsKilled())
      return("kill_file");
   if(!TwConnected())
      return("not_connected");
   if(!TwMayTrade() || AccountInfoInteger(ACCOUNT_TRADE_ALLOWED)==0 || AccountInfoInteger(ACCOUNT_TRADE_EXPERT)==0)
      return("trading_disabled");
   if(m_dead_man_ms>0 && (m_risk_ms==0 || GetTickCount64()-m_risk_ms>m_dead_man_ms))
      return("dead_man");
   double equity=AccountInfoDouble(ACCOUNT_EQUITY);
   if(m_max_daily_loss_pct>0 && !(equity>m_day_equity*(1.0-m_max_daily_loss_pct/100.0)))
      return("daily_loss");
   if(m_max_positions>0 && PositionsTotal()>=m_max_positions)
      return("max_positions");
   return("");
  }

//--- an order that closes (part of) a position, removes an order, or moves stops: it opens nothing
bool CTwLimits::OnlyReduces(const MqlTradeRequest &request)
  {
   if(request.action==TRADE_ACTION_SLTP || request.action==TRADE_ACTION_REMOVE || request.action==TRADE_ACTION_CLOSE_BY)
      return(true);
   if(request.action!=TRADE_ACTION_DEAL || request.position==0 || !PositionSelectByTicket(request.position))
      return(false);
   long held=PositionGetInteger(POSITION_TYPE);
   bool opposite=(held==POSITION_TYPE_BUY && request.type==ORDER_TYPE_SELL) ||
                 (held==POSITION_TYPE_SELL && request.type==ORDER_TYPE_BUY);
   return(opposite && PositionGetString(POSITION_SYMBOL)==request.symbol &&
          request.volume<=PositionGetDouble(POSITION_VOLUME)+TW_LOTS_DUST);
  }

string CTwLimits::Refusal(const MqlTradeRequest &request)
  {
   if(OnlyReduces(request))
      return("");
   string blocked=Blocked();
   if(blocked!="")
      return(blocked);
   // Written so that a volume that is not a number is refused as well.
   if(!(request.volume>0) || (m_max_lots>0 && !(request.volume<=m_max_lots+TW_LOTS_DUST)))
      return("max_lots");
   return("");
  }

#endif
//+------------------------------------------------------------------+
