"""Running the conformance cards: on the simulator, or on a real terminal; and showing what came of it."""

import importlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from libs.common.errors import ConfigError
from libs.common.mt5.cards import CARDS, Bench, Card, Outcome, Verdict, run_card
from libs.common.mt5.sim.settings import SymbolTerms, TerminalSettings
from tickwire.mt5_market import SEED, MarketOptions, open_market

HISTORY_H = 6.0
"""Market before each card on the simulator: enough for the longest question about bars."""
_WITH_DEPTH = SymbolTerms(depth_lots=(50.0, 100.0, 200.0))
_COLOURS = {Outcome.PASSED: "green", Outcome.FAILED: "bold red", Outcome.SKIPPED: "yellow"}
_REAL_PACKAGE = "libs.common.mt5.adapters.real_package"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Which cards are run on what.

    Parameters
    ----------
    real : on the real package and its terminal, else on the simulator
    symbol : cards look at and trade it
    trade : on a real terminal, whether cards may send orders (only on a demo account)
    path : of the terminal
    netting : a simulated account with one net position per symbol
    areas, cards : only these; empty for all
    seed : of the simulator
    """

    real: bool = False
    symbol: str = "EURUSD"
    trade: bool = False
    path: str = ""
    netting: bool = False
    areas: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()
    seed: int = SEED


def chosen(plan: Plan) -> tuple[Card, ...]:
    """Return the cards of a plan.

    Raises
    ------
    ConfigError : for an area or a card nobody knows
    """
    areas, names = {card.area for card in CARDS}, {card.name for card in CARDS}
    for what, wanted, known in (("area", plan.areas, areas), ("card", plan.cards, names)):
        for name in wanted:
            if name not in known:
                raise ConfigError(f"there is no {what} '{name}'. `tickwire conformance --list` names them all.")
    return tuple(
        card for card in CARDS
        if (not plan.areas or card.area in plan.areas) and (not plan.cards or card.name in plan.cards)
    )  # fmt: skip


def run_cards(plan: Plan, told: Callable[[Verdict], None] = lambda verdict: None) -> list[Verdict]:
    """Run the plan's cards in their order, each on the simulator in a market of its own.

    Parameters
    ----------
    told : hears each verdict at once

    Raises
    ------
    ConfigError : when the real package is not installed, or the plan names an unknown card
    """
    package = real_package() if plan.real else None
    verdicts = []
    for card in chosen(plan):
        verdict = run_card(card, simulated_bench(plan) if package is None else _real_bench(plan, package))
        told(verdict)
        verdicts.append(verdict)
    return verdicts


def simulated_bench(plan: Plan) -> Bench:
    """Return a bench with a simulated package and a market of its own."""
    options = MarketOptions(
        symbols=(plan.symbol, "XAUUSD" if plan.symbol != "XAUUSD" else "EURUSD"), seed=plan.seed, history_h=HISTORY_H,
        terminal=TerminalSettings(hedging=not plan.netting, symbols={plan.symbol: _WITH_DEPTH}),
    )  # fmt: skip
    market = open_market(options)
    assert market.clock is not None, "the market's own clock was asked for"
    return Bench(market.module, plan.symbol, market.clock.sleep, may_trade=True)


def real_package() -> Any:
    """Return the real package.

    Raises
    ------
    ConfigError : when it is not installed
    """
    try:
        return importlib.import_module(_REAL_PACKAGE).MetaTrader5
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"package {error.name} is not installed, and it exists for Windows only. Run this on Windows (or with a "
            "Windows Python under Wine) beside a terminal, after `pip install MetaTrader5`; or leave out --real."
        ) from None


def _real_bench(plan: Plan, package: Any) -> Bench:
    connect = {"path": plan.path} if plan.path else {}
    return Bench(package, plan.symbol, time.sleep, may_trade=plan.trade, connect=connect)


def failed(verdicts: Iterable[Verdict]) -> bool:
    """Tell whether a card was broken."""
    return any(verdict.outcome is Outcome.FAILED for verdict in verdicts)


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return the counts in a sentence."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    return f"{len(verdicts)} cards: " + ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome)


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """Return the verdicts as a table for a terminal."""
    table = Table("card", "area", "stimulus", "required", "result", box=None, pad_edge=False)
    for verdict in verdicts:
        card, colour = verdict.card, _COLOURS[verdict.outcome]
        result = Text(verdict.outcome, style=colour)
        if verdict.reason:
            result.append(f": {verdict.reason}")
        table.add_row(card.name, card.area, Text(card.stimulus), Text(card.required), result)
    return table


def verdict_records(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Return the verdicts as plain values."""
    return [
        {
            "card": verdict.card.name, "area": verdict.card.area, "stimulus": verdict.card.stimulus,
            "required": verdict.card.required, "result": str(verdict.outcome), "reason": verdict.reason,
        }
        for verdict in verdicts
    ]  # fmt: skip


def markdown(verdicts: Sequence[Verdict]) -> str:
    """Return the page ``docs/conformance.md``."""
    lines = [
        "# Conformance cards",
        "",
        "What a MetaTrader5 package must do, card by card, and what the simulated one does. Written by",
        "`tickwire conformance --markdown`; run the same cards on your broker with `tickwire conformance --real`",
        "(cards that trade run with `--trade` on a demo account only). How they work:",
        "[the simulator's page](mt5-simulator.md#conformance-cards).",
        "",
        f"{summary(verdicts)}.",
    ]
    area = ""
    for verdict in verdicts:
        card = verdict.card
        if card.area != area:
            area = card.area
            lines += ["", f"## {area}", "", "| card | stimulus | required | simulator |", "|---|---|---|---|"]
        result = f"{verdict.outcome}: {verdict.reason}" if verdict.reason else str(verdict.outcome)
        cells = (card.name, card.stimulus, card.required, result)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    escaped = text.replace("|", "\\|")
    return "".join(f"\\{sign}" if sign in "*_<" else sign for sign in escaped)
