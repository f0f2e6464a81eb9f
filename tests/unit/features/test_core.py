"""What the features core says to the blocks it hears."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from libs.common.codec import Codec, encode
from libs.common.config import DecideOn, InstrumentConfig, SystemConfig
from libs.common.core import dispatch
from libs.common.errors import ConfigError
from libs.common.messages.control import Alert, Severity
from libs.common.messages.features import FeatureBlock
from libs.common.messages.market import Bar, TickBlock
from libs.common.trading.decision import decision_ticks
from services.features.config import FeaturesConfig
from services.features.core import FeaturesCore
from services.features.spec import DEFAULT_FEATURES, FeatureSpec
from tests.unit.features.feature_markets import (
    NS,
    column,
    cut,
    default_families,
    new_core,
    quotes_only,
    random_market,
    rows_of,
    run,
    short_spec,
    signature,
)

MARKET = random_market(600)
VOLUME = FeaturesConfig(timeframes_s=(10,), features=(short_spec("traded_volume", "volume"),))
SPREAD = FeaturesConfig(timeframes_s=(10,), features=(FeatureSpec(name="spread_points", family="spread"),))


def alerts_of(messages: object) -> list[Alert]:
    return [message for message in messages if isinstance(message, Alert)]  # type: ignore[attr-defined]


def test_ticks_seen_before_are_ignored() -> None:
    core = new_core()
    run(core, [cut(MARKET, 0, 300)])
    before = core.snapshot()
    assert run(core, [cut(MARKET, 0, 300), cut(MARKET, 100, 250)]) == []
    assert core.snapshot() == before


def test_of_a_block_seen_in_part_only_the_rest_counts() -> None:
    once, again = new_core(), new_core()
    expected = run(once, [MARKET])
    said = run(again, [cut(MARKET, 0, 300), cut(MARKET, 200, 450), cut(MARKET, 440, 600)])
    assert signature(said) == signature(expected)
    assert again.snapshot() == once.snapshot()


def test_a_hole_raises_an_alert_and_the_stream_goes_on() -> None:
    core = new_core()
    run(core, [cut(MARKET, 0, 300)])
    said = run(core, [cut(MARKET, 310, 600)])
    (alert,) = alerts_of(said)
    assert (alert.name, alert.severity) == ("ticks_missed", Severity.WARNING)
    assert "EURUSD: ticks 301 to 310" in alert.detail
    assert alert.ts_event_ns == MARKET.time_ns[310]
    assert core.details()["ticks_seen"] == 590
    assert core.details()["last_tick.EURUSD"] == 600
    assert rows_of(said)


def test_joining_a_stream_in_its_middle_is_said_once_and_quietly() -> None:
    core = new_core()
    said = run(core, [cut(MARKET, 100, 200), cut(MARKET, 200, 300)])
    assert [(alert.name, alert.severity) for alert in alerts_of(said)] == [("ticks_missed", Severity.INFO)]


def test_time_that_falls_between_blocks_raises_an_alert() -> None:
    core = new_core()
    run(core, [cut(MARKET, 0, 300)])
    late = msgspec.structs.replace(cut(MARKET, 300, 600), time_ns=MARKET.time_ns[300:] - 500 * NS)
    (alert,) = alerts_of(run(core, [late]))
    assert alert.name == "ticks_out_of_order"


def test_a_symbol_nobody_configured_is_ignored_with_one_alert() -> None:
    core = new_core()
    other = random_market(10, symbol="XAUUSD")
    (alert,) = run(core, [other, cut(other, 5, 10)])
    assert isinstance(alert, Alert)
    assert alert.name == "symbol_not_configured"
    restarted = new_core()
    restarted.restore(core.snapshot())
    assert run(restarted, [other]) == []


@pytest.mark.parametrize("column_name", ["last", "volume"])
def test_a_feed_without_a_needed_column_is_refused_for_good_and_bars_go_on(column_name: str) -> None:
    family = {"last": "last_distance", "volume": "traded_volume"}[column_name]
    output = {"last": "points", "volume": "volume"}[column_name]
    config = FeaturesConfig(timeframes_s=(10,), features=(
        FeatureSpec(name="spread_points", family="spread"), short_spec(family, output),
    ))
    core = new_core(config)
    said = run(core, [quotes_only(cut(MARKET, 0, 300)), cut(MARKET, 300, 600)])
    (alert,) = alerts_of(said)
    assert (alert.name, alert.severity) == ("features_refused", Severity.CRITICAL)
    assert f"no {column_name}" in alert.detail
    assert f"{family}_{output}" in alert.detail
    assert rows_of(said) == []
    assert core.details()["refused"] == "EURUSD"
    bars = [message for message in said if isinstance(message, Bar)]
    assert signature(bars) == signature(m for m in run(new_core(config), [MARKET]) if isinstance(m, Bar))
    restarted = new_core(config)
    restarted.restore(core.snapshot())
    assert restarted.details()["refused"] == "EURUSD"


def test_a_feed_that_carries_the_column_is_served() -> None:
    assert rows_of(run(new_core(VOLUME), [MARKET]))


def test_a_value_that_is_not_finite_is_kept_back_and_said_once() -> None:
    huge = random_market(400)
    huge.bid[200:], huge.ask[200:] = 1.6e308, 1.7e308
    config = FeaturesConfig(timeframes_s=(10,), features=(short_spec("ema_distance", "distance"),))
    whole, parts = new_core(config), new_core(config)
    said = run(whole, [huge])
    (alert,) = alerts_of(said)
    assert (alert.name, alert.severity) == ("features_not_finite", Severity.CRITICAL)
    assert float(whole.details()["rows_not_finite"]) > 1.0
    assert all(np.isfinite(row.values).all() for row in rows_of(said))
    pieces = [cut(huge, k, k + 8) for k in range(0, 400, 8)]
    assert signature(run(parts, pieces)) == signature(said)


@pytest.mark.parametrize(
    "rule", [DecideOn(every=60), DecideOn(kind="tick", every=7), DecideOn(kind="interval", every=45)],
    ids=lambda rule: rule.kind,
)
def test_rows_come_at_the_ticks_where_ingest_cuts(rule: DecideOn) -> None:
    core = new_core(SPREAD, rule)
    rows = rows_of(run(core, [MARKET]))
    at = decision_ticks(rule, MARKET.time_ns, 1, None)
    assert [row.tick - 1 for row in rows] == at.tolist()
    assert [row.ts_event_ns for row in rows] == MARKET.time_ns[at].tolist()
    assert [row.bid for row in rows] == MARKET.bid[at].tolist()
    assert [row.ask for row in rows] == MARKET.ask[at].tolist()


def test_bars_a_tick_closes_come_before_its_row_and_short_before_long() -> None:
    said = run(new_core(decide_on=DecideOn(every=30)), [MARKET])
    at_one_tick: dict[int, list[object]] = {}
    for message in said:
        at_one_tick.setdefault(message.ts_event_ns, []).append(
            message.timeframe_s if isinstance(message, Bar) else type(message).__name__
        )
    assert [10, 30, "FeatureBlock"] in at_one_tick.values()
    assert all(order in ([10], [10, 30], [10, 30, "FeatureBlock"], [10, "FeatureBlock"])
               for order in at_one_tick.values())


def test_spread_is_counted_in_the_points_of_the_instrument() -> None:
    three_digits = {"EURUSD": InstrumentConfig(digits=3)}
    rows = [
        rows_of(run(FeaturesCore(SPREAD, ("EURUSD",), DecideOn(), instruments), [MARKET]))
        for instruments in (three_digits, {})
    ]
    np.testing.assert_allclose(column(rows[0], "spread_points") * 100.0, column(rows[1], "spread_points"))


def test_rows_and_bars_survive_the_wire() -> None:
    said = run(new_core(), [MARKET])
    codec = Codec()
    assert signature(codec.decode(encode(message)) for message in said) == signature(said)


def test_messages_carry_the_time_of_handling_and_nothing_the_runtime_stamps() -> None:
    said = new_core().on_tick_block(MARKET, 77)
    assert {(message.ts_init_ns, message.seq, message.step) for message in said} == {(77, 0, 0)}


def test_the_runtime_finds_the_handler_and_the_details() -> None:
    core = FeaturesCore.from_config(FeaturesConfig(), SystemConfig(), {})
    core.warm()
    assert dispatch(core, quotes_only(MARKET), 1)
    details = core.details()
    assert details["ticks_seen"] == len(MARKET)
    assert details["schema_id"] == core.schema_id
    assert core.names == tuple(spec.name for spec in DEFAULT_FEATURES)


def test_what_inference_and_trainer_ask_for_by_name_is_there() -> None:
    names = FeaturesCore.from_config(FeaturesConfig(), SystemConfig(), {}).names
    assert {"ma_fast", "ma_slow", "ma_cross", "rsi_14", "sigma_60", "atr_14"} <= set(names)


def test_strided_and_read_only_columns_are_fine() -> None:
    columns = ("time_ns", "bid", "ask", "last", "volume")
    wide: dict[str, Any] = {name: np.repeat(getattr(MARKET, name), 2)[::2] for name in columns}
    for values in wide.values():
        values.flags.writeable = False
    block = TickBlock(ts_event_ns=MARKET.ts_event_ns, ts_init_ns=0, symbol="EURUSD", first_tick=1, **wide)
    assert signature(run(new_core(), [block])) == signature(run(new_core(), [MARKET]))


def test_a_symbol_added_later_begins_anew_and_one_removed_is_dropped() -> None:
    old = new_core(symbols=("EURUSD", "USDJPY"))
    run(old, [MARKET])
    new = new_core(symbols=("EURUSD", "GBPUSD"))
    new.restore(old.snapshot())
    assert new.details()["last_tick.EURUSD"] == 600
    assert new.details()["last_tick.GBPUSD"] == 0


@pytest.mark.parametrize(
    "other", [
        lambda: new_core(SPREAD),
        lambda: new_core(decide_on=DecideOn(every=20)),
        lambda: new_core(FeaturesConfig(timeframes_s=(10, 30, 60), features=default_families().features)),
    ], ids=["features", "decide_on", "timeframes"],
)
def test_a_state_of_another_configuration_is_refused_with_a_remedy(other: Callable[[], FeaturesCore]) -> None:
    with pytest.raises(ConfigError, match=r"cannot be used .* delete the folder"):
        other().restore(new_core().snapshot())


@pytest.mark.parametrize("broken", [b"", b"\x00", new_core().snapshot()[:-3]])
def test_a_broken_state_is_refused_with_a_remedy_and_changes_nothing(broken: bytes) -> None:
    core = new_core()
    run(core, [MARKET])
    before = core.snapshot()
    with pytest.raises(ConfigError, match="delete the folder"):
        core.restore(broken)
    assert core.snapshot() == before


def test_a_row_is_a_copy_the_next_block_cannot_change() -> None:
    core = new_core()
    first = rows_of(run(core, [cut(MARKET, 0, 300)]))
    kept = [row.values.copy() for row in first]
    run(core, [cut(MARKET, 300, 600)])
    assert all((row.values == values).all() for row, values in zip(first, kept, strict=True))
    assert isinstance(first[0], FeatureBlock)
