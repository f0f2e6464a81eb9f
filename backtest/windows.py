"""Windows of a walk-forward run, and the strategy that changes its parameters from one to the next.

Each window has a stretch to choose parameters by and, after it and an embargo, a stretch to trade with them. The
stretches to trade follow each other without a hole, so all of them are one run of one account: positions, limits and
features go on as they would in life, where parameters are changed and the system is not.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from backtest.result import Equity, Result, closed_columns
from libs.common.errors import ConfigError, DataError
from libs.common.messages.base import Message
from libs.common.messages.features import FeatureBlock
from libs.common.stats.summary import summarise
from services.inference.config import InferenceConfig
from services.inference.core import InferenceCore
from services.inference.library import ModelLibrary
from services.inference.rules import RuleDesk
from services.inference.strategies import Rows, StayOut, Strategy, Suggestions
from services.ingest.raw import RawTicks

NS_PER_S = 1_000_000_000
_UNITS_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "w": 604_800.0}


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """One window, ns UTC: parameters are chosen by ``train_from_ns`` up to ``train_to_ns`` and trade the rest."""

    train_from_ns: int
    train_to_ns: int
    test_from_ns: int
    test_to_ns: int


def span_ns(text: str, option: str) -> int:
    """Return a length of time as ns.

    Raises
    ------
    ConfigError : naming the option

    Examples
    --------
    >>> span_ns("90m", "--train"), span_ns("0d", "--embargo")
    (5400000000000, 0)
    """
    number, unit = text[:-1], text[-1:]
    try:
        value = float(number) * _UNITS_S[unit]
    except (ValueError, KeyError):
        raise ConfigError(f"{option} {text}: expected a length such as 30d, 2w, 12h or 90m") from None
    if not 0.0 <= value <= 1e9:
        raise ConfigError(f"{option} {text}: expected a length that is not below zero")
    return round(value * NS_PER_S)


def stretches(
    first_ns: int, last_ns: int, train_ns: int, test_ns: int, embargo_ns: int = 0, *, anchored: bool = False
) -> tuple[Stretch, ...]:
    """Cut a time into windows.

    Parameters
    ----------
    first_ns, last_ns : of the ticks
    train_ns, test_ns : lengths of the two stretches; the last to trade may be shorter
    embargo_ns : between them
    anchored : every stretch to choose by begins with the ticks

    Raises
    ------
    ConfigError : for lengths of nothing
    DataError : when there is less than one window
    """
    if train_ns <= 0 or test_ns <= 0:
        raise ConfigError("--train and --test must be longer than nothing")
    found = []
    test_from = first_ns + train_ns + embargo_ns
    while test_from <= last_ns:
        begin = first_ns if anchored else test_from - embargo_ns - train_ns
        found.append(Stretch(
            train_from_ns=begin, train_to_ns=test_from - embargo_ns, test_from_ns=test_from,
            test_to_ns=min(test_from + test_ns, last_ns + 1),
        ))
        test_from += test_ns
    if not found:
        days = (last_ns - first_ns) / NS_PER_S / 86_400.0
        raise DataError(
            "data", f"{days:.1f} days of ticks hold no window: the first to trade would begin after they end",
            remedy="Give more data, or a shorter --train",
        )
    return tuple(found)


class Scheduled:
    """Strategies in turn, each from its own moment on; before the first nothing is suggested.

    Parameters
    ----------
    from_ns : (n,) when each begins, rising
    strategies : (n,)
    """

    def __init__(self, from_ns: Sequence[int], strategies: Sequence[Strategy]) -> None:
        self._from_ns = list(from_ns)
        self._strategies: list[Strategy] = [StayOut(), *strategies]
        self._now: Strategy = self._strategies[0]

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for strategy in self._strategies for name in strategy.needs))

    @property
    def lookback(self) -> int:
        return max(strategy.lookback for strategy in self._strategies)

    @property
    def horizon_s(self) -> int:
        return self._now.horizon_s

    def turn_to(self, now_ns: int) -> None:
        """Let the strategy of a moment decide from now on."""
        self._now = self._strategies[bisect_right(self._from_ns, now_ns)]

    def decide(self, rows: Rows) -> Suggestions:
        return self._now.decide(rows)

    def cut(self, source: Iterable[RawTicks]) -> Iterator[RawTicks]:
        """Yield one symbol's ticks so that no chunk lies in two stretches, turning at each border."""
        for raw in source:
            edges = np.searchsorted(raw.time_ns, self._from_ns, side="left")
            bounds = sorted({0, len(raw), *edges.tolist()})
            for begin, end in pairwise(bounds):
                self.turn_to(int(raw.time_ns[begin]))
                yield raw.part(begin, end)


class ScheduledInference(InferenceCore):
    """Inference that turns to the strategy of each row's time, where rows come one by one."""

    def __init__(self, config: InferenceConfig, schedule: Scheduled) -> None:
        super().__init__(msgspec.structs.replace(config, strategy=type(config.strategy)()), ModelLibrary())
        self._schedule = schedule
        self.rules = RuleDesk(config.strategy.name, schedule)

    def on_feature_block(self, message: FeatureBlock, now_ns: int) -> tuple[Message, ...]:
        """Decide from one row."""
        self._schedule.turn_to(message.ts_event_ns)
        return super().on_feature_block(message, now_ns)


def traded_from(result: Result, from_ns: int, seed: int) -> Result:
    """Return a run without the time before its first decision could be taken: figures begin there."""
    times = result.equity.time_ns
    begin = max(int(np.searchsorted(times, from_ns, side="right")) - 1, 0)
    equity = Equity(
        time_ns=np.maximum(times[begin:], from_ns), equity=result.equity.equity[begin:],
        balance=result.equity.balance[begin:],
    )
    lost = np.flatnonzero(equity.equity <= 0.0)
    alive = slice(0, int(lost[0]) if len(lost) else len(times))
    summary = summarise(equity.time_ns[alive], equity.equity[alive], closed_columns(result.trades), seed=seed)
    return msgspec.structs.replace(result, equity=equity, summary=summary)


class Earned(msgspec.Struct, frozen=True, kw_only=True):
    """What a stretch of a run brought: return in percent, trades closed in it, and their net result."""

    return_pct: float
    trades: int
    net_ccy: float


def earned_in(result: Result, from_ns: int, to_ns: int) -> Earned:
    """Return what a stretch of a run brought."""
    times, equity = result.equity.time_ns, result.equity.equity
    at = np.clip(np.searchsorted(times, [from_ns, to_ns], side="left") - 1, 0, len(times) - 1)
    before, after = float(equity[at[0]]), float(equity[at[1]])
    closed = [trade.net_ccy for trade in result.trades if from_ns <= trade.closed_ns < to_ns]
    change = (after / before - 1.0) * 100.0 if before > 0.0 else 0.0
    return Earned(return_pct=change, trades=len(closed), net_ccy=float(sum(closed)))
