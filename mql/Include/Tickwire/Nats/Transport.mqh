//+------------------------------------------------------------------+
//| Nats/Transport.mqh: one TCP or TLS connection, never waited for  |
//+------------------------------------------------------------------+
#ifndef TICKWIRE_NATS_TRANSPORT_MQH
#define TICKWIRE_NATS_TRANSPORT_MQH

#include <Tickwire\Nats\Bytes.mqh>

#define NATS_CHUNK 16384

// Everything but Connect and Secure returns at once. A function that fails closes the connection; Error() says why.
class CNatsTransport
  {
private:
   int               m_handle;
   bool              m_secure;
   string            m_error;
   bool              Fail(const string what);
public:
                     CNatsTransport(void) : m_handle(INVALID_HANDLE),m_secure(false),m_error("") {}
                    ~CNatsTransport(void) { Close(); }
   bool              Connect(const string host,const int port,const uint timeout_ms);   // waits, at most timeout_ms
   bool              Secure(const string host);                                         // TLS handshake; waits
   void              Close(void);
   bool              IsOpen(void) const { return(m_handle!=INVALID_HANDLE); }
   //--- bytes read into chunk (0 none there), -1 the connection is gone
   int               Read(uchar &chunk[]);
   //--- send from the queue what the socket takes now; false: the connection is gone
   bool              Write(CNatsBytes &out,const int max_chunks);
   string            Error(void) const { return(m_error); }
  };

bool CNatsTransport::Fail(const string what)
  {
   int code=GetLastError();
   m_error=what;
   if(code==4014)
      m_error+=": the address is not allowed (Tools, Options, Expert Advisors, Allow WebRequest for listed URL)";
   else if(code!=0)
      m_error+=StringFormat(" (error %d)",code);
   Close();
   return(false);
  }

bool CNatsTransport::Connect(const string host,const int port,const uint timeout_ms)
  {
   Close();
   ResetLastError();
   m_handle=SocketCreate();
   if(m_handle==INVALID_HANDLE)
      return(Fail("no socket"));
   if(!SocketConnect(m_handle,host,(uint)port,timeout_ms))
      return(Fail(StringFormat("cannot connect to %s:%d",host,port)));
   return(true);
  }

bool CNatsTransport::Secure(const string host)
  {
   ResetLastError();
   if(!SocketTlsHandshake(m_handle,host))
      return(Fail("TLS handshake with "+host+" failed"));
   m_secure=true;
   return(true);
  }

void CNatsTransport::Close(void)
  {
   if(m_handle!=INVALID_HANDLE)
      SocketClose(m_handle);
   m_handle=INVALID_HANDLE;
   m_secure=false;
  }

int CNatsTransport::Read(uchar &chunk[])
  {
   if(!IsOpen())
      return(-1);
   ResetLastError();
   if(m_secure)
     {
      // Bytes readable on the wire may not be a whole TLS record: only this call does not wait for one.
      int count=SocketTlsReadAvailable(m_handle,chunk,NATS_CHUNK);
      if(count>0)
         return(count);
      if(SocketIsConnected(m_handle))
         return(0);
      Fail("the connection was closed");
      return(-1);
     }
   uint ready=SocketIsReadable(m_handle);
   if(ready==0)
     {
      if(SocketIsConnected(m_handle))
         return(0);
      Fail("the connection was closed");
      return(-1);
     }
   if(ready>NATS_CHUNK)
      ready=NATS_CHUNK;
   int count=SocketRead(m_handle,chunk,ready,1);
   if(count>0)
      return(count);
   if(SocketIsConnected(m_handle))
      return(0);
   Fail("reading failed");
   return(-1);
  }

bool CNatsTransport::Write(CNatsBytes &out,const int max_chunks)
  {
   uchar chunk[];
   for(int i=0; i<max_chunks && out.Size()>0; i++)
     {
      if(!IsOpen())
         return(false);
      if(!SocketIsWritable(m_handle))
         return(SocketIsConnected(m_handle) || Fail("the connection was closed"));
      int size=out.Size()<NATS_CHUNK ? out.Size() : NATS_CHUNK;
      out.CopyTo(chunk,0,size);
      ResetLastError();
      int sent=m_secure ? SocketTlsSend(m_handle,chunk,(uint)size) : SocketSend(m_handle,chunk,(uint)size);
      if(sent<0)
         return(Fail("sending failed"));
      if(sent==0)
         return(true);
      out.Consume(sent);
     }
   return(true);
  }

#endif
//+------------------------------------------------------------------+
