"""One ``config.yaml``, a section per service, environment over file, unknown keys refused.

Read once in ``__main__.py``; passed on by value. ``TICKWIRE_RISK__MAX_SPREAD_POINTS=30`` overrides the key
``max_spread_points`` of section ``risk``; values of the environment are read as YAML. ``secret://NAME`` is replaced
by the environment variable ``NAME`` or, failing that, by the content of the file ``$TICKWIRE_SECRETS_DIR/NAME``.
"""

import difflib
import math
import os
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml
from msgspec import Meta

from libs.common.errors import ConfigError
from libs.common.mt5.address import host_and_port

Section = TypeVar("Section", bound=msgspec.Struct)
ENV_PREFIX = "TICKWIRE_"
SECRET_PREFIX = "secret://"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections: frozen, keyword only, no unknown keys."""


class DecideOn(Settings, frozen=True, kw_only=True):
    """When a feature row is made and a decision is taken.

    Parameters
    ----------
    kind : ``bar`` (first tick at or after a bar's close), ``tick`` (every n-th tick), ``interval`` (first tick at
        or after every n-th second since midnight UTC)
    every : bar length in seconds, number of ticks, or seconds
    """

    kind: Literal["bar", "tick", "interval"] = "bar"
    every: Annotated[int, Meta(gt=0)] = 60


class SystemConfig(Settings, frozen=True, kw_only=True):
    """What all services must agree on (section ``system``).

    Parameters
    ----------
    symbols : canonical symbols traded
    account : account key, part of subjects
    data_dir : where state, journals, ticks and logs live
    clock : ``event`` (time is what the ticks say: replays, synthetic markets) or ``wall`` (live)
    lockstep : replay step by step so that every run is bit-identical
    decide_on : when decisions are taken
    seed : seeds everything random
    mode : ``paper`` or ``live``; live refuses settings that only make sense on paper
    """

    symbols: tuple[str, ...] = ("EURUSD",)
    account: str = "paper"
    data_dir: str = ".tickwire"
    clock: Literal["event", "wall"] = "event"
    lockstep: bool = False
    decide_on: DecideOn = DecideOn()
    seed: Annotated[int, Meta(ge=0, le=2_147_483_647)] = 123
    mode: Literal["paper", "live"] = "paper"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __post_init__(self) -> None:
        if not self.symbols:
            raise ValueError("symbols names none")
        if not self.data_dir:
            raise ValueError("data_dir is empty; '.' is the folder you start in")
        twice = next((symbol for symbol in self.symbols if self.symbols.count(symbol) > 1), None)
        if twice is not None:
            raise ValueError(f"symbols names '{twice}' twice")
        for name in (*self.symbols, self.account):
            if not name or not name.isprintable() or name != name.strip():
                raise ValueError(f"{name!r} is no name of a symbol or account (letters, digits, signs; no spaces around)")


class BusConfig(Settings, frozen=True, kw_only=True):
    """How to reach NATS (section ``bus``).

    Parameters
    ----------
    url : ``nats://host:port`` without credentials; empty: the embedded server of ``tickwire up``
    port : port of the embedded server; 0 takes a free one
    password : the service's own password, normally ``secret://TICKWIRE_NATS_PASSWORD``
    max_stream_bytes : most bytes one high-rate stream may keep
    """

    url: str = ""
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    password: str = ""
    max_stream_bytes: Annotated[int, Meta(gt=1_000_000)] = 2_000_000_000


CalcMode = Literal[
    "auto", "forex", "forex_no_leverage", "futures", "cfd", "cfd_index", "cfd_leverage", "exch_stocks", "exch_futures",
    "exch_options", "exch_options_margin", "exch_bonds", "exch_stocks_moex", "exch_bonds_moex", "collateral",
]
"""MetaTrader's ways to work out profit and margin."""


class InstrumentConfig(Settings, frozen=True, kw_only=True):
    """What the broker says of a symbol (section ``instruments``, keyed by symbol).

    Parameters
    ----------
    digits : decimals of a price
    contract_size : units per lot
    profit_currency, margin_currency : quote currency of the profit, currency of the margin
    volume_min, volume_max, volume_step : lots
    stops_level_points : least distance of SL and TP from the price
    swap_long_points, swap_short_points : per lot and night, points
    commission_per_lot_ccy : account currency per lot and side, >= 0
    session : trading session, ``fx`` (Sunday 17:00 to Friday 17:00 New York) or ``always``
    calc_mode : how profit and margin are worked out (MetaTrader's SYMBOL_CALC_MODE_*); ``auto``: forex when margin and
        profit currency differ, else a CFD with leverage
    tick_size : smallest step of a price; 0: one point
    tick_value : what such a step is worth per lot, profit currency (futures, options); 0: by the contract size
    face_value : of a bond, whose price is a percentage of it
    """

    digits: Annotated[int, Meta(ge=0, le=8)] = 5
    contract_size: Annotated[float, Meta(gt=0)] = 100_000.0
    profit_currency: str = "USD"
    margin_currency: str = "EUR"
    volume_min: Annotated[float, Meta(gt=0)] = 0.01
    volume_max: Annotated[float, Meta(gt=0)] = 100.0
    volume_step: Annotated[float, Meta(gt=0)] = 0.01
    stops_level_points: Annotated[int, Meta(ge=0)] = 0
    swap_long_points: float = 0.0
    swap_short_points: float = 0.0
    commission_per_lot_ccy: Annotated[float, Meta(ge=0)] = 3.5
    session: Literal["fx", "always"] = "fx"
    calc_mode: CalcMode = "auto"
    tick_size: Annotated[float, Meta(ge=0)] = 0.0
    tick_value: Annotated[float, Meta(ge=0)] = 0.0
    face_value: Annotated[float, Meta(ge=0)] = 0.0

    def __post_init__(self) -> None:
        if self.volume_min > self.volume_max:
            raise ValueError(f"volume_min {self.volume_min:g} is above volume_max {self.volume_max:g}")

    @property
    def point(self) -> float:
        """Size of one point in price units."""
        return float(10.0**-self.digits)


class Mt5Config(Settings, frozen=True, kw_only=True):
    """Which MetaTrader 5 terminal ingest and executor ask, each through a worker of its own (section ``mt5``).

    Parameters
    ----------
    backend : ``real``: the MetaTrader5 package; ``sim``: the simulated terminal at ``connect``
    connect : host:port of the simulated terminal
    token : proves to the simulated terminal that we may speak to it, normally ``secret://TICKWIRE_TERMINAL_TOKEN``
    python : what starts the worker's Python; empty: this one. On Linux with a real terminal
        ``[wine, C:/python/python.exe]``
    path : of terminal64.exe; empty: the terminal last used
    login, server : of the account; 0 and empty: the one the terminal is logged in to
    password : of the account, normally ``secret://TICKWIRE_MT5_PASSWORD``; empty: the one the terminal keeps
    portable : start the terminal with ``/portable``
    server_zone : the broker's clock where it was not measured: ``NY+7`` (most brokers), ``EET`` (European dates),
        ``UTC``, ``+03:00``
    symbols : canonical symbol -> the broker's name, where it is not found by itself (``US30: US30.cash``)
    """

    backend: Literal["real", "sim"] = "real"
    connect: str = ""
    token: str = ""
    python: tuple[str, ...] = ()
    path: str = ""
    login: Annotated[int, Meta(ge=0)] = 0
    password: str = ""
    server: str = ""
    portable: bool = False
    server_zone: str = "NY+7"
    symbols: dict[str, str] = {}

    def __post_init__(self) -> None:
        if self.backend == "sim" and not self.connect:
            raise ValueError("backend 'sim' needs connect: host:port of the simulated terminal")
        if self.backend == "sim":
            host_and_port(self.connect)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # A setting that is logged must not show what it keeps secret.
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown.update({name: "***" for name in ("password", "token") if shown[name]})
        return list(shown.items())

    def __repr__(self) -> str:
        return f"Mt5Config({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


class SweepConfig(Settings, frozen=True, kw_only=True):
    """Where the trials of ``tickwire sweep`` and ``tickwire walk-forward`` run (section ``sweep``).

    Parameters
    ----------
    executor : ``processes`` of this machine, or ``ray``: tasks of a Ray cluster (``pip install ray``)
    workers : trials at once; 0: one per core, or as many as the cluster takes
    ray_address : of a running cluster, ``auto`` or ``ray://host:10001``; empty: one is started on this machine
    """

    executor: Literal["processes", "ray"] = "processes"
    workers: Annotated[int, Meta(ge=0, le=4_096)] = 0
    ray_address: str = ""


COMMON_SECTIONS: dict[str, Any] = {
    "system": SystemConfig,
    "bus": BusConfig,
    "instruments": dict[str, InstrumentConfig],
}
"""Sections every service may read; each service adds its own under its own name."""
SHARED_SECTIONS: dict[str, tuple[Any, frozenset[str]]] = {
    "mt5": (Mt5Config, frozenset({"ingest", "executor"})),
    "sweep": (SweepConfig, frozenset()),
}
"""Sections some services share, and which: nobody else needs the secrets in them. None reads those of commands."""


def read_config(
    path: str | Path | None, sections: Mapping[str, Any], environ: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """Read and check a config file.

    Parameters
    ----------
    path : the YAML file; ``None`` for defaults only
    sections : section name -> its type; sections of other services are left unread
    environ : environment variables that override the file

    Returns
    -------
    Section name -> its checked value; sections the file lacks have their defaults.

    Raises
    ------
    ConfigError : naming file, key, problem and remedy
    """
    raw = _read_yaml(path)
    known = set(COMMON_SECTIONS) | set(SHARED_SECTIONS) | set(sections) | KNOWN_SERVICES
    for name, section in raw.items():
        if name not in known:
            raise ConfigError(f"{path}: unknown section '{name}'{_nearest(str(name), known)}")
        if section is not None and not isinstance(section, dict):
            raise ConfigError(f"{path}: section '{name}' must hold keys (key: value), not {section!r}")
    _apply_environment(raw, environ, known)
    result = {}
    shared = {name: kind for name, (kind, users) in SHARED_SECTIONS.items() if users & set(sections)}
    for name, kind in {**COMMON_SECTIONS, **shared, **sections}.items():
        place = f"{path or 'config'}: {name}"
        result[name] = _convert(_resolved(raw.get(name) or {}, environ, place), kind, place)
    return result


KNOWN_SERVICES = {"ingest", "features", "inference", "risk", "executor", "trainer", "api"}
"""Every section a service may own; the file may hold them all although one service reads its own only."""


def _read_yaml(path: str | Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Name a file with --config.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file in UTF-8 ({error.reason} at byte {error.start})") from error
    try:
        raw = _load_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}{_yaml_problem(error)}") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected sections (system:, bus:, risk: ...) at the top level")
    return raw


class _Loader(yaml.SafeLoader):
    """Reads YAML; of a key that is there twice nobody could tell which one is meant."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.composer.ComposerError(None, None, f"key '{key.value}' is there twice", key.start_mark)
            seen.add(str(key.value))
        return node


def _load_yaml(text: str) -> Any:
    """Return what a YAML text says.

    Raises
    ------
    yaml.YAMLError : also for one that is nested too deeply, or holds a date or number that does not exist
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise yaml.YAMLError("nested too deeply") from None
    except ValueError as error:
        # A day that does not exist, or !!int on a word.
        raise yaml.YAMLError(str(error)) from error


def _yaml_problem(error: yaml.YAMLError) -> str:
    """Return an error with its line, as the end of a message that begins with the file."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f", line {error.problem_mark.line + 1}: not valid YAML: {error.problem}"
    return f": not valid YAML: {' '.join(str(error).split())}"


def _apply_environment(raw: dict[str, Any], environ: Mapping[str, str], known: set[str]) -> None:
    for variable, text in sorted(environ.items()):
        name, separator, key = variable.removeprefix(ENV_PREFIX).partition("__")
        if not variable.startswith(ENV_PREFIX) or not separator:
            continue
        section = name.lower()
        if section not in known:
            raise ConfigError(f"environment variable {variable}: unknown section '{section}'{_nearest(section, known)}")
        target = raw[section] = raw.get(section) or {}
        *parents, last = key.split("__")
        for parent in parents:
            spelled = _spelled(parent, target)
            if not isinstance(target.get(spelled, {}), dict | None):
                raise ConfigError(f"environment variable {variable}: '{spelled}' holds no keys")
            target[spelled] = target.get(spelled) or {}
            target = target[spelled]
        try:
            target[_spelled(last, target)] = _load_yaml(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"environment variable {variable}{_yaml_problem(error)}") from error


def _spelled(name: str, target: dict[str, Any]) -> str:
    """Return a key as the file spells it: keys are lower case, but symbols keep their own spelling."""
    return next((key for key in target if str(key).lower() == name.lower()), name.lower())


def _resolved(value: Any, environ: Mapping[str, str], place: str, depth: int = 0) -> Any:
    """Return plain values with every secret in its place; what no setting can be is refused."""
    if depth > _DEEPEST:
        raise ConfigError(f"{place[:80]}...: nested more than {_DEEPEST} deep. Does an anchor hold itself?")
    if isinstance(value, dict):
        return {key: _resolved(inner, environ, f"{place}.{key}", depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, environ, place, depth + 1) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        # No limit is meant to be unlimited, and what is compared with NaN always passes or always fails.
        raise ConfigError(f"{place}: {value} is not a number one can reckon with. Write a finite one")
    if isinstance(value, str) and value.startswith(SECRET_PREFIX):
        return _secret(value.removeprefix(SECRET_PREFIX), environ, place)
    return value


_SECRET_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
"""Also the name of a file in one folder: it must not lead out of it."""


def _secret(name: str, environ: Mapping[str, str], place: str) -> str:
    if not _SECRET_NAME.fullmatch(name):
        raise ConfigError(f"{place}: '{SECRET_PREFIX}{name}' names no secret. Write {SECRET_PREFIX}NAME, without a path.")
    folder = environ.get("TICKWIRE_SECRETS_DIR", "/run/secrets")
    file = Path(folder) / name
    try:
        secret = (environ[name] if name in environ else file.read_text(encoding="utf-8")).strip()
    except OSError:
        raise ConfigError(
            f"{place}: secret '{name}' not found. Set the environment variable {name} or create the file {file}."
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{place}: secret '{name}': {file} is not a text file in UTF-8") from None
    if not secret:
        raise ConfigError(f"{place}: secret '{name}' is empty. Set it, or write \"\" here where none is needed.")
    return secret


_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<field>[^`]+)`(?: - at `\$?\.?(?P<path>[^`]*)`)?")


_DEEPEST = 50


def _convert(value: Any, kind: Any, place: str) -> Any:
    if typing.get_origin(kind) is dict and isinstance(value, dict):
        # One by one, so that an error names the entry.
        _, inner = typing.get_args(kind)
        return {_convert(key, str, place): _convert(held, inner, f"{place}.{key}") for key, held in value.items()}
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        text = str(error)
        unknown = _UNKNOWN_FIELD.search(text)
        if unknown:
            raise ConfigError(f"{place}: {_unknown_key(unknown['field'], unknown['path'] or '', kind)}") from None
        raise ConfigError(f"{place}: {text.replace('`$.', '`')}{_yaml_trap(text)}") from None


def _yaml_trap(text: str) -> str:
    """Return a hint where YAML reads something else than a person would."""
    if re.search(r"Expected `(int|float)`, got `str`", text):
        return ". Write a number without quotes, and 1e6 as 1000000"
    if "got `datetime`" in text or "got `date`" in text:
        return ". Put a date into quotes"
    if "Expected `str`, got `bool`" in text:
        return ". Put it into quotes: bare yes, no, on and off mean true and false"
    return ""


def _field_names(kind: Any, prefix: str = "") -> dict[str, str]:
    """Return every field of a section, its nested sections' included: dotted path -> last name."""
    names: dict[str, str] = {}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            names[f"{prefix}{field.encode_name}"] = field.encode_name
            names |= _field_names(field.type, f"{prefix}{field.encode_name}.")
    for inner in getattr(kind, "__args__", ()):
        names |= _field_names(inner, prefix)
    return names


def _unknown_key(field: str, path: str, kind: Any) -> str:
    known = _field_names(kind)
    given = ".".join(part for part in (path.replace("[...]", "").strip("."), field) if part)
    exact = [dotted for dotted, last in known.items() if last == field]
    close = exact or difflib.get_close_matches(given, known, n=1) or [
        dotted for name in difflib.get_close_matches(field, known.values(), n=1) for dotted in known if known[dotted] == name
    ]
    if close:
        return f"unknown key '{given}'; did you mean '{close[0]}'?"
    return f"unknown key '{given}'; known: {', '.join(sorted(known))}"


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(known))}"
