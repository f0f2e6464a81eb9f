"""A service as small as can be, run by the real runtime under the user ``features``: it counts ticks.

Per tick a sequenced message, every n ticks an effect whose result becomes another one. ``python toy_service.py``
is a nursery: it imports everything once and forks a process per line of its input, so that many starts cost little.
"""

import asyncio
import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from libs.common.bus import nats as bus_nats
from libs.common.config import Settings
from libs.common.core import Effect, EffectResult, Route, Stage, Timer
from libs.common.messages.base import Message
from libs.common.messages.market import Bar, TickBlock
from libs.common.runtime import runner
from libs.common.runtime.main import main
from libs.common.runtime.service import Service, ServiceContext


class ToyConfig(Settings, frozen=True, kw_only=True):
    """Section ``features`` of a toy.

    Parameters
    ----------
    symbol : whose ticks it hears
    effect_every : an effect every so many ticks, 0 for none
    effect_s : how long an effect takes, seconds
    poison : number of the tick the core cannot survive, 0 for none
    delay_s : how long the core thinks about a tick, seconds
    bad_timer : whether the core cannot survive a timer
    """

    symbol: str = "EURUSD"
    effect_every: int = 0
    effect_s: float = 0.0
    poison: int = 0
    delay_s: float = 0.0
    bad_timer: bool = False


class Write(Effect, frozen=True, kw_only=True):
    """Append a line to a file."""

    count: int


class Written(EffectResult, frozen=True, kw_only=True):
    """The line is in the file."""

    count: int


class ToyState(msgspec.Struct):
    """What a toy remembers."""

    count: int = 0
    total: float = 0.0
    written: int = 0


class ToyCore:
    """Counts ticks and adds up their prices."""

    RESULTS = (Written,)
    STAGES = (Stage(name="settled", after=("ticks",)),)

    def __init__(self, config: ToyConfig) -> None:
        self._config = config
        self.HEARS = (Route(pattern=f"ticks.{config.symbol}", kinds=(TickBlock,)),)
        self.state = ToyState()

    def on_tick_block(self, message: TickBlock, now_ns: int) -> tuple[Message, ...]:
        state = self.state
        state.count += 1
        state.total += float(message.bid[-1])
        if message.first_tick == self._config.poison:
            raise RuntimeError("the toy cannot survive this one")
        time.sleep(self._config.delay_s)
        out: list[Message] = [self._bar(1, message.ts_event_ns, now_ns, state.count, state.total)]
        if self._config.effect_every and state.count % self._config.effect_every == 0:
            out.append(Write(
                ts_event_ns=message.ts_event_ns, ts_init_ns=now_ns, effect_id=f"write-{state.count}", count=state.count
            ))
        return tuple(out)

    def on_written(self, message: Written, now_ns: int) -> tuple[Message, ...]:
        self.state.written += 1
        return (self._bar(2, message.ts_event_ns, now_ns, message.count, 0.5),)

    def on_timer(self, message: Timer, now_ns: int) -> tuple[Message, ...]:
        if self._config.bad_timer:
            raise RuntimeError("the toy cannot survive a timer")
        return ()

    def _bar(self, timeframe_s: int, ts_event_ns: int, now_ns: int, count: int, total: float) -> Bar:
        return Bar(
            ts_event_ns=ts_event_ns, ts_init_ns=now_ns, symbol=self._config.symbol, timeframe_s=timeframe_s, open_ns=0,
            open=total, high=total, low=total, close=total, spread_mean=0.0, tick_count=count,
        )

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode(self.state)

    def restore(self, state: bytes) -> None:
        self.state = msgspec.msgpack.decode(state, type=ToyState)

    def details(self) -> dict[str, float | str]:
        return {"count": float(self.state.count)}


class ToyEffects:
    """Writes lines; the same line twice does no harm."""

    def __init__(self, config: ToyConfig, file: Path) -> None:
        self._config, self._file = config, file

    async def prepare(self) -> None:
        """Nothing to open."""

    async def perform(self, effect: Effect) -> EffectResult:
        assert isinstance(effect, Write)
        with self._file.open("a") as lines:
            lines.write(f"{effect.effect_id}\n")
        await asyncio.sleep(self._config.effect_s)
        return Written(
            ts_event_ns=effect.ts_event_ns, ts_init_ns=effect.ts_init_ns, effect_id=effect.effect_id, count=effect.count
        )

    async def close(self) -> None:
        """Nothing is open."""


def build(config: dict[str, Any], context: ServiceContext) -> Service:
    """Make the toy."""
    settings = config["features"]
    return Service(core=ToyCore(settings), effects=ToyEffects(settings, context.data_dir / "written"))


def _run_toy(order: dict[str, Any]) -> None:
    """Become the service an order describes."""
    out = os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ.update(order["environment"])
    runner.SNAPSHOT_EVERY_S = order.get("snapshot_every_s", 0.1)
    runner._DRAIN_S = 1.0
    bus_nats._OVERLAP_S = order.get("overlap_s", 5.0)
    sys.argv = ["toy", "--config", order["config"]]
    main("features", ToyConfig, build)


def nursery() -> None:
    """Fork a toy per line of JSON on standard input; tell its pid, and later how it ended."""
    waiting = b""
    while True:
        if select.select([0], [], [], 0.01)[0]:
            got = os.read(0, 65_536)
            if not got:
                return
            waiting += got
        while b"\n" in waiting:
            line, _, waiting = waiting.partition(b"\n")
            pid = os.fork()
            if pid == 0:
                try:
                    _run_toy(json.loads(line))
                except SystemExit as ended:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(int(ended.code or 0))
                os._exit(99)
            os.write(1, b'{"born":%d}\n' % pid)
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                code = os.waitstatus_to_exitcode(ended[1])
                os.write(1, b'{"ended":%d,"code":%d}\n' % (ended[0], code))
        except ChildProcessError:
            pass


if __name__ == "__main__":
    nursery()
