//+------------------------------------------------------------------+
//| JsonProbe.mq5: Json.mqh, asked by a test                         |
//+------------------------------------------------------------------+
#property version "1.00"
#include <Tickwire\Json.mqh>

int OnInit()
  {
   return(INIT_SUCCEEDED);
  }

void Copy(CJson &json,const int node,CJsonWriter &w)
  {
   switch(json.Kind(node))
     {
      case JSON_OBJECT:
         w.BeginObject();
         for(int child=json.First(node); child>=0; child=json.Next(child))
           {
            w.Key(json.Key(child));
            Copy(json,child,w);
           }
         w.EndObject();
         break;
      case JSON_ARRAY:
         w.BeginArray();
         for(int child=json.First(node); child>=0; child=json.Next(child))
            Copy(json,child,w);
         w.EndArray();
         break;
      case JSON_STRING:
         w.String(json.AsString(node,""));
         break;
      case JSON_BOOL:
         w.Bool(json.AsBool(node,false));
         break;
      case JSON_NULL:
         w.Null();
         break;
      default:
         if(!json.IsInteger(node))
            w.Double(json.AsDouble(node,0.0));
         else if(json.AsLong(node,-1)==-1)
            w.Raw(json.AsULong(node,0)>0 ? StringFormat("%I64u",json.AsULong(node,0)) : json.Raw(node));
         else
            w.Long(json.AsLong(node,0));
     }
  }

string Misuse()
  {
   string said="";
   for(int kind=0; kind<6; kind++)
     {
      CJsonWriter w;
      w.BeginObject();
      if(kind==0)
         w.Long(1);
      if(kind==1)
         w.EndArray();
      if(kind==2)
        {
         w.Key("a");
         w.Key("b");
        }
      if(kind==3)
         w.Key("a");
      if(kind!=4)
         w.EndObject();
      if(kind==5 && !w.IsComplete())
         said+="?";
      if(kind==1)
         w.Long(2);
      said+=(kind>0 ? " " : "")+(w.IsComplete() ? "1" : "0");
     }
   return(said);
  }

void OnChartEvent(const int id,const long &lparam,const double &dparam,const string &sparam)
  {
   int cut=StringFind(sparam,"\n");
   string verb=StringSubstr(sparam,0,cut),text=StringSubstr(sparam,cut+1);
   CJson json;
   CJsonWriter w;
   if(verb=="limit")
      json.SetLimits(64,100);
   bool good=json.Parse(text);
   if(verb=="error" || verb=="limit")
      Print(json.Error());
   else if(verb=="misuse")
      Print(Misuse());
   else if(!good)
      Print(json.Error());
   else if(verb=="echo")
     {
      Copy(json,0,w);
      Print(w.IsComplete() ? w.Text() : "incomplete");
     }
   else if(verb=="double")
     {
      w.Double(json.AsDouble(0,-1.0));
      Print(w.Text());
     }
   else if(verb=="whole")
      Print(json.AsLong(0,-7)," ",StringFormat("%I64u",json.AsULong(0,7)));
   else if(verb=="find")
     {
      int list=json.Find(json.Find(0,"b"),"é");
      string keys="";
      for(int node=json.First(0); node>=0; node=json.Next(node))
         keys+=(keys=="" ? "" : " ")+json.Key(node);
      Print(json.GetLong(0,"a"),"|",json.Size(list),"|",json.AsLong(json.Item(list,1),0),"|",json.GetString(0,"q\"\n"),"|",
            json.Find(0,"nothing"),"|",keys);
     }
  }
//+------------------------------------------------------------------+
