"""``docs/config.md`` and a fully commented ``config.yaml``, written from the settings themselves."""

import textwrap
from collections.abc import Mapping
from typing import Any

from tickwire.sections import Key, config_keys, inline_yaml

_WIDTH = 110

STARTER: dict[str, Any] = {
    "system.symbols": ["EURUSD", "XAUUSD"],
    "instruments.EURUSD.digits": 5,
    "instruments.XAUUSD.digits": 2,
    "instruments.XAUUSD.contract_size": 100.0,
    "instruments.XAUUSD.margin_currency": "USD",
    "ingest.speed": 60.0,
    "risk.max_spread_points_by_symbol": {"XAUUSD": 80.0},
}
"""What `config.yaml` of the repository sets: a synthetic market of two symbols, a minute a second."""

_MARKDOWN_HEAD = """\
# Configuration

<!-- Written by `tickwire config reference`; edit the docstrings of the settings instead. -->

One `config.yaml`, a section per service. `tickwire config check` checks it and prints what it comes to; a key that
does not exist is refused with the nearest one that does.

- An environment variable `TICKWIRE_<SECTION>__<KEY>` overrides a key, e.g. `TICKWIRE_RISK__MAX_SPREAD_POINTS=30`;
  deeper keys join with `__`. Its value is read as YAML.
- `secret://NAME` as a value is replaced by the environment variable `NAME`, or else by the content of the file
  `$TICKWIRE_SECRETS_DIR/NAME` (default folder `/run/secrets`).
- Units end the names: `_ns _ms _s` time, `_points` price in points of the symbol, `_lots` volume, `_pct` percent,
  `_ccy` account currency, `_x` multiples of equity.
- `*` stands for a name of your choice, mostly a symbol.
"""

_YAML_HEAD = """\
# Tickwire: every key there is, with its default. Leave out what you do not change.
# The same in prose: docs/config.md. Check this file with: tickwire config check
# Units end the names: _ns _ms _s time, _points price points, _lots volume, _pct percent, _ccy account currency,
# _x multiples of equity. TICKWIRE_<SECTION>__<KEY> in the environment overrides a key here.
"""


def markdown() -> str:
    """Return the text of ``docs/config.md``."""
    parts = [_MARKDOWN_HEAD]
    rows: list[str] = []
    for key in config_keys():
        if key.depth == 0:
            parts += rows
            parts.append(f"\n## {key.path}\n\n{_plain(key.text)}\n")
            rows = ["\n| key | type | default | meaning |\n|---|---|---|---|\n"]
        else:
            is_plain = not key.default or key.default.startswith("(") or key.entries
            default = key.default if is_plain else f"`{key.default}`"
            name = key.path.partition(".")[2]
            rows.append(f"| `{name}` | {_cell(key.kind)} | {_cell(default)} | {_cell(_plain(key.text))} |\n")
    return "".join(parts + rows)


def yaml_reference(values: Mapping[str, Any] | None = None) -> str:
    """Return a config file with every key, its meaning as a comment.

    Parameters
    ----------
    values : dotted path -> value written instead of the default; for a ``*`` path the name chosen for it is part
        of the path (``instruments.EURUSD.digits``)
    """
    chosen = dict(values or {})
    named: list[str] = []
    lines = [_YAML_HEAD]
    for key in config_keys():
        if any(key.path.startswith(f"{done}.*") for done in named):
            continue
        if key.kind != "section" and key.path not in chosen and _names_below(key.path, chosen):
            lines += [*_comment(key), f"{_indent(key)}{key.name}:", *_named_blocks(key.path, chosen)]
            named.append(key.path)
        elif key.depth == 0 and _names_below(key.path, chosen) and _is_named_section(key.path):
            lines += ["", *_comment(key), f"{key.path}:", *_named_blocks(key.path, chosen)]
            named.append(key.path)
        else:
            lines += _entry(key, chosen)
    return "\n".join(lines).rstrip() + "\n"


def _is_named_section(section: str) -> bool:
    return any(key.path == f"{section}.*" for key in config_keys())


def _indent(key: Key) -> str:
    return "  " * key.depth


def _entry(key: Key, chosen: Mapping[str, Any]) -> list[str]:
    if key.depth == 0:
        return ["", *_comment(key), f"{key.path}:"]
    if not key.active:
        mark = {"section per name": "<name>:", "section per entry": "- an entry:"}.get(key.kind, f"{key.name}:")
        return _comment(key, f"# {mark} ")
    if key.kind == "section":
        return [*_comment(key), f"{_indent(key)}{key.name}:"]
    if key.entries and key.path not in chosen:
        return [*_comment(key), f"{_indent(key)}{key.name}:", *(f"{_indent(key)}  - {entry}" for entry in key.entries)]
    value = inline_yaml(chosen[key.path]) if key.path in chosen else key.default
    return [*_comment(key), f"{_indent(key)}{key.name}: {value}"]


def _names_below(path: str, chosen: Mapping[str, Any]) -> list[str]:
    below = (name[len(path) + 1 :].split(".")[0] for name in chosen if name.startswith(f"{path}."))
    return list(dict.fromkeys(below))


def _named_blocks(base: str, chosen: Mapping[str, Any]) -> list[str]:
    """Return one block per name the user chose, every key in the first, only the chosen ones in the others."""
    inner = [key for key in config_keys() if key.path.startswith(f"{base}.*.")]
    lines = []
    for position, name in enumerate(_names_below(base, chosen)):
        lines.append(f"{'  ' * (inner[0].depth - 1)}{name}:")
        for key in inner:
            path = f"{base}.{name}.{key.name}"
            if path not in chosen and position > 0:
                continue
            value = inline_yaml(chosen[path]) if path in chosen else key.default
            lines += [*(_comment(key) if position == 0 else []), f"{_indent(key)}{key.name}: {value}"]
    return lines


def _comment(key: Key, mark: str = "# ") -> list[str]:
    text = _plain(key.text)
    if key.depth and not key.kind.startswith("section"):
        default = key.default if key.default == "(required)" else f"default {key.default}"
        text = f"{text} [{key.kind.replace('`', '')}; {default}]".strip()
    return textwrap.wrap(
        text, _WIDTH, initial_indent=f"{_indent(key)}{mark}", subsequent_indent=f"{_indent(key)}#   ",
        break_on_hyphens=False, break_long_words=False,
    )


def _plain(text: str) -> str:
    return text.replace("``", "`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
