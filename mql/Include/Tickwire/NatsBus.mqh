//+------------------------------------------------------------------+
//| NatsBus.mqh: numbered messages on NATS without hole or repeat    |
//+------------------------------------------------------------------+
// Nats.mqh promises at most once. These classes add what Tickwire's services promise each other (the rules are in
// libs/common/bus/README.md): one writer per subject numbers its messages 1, 2, 3, ... in the JSON field "seq", a
// JetStream stream captures them, and whoever hears a number that jumps reads what is missing from the stream.
//
//   CNatsPublisher  keeps what it sent until the stream is known to hold it, and sends it again after a reconnect
//   CNatsReader     core subscription joined with the stream: each number once, in order, holes filled
//   CNatsCommands   subjects with many writers (control.*): every command once, in the stream's own order
//   CNatsObject     one object of a JetStream object store (a model bundle), checked by its digest
//
//   CNatsClient nats;  CNatsPublisher out;  CNatsReader in;  CNatsMessage message;
//   out.Open(GetPointer(nats));
//   int ticks=out.Register("ticks.EURUSD","TICKS");
//   in.Open(GetPointer(nats),"orders.approved.demo.*","ORDERS");
//   OnTimer:  nats.Poll();  out.Poll();  in.Poll();
//             if(out.Newest(ticks)>=0) { long seq=out.Newest(ticks)+1; out.PublishText(ticks,seq,json_with_that_seq); }
//             while(in.Next(message)) if(message.error=="") Handle(message);
//
// The client must outlive them; Close (or the destructor) takes them off it.
#ifndef TICKWIRE_NATS_BUS_MQH
#define TICKWIRE_NATS_BUS_MQH

#include <Tickwire\Nats.mqh>

#define NATS_CONFIRM_MS     1000     // how often streams are asked what they hold
#define NATS_LOST_AFTER_MS  10000    // a hole nobody can fill is given up after so long with a connection
#define NATS_HIGH_WATER     8192     // messages waiting for Next; live ones above it are left to the stream
#define NATS_MAX_PENDING    10000    // live messages of one subject that wait for a hole
#define NATS_BATCH          500
#define NATS_REFRESH_MS     2000

#include <Tickwire\Nats\Stored.mqh>
#include <Tickwire\Nats\Publisher.mqh>
#include <Tickwire\Nats\Reader.mqh>
#include <Tickwire\Nats\Commands.mqh>
#include <Tickwire\Nats\Object.mqh>

#endif
//+------------------------------------------------------------------+
