"""Every conformance card on the simulated package; and cards tell a package that is wrong."""

import functools
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from libs.common.mt5.cards import CARDS, Card, Outcome, Verdict, run_card
from libs.common.mt5.cards.card import Bench
from tickwire.conformance import Plan, markdown, simulated_bench

PAGE = Path(__file__).parents[3] / "docs" / "conformance.md"
BY_NAME = {card.name: card for card in CARDS}
TRADING = [card for card in CARDS if card.trades]


@functools.cache
def verdict_of(name: str) -> Verdict:
    """Return what a card finds on the simulator; worked out once, the page wants it as well."""
    return run_card(BY_NAME[name], simulated_bench(Plan()))


def test_there_are_enough_cards_and_no_name_twice() -> None:
    assert len(CARDS) == len(BY_NAME) >= 90
    assert all(card.stimulus and card.required and card.area for card in CARDS)


@pytest.mark.parametrize("name", BY_NAME)
def test_the_simulated_package_passes_the_card(name: str) -> None:
    verdict = verdict_of(name)
    assert verdict.outcome is Outcome.PASSED, verdict.reason


@pytest.mark.parametrize("card", TRADING, ids=lambda card: card.name)
def test_a_netting_account_passes_the_cards_that_speak_of_it(card: Card) -> None:
    verdict = run_card(card, simulated_bench(Plan(netting=True)))
    assert verdict.outcome is not Outcome.FAILED, verdict.reason
    assert verdict.outcome is Outcome.PASSED or "hedging" in verdict.reason


def test_the_page_shows_the_cards_as_they_are() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown([verdict_of(card.name) for card in CARDS]), (
        "run `tickwire conformance --markdown > docs/conformance.md`"
    )


def wrong(bench: Bench, **answers: Any) -> Bench:
    """Return the bench with a package some of whose functions are wrong."""
    package = ModuleType("wrong")
    vars(package).update({**vars(bench.mt5), **answers})
    bench.mt5 = package
    return bench


def run_wrong(name: str, **answers: Any) -> Verdict:
    return run_card(BY_NAME[name], wrong(simulated_bench(Plan()), **answers))


@pytest.mark.parametrize(("name", "answers", "told"), [
    ("nothing-found", {"positions_get": lambda **_: None}, "answer is None"),
    ("constants-timeframes", {"TIMEFRAME_H1": 60}, "TIMEFRAME_H1"),
    ("unconnected-version", {"version": lambda: None}, "answer is None"),
    ("volume-int", {"order_send": lambda *_: SimpleNamespace(retcode=10009)}, "10009"),
    ("type-Tick", {"Tick": tuple}, "AttributeError"),
    ("positional-only", {"symbol_info": lambda symbol: None}, "required is TypeError"),
    ("buy-is-done", {"order_send": lambda request: None}, "order_send gave None"),
])  # fmt: skip
def test_a_card_says_what_a_wrong_package_did(name: str, answers: dict[str, Any], told: str) -> None:
    verdict = run_wrong(name, **answers)
    assert verdict.outcome is Outcome.FAILED
    assert told in verdict.reason


def test_a_package_that_does_not_connect_fails_every_card_that_needs_it() -> None:
    verdict = run_wrong("tick-times", initialize=lambda **_: False)
    assert (verdict.outcome, verdict.reason[:12]) == (Outcome.FAILED, "initialize()")


def test_cards_trade_only_where_they_may_and_only_on_demo_accounts() -> None:
    card, bench = BY_NAME["buy-is-done"], simulated_bench(Plan())
    bench.may_trade = False
    assert run_card(card, bench).outcome is Outcome.SKIPPED
    real = simulated_bench(Plan())
    account = real.mt5.AccountInfo([0, real.mt5.ACCOUNT_TRADE_MODE_REAL, *range(26)])
    assert run_card(card, wrong(real, account_info=lambda: account)).reason == "not a demo account"
    assert real.mt5.positions_total() == real.mt5.history_deals_total(1, 2**31 - 1) == 0


def test_what_a_card_opened_is_closed_again_even_when_it_fails() -> None:
    def breaks(bench: Bench) -> None:
        bench.opened(bench.mt5.ORDER_TYPE_BUY)
        bench.placed(bench.mt5.ORDER_TYPE_BUY_LIMIT, bench.far())
        bench.equal("one", 1, 2)

    bench = simulated_bench(Plan())
    card = Card(name="breaks", area="", stimulus="", required="", check=breaks, trades=True)
    assert run_card(card, bench).reason == "one is 1, required is 2"
    assert (bench.mt5.positions_get(), bench.mt5.orders_get()) == ((), ())
    assert bench.mt5.history_deals_total(1, 2**31 - 1) == 2
