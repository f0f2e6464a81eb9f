"""What the order of the trades, and the luck of having had just these, did to the result: Monte Carlo."""

from typing import Literal

import msgspec
import numpy as np

from libs.common.messages.base import Floats

PERCENTILES = (5, 25, 50, 75, 95, 99)
_VALUES_AT_ONCE = 4_000_000


class TradeOrderRisk(msgspec.Struct, frozen=True, kw_only=True):
    """Distribution over many orders of the same trades.

    Parameters
    ----------
    method : ``shuffle`` (each trade once) or ``draw`` (with replacement: other trades of the same kind)
    runs : how many
    max_drawdown_pct : deepest drawdown at each of ``PERCENTILES``, percent of the peak
    observed_drawdown_pct : in the order they happened
    share_deeper : of the runs whose drawdown is at least as deep as the observed one
    final_ccy : equity at the end at each of ``PERCENTILES``; with ``shuffle`` always the same
    share_ruined : of the runs in which equity falls to the ruin line or below
    """

    method: str
    runs: int
    max_drawdown_pct: tuple[float, ...]
    observed_drawdown_pct: float
    share_deeper: float
    final_ccy: tuple[float, ...]
    share_ruined: float


def trade_order_risk(
    profits_ccy: Floats, start_ccy: float, *, runs: int = 1_000, seed: int = 0,
    method: Literal["shuffle", "draw"] = "shuffle", ruin_share: float = 0.5,
) -> TradeOrderRisk | None:  # fmt: skip
    """Play the trades in other orders.

    Parameters
    ----------
    profits_ccy : (n,) net profit of each trade, account currency, in the order they closed
    start_ccy : equity before the first, > 0
    runs : how many orders
    seed : the same seed gives the same answer
    ruin_share : equity at or below this share of ``start_ccy`` is ruin

    Returns
    -------
    The distribution; ``None`` without trades.

    Raises
    ------
    ValueError : when equity does not start above zero
    """
    if not start_ccy > 0.0:
        raise ValueError(f"equity starts at {start_ccy}, a drawdown in percent needs a positive start")
    count = len(profits_ccy)
    if count == 0:
        return None
    random = np.random.default_rng(seed)
    drawdowns, finals, ruined = np.empty(runs), np.empty(runs), 0
    at_once = max(1, _VALUES_AT_ONCE // (count + 1))
    for first in range(0, runs, at_once):
        many = min(at_once, runs - first)
        if method == "shuffle":
            # One number per trade, sorted: every order is equally likely.
            rows = np.argsort(random.random((many, count)), axis=1)
        else:
            rows = random.integers(0, count, size=(many, count))
        equity = _equity(profits_ccy[rows], start_ccy)
        drawdowns[first : first + many] = _deepest_pct(equity)
        finals[first : first + many] = equity[:, -1]
        ruined += int(np.count_nonzero(equity.min(axis=1) <= ruin_share * start_ccy))
    observed = float(_deepest_pct(_equity(profits_ccy[None, :], start_ccy))[0])
    return TradeOrderRisk(
        method=method, runs=runs, max_drawdown_pct=tuple(np.percentile(drawdowns, PERCENTILES).tolist()),
        observed_drawdown_pct=observed, share_deeper=float(np.mean(drawdowns >= observed - 1e-9)),
        final_ccy=tuple(np.percentile(finals, PERCENTILES).tolist()), share_ruined=ruined / runs,
    )  # fmt: skip


def _equity(profits: Floats, start_ccy: float) -> Floats:
    start = np.full((profits.shape[0], 1), start_ccy)
    return np.concatenate((start, start_ccy + np.cumsum(profits, axis=1)), axis=1)


def _deepest_pct(equity: Floats) -> Floats:
    peaks = np.maximum.accumulate(equity, axis=1)
    deepest: Floats = np.max((peaks - equity) / peaks, axis=1) * 100.0
    return deepest
