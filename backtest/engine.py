"""Drives the live cores over recorded ticks, in one process, in order of event time.

A run is the lockstep replay without a bus: tick blocks are cut where ingest cuts them, every core handles them in
the same order and at the same event times, so orders and fills are the same, bit for bit. Where nothing can happen
(no order on its way, no stop within reach, no limit near, no position due, and no suggestion until then) the steps
in between are not walked one by one but passed over in one compiled advance; what they would have said, account
snapshots that nobody acts upon, is the only thing left out.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from backtest.exchange import Exchange, Performer
from backtest.record import Record
from backtest.wiring import Cores, Sections, keep_no_journal
from libs.common.core import Core
from libs.common.errors import DataError
from libs.common.messages.base import Floats, Ints, Message
from libs.common.messages.control import Alert
from libs.common.messages.features import FeatureBlock, Prediction
from libs.common.messages.market import TickBlock
from services.inference.core import STRATEGY_FAILED
from services.inference.rules import rule_prediction
from services.inference.strategies import STAY_OUT
from services.ingest.cutting import cut_offsets, grid_for

TICK_HEARERS = ("executor", "risk", "features", "trainer")
"""In which order the cores are handed a tick block; none hears of another's word on it before all have handled it."""
NS_PER_S = 1_000_000_000
CAREFUL_STEPS = 64
"""After equity came near a limit, so many steps are walked one by one before passing over any is tried again."""


class Engine:
    """One run.

    Parameters
    ----------
    sections : of the configuration
    cores : made of them
    record : takes in what is said
    trainer, performers : the trainer's core, and who performs the effects of trainer and inference, for a run in
        which models are trained on the way; without them nothing is trained
    careful : walk every step, pass over none
    equity_every_s : longest stretch passed over while a position is open, so that the equity curve has points
    """

    def __init__(
        self, sections: Sections, cores: Cores, record: Record, *, trainer: Core | None = None,
        performers: dict[str, Performer] | None = None, careful: bool = False, equity_every_s: int = 3_600,
    ) -> None:
        self._sections, self._cores, self._record = sections, cores, record
        self._decide_on = sections.system.decide_on
        self._max_block = sections.ingest.max_block
        self._passes_over = not careful and trainer is None and len(sections.system.symbols) == 1
        self._account_every_ns = round(sections.executor.account_every_s * NS_PER_S)
        self._equity_every_ns = equity_every_s * NS_PER_S
        named: dict[str, Core] = {"executor": cores.executor, "risk": cores.risk, "features": cores.features}
        if trainer is not None:
            named["trainer"] = trainer
        self._tick_hearers = tuple(name for name in TICK_HEARERS if name in named)
        self._exchange = Exchange(
            {**named, "inference": cores.inference}, {"executor": keep_no_journal, **(performers or {})}, self._witness
        )
        self._careful_left = 0

    def run(self, blocks: Iterable[TickBlock]) -> None:
        """Drive the cores over good ticks.

        Parameters
        ----------
        blocks : of one symbol: long ones, to be cut here; of several: as ingest cuts and merges them

        Raises
        ------
        DataError : when a strategy fails
        """
        for block in blocks:
            self._record.ticks += len(block)
            if self._passes_over:
                _Chunk(self, block).walk()
            elif len(self._sections.system.symbols) == 1:
                ends = self.ends_of(block)
                for start, end in zip([0, *ends[:-1]], ends, strict=True):
                    self._walk_step(block.part(start, end))
            else:
                self._walk_step(block)

    def replay(self, blocks: Iterable[TickBlock], events: Mapping[int, Sequence[Message]]) -> None:
        """Drive the cores over the very blocks of a recorded session.

        Parameters
        ----------
        blocks : as they were published, in order of their steps
        events : step -> what inference was told of models in it, after that step's rows
        """
        exchange = self._exchange
        for block in blocks:
            self._record.ticks += len(block)
            exchange.step = block.step - 1
            self._walk_step(block)
            for event in events.get(block.step, ()):
                exchange.hand("inference", event)
            exchange.settle()

    def ends_of(self, block: TickBlock) -> list[int]:
        """Return where ingest would cut one symbol's block: the exclusive end of every step."""
        ends: list[int] = cut_offsets(
            block.time_ns, block.first_tick, self._cores.features.last_tick_ns(block.symbol), max_block=self._max_block,
            decide_on=self._decide_on, grid_ns=grid_for(self._decide_on, 1, self._sections.ingest.max_skew_s),
        ).tolist()
        return ends

    def _walk_step(self, block: TickBlock) -> None:
        """Let every core handle one block and settle what comes of it."""
        exchange = self._exchange
        exchange.step += 1
        exchange.hear_ticks(block, self._tick_hearers)
        exchange.settle()

    def _witness(self, service: str, message: Message, step: int) -> None:
        if isinstance(message, FeatureBlock):
            self._record.see_rows(
                message.symbol, message.names, np.array([message.ts_event_ns]), message.values.reshape(1, -1)
            )
        elif isinstance(message, Alert) and message.name == STRATEGY_FAILED:
            raise DataError("strategy", message.detail)
        self._record.note(message, step)


class _Chunk:
    """One symbol's ticks with their steps and what is suggested at them."""

    def __init__(self, engine: Engine, block: TickBlock) -> None:
        self._engine, self._block = engine, block
        self._exchange = engine._exchange
        self._terminal, self._executor, self._risk = engine._cores.terminal, engine._cores.executor, engine._cores.risk
        self._ends: Ints = np.array(engine.ends_of(block), dtype=np.int64)
        self._times: Ints = block.time_ns[self._ends - 1]
        # Steps whose account snapshot is told whatever was told before: the one before is far enough back.
        self._surely_told = np.flatnonzero(
            np.diff(self._times, prepend=self._times[0]) >= engine._account_every_ns
        ).tolist()
        self._predictions = dict(self._predicted())
        self._acting = sorted(self._predictions)
        self._step, self._tick = 0, 0

    def walk(self) -> None:
        """Walk the steps, passing over those at which nothing can happen."""
        engine, n = self._engine, len(self._ends)
        while self._step < n:
            quiet_ns = self._executor.quiet_until_ns(self._block.symbol)
            if quiet_ns == 0 or engine._careful_left > 0:
                engine._careful_left = max(engine._careful_left - 1, 0)
                self._walk_to(self._step)
                continue
            target = self._next_of_interest(quiet_ns)
            told = self._last_told_before(target)
            if told is not None:
                self._walk_to(told)
            self._walk_to(target)

    def _next_of_interest(self, quiet_ns: int) -> int:
        """Return the next step that must be walked: one with a suggestion, a due position, a stop within reach."""
        place = bisect_left(self._acting, self._step)
        target = self._acting[place] if place < len(self._acting) else len(self._ends) - 1
        due = int(self._times.searchsorted(quiet_ns))
        if self._terminal.has_exposure:
            due = min(due, int(self._times.searchsorted(self._now_ns() + self._engine._equity_every_ns)))
        target = max(min(target, due), self._step)
        ahead = self._terminal.look_ahead(self._block, self._tick, int(self._ends[target]))
        if ahead.low_ccy <= self._risk.equity_floor_ccy(ahead.peak_ccy):
            # A limit may trip at one of the snapshots on the way: walk as it is live.
            self._engine._careful_left = CAREFUL_STEPS
            return self._step
        if ahead.tick < self._ends[target]:
            target = int(self._ends.searchsorted(ahead.tick, side="right"))
        return target

    def _now_ns(self) -> int:
        return int(self._block.time_ns[self._tick])

    def _last_told_before(self, target: int) -> int | None:
        """Return the last step before another at which the account would be told; ``None`` where there is none."""
        if target <= self._step:
            return None
        every_ns = self._engine._account_every_ns
        place = bisect_left(self._surely_told, target) - 1
        sure = self._surely_told[place] if place >= 0 else -1
        if sure >= self._step:
            told, last_ns = sure, int(self._times[sure])
        else:
            told, last_ns = None, self._executor.account_told_ns
        while True:
            following = int(self._times[:target].searchsorted(last_ns + every_ns))
            following = max(following, self._step if told is None else told + 1)
            if following >= target:
                return told
            told, last_ns = following, int(self._times[following])

    def _walk_to(self, step: int) -> None:
        """Let executor and risk handle all ticks up to a step's end, then what is suggested at it."""
        exchange, end = self._exchange, int(self._ends[step])
        part = self._block.part(self._tick, end)
        exchange.step += step - self._step + 1
        exchange.hand("executor", part)
        exchange.hand("risk", part)
        prediction = self._predictions.get(step)
        exchange.settle()
        if prediction is not None:
            exchange.say("inference", prediction)
            exchange.settle()
        self._step, self._tick = step + 1, end

    def _predicted(self) -> Iterator[tuple[int, Prediction]]:
        """Yield (step, prediction) of every row of the chunk on which a side is suggested."""
        engine, block = self._engine, self._block
        cores = engine._cores
        table, said = cores.features.table_of(block, block.ts_event_ns)
        for message in said:
            engine._witness("features", message, self._exchange.step)
        if len(table.offsets):
            times: Ints = block.time_ns[table.offsets]
            engine._record.see_rows(block.symbol, cores.features.names, times, table.values)
        rules = cores.inference.rules
        if rules is None:
            yield from self._modelled(table.offsets, table.values)
            return
        if len(table.offsets) == 0:
            return
        at = table.offsets
        bid, ask = block.bid[at], block.ask[at]
        try:
            said_of = cores.inference.decide_rows(block.symbol, cores.features.names, table.values, bid, ask)
        except Exception as error:
            raise DataError(
                f"strategy {rules.name}",
                f"failed on the rows of {block.symbol} from tick {block.first_tick} on: {rules.told(error)}",
            ) from error
        steps = np.searchsorted(self._ends, at, side="right")
        for k in np.flatnonzero(said_of.side != STAY_OUT).tolist():
            offset = int(at[k])
            ts_ns = int(block.time_ns[offset])
            yield int(steps[k]), rule_prediction(
                rules, said_of, k, block.symbol, ts_ns, float(bid[k]), float(ask[k]), ts_ns
            )

    def _modelled(self, offsets: Ints, values: Floats) -> Iterator[tuple[int, Prediction]]:
        """Yield what the champion, if there is one, suggests."""
        engine, block = self._engine, self._block
        features = engine._cores.features
        for k, offset in enumerate(offsets.tolist()):
            ts_ns = int(block.time_ns[offset])
            row = FeatureBlock(
                ts_event_ns=ts_ns, ts_init_ns=ts_ns, symbol=block.symbol, schema_id=features.schema_id,
                names=features.names, values=values[k], tick=block.first_tick + offset,
                bid=float(block.bid[offset]), ask=float(block.ask[offset]),
            )
            for message in engine._cores.inference.on_feature_block(row, ts_ns):
                if isinstance(message, Prediction) and not message.shadow and message.side is not None:
                    yield int(self._ends.searchsorted(offset, side="right")), message
                elif not isinstance(message, Prediction):
                    engine._witness("inference", message, self._exchange.step)

