//+------------------------------------------------------------------+
//| TickwireOnnx.mq5: runs the promoted model inside the terminal    |
//+------------------------------------------------------------------+
// Hears the feature rows of a symbol, runs the promoted bundle's model.onnx on each, and publishes what comes out, to be
// compared with what the inference service predicts. A new version takes over between two rows, after it has passed every
// check; a broken one never does: the old one goes on. Trades nothing.
#property copyright "Tickwire"
#property version   "1.00"
#property strict
#property description "Runs Tickwire's promoted ONNX model in this terminal and publishes its predictions"

#include <Tickwire\Nats.mqh>
#include <Tickwire\NatsBus.mqh>
#include <Tickwire\Bridge\Voice.mqh>
#include <Tickwire\Bridge\Bundle.mqh>
#include <Tickwire\Bridge\Model.mqh>

#define PROGRAM_NAME     "TickwireOnnx"
#define PROGRAM_VERSION  "1.00"
#define ASK_EVERY_MS     5000

enum ENUM_TW_SOURCE
  {
   SOURCE_BUS,       // what is promoted on the bus, out of its model store
   SOURCE_FILE       // a bundle in MQL5\Files, read anew when it changes
  };

input group "Bus"
input string         InpHost         = "127.0.0.1";              // address of nats-server (must be in the allowed list)
input int            InpPort         = 4222;                     // its port
input bool           InpTls          = false;                    // refuse a server without TLS
input string         InpUser         = "ea";                     // user
input string         InpPasswordFile = "tickwire\\ea.password";  // file with the password, in MQL5\Files
input string         InpAccount      = "paper";                  // Tickwire's name of this account
input group "Model"
input string         InpSymbol       = "";                       // Tickwire's symbol, empty: the chart's
input string         InpModel        = "";                       // model's name, empty: direction-<symbol>
input ENUM_TW_SOURCE InpSource       = SOURCE_BUS;               // where the bundle comes from
input string         InpBundleFile   = "tickwire\\model.bundle"; // SOURCE_FILE: file in MQL5\Files
input string         InpBucket       = "models";                 // SOURCE_BUS: object store
input double         InpTolerance    = 0.0001;                   // most difference of a golden probability
input group "Machinery"
input int            InpTimerMs      = 10;                       // pause between two looks at the bus, ms

//--- feature rows and promotions
class CEar : public CNatsHandler
  {
public:
   virtual void      OnNatsMessage(CNatsMessage &message);
   virtual void      OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message);
   virtual void      OnNatsState(const bool ready);
  };

CNatsClient g_nats;
CTwVoice    g_voice;
CEar        g_ear;
CNatsObject g_object;
CTwModel   *g_model=NULL;
CJson       g_json;
string      g_symbol="";
string      g_name="";
string      g_wanted="";              // hash of the bundle that is being fetched
long        g_wanted_version=0;
string      g_refused="";             // hash of the bundle that was refused last
bool        g_fetching=false;
bool        g_tell=false;
long        g_file_time=0;
ulong       g_file_size=0;
ulong       g_ask_ms=0;
ulong       g_newest_ask=0;
long        g_mismatched=0;
long        g_predictions=0;

int OnInit()
  {
   g_symbol=InpSymbol=="" ? _Symbol : InpSymbol;
   g_name=InpModel=="" ? "direction-"+g_symbol : InpModel;
   FolderCreate(TW_FOLDER);
   g_voice.Open(GetPointer(g_nats),InpAccount,PROGRAM_NAME);
   NatsOptions options;
   options.host=InpHost;
   options.port=InpPort;
   options.tls=InpTls;
   options.user=InpUser;
   options.password=TwReadLine(InpPasswordFile);
   options.name="TickwireOnnx "+g_symbol;
   if(!g_nats.Open(options))
     {
      Print("tickwire: ",g_nats.LastError());
      return(INIT_FAILED);
     }
   g_nats.AddHandler(GetPointer(g_ear));
   g_nats.Subscribe("features."+TwToken(g_symbol),GetPointer(g_ear));
   if(InpSource==SOURCE_BUS)
      g_nats.Subscribe("models."+TwToken(g_name)+".promoted",GetPointer(g_ear));
   EventSetMillisecondTimer(InpTimerMs);
   return(INIT_SUCCEEDED);
  }

void OnDeinit(const int reason)
  {
   EventKillTimer();
   g_object.Close();
   g_nats.Close();
   if(CheckPointer(g_model)==POINTER_DYNAMIC)
      delete g_model;
   g_model=NULL;
  }

void OnTimer()
  {
   g_nats.Poll();
   if(g_tell && g_nats.IsReady())
     {
      g_tell=false;                  // nobody has heard what was taken while the bus was gone
      if(CheckPointer(g_model)!=POINTER_INVALID)
         TellModel(g_model.Name(),g_model.Version(),g_model.Sha256(),true,"");
     }
   if(InpSource==SOURCE_FILE)
      WatchFile();
   else
      WatchStore();
  }

void CEar::OnNatsState(const bool ready)
  {
   if(!ready)
      return;
   g_ask_ms=0;                       // ask for the newest promotion: one may have been missed
   g_tell=true;
  }

void CEar::OnNatsMessage(CNatsMessage &message)
  {
   if(!g_json.ParseUtf8(message.data))
      return;
   string type=g_json.GetString(0,"type");
   if(type=="ModelPromoted")
      Promoted();
   else if(type=="FeatureBlock" && CheckPointer(g_model)!=POINTER_INVALID)
      Predict();
  }

//--- the newest promotion the stream holds
void CEar::OnNatsReply(const ulong request,const ENUM_NATS_REPLY status,CNatsMessage &message)
  {
   if(request!=g_newest_ask)
      return;
   g_newest_ask=0;
   if(status==NATS_REPLY_ARRIVED && message.status==0 && g_json.ParseUtf8(message.data) &&
      g_json.GetString(0,"type")=="ModelPromoted")
      Promoted();
  }

//--- the event that was just read names the champion
void Promoted(void)
  {
   string wanted=g_json.GetString(0,"bundle_sha256");
   if(g_json.GetString(0,"name")!=g_name || wanted=="" || wanted==g_refused)
      return;
   if((CheckPointer(g_model)!=POINTER_INVALID && wanted==g_model.Sha256()) || (g_fetching && wanted==g_wanted))
      return;
   g_wanted=wanted;
   g_wanted_version=g_json.GetLong(0,"version",0);
   g_fetching=g_object.Open(GetPointer(g_nats),InpBucket,ObjectName(g_name,g_wanted_version,wanted));
  }

string ObjectName(const string name,const long version,const string sha256)
  {
   return(name+"-"+IntegerToString(version)+"-"+StringSubstr(sha256,0,16));
  }

void WatchStore(void)
  {
   ulong now=GetTickCount64();
   if(g_nats.IsReady() && !g_fetching && (g_ask_ms==0 || now-g_ask_ms>=ASK_EVERY_MS) && g_newest_ask==0)
     {
      g_ask_ms=now;
      g_newest_ask=g_nats.GetLast("MODELS","models."+TwToken(g_name)+".promoted",3000,GetPointer(g_ear));
     }
   if(!g_fetching)
      return;
   g_object.Poll();
   ENUM_NATS_OBJECT state=g_object.State();
   if(state==NATS_OBJECT_READY)
     {
      uchar archive[];
      g_object.Take(archive);
      g_object.Close();
      g_fetching=false;
      Take(archive,g_wanted);
     }
   else if(state==NATS_OBJECT_MISSING || state==NATS_OBJECT_BROKEN)
     {
      string why=state==NATS_OBJECT_MISSING ? "the model store does not hold it" : g_object.LastError();
      g_object.Close();
      g_fetching=false;
      Refuse(g_name,g_wanted_version,g_wanted,why);
     }
  }

//--- read the file anew when its time or size has changed; one that is half written is refused, and read again later
void WatchFile(void)
  {
   ulong now=GetTickCount64();
   if(g_ask_ms!=0 && now-g_ask_ms<500)
      return;
   g_ask_ms=now;
   if(!FileIsExist(InpBundleFile))
      return;
   int handle=FileOpen(InpBundleFile,FILE_READ|FILE_BIN|FILE_SHARE_READ|FILE_SHARE_WRITE);
   if(handle==INVALID_HANDLE)
      return;
   long time=FileGetInteger(handle,FILE_MODIFY_DATE);
   ulong size=FileSize(handle);
   if(time==g_file_time && size==g_file_size)
     {
      FileClose(handle);
      return;
     }
   uchar archive[];
   uint got=FileReadArray(handle,archive);
   FileClose(handle);
   g_file_time=time;
   g_file_size=size;
   if((ulong)got==size)
      Take(archive,"");
  }

//--- check a bundle from its hashes to its golden rows; only then does it take over
void Take(const uchar &archive[],const string wanted)
  {
   CTwBundle *bundle=new CTwBundle();
   CTwModel *fresh=new CTwModel();
   bool good=bundle.Open(archive,wanted);
   string why=good ? "" : bundle.Error();
   if(good && !fresh.Open(bundle,g_symbol,InpTolerance))
     {
      good=false;
      why=fresh.Error();
     }
   string name=bundle.Manifest().GetString(0,"name",g_name);
   long version=bundle.Manifest().GetLong(0,"version",g_wanted_version);
   string sha256=bundle.Sha256()!="" ? bundle.Sha256() : wanted;
   delete bundle;
   if(good && CheckPointer(g_model)!=POINTER_INVALID && g_model.Sha256()==sha256)
     {
      delete fresh;                  // the same one again
      return;
     }
   if(!good)
     {
      delete fresh;
      Refuse(name,version,wanted!="" ? wanted : sha256,why);
      return;
     }
   if(CheckPointer(g_model)==POINTER_DYNAMIC)
      delete g_model;
   g_model=fresh;
   g_mismatched=0;
   PrintFormat("tickwire: %s version %I64d predicts",name,version);
   TellModel(name,version,sha256,true,"");
  }

void Refuse(const string name,const long version,const string sha256,const string why)
  {
   g_refused=sha256;
   PrintFormat("tickwire: %s version %I64d is refused: %s",name,version,why);
   TellModel(name,version,sha256,false,why);
  }

void TellModel(const string name,const long version,const string sha256,const bool accepted,const string reason)
  {
   CJsonWriter *json=g_voice.Begin("EaModel","models",g_symbol);
   json.MemberString("symbol",g_symbol);
   json.MemberString("model",name);
   json.MemberLong("version",version);
   json.MemberString("bundle_sha256",sha256);
   json.MemberBool("accepted",accepted);
   json.MemberLong("serving_version",CheckPointer(g_model)==POINTER_INVALID ? 0 : g_model.Version());
   json.MemberString("reason",reason);
   g_voice.Send();
  }

//--- the row that was just read
void Predict(void)
  {
   double row[],probabilities[];
   if(g_json.GetString(0,"symbol")!=g_symbol)
      return;
   if(g_json.GetString(0,"schema_id")!=g_model.Schema() || g_json.GetDoubles(0,"values",row)!=g_model.Features())
     {
      if(g_mismatched++==0)
         g_voice.Alert("warning","schema_mismatch",g_symbol+": the rows are not those the model was trained on");
      return;
     }
   if(!g_model.Predict(row,probabilities))
     {
      if(g_mismatched++==0)
         g_voice.Alert("warning","model_failed",g_model.Error());
      return;
     }
   long seq=g_json.GetLong(0,"seq",0),time=g_json.GetLong(0,"ts_event_ns",0);
   CJsonWriter *json=g_voice.Begin("EaPrediction","predictions",g_symbol);
   json.MemberString("symbol",g_symbol);
   json.MemberString("model",g_model.Name());
   json.MemberLong("version",g_model.Version());
   json.MemberString("bundle_sha256",g_model.Sha256());
   json.MemberLong("row_seq",seq);
   json.MemberLong("row_ns",time);
   json.MemberDouble("p_down",probabilities[0]);
   json.MemberDouble("p_flat",probabilities[1]);
   json.MemberDouble("p_up",probabilities[2]);
   if(g_voice.Send())
      g_predictions++;
  }
//+------------------------------------------------------------------+
