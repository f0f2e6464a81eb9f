"""``tickwire conformance``: what a MetaTrader5 package must do, tried on the simulator or on your broker."""

import sys
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from libs.common.errors import ConfigError
from tickwire.conformance import (
    Plan,
    chosen,
    failed,
    markdown,
    run_cards,
    summary,
    verdict_records,
    verdict_table,
)
from tickwire.console import err, out, print_json
from tickwire.mt5_market import SEED

APPS = {"conformance": typer.Typer(add_completion=False)}


@APPS["conformance"].command(name="conformance")
def conformance(
    real: Annotated[
        bool, typer.Option("--real", help="On the real package and its running terminal, not on the simulator.")
    ] = False,
    trade: Annotated[
        bool, typer.Option("--trade", help="With --real: also the cards that send orders; demo accounts only.")
    ] = False,
    symbol: Annotated[str, typer.Option("--symbol", "-s", help="Symbol the cards look at and trade.")] = "EURUSD",
    path: Annotated[str, typer.Option("--path", help="With --real: the terminal's terminal64.exe.")] = "",
    netting: Annotated[bool, typer.Option("--netting", help="A simulated netting account.")] = False,
    area: Annotated[list[str] | None, typer.Option("--area", help="Only this area; may be repeated.")] = None,
    card: Annotated[list[str] | None, typer.Option("--card", help="Only this card; may be repeated.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Name areas and cards, run none.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/conformance.md.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the simulated market.")] = SEED,
) -> None:
    """Run the conformance cards and print what each requires and what came of it; exit code 1 when one fails."""
    if not real and (trade or path):
        raise ConfigError("--trade and --path say what to do with the real package: add --real")
    plan = Plan(
        real=real, symbol=symbol, trade=trade, path=path, netting=netting, areas=tuple(area or ()),
        cards=tuple(card or ()), seed=seed,
    )  # fmt: skip
    if listing:
        for each in chosen(plan):
            out.print(f"{each.area}: {each.name}", markup=False)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("cards", total=len(chosen(plan)))
        verdicts = run_cards(plan, lambda verdict: progress.advance(task))
    if as_markdown:
        sys.stdout.write(markdown(verdicts))
    elif as_json:
        print_json(verdict_records(verdicts))
    else:
        out.print(verdict_table(verdicts), soft_wrap=False)
        out.print(summary(verdicts))
    if failed(verdicts):
        raise typer.Exit(1)
