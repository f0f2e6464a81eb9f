"""One search for leaks of the future, as the command runs it."""

from dataclasses import replace

import msgspec
import numpy as np

from backtest.feed import blocks_of
from backtest.leak import Leak, Table, leak_in_features, leak_in_strategy
from backtest.wiring import build_cores
from libs.common.errors import ConfigError, DataError
from libs.common.messages.market import TickBlock
from services.features.adapters.plugin_files import load_file, load_plugins
from services.features.conformance.checks import EVERY_SEVENTH, Candidate, sees_no_future
from services.features.conformance.market import COLUMNS
from services.features.family import Family
from services.features.registry import FAMILIES
from services.inference.rules import RuleDesk
from tickwire.backtest_run import NobodyDecides, Plan, Prepared, prepare_run, sources_of

ALL = "all"
STAY_OUT = "stay_out"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one attack found.

    Parameters
    ----------
    attacked : in words
    values : how many values were compared
    leak : the first value that changed
    problem : a leak the conformance suite tells of in words of its own
    """

    attacked: str
    values: int = 0
    leak: Leak | None = None
    problem: str = ""

    @property
    def sound(self) -> bool:
        """True when nothing changed."""
        return self.leak is None and not self.problem


def families_named(names: list[str]) -> list[Family]:
    """Return the feature families that options name: a plugin file, a family, or ``all``.

    Raises
    ------
    ConfigError : for a file without families, or a family there is not
    """
    found: dict[str, Family] = {}
    load_plugins(())
    for name in names:
        if name == ALL:
            found |= FAMILIES
        elif name.endswith(".py"):
            module = load_file(name)
            own = {key: family for key, family in FAMILIES.items() if family.kernel.__module__ == module}
            if not own:
                raise ConfigError(f"--features {name}: registers no family; decorate a kernel with @feature_family(...)")
            found |= own
        elif name in FAMILIES:
            found[name] = FAMILIES[name]
        else:
            raise ConfigError(
                f"--features {name}: there is no such family; see `tickwire features list`, or name a plugin file or "
                f"'{ALL}'"
            )
    return list(found.values())


def check_family(family: Family, moments: int, seed: int) -> Finding:
    """Attack one feature family on seeded markets with the conformance suite's own candidate."""
    candidate = Candidate(family)
    markets = candidate.markets(seed)
    leak, table = leak_in_features(lambda: candidate.core(EVERY_SEVENTH), markets, moments, seed)
    rng = np.random.default_rng(seed)
    ticks = len(markets[0])
    problem = "" if leak else sees_no_future(candidate, seed, int(rng.integers(ticks // 2, ticks - 1)))
    return Finding(attacked=f"family {family.name}", values=table.values.size, leak=leak, problem=problem)


def check_config(plan: Plan, moments: int, seed: int) -> list[Finding]:
    """Attack the features a config asks for, on its ticks, and the strategy, if there is one.

    Raises
    ------
    ConfigError, DataError : naming what is wrong and the remedy
    """
    prepared = _prepared(plan)
    sections = prepared.sections
    markets = _markets(prepared)
    first, *others = sections.system.symbols
    cores = build_cores(sections, strategies=prepared.strategies, calendar=prepared.calendar)
    findings = []
    for symbol in (first, *others):
        own_first = sorted(markets, key=lambda block: block.symbol != symbol)
        chosen = own_first if cores.features.sees_other_symbols else own_first[:1]
        leak, table = leak_in_features(
            lambda: build_cores(sections, strategies=prepared.strategies, calendar=prepared.calendar).features,
            chosen, moments, seed,
        )  # fmt: skip
        if not len(table.tick):
            raise DataError(
                symbol, f"{len(own_first[0]):,} ticks make no feature row: every feature must be warm first",
                remedy="Give more ticks with --limit",
            )
        findings.append(Finding(attacked=f"{len(table.names)} features of {symbol}", values=table.values.size, leak=leak))
        rules = cores.inference.rules
        if rules is not None and rules.name != STAY_OUT:
            findings.append(_check_strategy(rules, table, symbol, moments, seed))
    return findings


def _check_strategy(rules: RuleDesk, table: Table, symbol: str, moments: int, seed: int) -> Finding:
    try:
        leak = leak_in_strategy(rules.name, rules.strategy, table, symbol, moments, seed)
    except ConfigError:
        raise
    except Exception as error:
        raise DataError(f"strategy {rules.name}", f"failed on the rows of {symbol}: {rules.told(error)}") from error
    return Finding(attacked=f"strategy {rules.name} on {symbol}", values=len(table.tick), leak=leak)


def _prepared(plan: Plan) -> Prepared:
    """Prepare a run; where nobody decides, the features alone are looked at."""
    try:
        return prepare_run(plan)
    except NobodyDecides:
        return prepare_run(replace(plan, strategy=STAY_OUT))


def _markets(prepared: Prepared) -> list[TickBlock]:
    """Return one long block of good ticks per symbol."""
    found = []
    for symbol, source in sources_of(prepared, prepared.plan.bar_path).items():
        blocks = list(blocks_of(prepared.sections, {symbol: source}))
        if not blocks:
            raise DataError(symbol, "no good tick among those asked for", remedy="Look at --from, --to and the file")
        columns = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in COLUMNS}
        found.append(msgspec.structs.replace(blocks[0], ts_event_ns=int(columns["time_ns"][-1]), **columns))
    return found
