"""Which parameters a search may change, within what, and what a configuration looks like with some of them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from backtest.wiring import Sections
from libs.common.errors import ConfigError

STRATEGY_PARAMS = "inference.strategy.params"
_SHAPE = "expected name=low:high, name=low:high:step, name=low:high:log, or name=one,another"
Plain = float | int | str | bool


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter and its values.

    Parameters
    ----------
    path : dotted, from a section of the config on
    low, high, step, log : of a range; whole numbers where ``whole``; a step of 0 means none
    values : of a list; empty for a range
    """

    path: str
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    log: bool = False
    whole: bool = False
    values: tuple[Plain, ...] = ()

    @property
    def ends(self) -> tuple[Plain, Plain]:
        """The first and the last value."""
        if self.values:
            return self.values[0], self.values[-1]
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    @property
    def grid(self) -> tuple[Plain, ...]:
        """Every value there is; empty for a range without a step."""
        if self.values:
            return self.values
        step = self.step or (1.0 if self.whole and not self.log else 0.0)
        if not step:
            return ()
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        found = [self.low + k * step for k in range(count)]
        return tuple(int(value) for value in found) if self.whole else tuple(found)


def axis_of(text: str) -> Axis:
    """Return the parameter that an option's text describes.

    A name that begins with no section of the config is a parameter of the strategy.

    Raises
    ------
    ConfigError : naming what is wrong with it

    Examples
    --------
    >>> axis_of("protection.stop=0.001:0.01").path
    'inference.strategy.params.protection.stop'
    >>> axis_of("risk.max_spread_points=10,20").values
    (10, 20)
    >>> axis_of("horizon_s=60:600").whole
    True
    """
    path, equals, wanted = text.partition("=")
    path, wanted = path.strip(), wanted.strip()
    if not equals or not path or not all(path.split(".")) or not wanted:
        raise ConfigError(f"--param {text}: {_SHAPE}")
    if path.split(".")[0] not in Sections.__struct_fields__:
        path = f"{STRATEGY_PARAMS}.{path}"
    if ":" in wanted:
        return _range(text, path, wanted)
    inner = wanted[1:-1] if wanted.startswith("[") and wanted.endswith("]") else wanted
    values = tuple(_plain(part.strip()) for part in inner.split(",") if part.strip())
    if not values:
        raise ConfigError(f"--param {text}: {_SHAPE}")
    return Axis(path=path, values=values)


def axes_of(texts: Sequence[str]) -> tuple[Axis, ...]:
    """Return the parameters of some options.

    Raises
    ------
    ConfigError : for none at all, or one named twice
    """
    axes = tuple(axis_of(text) for text in texts)
    paths = [axis.path for axis in axes]
    if not axes:
        raise ConfigError(f"nothing to search: name a parameter with --param ({_SHAPE})")
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        raise ConfigError(f"--param: {', '.join(twice)} is named twice")
    return axes


def with_changes(sections: Sections, changes: Mapping[str, Any]) -> Sections:
    """Return a configuration with some of its values changed, checked as a file is.

    Parameters
    ----------
    changes : dotted path -> value; an entry of a list is named by its ``name`` or its number from 0

    Raises
    ------
    ConfigError : for a key there is not, or a value that may not be
    """
    plain = msgspec.to_builtins(sections)
    for path, value in changes.items():
        _put(plain, path, value)
    try:
        return msgspec.convert(plain, Sections)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{', '.join(f'{path}={value}' for path, value in changes.items())}: {error}") from None


def _put(plain: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for depth, name in enumerate(parents):
        plain = _inner(plain, name, ".".join(parents[: depth + 1]), create=path.startswith(STRATEGY_PARAMS))
    if isinstance(plain, dict):
        plain[last] = value
    else:
        raise ConfigError(f"{path}: there is no such key")


def _inner(plain: Any, name: str, path: str, *, create: bool) -> Any:
    if isinstance(plain, list | tuple):
        for place, entry in enumerate(plain):
            if str(place) == name or (isinstance(entry, dict) and entry.get("name") == name):
                return entry
        raise ConfigError(f"{path}: the list has no entry '{name}'")
    if isinstance(plain, dict) and (name in plain or create):
        held = plain.setdefault(name, {})
        return held
    raise ConfigError(f"{path}: there is no such key")


def _range(text: str, path: str, wanted: str) -> Axis:
    parts = [part.strip() for part in wanted.split(":")]
    log = len(parts) == 3 and parts[2] == "log"
    try:
        low, high, *rest = [float(part) for part in parts[: 2 if log else 3]]
    except ValueError:
        raise ConfigError(f"--param {text}: {_SHAPE}") from None
    step = rest[0] if rest else 0.0
    whole = all(_is_whole(part) for part in parts[: 2 if log else 3])
    if not (math.isfinite(low) and math.isfinite(high) and low < high) or len(parts) > 3:
        raise ConfigError(f"--param {text}: a range goes from a lower to a higher number")
    if rest and not 0.0 < step <= high - low:
        raise ConfigError(f"--param {text}: a step is above 0 and not longer than the range")
    if log and not low > 0.0:
        raise ConfigError(f"--param {text}: a logarithmic range begins above 0")
    return Axis(path=path, low=low, high=high, step=step, log=log, whole=whole)


def _is_whole(text: str) -> bool:
    return text.lstrip("+-").isdigit()


def _plain(text: str) -> Plain:
    if text in ("true", "false"):
        return text == "true"
    if _is_whole(text):
        return int(text)
    try:
        value = float(text)
    except ValueError:
        return text.strip("'\"")
    return value if math.isfinite(value) else text
