//+------------------------------------------------------------------+
//| Bridge/Mac.mqh: HMAC-SHA256, compared in constant time           |
//+------------------------------------------------------------------+
#ifndef TICKWIRE_BRIDGE_MAC_MQH
#define TICKWIRE_BRIDGE_MAC_MQH

#include <Tickwire\Bridge\Voice.mqh>

//--- SHA-256 of bytes; false: the terminal cannot
bool TwSha256(const uchar &data[],uchar &digest[])
  {
   uchar no_key[];
   ArrayResize(no_key,0);
   return(CryptEncode(CRYPT_HASH_SHA256,data,no_key,digest)==32 && ArraySize(digest)>=32);
  }

string TwHex(const uchar &bytes[],const int count)
  {
   string text="";
   for(int i=0; i<count; i++)
      text+=StringFormat("%02x",(int)bytes[i]);
   return(text);
  }

//--- HMAC (RFC 2104) with SHA-256; the key is at most 64 bytes
bool TwHmac(const uchar &key[],const uchar &data[],uchar &code[])
  {
   int key_size=ArraySize(key),size=ArraySize(data);
   if(key_size==0 || key_size>64)
      return(false);
   uchar inner[],outer[],digest[];
   ArrayResize(inner,64+size);
   ArrayResize(outer,64+32);
   for(int i=0; i<64; i++)
     {
      uchar k=i<key_size ? key[i] : (uchar)0;
      inner[i]=(uchar)(k^0x36);
      outer[i]=(uchar)(k^0x5c);
     }
   if(size>0)
      ArrayCopy(inner,data,64,0,size);
   if(!TwSha256(inner,digest))
      return(false);
   ArrayCopy(outer,digest,64,0,32);
   return(TwSha256(outer,code));
  }

//--- equal texts, in a time that depends on their lengths only
bool TwSameText(const string a,const string b)
  {
   int n=StringLen(a),m=StringLen(b);
   int different=n^m;
   for(int i=0; i<n; i++)
      different|=(int)StringGetCharacter(a,i)^(m>0 ? (int)StringGetCharacter(b,i%m) : 1);
   return(different==0);
  }

//+------------------------------------------------------------------+
//| The secret shared with the executor                              |
//+------------------------------------------------------------------+
class CTwMac
  {
private:
   uchar             m_key[];
public:
   //--- 64 hex digits in a file of MQL5\Files; false: there is none, or it is no key
   bool              Load(const string file);
   bool              HasKey(void) const { return(ArraySize(m_key)==32); }
   bool              IsRight(const uchar &data[],const string said) const;
  };

bool CTwMac::Load(const string file)
  {
   ArrayResize(m_key,0);
   string text=TwReadLine(file);
   if(StringLen(text)!=64)
      return(false);
   ArrayResize(m_key,32);
   for(int i=0; i<32; i++)
      m_key[i]=(uchar)((TwHexDigit((uchar)StringGetCharacter(text,2*i))<<4)|TwHexDigit((uchar)StringGetCharacter(text,2*i+1)));
   return(true);
  }

bool CTwMac::IsRight(const uchar &data[],const string said) const
  {
   uchar code[];
   if(!HasKey() || !TwHmac(m_key,data,code))
      return(false);
   return(TwSameText(TwHex(code,32),said));
  }

//--- the first line of a small text file of MQL5\Files, "" when there is none
string TwReadLine(const string file)
  {
   if(!FileIsExist(file))
      return("");
   int handle=FileOpen(file,FILE_READ|FILE_BIN|FILE_SHARE_READ|FILE_SHARE_WRITE);
   if(handle==INVALID_HANDLE)
      return("");
   uchar bytes[];
   FileReadArray(handle,bytes,0,4096);
   FileClose(handle);
   int n=0;
   while(n<ArraySize(bytes) && bytes[n]>32)
      n++;
   return(n>0 ? CharArrayToString(bytes,0,n,CP_UTF8) : "");
  }

#endif
//+------------------------------------------------------------------+
