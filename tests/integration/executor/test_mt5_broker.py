"""The ``mt5`` broker over a simulated account: what it sends, what it refuses to send, what it reads back."""

from pathlib import Path
from typing import Any

import pytest

from libs.common.errors import BrokerError, OutcomeUncertain
from libs.common.messages.market import Side
from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import TerminalInfo
from libs.common.mt5.sim.settings import TerminalSettings
from services.executor.adapters.mt5 import answer_of
from services.executor.requests import market_order, stops_change
from tests.unit.executor.executor_world import NOON, S, magic, order_id, ticks
from tests.unit.executor.mt5_world import Host, InProcessCalls, broker_over

QUOTE = (1.1, 1.1001)


def request(name: str = "a", **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "order_id": order_id(name), "magic": magic(name), "symbol": "EURUSD", "side": Side.BUY, "volume_lots": 0.1,
        "price": 1.1001, "sl": 0.0, "tp": 0.0, "deviation_points": 20, "filling": "ioc",
    }
    return market_order(**{**fields, **changes})


@pytest.fixture
def host() -> Host:
    host = Host()
    host.move(ticks("EURUSD", NOON, QUOTE))
    return host


async def send(broker: Any, name: str = "a", **changes: Any) -> Any:
    return await broker.send(order_id(name), await broker.prepare(order_id(name), request(name, **changes)))


async def test_an_order_is_prepared_sent_once_and_its_deal_read_back(host: Host, tmp_path: Path) -> None:
    broker, calls = broker_over(host, tmp_path)
    await broker.read(NOON, NOON)
    reply = await send(broker)
    assert (reply.answer.verdict, reply.answer.volume_lots, reply.answer.price) == ("done", 0.1, 1.1001)
    (deal,) = reply.deals
    assert (deal.magic, deal.volume_lots, deal.ts_ns, deal.side) == (magic("a"), 0.1, NOON, Side.BUY)
    assert calls.asked.count("order_send") == 1
    assert host.received == {magic("a"): 1}


async def test_nothing_is_sent_before_the_books_were_read_and_again_after_a_reconnect(
    host: Host, tmp_path: Path
) -> None:
    broker, calls = broker_over(host, tmp_path)
    with pytest.raises(BrokerError, match="books have not been read"):
        await send(broker)
    await broker.read(NOON, NOON)
    await send(broker)
    host.restart()
    with pytest.raises(BrokerError, match="books have not been read"):
        await send(broker, "b")
    await broker.read(NOON, NOON)
    await send(broker, "b")
    assert calls.asked.count("order_send") == 2


@pytest.mark.parametrize(("changes", "words"), [
    ({"connected": False}, "not connected to the trade server"),
    ({"trade_allowed": False}, "'Algo Trading' of the terminal is off"),
    ({"tradeapi_disabled": True}, "external Python API"),
])
async def test_a_terminal_that_would_refuse_is_named_before_anything_is_sent(
    host: Host, tmp_path: Path, changes: dict[str, bool], words: str
) -> None:
    broker, calls = broker_over(host, tmp_path)
    await broker.read(NOON, NOON)
    host.info = TerminalInfo(**{"connected": True, "trade_allowed": True, **changes})
    host.connected = host.info.connected
    with pytest.raises(BrokerError, match=words):
        await send(broker)
    assert "order_send" not in calls.asked


async def test_an_account_that_changes_while_running_stops_trading_and_looking(host: Host, tmp_path: Path) -> None:
    broker, calls = broker_over(host, tmp_path)
    await broker.read(NOON, NOON)
    host.settings = TerminalSettings(login=42)
    # As when a person logs the terminal in elsewhere: the connection of the worker stays.
    session = host.session
    host.restart()
    host.session = session
    for asking in (broker.read(NOON, NOON), send(broker)):
        with pytest.raises(BrokerError, match="login is 42, pinned is 1000001"):
            await asking
    assert "order_send" not in calls.asked


async def test_a_real_account_is_refused_on_paper_at_the_first_sight(host: Host, tmp_path: Path) -> None:
    broker, _ = broker_over(host, tmp_path, trade_mode="real")
    with pytest.raises(BrokerError, match="trade_mode is demo"):
        await broker.read(NOON, NOON)


async def test_a_request_that_cannot_fit_is_refused_before_it_is_sent(host: Host, tmp_path: Path) -> None:
    broker, calls = broker_over(host, tmp_path)
    await broker.read(NOON, NOON)
    with pytest.raises(BrokerError, match="sl"):
        await send(broker, sl=1.2)
    assert "order_send" not in calls.asked


async def test_an_unknown_symbol_is_refused_with_the_names_that_are_near(host: Host, tmp_path: Path) -> None:
    broker, _ = broker_over(host, tmp_path)
    await broker.read(NOON, NOON)
    with pytest.raises(BrokerError, match="offers no such symbol"):
        await send(broker, symbol="GBPUSD")


@pytest.mark.parametrize("hedging", [True, False], ids=["hedging", "netting"])
async def test_open_add_reduce_close_and_reverse(tmp_path: Path, hedging: bool) -> None:
    host = Host(TerminalSettings(hedging=hedging))
    host.move(ticks("EURUSD", NOON, QUOTE))
    broker, _ = broker_over(host, tmp_path)
    first = await broker.read(NOON, NOON)
    assert first.account.hedging is hedging
    await send(broker, "a", volume_lots=0.3)
    await send(broker, "b", volume_lots=0.1)
    seen = (await broker.read(NOON, NOON)).positions
    assert [(p.volume_lots, p.side) for p in seen] == (
        [(0.3, Side.BUY), (0.1, Side.BUY)] if hedging else [(0.4, Side.BUY)]
    )
    ticket = seen[0].ticket
    await send(broker, "c", side=Side.SELL, volume_lots=0.1, position_ticket=ticket)
    left = (await broker.read(NOON, NOON)).positions
    assert left[0].volume_lots == pytest.approx(seen[0].volume_lots - 0.1)
    await send(broker, "d", side=Side.SELL, volume_lots=left[0].volume_lots, position_ticket=ticket)
    rest = (await broker.read(NOON, NOON)).positions
    assert [p.volume_lots for p in rest] == ([0.1] if hedging else [])
    # The other way round: a second position, or the net one turned over.
    await send(broker, "e", volume_lots=0.1)
    await send(broker, "f", side=Side.SELL, volume_lots=0.3)
    end = (await broker.read(NOON, NOON)).positions
    if hedging:
        assert sorted((p.side, p.volume_lots) for p in end) == [
            (Side.BUY, 0.1), (Side.BUY, 0.1), (Side.SELL, 0.3),
        ]
    else:
        assert [(p.side, pytest.approx(p.volume_lots)) for p in end] == [(Side.SELL, 0.2)]
    deals = (await broker.read(NOON, NOON)).deals
    assert {deal.magic for deal in deals} == {magic(name) for name in "abcdef"}


async def test_stops_are_moved_and_told_done_when_they_lie_there_already(host: Host, tmp_path: Path) -> None:
    broker, _ = broker_over(host, tmp_path)
    await broker.read(NOON, NOON)
    await send(broker)
    (held,) = (await broker.read(NOON, NOON)).positions
    for _ in range(2):
        change = await broker.prepare("stops:1", stops_change(held, 1.09))
        assert (await broker.send("stops:1", change)).answer.verdict == "done"
    assert (await broker.read(NOON, NOON)).positions[0].sl == 1.09


async def test_positions_of_others_are_shown_and_their_opening_deals_left_out(host: Host, tmp_path: Path) -> None:
    broker, _ = broker_over(host, tmp_path)
    host.terminal.order_send({"action": 1, "symbol": "EURUSD", "volume": 0.5, "type": 0, "type_filling": 1, "magic": 3})
    report = await broker.read(NOON, NOON)
    assert [p.magic for p in report.positions] == [3]
    assert report.deals == report.orders == ()


async def test_a_deal_whose_magic_was_dropped_is_known_by_its_comment(host: Host, tmp_path: Path) -> None:
    broker, _ = broker_over(host, tmp_path)
    host.terminal.order_send({**request(), "magic": 0})
    report = await broker.read(NOON, NOON)
    assert [deal.magic for deal in report.deals] == [magic("a")]
    assert report.positions[0].magic == magic("a")


async def test_the_first_look_reaches_back_two_days_and_later_ones_as_far_as_asked(host: Host, tmp_path: Path) -> None:
    broker, calls = broker_over(host, tmp_path)
    windows: list[tuple[int, int]] = []
    ask = calls._question

    def note(function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if function == "history_deals_get" and args:
            windows.append((args[0], args[1]))
        return ask(function, args, kwargs)

    calls._question = note  # type: ignore[method-assign]
    await broker.read(NOON, NOON - 3_600 * S)
    await broker.read(NOON, NOON - 3_600 * S)
    lead_s = 3 * 3_600
    noon_s = NOON // S + lead_s
    assert windows[0] == (noon_s - 2 * 86_400 - 7_200, noon_s + 86_400)
    assert windows[1][0] == noon_s - 3_600 - 7_200


async def test_what_is_not_found_counts_from_when_the_books_became_readable(host: Host, tmp_path: Path) -> None:
    broker, _ = broker_over(host, tmp_path)
    assert (await broker.read(NOON, NOON)).whole_since_ns == NOON
    assert (await broker.read(NOON + 9 * S, NOON)).whole_since_ns == NOON
    host.connected = False
    with pytest.raises(BrokerError, match="not connected"):
        await broker.read(NOON + 10 * S, NOON)
    host.connected = True
    assert (await broker.read(NOON + 20 * S, NOON)).whole_since_ns == NOON + 20 * S
    host.restart()
    assert (await broker.read(NOON + 30 * S, NOON)).whole_since_ns == NOON + 30 * S


async def test_a_look_that_an_order_overtook_is_taken_again(host: Host, tmp_path: Path) -> None:
    broker, calls = broker_over(host, tmp_path)
    await broker.read(NOON, NOON)
    prepared = await broker.prepare(order_id("a"), request())
    sent: list[Any] = []
    ask = calls.call

    async def with_an_order_between(function: str, *args: Any, **kwargs: Any) -> Any:
        answer = await ask(function, *args, **kwargs)
        if function == "positions_get" and not sent:
            sent.append(None)
            await broker.send(order_id("a"), prepared)
        return answer

    calls.call = with_an_order_between  # type: ignore[method-assign]
    report = await broker.read(NOON, NOON)
    assert len(report.positions) == len(report.deals) == 1, "one moment, not half of two"


async def test_a_connection_lost_while_reading_gives_no_books(host: Host, tmp_path: Path) -> None:
    broker, calls = broker_over(host, tmp_path)
    await broker.read(NOON, NOON)
    calls.after = lambda function: host.restart() if function == "orders_get" else None
    with pytest.raises(BrokerError, match="connected again"):
        await broker.read(NOON, NOON)
    with pytest.raises(BrokerError, match="books have not been read"):
        await send(broker)


async def test_what_follows_an_answer_cannot_undo_it(host: Host, tmp_path: Path) -> None:
    broker, calls = broker_over(host, tmp_path)
    await broker.read(NOON, NOON)

    def dies(function: str) -> None:
        if function == "history_deals_get":
            raise TimeoutError

    calls.before = dies
    reply = await send(broker)
    assert (reply.answer.verdict, reply.deals) == ("done", ())


async def test_an_uncertain_outcome_is_passed_on_as_it_is(host: Host, tmp_path: Path) -> None:
    broker, calls = broker_over(host, tmp_path)
    await broker.read(NOON, NOON)
    prepared = await broker.prepare(order_id("a"), request())

    def breaks(function: str) -> None:
        raise OutcomeUncertain("magic 1", -10002)

    calls.after = breaks
    with pytest.raises(OutcomeUncertain):
        await broker.send(order_id("a"), prepared)


def test_a_partial_fill_whose_rest_goes_on_working_is_no_end() -> None:
    calls = InProcessCalls(Host())
    result = calls._answer(request(), mt5.TRADE_RETCODE_DONE_PARTIAL)._replace(volume=0.05)
    assert answer_of("k", request(), result).verdict == "partial"
    answer = answer_of("k", request(filling="return"), result)
    assert (answer.verdict, answer.volume_lots) == ("placed", 0.0)
