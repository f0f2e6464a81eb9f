"""One run from ticks to figures: drives the engine and folds what it said."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
import numpy as np

from backtest.breakdown import Costs, Group, Refusals, breakdowns, costs_of, refusals_of
from backtest.engine import Engine
from backtest.exchange import Performer
from backtest.feed import blocks_of
from backtest.record import Record
from backtest.row_sample import DriftTable, drift_over
from backtest.tape import Tape
from backtest.trades import OpenTrade, Trade, fold_trades
from backtest.wiring import Cores, Sections
from libs.common.core import Core
from libs.common.errors import DataError
from libs.common.messages.base import Floats, Ints
from libs.common.messages.control import TradingHalted
from libs.common.messages.market import TickBlock
from libs.common.stats.summary import ClosedTrades, PerformanceSummary, summarise
from libs.common.trading.instrument import Instrument
from services.executor.broker import BrokerPosition
from services.executor.desk import position_record
from services.ingest.raw import RawTicks

TickWatch = Callable[[int], None]
"""Told how many ticks have been handled so far."""
MOST_KEPT_BACK = 0.5
"""A larger share of ticks that no quality rule lets pass is no market data."""


class Equity(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The account over time, with a point at the end of every day on which there were ticks.

    Parameters
    ----------
    time_ns : (n,) ns UTC, rising
    equity, balance : (n,) account currency
    """

    time_ns: Ints
    equity: Floats
    balance: Floats


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol's ticks in figures."""

    symbol: str
    ticks: int
    mean_spread_points: float


class Result(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Everything a report is made of.

    Parameters
    ----------
    currency : of the account
    start_ccy : first deposit
    trades : closed ones, in order of closing
    still_open : positions at the end
    summary : figures of the equity curve up to where it reached zero, if it did
    halts : (time, reason, detail) of every halt of trading
    kept_back : ticks no quality rule let pass, by rule
    """

    currency: str
    start_ccy: float
    equity: Equity
    trades: tuple[Trade, ...]
    still_open: tuple[OpenTrade, ...]
    summary: PerformanceSummary
    costs: Costs
    groups: dict[str, tuple[Group, ...]]
    refusals: tuple[Refusals, ...]
    halts: tuple[tuple[int, str, str], ...]
    counts: dict[str, int]
    rows: int
    ticks: int
    feeds: tuple[Feed, ...]
    kept_back: dict[str, int]
    data_sha256: str
    drift: dict[str, DriftTable]
    record: Record
    tape: Tape


def run_backtest(
    sections: Sections, cores: Cores, sources: Mapping[str, Iterable[RawTicks]], *, trials: int = 1,
    trial_sharpes: Floats | None = None, max_gap_h: float = 0.0, careful: bool = False, keep_everything: bool = False,
    trainer: Core | None = None, performers: dict[str, Performer] | None = None, watch: TickWatch | None = None,
) -> Result:  # fmt: skip
    """Run the cores over ticks and work out what came of it.

    Parameters
    ----------
    sections : of the configuration
    cores : made of them, fresh
    sources : symbol -> its raw ticks, in order of time
    trials, trial_sharpes : see ``summarise``
    max_gap_h : longest silence of an open market that is let pass, hours; 0 for any
    careful, trainer, performers : see ``Engine``
    keep_everything : see ``Record``
    watch : told of progress after every block

    Raises
    ------
    DataError : without a good tick, for too long a gap, when most ticks are bad, or when a strategy fails
    """
    record = Record(keep_everything=keep_everything)
    tape = Tape(sections.instruments, max_gap_h)
    kept_back: Counter[str] = Counter()
    engine = Engine(sections, cores, record, trainer=trainer, performers=performers, careful=careful)
    blocks = blocks_of(sections, sources, kept_back)
    engine.run(_watched(blocks, tape, record, cores, watch))
    bad = sum(kept_back.values())
    if record.ticks == 0 or bad > MOST_KEPT_BACK * (record.ticks + bad):
        raise _no_market(", ".join(sorted(sources)), record.ticks, kept_back)
    return result_of(sections, cores, record, tape, kept_back, trials=trials, trial_sharpes=trial_sharpes)


def result_of(
    sections: Sections, cores: Cores, record: Record, tape: Tape, kept_back: Mapping[str, int], *, trials: int = 1,
    trial_sharpes: Floats | None = None,
) -> Result:  # fmt: skip
    """Return what a finished run amounts to."""
    settings = sections.executor.terminal
    instruments = {name: Instrument(name, config) for name, config in sections.instruments.items()}
    fold = fold_trades((m for _, m in record.messages), instruments, settings.currency, tape)
    equity = equity_of(record, tape, settings.balance_ccy + settings.credit_ccy, cores)
    alive = _alive(equity)
    return Result(
        currency=settings.currency, start_ccy=settings.balance_ccy, equity=equity, trades=tuple(fold.trades),
        still_open=fold.still_open(open_positions(cores)),
        summary=summarise(
            equity.time_ns[alive], equity.equity[alive], closed_columns(fold.trades), trials=trials,
            trial_sharpes=trial_sharpes, seed=sections.system.seed,
        ),
        costs=costs_of(fold.trades), groups=breakdowns(fold.trades),
        refusals=refusals_of(m for _, m in record.messages),
        halts=tuple(
            (m.ts_event_ns, m.reason, m.detail) for m in record.of(TradingHalted) if isinstance(m, TradingHalted)
        ),
        counts=dict(sorted(record.counts.items())), rows=record.rows, ticks=record.ticks,
        feeds=tuple(
            Feed(symbol=symbol, ticks=tape.ticks(symbol), mean_spread_points=tape.mean_spread_points(symbol))
            for symbol in tape.symbols
        ),
        kept_back=dict(sorted(kept_back.items())), data_sha256=tape.data_sha256(),
        drift={symbol: drift_over(sample) for symbol, sample in sorted(record.samples.items())},
        record=record, tape=tape,
    )  # fmt: skip


def equity_of(record: Record, tape: Tape, start_ccy: float, cores: Cores) -> Equity:
    """Return the account's curve: the start, everything that was told, the end of every day, and the end.

    What is not told of the account is that nothing of it changed, so a day's end without a word has the last word.
    """
    terminal = cores.terminal
    # A moment before the first tick, which may change the account already.
    told = [(tape.first_ns - 1, start_ccy, start_ccy), *record.equity]
    told.append((max(tape.last_ns, told[-1][0]), terminal.equity(), terminal.balance_ccy))
    times = np.array([one[0] for one in told], dtype=np.int64)
    values = np.array([one[1:] for one in told], dtype=np.float64)
    # Of several words at one instant the last counts.
    last = np.append(np.diff(times) > 0, True)
    times, values = times[last], values[last]
    instants = np.union1d(times, tape.day_ends())
    known = np.searchsorted(times, instants, side="right") - 1
    return Equity(time_ns=instants, equity=values[known, 0], balance=values[known, 1])


def open_positions(cores: Cores) -> tuple[BrokerPosition, ...]:
    """Return the positions that are open."""
    terminal = cores.terminal
    return tuple(position_record(held, terminal.utc_ns(held.time_msc)) for held in terminal.positions_get())


def closed_columns(trades: Iterable[Trade]) -> ClosedTrades:
    """Return trades as the columns that statistics want."""
    rows = list(trades)
    return ClosedTrades(
        opened_ns=np.array([trade.opened_ns for trade in rows], dtype=np.int64),
        closed_ns=np.array([trade.closed_ns for trade in rows], dtype=np.int64),
        profit_ccy=np.array([trade.net_ccy for trade in rows], dtype=np.float64),
        traded_ccy=np.array([trade.traded_ccy for trade in rows], dtype=np.float64),
    )


def _watched(
    blocks: Iterable[TickBlock], tape: Tape, record: Record, cores: Cores, watch: TickWatch | None
) -> Iterator[TickBlock]:
    """Pass blocks on to the engine, looking at each before and after it is acted upon."""
    heard = 0
    for block in blocks:
        tape.see(block)
        yield block
        said = [message for _, message in record.messages[heard:]]
        heard = len(record.messages)
        tape.note(block, said, open_positions(cores) if cores.terminal.has_exposure else ())
        if watch is not None:
            watch(record.ticks)


def _alive(equity: Equity) -> slice:
    """Return the part of the curve before equity reached zero."""
    lost = np.flatnonzero(equity.equity <= 0.0)
    return slice(0, int(lost[0]) if len(lost) else len(equity.equity))


def _no_market(symbols: str, good: int, kept_back: Mapping[str, int]) -> DataError:
    if not good and not kept_back:
        return DataError(symbols, "no tick lies in the time that was asked for", remedy="Look at --from, --to and the file")
    rules = ", ".join(f"{rule} {count:,}" for rule, count in sorted(kept_back.items()))
    return DataError(
        symbols, f"only {good:,} of {good + sum(kept_back.values()):,} ticks are good; kept back: {rules}",
        remedy="Mend the file, or loosen ingest.quality",
    )
