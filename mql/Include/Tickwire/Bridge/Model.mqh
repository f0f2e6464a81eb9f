//+------------------------------------------------------------------+
//| Bridge/Model.mqh: an ONNX model out of a bundle                  |
//+------------------------------------------------------------------+
// The bundle must hold model.onnx: one row of features in (1, k), float or double; the probabilities down, flat, up out
// (1, 3), of the same type, as the last output (one output of labels before it is passed over). It serves only after it
// has reproduced the bundle's golden rows. A bundle that scales its rows first (normaliser.json) is not for terminals.
#ifndef TICKWIRE_BRIDGE_MODEL_MQH
#define TICKWIRE_BRIDGE_MODEL_MQH

#include <Tickwire\Bridge\Bundle.mqh>

class CTwModel
  {
private:
   long              m_handle;
   bool              m_double;
   bool              m_labels;
   int               m_features;
   string            m_schema;
   string            m_name;
   long              m_version;
   string            m_sha256;
   string            m_error;
   bool              Fail(const string what) { m_error=what; return(false); }
   bool              Shape(void);
   bool              CheckGolden(CTwBundle *bundle,const double tolerance);
public:
                     CTwModel(void) : m_handle(INVALID_HANDLE),m_double(false),m_labels(false),m_features(0),m_schema(""),
                        m_name(""),m_version(0),m_sha256(""),m_error("") {}
                    ~CTwModel(void) { Close(); }
   bool              Open(CTwBundle *bundle,const string symbol,const double tolerance);
   void              Close(void);
   string            Error(void) const   { return(m_error);   }
   string            Name(void) const    { return(m_name);    }
   long              Version(void) const { return(m_version); }
   string            Sha256(void) const  { return(m_sha256);  }
   string            Schema(void) const  { return(m_schema);  }
   int               Features(void) const { return(m_features); }
   //--- probabilities down, flat, up of a row; false: see Error
   bool              Predict(const double &row[],double &probabilities[]);
  };

void CTwModel::Close(void)
  {
   if(m_handle!=INVALID_HANDLE)
      OnnxRelease(m_handle);
   m_handle=INVALID_HANDLE;
  }

bool CTwModel::Open(CTwBundle *bundle,const string symbol,const double tolerance)
  {
   Close();
   CJson *manifest=bundle.Manifest();
   uchar weights[],scaling[];
   m_name=manifest.GetString(0,"name");
   m_version=manifest.GetLong(0,"version",0);
   m_schema=manifest.GetString(0,"schema_id");
   m_features=manifest.Size(manifest.Find(0,"feature_names"));
   m_sha256=bundle.Sha256();
   if(manifest.GetString(0,"symbol")!=symbol)
      return(Fail("it is a model of "+manifest.GetString(0,"symbol")));
   if(m_features<1)
      return(Fail("it names no features"));
   if(bundle.File("normaliser.json",scaling))
      return(Fail("its rows go through normaliser.json first, which this program does not do: put the scaling into model.onnx"));
   if(!bundle.File("model.onnx",weights))
      return(Fail("the bundle holds no model.onnx"));
   m_handle=OnnxCreateFromBuffer(weights,ONNX_DEFAULT);
   if(m_handle==INVALID_HANDLE)
      return(Fail(StringFormat("the terminal does not take model.onnx (error %d)",GetLastError())));
   if(!Shape() || !CheckGolden(bundle,tolerance))
     {
      Close();
      return(false);
     }
   return(true);
  }

bool CTwModel::Shape(void)
  {
   long outputs=OnnxGetOutputCount(m_handle);
   if(OnnxGetInputCount(m_handle)!=1 || outputs<1 || outputs>2)
      return(Fail("model.onnx must have one input and one or two outputs"));
   m_labels=outputs==2;
   OnnxTypeInfo info;
   if(!OnnxGetInputTypeInfo(m_handle,0,info) || info.type!=ONNX_TYPE_TENSOR)
      return(Fail("the input of model.onnx is no tensor"));
   ENUM_ONNX_DATA_TYPE number=info.tensor.data_type;
   if(number!=ONNX_DATA_TYPE_FLOAT && number!=ONNX_DATA_TYPE_DOUBLE)
      return(Fail("the input of model.onnx is neither float nor double"));
   if(!OnnxGetOutputTypeInfo(m_handle,outputs-1,info) || info.type!=ONNX_TYPE_TENSOR || info.tensor.data_type!=number)
      return(Fail("the probabilities of model.onnx are not of its input's type"));
   m_double=number==ONNX_DATA_TYPE_DOUBLE;
   ulong row[2],probabilities[2];
   row[0]=1;
   row[1]=(ulong)m_features;
   probabilities[0]=1;
   probabilities[1]=3;
   if(!OnnxSetInputShape(m_handle,0,row) || !OnnxSetOutputShape(m_handle,outputs-1,probabilities))
      return(Fail(StringFormat("model.onnx does not take 1 x %d and give 1 x 3 (error %d)",m_features,GetLastError())));
   if(m_labels)
     {
      ulong label[1];
      label[0]=1;
      if(!OnnxSetOutputShape(m_handle,0,label))
         return(Fail(StringFormat("the first output of model.onnx is no label (error %d)",GetLastError())));
     }
   return(true);
  }

bool CTwModel::Predict(const double &row[],double &probabilities[])
  {
   if(m_handle==INVALID_HANDLE || ArraySize(row)!=m_features)
      return(Fail(StringFormat("a row of %d values, the model takes %d",ArraySize(row),m_features)));
   long label[1];
   bool done;
   if(m_double)
     {
      double in[],out[];
      ArrayResize(in,m_features);
      ArrayResize(out,3);
      for(int i=0; i<m_features; i++)
         in[i]=row[i];
      done=m_labels ? OnnxRun(m_handle,ONNX_NO_CONVERSION,in,label,out) : OnnxRun(m_handle,ONNX_NO_CONVERSION,in,out);
      ArrayResize(probabilities,3);
      for(int i=0; i<3; i++)
         probabilities[i]=out[i];
     }
   else
     {
      float in[],out[];
      ArrayResize(in,m_features);
      ArrayResize(out,3);
      for(int i=0; i<m_features; i++)
         in[i]=(float)row[i];
      done=m_labels ? OnnxRun(m_handle,ONNX_NO_CONVERSION,in,label,out) : OnnxRun(m_handle,ONNX_NO_CONVERSION,in,out);
      ArrayResize(probabilities,3);
      for(int i=0; i<3; i++)
         probabilities[i]=out[i];
     }
   if(!done)
      return(Fail(StringFormat("model.onnx does not run (error %d)",GetLastError())));
   double sum=probabilities[0]+probabilities[1]+probabilities[2];
   // Written so that what is not a number fails too.
   if(!(probabilities[0]>=0 && probabilities[1]>=0 && probabilities[2]>=0 && MathAbs(sum-1.0)<=0.00001))
      return(Fail("model.onnx gives no probabilities"));
   return(true);
  }

bool CTwModel::CheckGolden(CTwBundle *bundle,const double tolerance)
  {
   uchar text[];
   CJson golden;
   if(!bundle.File("golden.json",text) || !golden.ParseUtf8(text))
      return(Fail("the bundle holds no golden rows"));
   int rows=golden.Find(0,"rows"),wanted=golden.Find(0,"probabilities");
   if(golden.Size(rows)<1 || golden.Size(rows)!=golden.Size(wanted))
      return(Fail("the golden rows are malformed"));
   int row=golden.First(rows),right=golden.First(wanted);
   for(int i=0; row>=0 && right>=0; i++)
     {
      double values[],given[];
      int n=golden.Size(row);
      ArrayResize(values,n);
      for(int j=0; j<n; j++)
         values[j]=golden.AsDouble(golden.Item(row,j),0);
      if(!Predict(values,given))
         return(false);
      for(int j=0; j<3; j++)
         if(!(MathAbs(given[j]-golden.AsDouble(golden.Item(right,j),-1))<=tolerance))
            return(Fail(StringFormat("golden row %d comes out as %.6f, %.6f, %.6f",i,given[0],given[1],given[2])));
      row=golden.Next(row);
      right=golden.Next(right);
     }
   return(true);
  }

#endif
//+------------------------------------------------------------------+
