"""What the demo sets differently from the defaults, all in one place, and why."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from libs.common.config import InstrumentConfig
from libs.common.errors import ConfigError
from tickwire.terminal import free_port

SYMBOLS = ("EURUSD", "XAUUSD")
MARKET_START = "2024-01-08T00:00:00"
"""A Monday: the synthetic market runs through all sessions and one weekend."""
MARKET_DURATION_S = 12 * 86_400
"""Event time the demo's market lasts; ``--duration`` says in how many real seconds it passes."""
DURATION_S = 75.0
"""Real seconds of flow where nobody says otherwise; with start, settling and reading back about 90 s."""

_MS_PER_S = 1_000
_LAG_WALL_S = 1.0
"""How far, in real time, services may be apart in an accelerated market before limits on age refuse."""
_SLOWEST = 1e-3
_FASTEST = 50_000.0
"""Event seconds per second that ``--speed max`` is taken for where an age must be stretched."""

_DOLLAR_QUOTED = "USD"
_CURRENCIES = frozenset(
    {
        "USD", "EUR", "GBP", "JPY", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK",
        "DKK", "SGD", "HKD", "MXN", "ZAR", "TRY", "PLN", "HUF", "CZK", "CNH",
    }
)
_METALS = {"XAU": 100.0, "XAG": 5_000.0}
_SIX_LETTERS = re.compile(r"[A-Za-z]{6}")


@dataclass(frozen=True)
class TickFile:
    """A file of the user's own.

    Parameters
    ----------
    path, symbol : what and whose
    zone : clock of its times, empty for the format's default
    digits : decimals of its prices
    first_ns, last_ns : time of its first and last tick, ns UTC
    """

    path: Path
    symbol: str
    zone: str = ""
    digits: int = 5
    first_ns: int = 0
    last_ns: int = 0


@dataclass(frozen=True)
class DemoOptions:
    """What was asked for on the command line.

    Parameters
    ----------
    files : own data instead of the synthetic market
    limit : most ticks per file, 0 for all
    speed : ``max``, or event seconds per second; ``None``: so that the market passes in the duration
    duration_s : real seconds of flow; 0 for as long as it takes
    broker : how orders are executed: ``sim`` in the executor's process, ``mt5`` by a terminal behind a worker
    backend : which terminal: ``sim``, a simulated one in a process of its own
    """

    files: tuple[TickFile, ...] = ()
    limit: int = 0
    speed: Literal["max"] | float | None = None
    lockstep: bool = False
    duration_s: float = DURATION_S
    seed: int = 123
    port: int = 0
    broker: str = "sim"
    backend: str = "sim"

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(file.symbol for file in self.files)) or SYMBOLS

    @property
    def speed_factor(self) -> float:
        """Event seconds per real second, ``inf`` for ``max``."""
        if self.speed == "max" or self.lockstep:
            return math.inf
        if self.speed is not None:
            return self.speed
        return max(self.market_s / self.duration_s, _SLOWEST) if self.duration_s else math.inf

    @property
    def market_s(self) -> float:
        """Event time from the first tick to the last, seconds."""
        if not self.files:
            return float(MARKET_DURATION_S)
        return (max(file.last_ns for file in self.files) - min(file.first_ns for file in self.files)) / 1e9

    @property
    def ends_by_itself(self) -> bool:
        """True when the speed follows from the duration: then the market's end is waited for."""
        return self.speed is None and not self.lockstep


def demo_config(options: DemoOptions, data_dir: Path) -> dict[str, Any]:
    """Return the whole config of a demo run as plain values, ready to be written as YAML."""
    return {
        **_terminal(options),
        "system": {
            "symbols": list(options.symbols),
            "data_dir": str(data_dir),
            "clock": "event",
            "lockstep": options.lockstep,
            "decide_on": {"kind": "bar", "every": 300},
            "seed": options.seed,
        },
        "bus": {"port": options.port},
        "instruments": {symbol: _instrument(symbol, options) for symbol in options.symbols},
        "ingest": _ingest(options),
        "inference": {
            # The demo's model sees half a day of a market with a weak signal: it is rarely sure.
            "signals": {"min_confidence": 0.05, "confirmation": {"enabled": False}},
        },
        "risk": _risk(options),
        "executor": {"broker": options.broker, "terminal": {"slippage": "half_normal", "slippage_points": 1.0}},
        "trainer": {
            # First model after two days of market, a challenger after every further day and a half.
            "min_rows": 500,
            "retrain_every_rows": 400,
            "horizon_s": 1_800,
            "fit": {"rounds": 60, "min_confidence": 0.05},
            # A few weeks of recorded ticks may hold nothing to learn, and one wants to see orders all the same.
            "gate": {
                "first_model": "any" if options.files else "skill",
                "skill_p_max": 1.0, "edge_p_max": 0.5, "min_rows": 100, "min_trades": 5,
            },
        },
    }


def _terminal(options: DemoOptions) -> dict[str, Any]:
    """Return the section of a simulated terminal in a process of its own, where orders go to one."""
    if options.broker == "sim":
        return {}
    return {"mt5": {
        "backend": options.backend, "connect": f"127.0.0.1:{free_port()}", "token": "secret://TICKWIRE_TERMINAL_TOKEN",
    }}


def _ingest(options: DemoOptions) -> dict[str, Any]:
    factor = options.speed_factor
    common = {"speed": "max" if math.isinf(factor) else factor, "record": True}
    if not options.files:
        return {
            **common,
            "adapter": "synthetic",
            "synthetic": {
                "start": MARKET_START, "duration_s": float(MARKET_DURATION_S), "ticks_per_second": 0.5,
                # Twelve days must be enough to learn from.
                "signal_strength": 1.5, "defects": True,
            },
        }
    return {
        **common,
        "adapter": "replay",
        # The files were read through before anything was started.
        "check_first": False,
        "files": [
            {"path": str(file.path.resolve()), "symbol": file.symbol, "zone": file.zone, "limit": options.limit}
            for file in options.files
        ],
    }


def _risk(options: DemoOptions) -> dict[str, Any]:
    limits: dict[str, Any] = {
        "max_spread_points_by_symbol": {"XAUUSD": 80.0},
        "max_daily_loss_pct": 10.0,
        "max_drawdown_pct": 20.0,
    }
    if options.lockstep:
        return limits
    # In an accelerated market a few real milliseconds between two services are minutes of event time.
    stretch_ms = int(min(options.speed_factor, _FASTEST) * _LAG_WALL_S * _MS_PER_S)
    return limits | {
        "account_max_age_ms": 10_000 + stretch_ms,
        "quote_max_age_ms": 10_000 + stretch_ms,
        "prediction_max_age_ms": 5_000 + stretch_ms,
        "approval_ttl_ms": min(2_000 + stretch_ms, 1_800_000),
        "approval_grace_ms": 5_000 + stretch_ms,
    }


def _instrument(symbol: str, options: DemoOptions) -> dict[str, Any]:
    digits = next((file.digits for file in options.files if file.symbol == symbol), None)
    plain: dict[str, Any] = msgspec.to_builtins(instrument_for(symbol, digits))
    return plain


def instrument_for(symbol: str, digits: int | None = None) -> InstrumentConfig:
    """Return a plausible specification of a symbol: forex pair, metal, or else an index-like CFD in dollars.

    Parameters
    ----------
    digits : decimals of its prices; ``None`` for the usual ones
    """
    base, quote = symbol[:3].upper(), symbol[3:6].upper()
    if base in _CURRENCIES and quote in _CURRENCIES:
        usual = 3 if quote in ("JPY", "HUF") else 5
        return InstrumentConfig(digits=usual if digits is None else digits, margin_currency=base, profit_currency=quote)
    if base in _METALS and quote in _CURRENCIES:
        return InstrumentConfig(
            digits=2 if digits is None else digits, contract_size=_METALS[base], margin_currency=quote,
            profit_currency=quote,
        )
    return InstrumentConfig(
        digits=2 if digits is None else digits, contract_size=1.0, margin_currency=_DOLLAR_QUOTED,
        profit_currency=_DOLLAR_QUOTED, commission_per_lot_ccy=0.0,
    )


def symbol_of_file(path: Path) -> str:
    """Return the symbol a file's name tells of (``eurusd_oanda_2014-05.parquet``).

    Raises
    ------
    ConfigError : when it tells of none
    """
    for match in _SIX_LETTERS.findall(path.name):
        name: str = match.upper()
        if (name[:3] in _CURRENCIES or name[:3] in _METALS) and name[3:] in _CURRENCIES:
            return name
    raise ConfigError(f"{path}: whose ticks are these? Add --symbol NAME after --ticks.")
