"""``tickwire features``: what features there are, and whether a family holds what every family must."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from libs.common.errors import ConfigError
from tickwire.console import err, out, print_error, print_json
from tickwire.sections import read_all

if TYPE_CHECKING:
    from libs.common.messages.base import Floats
    from services.features.config import FeaturesConfig
    from services.features.feature_set import FeatureSet

group = typer.Typer(name="features", help="List features, check a family of your own.", add_completion=False)
group.info.no_args_is_help = True
APPS = {"features": group}

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="Config file whose plugins count too.")]


@group.command(name="list")
def list_features(
    family: Annotated[str, typer.Argument(help="Show this family alone, in full.")] = "",
    chosen: Annotated[bool, typer.Option("--set", help="Show the features of the config's rows instead.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the text of docs/features.md.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """List every feature family with its values, inputs and warm-up."""
    section = _load(config)
    from services.features import describe
    from services.features.feature_set import FeatureSet
    from services.features.registry import FAMILIES, LIBRARY

    if markdown:
        # As it stands in the repository: the library alone, whatever is installed here.
        typer.echo(describe.markdown(LIBRARY if config is None else FAMILIES), nl=False)
        return
    if chosen:
        _print_set(FeatureSet.from_config(section), as_json)
        return
    if family and family not in FAMILIES:
        raise ConfigError(f"there is no family '{family}'; see `tickwire features list`")
    shown = {family: FAMILIES[family]} if family else FAMILIES
    if as_json:
        print_json([
            {
                "name": known.name, "group": known.group, "sees": describe.SEEN[known.clock], "version": known.version,
                "outputs": dict(known.outputs), "inputs": sorted(known.inputs),
                "parameters": {
                    name: {"default": p.default, "least": p.least, "most": p.most, "whole": p.whole, "meaning": p.meaning}
                    for name, p in known.parameters.items()
                },
                "warm_up": describe.warm(known.warm_up(describe.defaults(known))), "about": describe.summary(known),
            }
            for known in shown.values()
        ])
        return
    if family:
        typer.echo(describe.markdown(shown).split("\n## ", 1)[1].split("\n", 2)[2])
        return
    for heading in describe.groups(shown.values()):
        table = Table("family", "values", "parameters", "inputs", "warm after", title=heading, title_justify="left",
                      box=None, pad_edge=False)
        for known in shown.values():
            if known.group == heading:
                params = ", ".join(f"{name} {p.default:g}" for name, p in known.parameters.items())
                warm = describe.warm(known.warm_up(describe.defaults(known)))
                table.add_row(known.name, ", ".join(known.outputs), params, ", ".join(sorted(known.inputs)), warm)
        out.print(table)
        out.print()
    values = sum(len(known.outputs) for known in shown.values())
    out.print(f"{len(shown)} families, {values} values; one in full: tickwire features list FAMILY")


@group.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="Plugin file; without it every family is checked.")] = None,
    seed: Annotated[int, typer.Option(help="Draws markets, cuts and restarts.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """Run the conformance suite; exit code 1 when a family fails it."""
    _load(config)
    from services.features.adapters.plugin_files import load_file
    from services.features.conformance.checks import check_family
    from services.features.registry import FAMILIES

    families = list(FAMILIES.values())
    if file is not None:
        module = load_file(str(file))
        families = [family for family in FAMILIES.values() if family.kernel.__module__ == module]
        if not families:
            raise ConfigError(f"{file}: registers no family; decorate a kernel with @feature_family(...)")
    found: dict[str, dict[str, str]] = {}
    with Progress(console=err, transient=True) as progress:
        for family in progress.track(families, description="checking"):
            found[family.name] = check_family(family, seed)
    failed = {name: {k: v for k, v in checks.items() if v} for name, checks in found.items() if any(checks.values())}
    if as_json:
        print_json(found)
    else:
        for name, checks in failed.items():
            for what, problem in checks.items():
                print_error(f"{name}: {what}: {problem}")
        held, checks_each = len(found) - len(failed), len(next(iter(found.values())))
        out.print(f"{held} of {len(found)} families hold ({checks_each} checks each)")
    if failed:
        raise typer.Exit(1)


@group.command()
def fit(
    family: Annotated[str, typer.Argument(help="garch or hidden_markov.")],
    file: Annotated[Path, typer.Argument(help="Ticks or bars in any form that ingest replays.")],
    symbol: Annotated[str, typer.Option(help="Whose prices they are.")] = "EURUSD",
    timeframe_s: Annotated[int, typer.Option(min=1, help="Length of the bars it shall see, seconds.")] = 60,
    last: Annotated[int, typer.Option(min=500, help="Fit on so many bars at the end of the file.")] = 100_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit the parameters of a filter to recorded prices and print the feature for config.yaml."""
    from libs.common.stats.garch import GarchParameters, fit_garch
    from libs.common.stats.hidden_markov import TwoStates, fit_two_states

    fits: dict[str, Callable[[Floats], GarchParameters | TwoStates]] = {
        "garch": fit_garch, "hidden_markov": fit_two_states,
    }
    if family not in fits:
        raise ConfigError(f"family '{family}' has nothing to fit; known: {', '.join(fits)}")
    returns = _returns(file, symbol, timeframe_s)[-last:]
    params = {name: float(f"{value:.6g}") for name, value in fits[family](returns)._asdict().items()}
    feature = {"name": family, "family": family, "timeframe_s": timeframe_s, "params": params}
    if as_json:
        print_json({"bars": len(returns), "feature": feature})
        return
    written = ", ".join(f"{name}: {value:g}" for name, value in params.items())
    out.print(f"fitted to {len(returns)} bars of {timeframe_s} s; in features.features of config.yaml:", highlight=False)
    typer.echo(f"    - {{name: {family}, family: {family}, timeframe_s: {timeframe_s}, params: {{{written}}}}}")


def _returns(file: Path, symbol: str, timeframe_s: int) -> "Floats":
    """Return the log-returns of the mid's last value in each bar of a file, basis points."""
    import numpy as np

    from services.ingest.adapters.replay import open_replay

    closes: dict[int, float] = {}
    for ticks in open_replay(file, symbol):
        bars = ticks.time_ns // (timeframe_s * 1_000_000_000)
        ends = np.flatnonzero(np.append(bars[1:] != bars[:-1], True))
        closes |= zip(bars[ends].tolist(), (0.5 * (ticks.bid[ends] + ticks.ask[ends])).tolist(), strict=True)
    returns: Floats = 1e4 * np.diff(np.log(np.array(list(closes.values()))))
    return returns


def _load(config: Path | None) -> "FeaturesConfig":
    """Load the plugins of a config file, or only those of installed packages; return its section ``features``."""
    from services.features.adapters.plugin_files import load_plugins
    from services.features.config import FeaturesConfig

    section: FeaturesConfig = read_all(config)["features"] if config is not None else FeaturesConfig()
    load_plugins(section.plugins)
    return section


def _print_set(feature_set: "FeatureSet", as_json: bool) -> None:
    from services.features import describe

    rows = [
        {
            "name": f.name, "family": f.family.name, "output": f.output, "timeframe_s": f.timeframe_s,
            "params": f.params, "of": list(f.of), "inputs": sorted(f.family.inputs), "warm_up": describe.warm(f.warm_up),
        }
        for f in feature_set.features
    ]
    if as_json:
        print_json({"schema_id": feature_set.schema_id, "features": rows})
        return
    table = Table("feature", "family", "value", "timeframe", "inputs", "warm after", box=None, pad_edge=False)
    for row, feature in zip(rows, feature_set.features, strict=True):
        timeframe = f"{feature.timeframe_s} s" if feature.timeframe_s else ""
        inputs = ", ".join((*sorted(feature.family.inputs), *feature.of))
        table.add_row(feature.name, feature.family.name, feature.output, timeframe, inputs, str(row["warm_up"]))
    out.print(table)
    out.print(f"{len(rows)} features, schema {feature_set.schema_id}")
