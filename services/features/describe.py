"""The tables of the README, made from the registry so that they cannot rot."""

from services.features.feature_set import Feature, FeatureSet
from services.features.registry import FAMILIES, Clock, Parameter, WarmUp

_SEEN = {Clock.TICKS: "every tick", Clock.BARS: "closed bars", Clock.ROWS: "the row's tick"}


def feature_table(feature_set: FeatureSet) -> str:
    """Return the features of a row, in order, as a Markdown table."""
    lines = ["| feature | from | formula | inputs | warm after |", "|---|---|---|---|---|"]
    lines += [_feature_line(feature) for feature in feature_set.features]
    return "\n".join(lines)


def family_table() -> str:
    """Return every family that can be asked for as a Markdown table."""
    lines = ["| family | sees | outputs | parameters (default) | inputs |", "|---|---|---|---|---|"]
    for family in FAMILIES.values():
        parameters = ", ".join(_parameter(name, parameter) for name, parameter in family.parameters.items())
        outputs = ", ".join(f"`{output}`" for output in family.outputs)
        lines.append(
            f"| `{family.name}` v{family.version} | {_SEEN[family.clock]} | {outputs} | {parameters or 'none'} "
            f"| {', '.join(sorted(family.inputs))} |"
        )
    return "\n".join(lines)


def _feature_line(feature: Feature) -> str:
    params = ", ".join(f"{name} {value:g}" for name, value in feature.params.items())
    source = _SEEN[feature.family.clock]
    if feature.family.clock is Clock.BARS:
        source = f"bars of {feature.timeframe_s} s"
    family = f"`{feature.family.name}`" + (f" ({params})" if params else "")
    return (
        f"| `{feature.name}` | {family}, {source} | {feature.family.outputs[feature.output]} "
        f"| {', '.join(sorted(feature.family.inputs))} | {_warm(feature.warm_up)} |"
    )


def _warm(warm_up: WarmUp) -> str:
    parts = [
        f"{count} {unit}"
        for count, unit in ((warm_up.ticks, "ticks"), (warm_up.seconds, "s"), (warm_up.bars, "bars")) if count
    ]
    return ", ".join(parts) or "at once"


def _parameter(name: str, parameter: Parameter) -> str:
    return f"`{name}` ({parameter.default:g}; {parameter.meaning})"
