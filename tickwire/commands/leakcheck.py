"""``tickwire leakcheck``: changes the future and looks which value knew of it."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.progress import Progress

from backtest.leak import Leak
from tickwire import plan_options as options
from tickwire.console import err, out, print_error, print_hint, print_json
from tickwire.leakcheck_run import Finding, check_config, check_family, families_named

APPS = {"leakcheck": typer.Typer(add_completion=False)}
TICKS = 50_000
_NAMED = 4


@APPS["leakcheck"].command(name="leakcheck")
def leakcheck(
    config: options.Config = None,
    ticks: options.Ticks = None,
    symbol: options.Symbols = None,
    store: options.Store = None,
    zone: options.Zone = "",
    from_: options.From = "",
    to: options.To = "",
    limit: options.Limit = TICKS,
    strategy: options.StrategyName = "",
    strategy_file: options.StrategyFile = "",
    features: Annotated[
        list[str] | None,
        typer.Option("--features", help="Instead: a plugin file, a family of the library, or 'all', on seeded markets."),
    ] = None,
    changes: options.Changes = None,
    moments: Annotated[int, typer.Option("--moments", min=1, help="Random moments after which the future is changed.")] = 6,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws them.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Change the future of your features and strategy; exit code 1 and the first value that knew of it, if any did."""
    if features:
        findings = []
        with Progress(console=err, transient=True) as progress:
            for family in progress.track(families_named(features), description="attacking"):
                findings.append(check_family(family, moments, seed))
    else:
        plan = options.plan_of(
            config=config, ticks=ticks, symbol=symbol, store=store, zone=zone, from_=from_, to=to, limit=limit,
            strategy=strategy, strategy_file=strategy_file, changes=changes, max_gap=0.0,
        )  # fmt: skip
        with err.status("attacking"):
            findings = check_config(plan, moments, seed)
    _tell(findings, as_json)
    if not all(finding.sound for finding in findings):
        raise typer.Exit(1)


def _tell(findings: list[Finding], as_json: bool) -> None:
    if as_json:
        print_json([msgspec.to_builtins(finding) | {"sound": finding.sound} for finding in findings])
        return
    for finding in findings:
        if finding.leak is not None:
            print_error(f"{finding.attacked}: {told(finding.leak)}")
        elif finding.problem:
            print_error(f"{finding.attacked}: {finding.problem}")
    sound = [finding for finding in findings if finding.sound]
    values = sum(finding.values for finding in sound)
    if sound:
        more = f" and {len(sound) - _NAMED} more" if len(sound) > _NAMED else ""
        names = ", ".join(finding.attacked for finding in sound[:_NAMED]) + more
        out.print(f"no leak in {names}: {values:,} values are the same whatever comes after them", markup=False)
    if len(sound) < len(findings):
        print_hint(
            "usual causes: a centred window, a statistic of the whole table, a bar labelled by its opening time, a "
            "`lookback` that is too short"
        )


def told(leak: Leak) -> str:
    """Return a leak in a sentence."""
    after = "no row" if leak.after is None else f"{leak.after:.9g}"
    return (
        f"the row of {leak.symbol} at {_instant(leak.row_ns)} knows the future: {leak.column} was {leak.before:.9g} and "
        f"became {after} ({leak.how}; all up to {_instant(leak.known_ns)} is the same)"
    )


def _instant(ts_ns: int) -> str:
    moment = datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ts_ns % 1_000_000_000 // 1_000_000:03d}Z"
