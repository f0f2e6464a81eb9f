"""Documentation of features and families, made from the registry so that it cannot rot."""

import inspect
from collections.abc import Iterable, Mapping

from services.features.family import MOST, Clock, Family, Parameter, WarmUp
from services.features.feature_set import Feature, FeatureSet
from services.features.registry import FAMILIES

SEEN = {
    Clock.TICKS: "every tick", Clock.BARS: "closed bars", Clock.ROWS: "the row's tick",
    Clock.SERIES: "another feature, row by row", Clock.CROSS: "closed bars of several symbols",
}
_HEAD = """\
# Features

<!-- Written by `tickwire features list --markdown`; edit the families and kernels instead. -->

Every feature family there is: {families} families with {values} values. A feature of a row is one value of a family
under a name of your own (`services/features/README.md` says how to ask for it). Bar families take any timeframe of
`features.timeframes_s`. Every family holds the conformance suite: `tickwire features check`.

Prices of bars are bids; "close" is the bid close where the mid is not named. 10⁴ · … are basis points. Warm-ups are
those of the default parameters.
"""


def feature_table(feature_set: FeatureSet) -> str:
    """Return the features of a row, in order, as a Markdown table."""
    lines = ["| feature | from | formula | inputs | warm after |", "|---|---|---|---|---|"]
    lines += [_feature_line(feature) for feature in feature_set.features]
    return "\n".join(lines)


def markdown(families: Mapping[str, Family] = FAMILIES) -> str:
    """Return ``docs/features.md``."""
    values = sum(len(family.outputs) for family in families.values())
    parts = [_HEAD.format(families=len(families), values=values)]
    for group in groups(families.values()):
        parts.append(f"\n## {group}\n")
        parts += [_section(family) for family in families.values() if family.group == group]
    return "".join(parts)


def groups(families: Iterable[Family]) -> list[str]:
    """Return the headings families are documented under, each once, in order."""
    return list(dict.fromkeys(family.group for family in families))


def summary(family: Family) -> str:
    """Return the kernel's documentation as one line per paragraph."""
    paragraphs = inspect.cleandoc(family.kernel.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).replace("``", "`")


def warm(warm_up: WarmUp) -> str:
    """Return a warm-up in words."""
    parts = [
        f"{count} {unit}" for count, unit in (
            (warm_up.ticks, "ticks"), (warm_up.seconds, "s"), (warm_up.bars, "bars"), (warm_up.rows, "rows"),
        ) if count
    ]
    if warm_up.data:
        parts.append("what it speaks of was seen")
    return ", ".join(parts) or "at once"


def range_of(parameter: Parameter) -> str:
    """Return the range of a parameter in words."""
    kind = "whole, " if parameter.whole else ""
    most = f"to {parameter.most:.7g}" if parameter.most < MOST else "up"
    return f"{kind}from {parameter.least:g} {most}"


def defaults(family: Family) -> dict[str, float]:
    """Return a family's parameters when nothing is said."""
    return {name: parameter.default for name, parameter in family.parameters.items()}


def _section(family: Family) -> str:
    lines = [f"\n### `{family.name}`\n", summary(family), ""]
    lines.append(
        f"Sees {SEEN[family.clock]}. Inputs: {', '.join(sorted(family.inputs))}. "
        f"Warm after: {warm(family.warm_up(defaults(family)))}. Version {family.version}."
    )
    lines += ["", "| value | formula |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(formula)} |" for name, formula in family.outputs.items()]
    if family.parameters:
        lines += ["", "| parameter | default | range | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{name}` | {parameter.default:g} | {range_of(parameter)} | {parameter.meaning} |"
            for name, parameter in family.parameters.items()
        ]
    return "\n".join(lines) + "\n"


def _feature_line(feature: Feature) -> str:
    params = ", ".join(f"{name} {value:g}" for name, value in feature.params.items())
    source = SEEN[feature.family.clock]
    if feature.family.wants_bars:
        source = f"bars of {feature.timeframe_s} s"
    if feature.of:
        source += f" of {', '.join(feature.of)}"
    family = f"`{feature.family.name}`" + (f" ({params})" if params else "")
    return (
        f"| `{feature.name}` | {family}, {source} | {_cell(feature.family.outputs[feature.output])} "
        f"| {', '.join(sorted(feature.family.inputs))} | {warm(feature.warm_up)} |"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
