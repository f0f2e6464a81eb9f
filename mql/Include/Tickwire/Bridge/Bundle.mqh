//+------------------------------------------------------------------+
//| Bridge/Bundle.mqh: a model bundle, checked before it is used     |
//+------------------------------------------------------------------+
// A bundle is a zip archive of stored entries. manifest.json holds the SHA-256 of every other file; its own hash
// (without the name of the signing key) is what a promotion names. The promotion can be written by the trainer alone,
// so the chain promotion -> manifest -> files holds without Ed25519, which MQL5 does not have.
#ifndef TICKWIRE_BRIDGE_BUNDLE_MQH
#define TICKWIRE_BRIDGE_BUNDLE_MQH

#include <Tickwire\Bridge\Mac.mqh>

#define TW_BUNDLE_MAX     67108864
#define TW_BUNDLE_FILES   34

class CTwBundle
  {
private:
   uchar             m_bytes[];
   string            m_names[];
   int               m_starts[];
   int               m_sizes[];
   string            m_error;
   CJson             m_manifest;
   string            m_sha256;
   bool              Fail(const string what) { m_error=what; return(false); }
   long              Number(const int at,const int count) const;
   bool              ReadEntries(void);
   bool              CheckFiles(void);
   bool              HashManifest(void);
public:
                     CTwBundle(void) : m_error(""),m_sha256("") {}
   //--- read and check an archive; wanted: the hash it must have, "" any
   bool              Open(const uchar &archive[],const string wanted);
   string            Error(void) const  { return(m_error);  }
   string            Sha256(void) const { return(m_sha256); }
   CJson            *Manifest(void)     { return(GetPointer(m_manifest)); }
   bool              File(const string name,uchar &content[]) const;
  };

long CTwBundle::Number(const int at,const int count) const
  {
   long value=0;
   for(int i=count-1; i>=0; i--)
      value=(value<<8)|m_bytes[at+i];
   return(value);
  }

//--- local headers one after the other, up to the central directory
bool CTwBundle::ReadEntries(void)
  {
   int size=ArraySize(m_bytes),at=0,n=0;
   ArrayResize(m_names,0);
   while(at+30<=size && Number(at,4)==0x04034b50)
     {
      long flags=Number(at+6,2),method=Number(at+8,2),packed=Number(at+18,4),plain=Number(at+22,4);
      long name_size=Number(at+26,2),extra=Number(at+28,2);
      long start=at+30+name_size+extra;
      if(method!=0 || (flags&9)!=0 || packed!=plain)
         return(Fail("an entry is compressed or encrypted"));
      if(n>=TW_BUNDLE_FILES || name_size<1 || name_size>64 || start+plain>size)
         return(Fail("an entry reaches beyond the archive"));
      ArrayResize(m_names,n+1,TW_BUNDLE_FILES);
      ArrayResize(m_starts,n+1,TW_BUNDLE_FILES);
      ArrayResize(m_sizes,n+1,TW_BUNDLE_FILES);
      m_names[n]=CharArrayToString(m_bytes,at+30,(int)name_size,CP_UTF8);
      m_starts[n]=(int)start;
      m_sizes[n]=(int)plain;
      n++;
      at=(int)(start+plain);
     }
   return(n>0 ? true : Fail("not an archive"));
  }

bool CTwBundle::File(const string name,uchar &content[]) const
  {
   for(int i=0; i<ArraySize(m_names); i++)
      if(m_names[i]==name)
        {
         ArrayResize(content,m_sizes[i]);
         if(m_sizes[i]>0)
            ArrayCopy(content,m_bytes,0,m_starts[i],m_sizes[i]);
         return(true);
        }
   ArrayResize(content,0);
   return(false);
  }

//--- the hash of the manifest without its member key_id
bool CTwBundle::HashManifest(void)
  {
   uchar text[],plain[],digest[];
   if(!File("manifest.json",text))
      return(Fail("there is no manifest.json"));
   if(!m_manifest.ParseUtf8(text))
      return(Fail("manifest.json: "+m_manifest.Error()));
   string key="\"key_id\":\""+m_manifest.GetString(0,"key_id")+"\",";
   uchar cut[];
   int length=StringToCharArray(key,cut,0,WHOLE_ARRAY,CP_UTF8)-1,size=ArraySize(text),found=-1;
   for(int i=0; i+length<=size && found<0; i++)
     {
      int j=0;
      while(j<length && text[i+j]==cut[j])
         j++;
      if(j==length)
         found=i;
     }
   if(found<0)
      return(Fail("manifest.json names no key"));
   ArrayResize(plain,size-length);
   ArrayCopy(plain,text,0,0,found);
   ArrayCopy(plain,text,found,found+length,size-found-length);
   if(!TwSha256(plain,digest))
      return(Fail("the terminal cannot hash"));
   m_sha256=TwHex(digest,32);
   return(true);
  }

bool CTwBundle::CheckFiles(void)
  {
   int files=m_manifest.Find(0,"files");
   int listed=0;
   for(int node=m_manifest.First(files); node>=0; node=m_manifest.Next(node))
     {
      uchar content[],digest[];
      string name=m_manifest.Key(node);
      listed++;
      if(!File(name,content))
         return(Fail(name+" is missing"));
      if(!TwSha256(content,digest) || TwHex(digest,32)!=m_manifest.AsString(node,""))
         return(Fail(name+" is not what the manifest says"));
     }
   if(listed+2!=ArraySize(m_names))
      return(Fail("the archive holds files the manifest does not name"));
   return(true);
  }

bool CTwBundle::Open(const uchar &archive[],const string wanted)
  {
   int size=ArraySize(archive);
   m_error="";
   m_sha256="";
   if(size<64 || size>TW_BUNDLE_MAX)
      return(Fail(StringFormat("an archive of %d bytes",size)));
   ArrayResize(m_bytes,size);
   ArrayCopy(m_bytes,archive,0,0,size);
   if(!ReadEntries() || !HashManifest() || !CheckFiles())
      return(false);
   if(wanted!="" && wanted!=m_sha256)
      return(Fail("it is another bundle than the one that was promoted"));
   if(m_manifest.GetLong(0,"format",0)!=1)
      return(Fail("unknown bundle format"));
   return(true);
  }

#endif
//+------------------------------------------------------------------+
