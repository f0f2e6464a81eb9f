"""``tickwire mt5-sim``: somebody's MetaTrader 5 script, unchanged, on the simulated terminal."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from libs.common.config import read_config
from libs.common.errors import ConfigError
from libs.common.mt5.sim.settings import TerminalSettings
from services.executor.config import ExecutorConfig
from tickwire.commands.demo import pair_symbols, read_speed
from tickwire.console import print_hint
from tickwire.mt5_market import HISTORY_H, SEED, MarketOptions, OpenMarket, open_market
from tickwire.mt5_script import run_script

APPS = {"mt5-sim": typer.Typer(name="mt5-sim", add_completion=False, no_args_is_help=True)}


@APPS["mt5-sim"].callback()
def root() -> None:
    """Run MetaTrader 5 scripts on the simulated terminal."""


@APPS["mt5-sim"].command(name="run", context_settings={"allow_interspersed_args": False})
def run(
    script: Annotated[Path, typer.Argument(help="Python file that imports MetaTrader5.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="The script's own arguments.")] = None,
    ticks: Annotated[
        list[Path] | None, typer.Option("--ticks", help="Your own tick or bar file instead of the synthetic market.")
    ] = None,
    symbol: Annotated[
        list[str] | None, typer.Option("--symbol", "-s", help="Symbol of the --ticks file in the same place.")
    ] = None,
    zone: Annotated[str, typer.Option("--zone", help="Clock of the files; empty: the format's.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=0, help="Most ticks per file; 0: all.")] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")] = SEED,
    history: Annotated[
        float, typer.Option("--history", min=0.0, max=100_000.0, help="Hours of market before the script begins.")
    ] = HISTORY_H,
    duration: Annotated[
        float,
        typer.Option("--duration", min=0.0, max=1e9, help="Seconds of market time, then the script ends; 0: no limit."),
    ] = 0.0,
    clock: Annotated[
        str,
        typer.Option("--clock", help="market: time passes by the script's calls and sleeps; wall: as it does."),
    ] = "market",
    speed: Annotated[str, typer.Option("--speed", help="With --clock wall: market seconds per second.")] = "1",
    balance: Annotated[
        float | None, typer.Option("--balance", min=0.01, max=1e12, help="Deposit, account currency.")
    ] = None,
    netting: Annotated[bool, typer.Option("--netting", help="One net position per symbol.")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Take instruments and executor.terminal from here.")
    ] = None,
) -> None:
    """Run a script in which `import MetaTrader5` finds the simulated terminal; its exit code is the command's."""
    changes: dict[str, Any] = {} if balance is None else {"balance_ccy": balance}
    if netting:
        changes["hedging"] = False
    options = MarketOptions(
        files=tuple(pair_symbols(ticks or [], symbol or [])), zone=zone, limit=limit, seed=seed, history_h=history,
        duration_s=duration, clock=_clock(clock), speed=_speed(speed), **_manners(config, changes),
    )  # fmt: skip
    market = open_market(options)
    code = run_script(script, arguments or [], market)
    print_hint(_summary(market))
    raise typer.Exit(code)


def _clock(text: str) -> Literal["market", "wall"]:
    if text == "market":
        return "market"
    if text == "wall":
        return "wall"
    raise ConfigError(f"--clock {text}: expected market or wall")


def _speed(text: str) -> float:
    speed = read_speed(text)
    if not isinstance(speed, float):
        raise ConfigError("--speed max: a script has no greatest speed by the wall clock; leave out --clock wall")
    return speed


def _manners(config: Path | None, changes: dict[str, Any]) -> dict[str, Any]:
    """Return terminal and instruments: the config file's, or the built-in ones."""
    if config is None:
        return {"terminal": TerminalSettings(**changes)}
    sections = read_config(config, {"executor": ExecutorConfig})
    return {
        "terminal": msgspec.structs.replace(sections["executor"].terminal, **changes),
        "instruments": sections["instruments"],
    }


def _summary(market: OpenMarket) -> str:
    terminal = market.terminal
    deals = len(terminal.history_deals_get(0, 2**31 - 1))
    account = terminal.account_info()
    return (
        f"account {account.login}: balance {account.balance:.{account.currency_digits}f} {account.currency}, "
        f"equity {account.equity:.{account.currency_digits}f}, {terminal.positions_total()} positions, "
        f"{terminal.orders_total()} orders, {deals} deals"
    )
