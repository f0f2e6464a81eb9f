"""Where a run's result comes from: by symbol, session, regime and side, by cost, and what was refused."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import median

import msgspec
import numpy as np

from backtest.candles import REGIMES
from backtest.trades import Trade
from libs.common.messages.base import Message
from libs.common.messages.orders import OrderRefused, OrderRejected
from libs.common.stats.performance import profit_factor, win_rate


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Closed trades that have something in common.

    Parameters
    ----------
    name : what
    net_ccy : after all costs
    cost_ccy : spread, slippage, commission and swap together, usually <= 0
    """

    name: str
    trades: int
    net_ccy: float
    win_rate: float | None
    profit_factor: float | None
    expectancy_ccy: float | None
    cost_ccy: float


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """From what the prices alone would have brought to what was left, account currency.

    Parameters
    ----------
    gross_ccy : at mid prices, without slippage
    spread_ccy, slippage_ccy, commission_ccy, swap_ccy : signed, a cost is below 0
    net_ccy : the sum of all of these
    """

    gross_ccy: float
    spread_ccy: float
    slippage_ccy: float
    commission_ccy: float
    swap_ccy: float
    net_ccy: float


class Refusals(msgspec.Struct, frozen=True, kw_only=True):
    """Suggestions or orders that came to nothing for one reason.

    Parameters
    ----------
    by : ``risk`` refused, or the ``broker`` (or we, on the way to it) rejected
    observed, limit : medians of what risk saw and of what it allows; ``None`` where nothing is measured
    """

    by: str
    reason: str
    count: int
    observed: float | None = None
    limit: float | None = None


def costs_of(trades: Iterable[Trade]) -> Costs:
    """Return what closed trades cost."""
    columns = np.array(
        [(t.profit_ccy, t.spread_ccy, t.slippage_ccy, t.commission_ccy, t.swap_ccy) for t in trades], dtype=np.float64
    ).reshape(-1, 5)  # fmt: skip
    profit, spread, slippage, commission, swap = (float(total) for total in columns.sum(axis=0))
    return Costs(
        gross_ccy=profit - spread - slippage, spread_ccy=spread, slippage_ccy=slippage, commission_ccy=commission,
        swap_ccy=swap, net_ccy=profit + commission + swap,
    )


def group_of(name: str, trades: Sequence[Trade]) -> Group:
    """Return the figures of some trades."""
    net = np.array([trade.net_ccy for trade in trades])
    costs = costs_of(trades)
    return Group(
        name=name, trades=len(trades), net_ccy=float(net.sum()), win_rate=win_rate(net), profit_factor=profit_factor(net),
        expectancy_ccy=float(net.mean()) if len(net) else None,
        cost_ccy=costs.spread_ccy + costs.slippage_ccy + costs.commission_ccy + costs.swap_ccy,
    )


def breakdowns(trades: Sequence[Trade]) -> dict[str, tuple[Group, ...]]:
    """Return the trades by symbol, side, session, regime and reason of closing; a trade is in one group of each."""
    kinds: dict[str, Callable[[Trade], str]] = {
        "symbol": lambda trade: trade.symbol,
        "side": lambda trade: trade.side.value,
        "session": lambda trade: trade.session,
        "regime": lambda trade: trade.regime,
        "reason": lambda trade: trade.reason,
    }
    return {kind: _grouped(trades, key) for kind, key in kinds.items()}


def refusals_of(messages: Iterable[Message]) -> tuple[Refusals, ...]:
    """Return what was refused or rejected, the most frequent reason first."""
    seen: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    rejected: defaultdict[str, int] = defaultdict(int)
    for message in messages:
        if isinstance(message, OrderRefused):
            seen[message.reason.value].append((message.observed, message.limit))
        elif isinstance(message, OrderRejected):
            rejected[message.reason] += 1
    found = [
        Refusals(
            by="risk", reason=reason, count=len(pairs), observed=median(pair[0] for pair in pairs),
            limit=median(pair[1] for pair in pairs),
        )
        for reason, pairs in seen.items()
    ]
    found += [Refusals(by="broker", reason=reason, count=count) for reason, count in rejected.items()]
    return tuple(sorted(found, key=lambda one: (-one.count, one.by, one.reason)))


def _grouped(trades: Sequence[Trade], key: Callable[[Trade], str]) -> tuple[Group, ...]:
    groups: defaultdict[str, list[Trade]] = defaultdict(list)
    for trade in trades:
        groups[key(trade)].append(trade)
    def place(name: str) -> tuple[int, str]:
        return (REGIMES.index(name) if name in REGIMES else -len(groups[name]), name)

    return tuple(group_of(name, groups[name]) for name in sorted(groups, key=place))
