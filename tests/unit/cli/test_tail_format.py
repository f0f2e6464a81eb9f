"""Bus messages as lines, and filters on them."""

import pytest

from libs.common.codec import encode
from libs.common.errors import ConfigError
from libs.common.messages.market import Side
from libs.common.messages.orders import OrderRefused, OrderSent, RefusalReason
from tickwire.tail_format import Filter, decode_record, format_message, format_value

NOON_NS = 1_400_068_800_000_000_000
SENT = OrderSent(
    ts_event_ns=NOON_NS, ts_init_ns=NOON_NS, seq=7, order_id="ab12", account="paper", symbol="EURUSD",
    side=Side.BUY, volume_lots=0.12, magic=5,
)
REFUSED = OrderRefused(
    ts_event_ns=NOON_NS, ts_init_ns=NOON_NS, account="paper", symbol="EURUSD", reason=RefusalReason.SPREAD_TOO_WIDE,
    observed=31.5, limit=30.0, detail="the spread is 31.5 points",
)


def test_a_message_becomes_one_readable_line() -> None:
    line = format_message("executions.paper.EURUSD", encode(SENT)).plain
    assert line == (
        "2014-05-14 12:00:00.000  executions.paper.EURUSD  OrderSent seq=7 order_id=ab12 account=paper symbol=EURUSD "
        "side=buy volume_lots=0.12 magic=5"
    )


def test_a_refusal_shows_both_numbers_and_is_coloured() -> None:
    text = format_message("orders.refused.paper.EURUSD", encode(REFUSED))
    assert "observed=31.5 limit=30" in text.plain
    assert any("red" in str(span.style) for span in text.spans)


@pytest.mark.parametrize("payload", [b"", b"\xff\xfe", b"[1,2]", b"{broken", b"null", b"[" * 100_000])
def test_what_is_no_json_object_is_shown_as_such(payload: bytes) -> None:
    assert "not a JSON object" in format_message("ticks.EURUSD", payload).plain


def test_long_columns_are_cut_and_signatures_shortened() -> None:
    assert format_value("bid", [float(n) for n in range(2000)]) == "[2000: 0 .. 1999]"
    assert format_value("names", ["a", "b"]) == "[a, b]"
    assert format_value("signature", "0123456789abcdef") == "01234567..."
    assert format_value("expires_ns", NOON_NS) == "2014-05-14 12:00:00.000"
    assert format_value("side", None) == "none"


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("side=buy", True),
        (".side == 'buy'", True),
        ("side=sell", False),
        ("volume_lots>0.1", True),
        ("volume_lots>=0.12", True),
        ("volume_lots<0.12", False),
        ("volume_lots<=0.12", True),
        ("volume_lots=0.120", True),
        ("symbol~eur", True),
        ("side!=sell", True),
        ("side!=buy", False),
        ("nothing=1", False),
        ("nothing!=1", True),
        ("nothing>1", False),
        ("side>1", False),
    ],
)
def test_a_filter_lets_through_what_it_says(text: str, passes: bool) -> None:
    record = decode_record(encode(SENT))
    assert record is not None
    assert Filter(text).passes(record) is passes


def test_a_filter_reaches_into_objects_and_lists() -> None:
    record = {"metrics": {"log_loss": 0.68}, "positions": [{"symbol": "EURUSD"}], "halted": True, "side": None}
    assert Filter("metrics.log_loss<0.69").passes(record)
    assert Filter("positions.0.symbol=EURUSD").passes(record)
    assert not Filter("positions.1.symbol=EURUSD").passes(record)
    assert Filter("halted=true").passes(record)
    assert Filter("side=none").passes(record)


@pytest.mark.parametrize(("text", "problem"), [("side", "expected field=value"), ("lots>much", "needs a number")])
def test_a_filter_that_means_nothing_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Filter(text)
