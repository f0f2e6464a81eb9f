//+------------------------------------------------------------------+
//| TickwireBridge.mq5: a terminal as a client of Tickwire's bus     |
//+------------------------------------------------------------------+
// Publishes ticks, closed bars, specifications, the economic calendar, the account and every trade transaction;
// executes orders that risk has signed off, each at most once; keeps its own copy of the hard limits. What is said
// in which words: PROTOCOL.md. How to install it: docs/expert-advisors.md.
#property copyright "Tickwire"
#property link      "https://github.com/tickwire"
#property version   "1.00"
#property strict
#property description "Connects this terminal to Tickwire over NATS. One chart per account is enough."

#include <Tickwire\Nats.mqh>
#include <Tickwire\Bridge\Voice.mqh>
#include <Tickwire\Bridge\Mac.mqh>
#include <Tickwire\Bridge\OrderTable.mqh>
#include <Tickwire\Bridge\Books.mqh>
#include <Tickwire\Bridge\Limits.mqh>
#include <Tickwire\Bridge\Ticks.mqh>
#include <Tickwire\Bridge\Symbols.mqh>
#include <Tickwire\Bridge\Answers.mqh>
#include <Tickwire\Bridge\Orders.mqh>
#include <Tickwire\Bridge\Decide.mqh>

#define PROGRAM_NAME     "TickwireBridge"
#define PROGRAM_VERSION  "1.00"
#define TICK_MESSAGES    8         // per symbol and event
#define BARS_EVERY_MS    200       // pause between two looks for closed bars

enum ENUM_TW_MODE
  {
   MODE_BRIDGE,      // Tickwire's executor decides
   MODE_WATCH,       // publish only, take no orders
   MODE_DECIDE       // ask somebody after each closed minute (without Tickwire's risk!)
  };

input group "Bus"
input string       InpHost             = "127.0.0.1";              // address of nats-server (must be in the allowed list)
input int          InpPort             = 4222;                     // its port
input bool         InpTls              = false;                    // refuse a server without TLS
input string       InpUser             = "ea";                     // user
input string       InpPasswordFile     = "tickwire\\ea.password";  // file with the password, in MQL5\Files
input string       InpAccount          = "paper";                  // Tickwire's name of this account
input group "What is published"
input string       InpSymbols          = "";                       // comma-separated broker symbols, empty: the chart's
input bool         InpPublishTicks     = true;                     // ticks
input ENUM_TIMEFRAMES InpBars          = PERIOD_M1;                // closed bars of this period
input bool         InpPublishCalendar  = true;                     // economic calendar
input group "Orders"
input ENUM_TW_MODE InpMode             = MODE_BRIDGE;              // who decides
input bool         InpRequireMac       = true;                     // take orders with the right message code only
input string       InpKeyFile          = "tickwire\\ea.key";       // file with the key (64 hex digits), in MQL5\Files
input int          InpNamespace        = 1;                        // executor.namespace: whose magic numbers are ours
input int          InpDecideVersion    = 1;                        // MODE_DECIDE: protocol version 1 or 0
input int          InpDecideDeviation  = 20;                       // MODE_DECIDE: slippage, points
input group "Hard limits (0: none)"
input double       InpMaxLots          = 1.0;                      // most lots of one order
input int          InpMaxPositions     = 10;                       // most open positions of the account
input double       InpMaxDailyLossPct  = 5.0;                      // most loss since the server's midnight, percent
input double       InpDeadManSeconds   = 10.0;                     // open nothing when risk is silent for so long
input double       InpFlattenAfterSeconds = 0.0;                   // close our positions when risk is silent for so long
input string       InpKillFile         = "tickwire\\kill";         // open nothing while this file exists in MQL5\Files
input group "Machinery"
input int          InpTimerMs          = 10;                       // pause between two looks at the bus, ms

//--- risk is alive
class CRiskEar : public CNatsHandler
  {
public:
   virtual void      OnNatsMessage(CNatsMessage &message);
  };

//--- the connection came or went
class CGreeter : public CNatsHandler
  {
public:
   virtual void      OnNatsState(const bool ready);
  };

CNatsClient g_nats;
CTwVoice    g_voice;
CTwMac      g_mac;
CTwLimits   g_limits;
CTwSymbols  g_symbols;
CTwCalendar g_calendar;
CTwTicks   *g_ticks[];
CTwOrders   g_orders;
CTwBooks    g_books;
CTwHistory  g_history;
CTwDecide   g_decide;
CRiskEar    g_risk_ear;
CGreeter    g_greeter;
int         g_lock=INVALID_HANDLE;
bool        g_greet=false;
bool        g_account_due=true;
bool        g_killed=false;
string      g_blocked="";
ulong       g_bars_ms=0;
ulong       g_second_ms=0;
ulong       g_minute_ms=0;
ulong       g_flatten_ms=0;
bool        g_flattening=false;

int OnInit()
  {
   FolderCreate(TW_FOLDER);
   string name=TwToken(InpAccount);
   string base=TW_FOLDER+"\\";
   // A second one in this terminal would share the table of orders.
   g_lock=FileOpen(base+"lock-"+name,FILE_WRITE|FILE_BIN);
   if(g_lock==INVALID_HANDLE)
     {
      Print("tickwire: another TickwireBridge of this terminal serves account ",InpAccount);
      return(INIT_FAILED);
     }
   g_voice.Open(GetPointer(g_nats),InpAccount,PROGRAM_NAME);
   g_symbols.Open(GetPointer(g_voice),InpSymbols);
   g_calendar.Open(GetPointer(g_voice));
   g_books.Open(GetPointer(g_voice),GetPointer(g_symbols));
   g_history.Open(GetPointer(g_voice));
   OpenTicks();
   g_limits.Open(InpMaxLots,InpMaxPositions,InpMaxDailyLossPct,InpMode==MODE_BRIDGE ? InpDeadManSeconds : 0,InpKillFile,
                 base+"day-"+name);
   g_mac.Load(InpKeyFile);
   if(InpMode==MODE_BRIDGE && InpRequireMac && !g_mac.HasKey())
      Print("tickwire: ",InpKeyFile," holds no key of 64 hex digits: no order will be taken (see docs/expert-advisors.md)");
   if(InpMode!=MODE_WATCH &&
      !g_orders.Open(GetPointer(g_voice),GetPointer(g_limits),GetPointer(g_mac),InpRequireMac,base+"orders-"+name+".tbl"))
      Print("tickwire: no order will be taken: ",g_orders.Error());
   g_decide.Open(GetPointer(g_voice),GetPointer(g_orders),GetPointer(g_limits),g_symbols.Name(0),InpDecideVersion,InpNamespace,
                 InpDecideDeviation);
   if(!OpenBus())
      return(INIT_FAILED);
   g_minute_ms=GetTickCount64();
   EventSetMillisecondTimer(InpTimerMs);
   return(INIT_SUCCEEDED);
  }

void OpenTicks()
  {
   ArrayResize(g_ticks,g_symbols.Total());
   for(int i=0; i<g_symbols.Total(); i++)
     {
      g_ticks[i]=new CTwTicks();
      g_ticks[i].Open(GetPointer(g_voice),g_symbols.Name(i),InpBars);
     }
  }

bool OpenBus()
  {
   NatsOptions options;
   options.host=InpHost;
   options.port=InpPort;
   options.tls=InpTls;
   options.user=InpUser;
   options.password=TwReadLine(InpPasswordFile);
   options.name="TickwireBridge "+InpAccount;
   if(!g_nats.Open(options))
     {
      Print("tickwire: ",g_nats.LastError());
      return(false);
     }
   g_nats.AddHandler(GetPointer(g_greeter));
   g_nats.Subscribe(g_voice.Subject("books")+".*",GetPointer(g_books),"tickwire");
   g_nats.Subscribe(g_voice.Subject("history"),GetPointer(g_history),"tickwire");
   if(InpMode==MODE_BRIDGE)
     {
      g_nats.Subscribe(g_voice.Subject("orders"),GetPointer(g_orders),"tickwire");
      g_nats.Subscribe("health.risk",GetPointer(g_risk_ear));
     }
   return(true);
  }

void OnDeinit(const int reason)
  {
   EventKillTimer();
   g_orders.Close();
   g_nats.Close();
   for(int i=0; i<ArraySize(g_ticks); i++)
      delete g_ticks[i];
   ArrayResize(g_ticks,0);
   if(g_lock!=INVALID_HANDLE)
      FileClose(g_lock);
   g_lock=INVALID_HANDLE;
  }

//--- nothing in here waits: no reading from the bus, no order
void OnTick()
  {
   PumpTicks();
  }

void OnTimer()
  {
   g_nats.Poll();
   if((g_greet || g_books.WantsIntroduction()) && g_nats.IsReady())
     {
      g_greet=false;
      TellAll();
     }
   PumpTicks();
   if(g_account_due)
      TellAccount();
   ulong now=GetTickCount64();
   if(now-g_bars_ms>=BARS_EVERY_MS)
     {
      g_bars_ms=now;
      PumpBars();
     }
   if(now-g_second_ms>=1000)
     {
      g_second_ms=now;
      EverySecond();
     }
   if(now-g_minute_ms>=60000)
     {
      g_minute_ms=now;
      TellAll();
     }
  }

void PumpTicks()
  {
   if(!InpPublishTicks)
      return;
   for(int i=0; i<ArraySize(g_ticks); i++)
      g_ticks[i].Pump(TICK_MESSAGES);
  }

void PumpBars()
  {
   for(int i=0; i<ArraySize(g_ticks); i++)
      g_ticks[i].PumpBars();
   if(InpMode==MODE_DECIDE)
      g_decide.Pump();
  }

void CRiskEar::OnNatsMessage(CNatsMessage &message)
  {
   g_limits.HeardRisk();
  }

void CGreeter::OnNatsState(const bool ready)
  {
   g_greet=ready;
   if(!ready)
      Print("tickwire: the bus is gone: ",g_nats.LastError());
  }

//--- who we are and what we know of symbols and calendar
void TellAll()
  {
   CJsonWriter *json=g_voice.Begin("EaHello","hello");
   json.MemberString("program",PROGRAM_NAME);
   json.MemberString("program_version",PROGRAM_VERSION);
   json.MemberLong("build",TerminalInfoInteger(TERMINAL_BUILD));
   json.MemberLong("login",AccountInfoInteger(ACCOUNT_LOGIN));
   json.MemberString("server",AccountInfoString(ACCOUNT_SERVER));
   json.MemberString("currency",AccountInfoString(ACCOUNT_CURRENCY));
   json.MemberString("company",AccountInfoString(ACCOUNT_COMPANY));
   json.MemberLong("trade_mode",AccountInfoInteger(ACCOUNT_TRADE_MODE));
   json.MemberLong("margin_mode",AccountInfoInteger(ACCOUNT_MARGIN_MODE));
   json.MemberLong("leverage",AccountInfoInteger(ACCOUNT_LEVERAGE));
   json.Key("symbols");
   json.BeginArray();
   for(int i=0; i<g_symbols.Total(); i++)
      json.String(g_symbols.Name(i));
   json.EndArray();
   json.MemberDouble("max_lots",InpMaxLots);
   json.MemberLong("max_positions",InpMaxPositions);
   json.MemberDouble("max_daily_loss_pct",InpMaxDailyLossPct);
   json.MemberDouble("dead_man_s",InpDeadManSeconds);
   json.MemberBool("signed",InpMode==MODE_BRIDGE && InpRequireMac && g_mac.HasKey());
   g_voice.Send();
   g_symbols.Tell(true);
   if(InpPublishCalendar)
      g_calendar.Tell(true);
  }

void EverySecond()
  {
   string blocked=Blocked();
   if(blocked!=g_blocked)
     {
      g_blocked=blocked;
      if(blocked!="")
         g_voice.Alert("warning","ea_opens_nothing",blocked);
     }
   WatchKillFile();
   WatchDeadMan();
   TellHeartbeat();
   TellAccount();
   g_symbols.Tell(false);
   if(InpPublishCalendar)
      g_calendar.Tell(false);
  }

string Blocked()
  {
   if(InpMode==MODE_WATCH)
      return("watching");
   return(g_orders.IsBroken() ? "table_broken" : g_limits.Blocked());
  }

void TellHeartbeat()
  {
   CJsonWriter *json=g_voice.Begin("EaHeartbeat","heartbeat");
   json.MemberBool("connected",TwConnected());
   json.MemberBool("trade_allowed",TwMayTrade());
   json.MemberString("blocked",g_blocked);
   json.MemberLong("time_server_s",(long)TimeTradeServer());
   json.MemberLong("time_gmt_s",(long)TimeGMT());
   json.MemberDouble("risk_age_s",g_limits.RiskAge());
   json.MemberDouble("equity_ccy",AccountInfoDouble(ACCOUNT_EQUITY));
   json.MemberLong("positions",PositionsTotal());
   json.MemberLong("orders",g_orders.Executed());
   json.Key("ticks");
   json.BeginObject();
   for(int i=0; i<ArraySize(g_ticks); i++)
      json.MemberLong(g_ticks[i].Symbol(),g_ticks[i].Published());
   json.EndObject();
   g_voice.Send();
  }

void TellAccount()
  {
   CJsonWriter *json=g_voice.Begin("EaAccount","account");
   json.MemberLong("time_server_msc",TwServerMsc());
   json.Key("figures");
   TwWriteFigures(json);
   json.Key("positions");
   TwWritePositions(json);
   if(g_voice.Send())
      g_account_due=false;
  }

//--- an independent copy of what the terminal tells, whoever caused it
void OnTradeTransaction(const MqlTradeTransaction &trans,const MqlTradeRequest &request,const MqlTradeResult &result)
  {
   g_account_due=true;
   bool answered=trans.type==TRADE_TRANSACTION_REQUEST;
   bool deal=trans.type==TRADE_TRANSACTION_DEAL_ADD && trans.deal>0 && HistoryDealSelect(trans.deal);
   CJsonWriter *json=g_voice.Begin("EaTransaction","transactions");
   json.MemberLong("kind",(long)trans.type);
   json.MemberULong("deal",trans.deal);
   json.MemberULong("order",trans.order);
   json.MemberULong("position",trans.position);
   json.MemberULong("position_by",trans.position_by);
   json.MemberString("symbol",trans.symbol);
   json.MemberLong("order_type",(long)trans.order_type);
   json.MemberLong("order_state",(long)trans.order_state);
   json.MemberLong("deal_type",(long)trans.deal_type);
   json.MemberLong("time_type",(long)trans.time_type);
   json.MemberDouble("price",trans.price);
   json.MemberDouble("price_trigger",trans.price_trigger);
   json.MemberDouble("sl",trans.price_sl);
   json.MemberDouble("tp",trans.price_tp);
   json.MemberDouble("volume",trans.volume);
   json.MemberLong("magic",deal ? HistoryDealGetInteger(trans.deal,DEAL_MAGIC) : answered ? (long)request.magic : 0);
   json.MemberLong("retcode",answered ? (long)result.retcode : 0);
   json.MemberLong("request_id",answered ? (long)result.request_id : 0);
   json.MemberString("comment",answered ? result.comment : "");
   if(deal)
     {
      json.Key("figures");
      TwWriteDeal(json,trans.deal);
     }
   g_voice.Send();
  }

//--- whoever puts the file there wants everything to stop, not only this terminal
void WatchKillFile()
  {
   bool killed=g_limits.IsKilled();
   if(killed && !g_killed)
     {
      g_voice.Alert("critical","kill_file",InpKillFile+" exists: nothing is opened");
      g_voice.Halt("kill_file");
     }
   g_killed=killed;
  }

//--- risk is silent for too long: close what is ours, when we were told to
void WatchDeadMan()
  {
   bool silent=InpMode==MODE_BRIDGE && InpFlattenAfterSeconds>0 && g_limits.RiskSilence()>InpFlattenAfterSeconds;
   if(silent && !g_flattening)
      g_voice.Alert("critical","dead_man_flattens",StringFormat("risk has been silent for %.0f s",g_limits.RiskSilence()));
   g_flattening=silent;
   ulong now=GetTickCount64();
   if(!silent || now-g_flatten_ms<5000 || !TwConnected())
      return;
   g_flatten_ms=now;
   for(int i=PositionsTotal()-1; i>=0; i--)
     {
      ulong ticket=PositionGetTicket(i);
      if(ticket>0 && (PositionGetInteger(POSITION_MAGIC)>>48)==InpNamespace)
         ClosePosition(ticket);
     }
  }

//--- the selected position. It names the position, so a repetition cannot open anything
void ClosePosition(const ulong ticket)
  {
   MqlTradeRequest request={};
   MqlTradeResult result={};
   bool buy=PositionGetInteger(POSITION_TYPE)==POSITION_TYPE_BUY;
   request.action=TRADE_ACTION_DEAL;
   request.position=ticket;
   request.symbol=PositionGetString(POSITION_SYMBOL);
   request.volume=PositionGetDouble(POSITION_VOLUME);
   request.magic=(ulong)PositionGetInteger(POSITION_MAGIC);
   request.type=buy ? ORDER_TYPE_SELL : ORDER_TYPE_BUY;
   request.price=SymbolInfoDouble(request.symbol,buy ? SYMBOL_BID : SYMBOL_ASK);
   request.deviation=1000;
   request.comment="tw:deadman";
   long filling=SymbolInfoInteger(request.symbol,SYMBOL_FILLING_MODE);
   request.type_filling=(filling&SYMBOL_FILLING_IOC)!=0 ? ORDER_FILLING_IOC
                        : (filling&SYMBOL_FILLING_FOK)!=0 ? ORDER_FILLING_FOK : ORDER_FILLING_RETURN;
   if(!OrderSend(request,result))
      PrintFormat("tickwire: position %I64u cannot be closed: retcode %u",ticket,result.retcode);
  }
//+------------------------------------------------------------------+
