"""Rows that wait for related symbols: whole when the others are seen, never with anything later in them."""

import itertools

import numpy as np
import pytest

from libs.common.config import DecideOn
from libs.common.errors import ConfigError
from libs.common.messages.base import Message
from libs.common.messages.control import Alert
from libs.common.messages.market import TickBlock
from services.features.config import CrossAssetConfig, FeaturesConfig
from services.features.conformance.checks import in_turns
from services.features.conformance.market import pieces
from services.features.core import FeaturesCore
from services.features.spec import FeatureSpec
from tests.unit.features.feature_markets import FIVE_DIGITS, NS, START_NS, column, random_market, rows_of, run

MINUTE = 60 * NS
FIRST = START_NS // MINUTE * MINUTE + MINUTE


def spec(family: str, output: str, **params: float) -> FeatureSpec:
    return FeatureSpec(name=output, family=family, output=output, timeframe_s=60, params=params, of=("GBPUSD",))


MOMENTUM = (FeatureSpec(name="spread", family="spread"), spec("cross_momentum", "basket", bars=1))
EVERY = (
    spec("cross_momentum", "basket", bars=3), spec("cross_momentum", "relative", bars=3),
    spec("cross_correlation", "correlation", window=20), spec("cross_correlation", "beta", window=20),
    spec("lead_lag", "leads", window=20, lag=2), spec("lead_lag", "net", window=20, lag=2),
    spec("basket_residual", "residual", window=20), spec("basket_residual", "score", window=20),
)


def core(*features: FeatureSpec, wait_s: float = 5.0, max_age_s: float = 900.0) -> FeaturesCore:
    config = FeaturesConfig(
        timeframes_s=(60,), features=features or MOMENTUM, cross=CrossAssetConfig(wait_s=wait_s, max_age_s=max_age_s)
    )
    return FeaturesCore(config, ("EURUSD", "GBPUSD"), DecideOn(every=60), FIVE_DIGITS)


def ticks(symbol: str, first: int, *quotes: tuple[float, float]) -> TickBlock:
    """Ticks at so many seconds after the first whole minute, with these bids."""
    times = np.array([FIRST + round(s * NS) for s, _ in quotes], dtype=np.int64)
    bid = np.array([price for _, price in quotes])
    return TickBlock(
        ts_event_ns=int(times[-1]), ts_init_ns=0, symbol=symbol, first_tick=first, time_ns=times, bid=bid, ask=bid
    )


def of(messages: list[Message], symbol: str = "EURUSD") -> list[tuple[int, float]]:
    return [(row.tick, float(row.values[-1])) for row in rows_of(messages, symbol)]


EUR = [(-10.0, 1.0), (1.0, 1.0), (61.0, 1.0), (121.0, 1.0), (181.0, 1.0)]


def test_a_row_waits_until_the_related_symbol_was_seen_up_to_it() -> None:
    c = core(wait_s=60.0)
    run(c, [ticks("GBPUSD", 1, (-10.0, 2.0), (1.0, 2.0), (61.0, 2.2))])
    said = run(c, [ticks("EURUSD", 1, *EUR[:4])])
    assert rows_of(said, "EURUSD") == []
    assert c.details()["rows_waiting"] == 1  # the one at 61 s came before two bars were there
    # A tick of GBPUSD at 120.5 s ends its bar, but the row at 121 s waits for GBPUSD to get there.
    assert of(run(c, [ticks("GBPUSD", 4, (120.5, 3.0))])) == []
    assert of(run(c, [ticks("GBPUSD", 5, (121.5, 9.0))])) == [(4, pytest.approx(1e4 * np.log(2.2 / 2.0)))]
    assert c.details()["rows_waiting"] == 0


def test_a_symbol_that_ran_ahead_shows_a_late_one_nothing_later() -> None:
    ahead = ticks("GBPUSD", 1, (-10.0, 2.0), (1.0, 2.0), (61.0, 2.2), (121.0, 50.0), (181.0, 60.0), (241.0, 70.0))
    c = core(wait_s=5.0)
    run(c, [ahead])
    # EURUSD is four minutes late, far beyond the wait: its row is made at once, of what was known by its time.
    said = run(c, [ticks("EURUSD", 1, *EUR)])
    assert of(said) == [(4, pytest.approx(1e4 * np.log(2.2 / 2.0))), (5, pytest.approx(1e4 * np.log(50.0 / 2.2)))]


def test_a_silent_symbol_holds_no_row_longer_than_the_wait() -> None:
    c = core(wait_s=5.0)
    run(c, [ticks("GBPUSD", 1, (-10.0, 2.0), (1.0, 2.0), (61.0, 2.2))])
    run(c, [ticks("EURUSD", 1, *EUR[:4])])
    assert of(run(c, [ticks("EURUSD", 5, (125.9, 1.0))])) == []
    # Its bar of the second minute ended at 120 s although no tick has come since.
    assert of(run(c, [ticks("EURUSD", 6, (126.1, 1.0))])) == [(4, pytest.approx(1e4 * np.log(2.2 / 2.0)))]


def test_the_bar_a_silent_symbol_left_open_counts_as_if_a_tick_had_closed_it() -> None:
    results = []
    for closing in ([], [ticks("GBPUSD", 4, (121.5, 7.0))]):
        c = core(wait_s=5.0)
        run(c, [ticks("GBPUSD", 1, (-10.0, 2.0), (1.0, 2.0), (61.0, 2.2)), ticks("EURUSD", 1, *EUR[:4]), *closing])
        results.append(c)
    late = [of(run(c, [ticks("EURUSD", 5, (130.0, 1.0))])) for c in results]
    assert late == [[(4, pytest.approx(1e4 * np.log(2.2 / 2.0)))], []]  # the second came when the tick did


def test_old_bars_make_no_row_and_one_alert() -> None:
    c = core(wait_s=5.0, max_age_s=0.0)
    said = run(c, [ticks("GBPUSD", 1, (-10.0, 2.0), (1.0, 2.0), (61.0, 2.2))])
    said += run(c, [ticks("EURUSD", 1, (-10.0, 1.0), *((60.0 * m + 1.0, 1.0) for m in range(12)))])
    alerts = [m for m in said if isinstance(m, Alert)]
    assert [(alert.name, alert.detail.split(":")[0]) for alert in alerts] == [("related_silent", "EURUSD")]
    assert float(c.details()["rows_without_related"]) == 7.0
    assert [tick for tick, _ in of(said)] == [4, 5]
    again = ticks("GBPUSD", 4, *((60.0 * m + 1.0, 2.0) for m in range(12, 18)))
    said = run(c, [again, ticks("EURUSD", 14, *((60.0 * m + 1.0, 1.0) for m in range(12, 18)))])
    assert [tick for tick, _ in of(said)] == [15, 16, 17, 18, 19]  # from the first bar both have again


def test_in_whatever_order_the_symbols_come_the_rows_are_the_same() -> None:
    markets = [random_market(700, seed, symbol, mean_gap_s=9.0) for seed, symbol in ((1, "EURUSD"), (2, "GBPUSD"))]
    results = set()
    for order in itertools.permutations(markets):
        for steps in (700, 90, 7):
            c = core(*EVERY, wait_s=86_400.0)
            parts = [pieces(block, range(steps, 700, steps)) for block in order]
            blocks = list(order) if steps == 700 else in_turns(parts)
            rows = [(r.symbol, r.tick, r.values.tobytes()) for r in rows_of(run(c, blocks))]
            results.add((tuple(sorted(rows)), c.snapshot()))
    assert len({rows for rows, _ in results}) == 1
    assert len({state for _, state in results}) == 1
    assert len(next(iter(results))[0]) > 20


def test_the_numbers_are_those_of_plain_numpy() -> None:
    markets = [random_market(3_000, seed, symbol, mean_gap_s=1.0) for seed, symbol in ((1, "EURUSD"), (2, "GBPUSD"))]
    rows = rows_of(run(core(*EVERY, wait_s=86_400.0), markets), "EURUSD")
    closes = []
    for block in markets:
        minute, mid = block.time_ns // MINUTE, (block.bid + block.ask) / 2.0
        closes.append({int(m): float(mid[minute == m][-1]) for m in np.unique(minute)[1:]})
    assert len(rows) > 10
    for row in rows:
        bars = sorted(m for m in closes[0].keys() & closes[1].keys() if (m + 1) * MINUTE <= row.ts_event_ns)
        own, other = (np.log([c[m] for m in bars]) for c in closes)
        x, y = np.diff(other), np.diff(own)
        value = dict(zip(row.names, row.values.tolist(), strict=True))
        assert value["basket"] == pytest.approx(1e4 * (other[-1] - other[-4]))
        assert value["relative"] == pytest.approx(1e4 * (own[-1] - own[-4] - other[-1] + other[-4]))
        assert value["correlation"] == pytest.approx(np.corrcoef(x[-20:], y[-20:])[0, 1])
        beta = np.cov(x[-20:], y[-20:], bias=True)
        assert value["beta"] == pytest.approx(beta[0, 1] / beta[0, 0])
        leads = np.corrcoef(x[-22:-2], y[-20:])[0, 1]
        assert value["leads"] == pytest.approx(leads)
        assert value["net"] == pytest.approx(leads - np.corrcoef(x[-20:], y[-22:-2])[0, 1])
        assert value["residual"] == pytest.approx(1e4 * (y[-1] - value["beta"] * x[-1]))
        slope, level = np.polyfit(other[-21:], own[-21:], 1)
        residuals = own[-21:] - level - slope * other[-21:]
        assert value["score"] == pytest.approx(residuals[-1] / residuals.std(), rel=1e-6)
    assert np.ptp(column(rows, "correlation")) > 0.1


def test_a_restart_keeps_rows_that_wait() -> None:
    c, after = core(wait_s=60.0), core(wait_s=60.0)
    run(c, [ticks("GBPUSD", 1, (-10.0, 2.0), (1.0, 2.0), (61.0, 2.2)), ticks("EURUSD", 1, *EUR[:4])])
    after.restore(c.snapshot())
    assert after.details()["rows_waiting"] == 1
    assert len(of(run(after, [ticks("GBPUSD", 4, (121.5, 9.0))]))) == 1


def test_what_is_kept_of_each_symbol_is_bounded() -> None:
    c, sizes = core(wait_s=5.0), []
    for hour in range(40):
        block = [(3_600.0 * hour + 60.0 * m + 1.0, 1.0) for m in range(60)]
        for symbol in ("EURUSD", "GBPUSD"):
            run(c, [ticks(symbol, 1 + 60 * hour, *block)])
        sizes.append(len(c.snapshot()))
    assert max(sizes) < sizes[5] + 16


@pytest.mark.parametrize(
    ("of_symbols", "words"), [
        (("USDJPY",), "'basket' is made of USDJPY, which is not traded here"), ((), "name the related symbols"),
        (("GBPUSD", "GBPUSD"), "none twice"),
    ],
)
def test_related_symbols_that_cannot_be_had_are_refused_by_name(of_symbols: tuple[str, ...], words: str) -> None:
    wrong = FeatureSpec(name="basket", family="cross_momentum", timeframe_s=60, of=of_symbols)
    with pytest.raises(ConfigError, match=words):
        core(wrong)
