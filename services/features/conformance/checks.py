"""The conformance suite: what every feature family must hold, whoever wrote it.

Each check takes a ``Candidate`` and returns what is wrong, or an empty text. Where a check needs numbers (where to
cut, when to restart), the caller gives them: the tests let Hypothesis choose, ``tickwire features check`` draws them
from a seed.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba.core import runtime as numba_runtime

from libs.common.config import DecideOn, InstrumentConfig
from libs.common.errors import ConfigError
from libs.common.messages.base import Floats, Message
from libs.common.messages.control import Alert
from libs.common.messages.features import FeatureBlock
from libs.common.messages.market import Bar, TickBlock
from services.features.calendar import event_table
from services.features.config import CrossAssetConfig, FeaturesConfig
from services.features.conformance import market
from services.features.core import FeaturesCore
from services.features.engine import Engine
from services.features.family import COLUMNS, Clock, Family
from services.features.feature_set import FeatureSet
from services.features.kernels.entry import argument_names, forms_of
from services.features.kernels.layout import CLOSED_FLOATS, MAX_OUTPUTS
from services.features.spec import FeatureSpec

allocations: Any = numba_runtime
"""Numba's own count of the memory machine code takes and gives back."""
TIMEFRAMES_S = (300, 900)
TICKS, MEAN_GAP_S = 2_400, 100.0
"""Two days and eighteen hours: whole sessions and broker's days, and several hundred bars."""
OWN, OTHER = "EURUSD", "GBPUSD"
POINT = 1e-5
INSTRUMENTS = {OWN: InstrumentConfig(digits=5), OTHER: InstrumentConfig(digits=5)}
EVERY_BAR, EVERY_LONG_BAR = DecideOn(every=TIMEFRAMES_S[0]), DecideOn(every=TIMEFRAMES_S[1])
EVERY_SEVENTH = DecideOn(kind="tick", every=7)
SOURCE = FeatureSpec(name="source", family="tick_imbalance", params={"span": 8})
"""What families that follow another feature follow here."""


def specs_of(family: Family, timeframe_s: int) -> list[FeatureSpec]:
    """Return every value of a family with small parameters."""
    of: tuple[str, ...] = {Clock.CROSS: (OTHER,), Clock.SERIES: ("source",)}.get(family.clock, ())
    return [
        FeatureSpec(
            name=f"{family.name}_{output}_{timeframe_s}", family=family.name, output=output,
            timeframe_s=timeframe_s if family.wants_bars else 0, params=family.quick_params, of=of,
        )
        for output in family.outputs
    ]


@dataclass(frozen=True)
class Candidate:
    """A family under test.

    Parameters
    ----------
    family : registered under its name
    """

    family: Family

    @property
    def config(self) -> FeaturesConfig:
        """Every value of the family; bar families on two timeframes."""
        specs = [spec for t in (TIMEFRAMES_S if self.family.wants_bars else TIMEFRAMES_S[:1])
                 for spec in specs_of(self.family, t)]
        if self.family.clock is Clock.SERIES:
            specs.insert(0, SOURCE)
        return FeaturesConfig(
            timeframes_s=TIMEFRAMES_S, features=tuple(specs), cross=CrossAssetConfig(wait_s=86_400, max_age_s=86_400)
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols it needs."""
        return (OWN, OTHER) if self.family.clock is Clock.CROSS else (OWN,)

    def core(self, decide_on: DecideOn = EVERY_BAR) -> FeaturesCore:
        """Return a fresh core that computes the family and nothing else."""
        if self.family.clock is Clock.CROSS and decide_on is EVERY_BAR:
            decide_on = EVERY_LONG_BAR
        return FeaturesCore(self.config, self.symbols, decide_on, INSTRUMENTS, market.events())

    def markets(self, seed: int, still: bool = False) -> list[TickBlock]:
        """Return a market of each symbol."""
        return [
            market.random_market(TICKS, seed + k, symbol, MEAN_GAP_S, still) for k, symbol in enumerate(self.symbols)
        ]


def run(core: FeaturesCore, blocks: Sequence[TickBlock]) -> list[Message]:
    """Return all a core says to some blocks."""
    return [message for block in blocks for message in core.on_tick_block(block, block.ts_event_ns)]


def in_turns(blocks: Sequence[Sequence[TickBlock]]) -> list[TickBlock]:
    """Return the pieces of several symbols by the time of their last tick."""
    return sorted((piece for symbol in blocks for piece in symbol), key=lambda piece: piece.ts_event_ns)


def merged(markets: Sequence[TickBlock]) -> list[TickBlock]:
    """Return the markets in large pieces: whole where there is one symbol, else some hours of each in turn."""
    return list(markets) if len(markets) == 1 else in_turns([
        market.pieces(block, range(200, len(block), 200)) for block in markets
    ])


def is_described(family: Family) -> str:
    """Check the description: names, formulas, parameters, inputs, arguments of the kernel."""
    wrong = [
        (not re.fullmatch("[a-z][a-z0-9_]*", family.name), "its name is not lower case with underscores"),
        (not (family.kernel.__doc__ or "").strip(), "its kernel has no docstring"),
        (family.version < 1, "its version is below 1"),
        (not 1 <= len(family.outputs) <= MAX_OUTPUTS, f"it has {len(family.outputs)} values, 1 to {MAX_OUTPUTS} fit"),
        (not all(family.outputs.values()), "a value has no formula"),
        (not family.inputs <= set(COLUMNS), f"it needs inputs nobody knows: {sorted(family.inputs - set(COLUMNS))}"),
        (
            family.clock in (Clock.TICKS, Clock.BARS, Clock.SERIES) and family.ints < 1,
            "it keeps no count: ints must be at least 1, ints[0] is 0 before anything was seen",
        ),
    ]
    allowed = forms_of(family.clock.name.lower())
    if argument_names(family.kernel) not in allowed:
        forms = " or ".join(f"({', '.join(names)})" for names in allowed)
        wrong.append((True, f"its kernel takes ({', '.join(argument_names(family.kernel))}); allowed is {forms}"))
    for name, parameter in family.parameters.items():
        if not parameter.least <= parameter.default <= parameter.most:
            wrong.append((True, f"the default of '{name}' is outside its range"))
    return next((problem for is_wrong, problem in wrong if is_wrong), "")


def survives_cuts(candidate: Candidate, seed: int, cuts: Sequence[Sequence[int]]) -> str:
    """Check that it makes no difference how the ticks come: ``cuts`` are offsets into each symbol's ticks."""
    markets = candidate.markets(seed)
    whole, parts = candidate.core(), candidate.core()
    expected = run(whole, merged(markets))
    said = run(parts, in_turns([market.pieces(block, at) for block, at in zip(markets, cuts, strict=False)]))
    for symbol, kind in ((symbol, kind) for symbol in candidate.symbols for kind in (FeatureBlock, Bar, Alert)):
        # A row that waits for another symbol comes after bars of its own: their order may differ, each kind's not.
        kept = [
            [m for m in messages if isinstance(m, kind) and getattr(m, "symbol", symbol) == symbol]
            for messages in (expected, said)
        ]
        if market.signature(kept[1]) != market.signature(kept[0]):
            return f"cut at {[list(at) for at in cuts]} it says something else ({_first_difference(*kept)})"
    if parts.snapshot() != whole.snapshot():
        return f"cut at {[list(at) for at in cuts]} it ends in another state"
    return "" if market.rows_of(expected) else "it never comes to a row"


def survives_restart(candidate: Candidate, seed: int, killed_at: int) -> str:
    """Check that a restart from the snapshot after ``killed_at`` ticks is invisible."""
    markets = candidate.markets(seed)
    never, before, after = candidate.core(), candidate.core(), candidate.core()
    blocks = in_turns([market.pieces(block, [killed_at, *range(200, TICKS, 200)]) for block in markets])
    expected = run(never, blocks)
    dead = next(k for k, block in enumerate(blocks) if block.symbol == OWN and block.first_tick == killed_at + 1)
    said = run(before, blocks[:dead])
    after.restore(before.snapshot())
    said += run(after, blocks[dead:])
    for symbol in candidate.symbols:
        kept = [market.rows_of(messages, symbol) for messages in (expected, said)]
        if market.signature(kept[1]) != market.signature(kept[0]):
            return f"after a restart at tick {killed_at} it says something else ({_first_difference(*kept)})"
    return "" if after.snapshot() == never.snapshot() else f"a restart at tick {killed_at} ends in another state"


def sees_no_future(candidate: Candidate, seed: int, known: int) -> str:
    """Check that nothing said up to tick ``known`` changes when everything after it does."""
    markets = candidate.markets(seed)
    # A row at the very last known tick: what a feature borrows from the next bar shows there.
    known, decide_on = known - known % 7, EVERY_SEVENTH
    edge_ns = int(markets[0].time_ns[known - 1])
    said = []
    for factor in (1.0, 1.5, 0.5):
        blocks = markets
        if factor != 1.0:
            until = [int(np.searchsorted(block.time_ns, edge_ns, side="right")) for block in markets]
            until[0] = known
            blocks = [
                market.with_other_future(block, max(1, k), seed + 50, factor, 0 if block is markets[0] else edge_ns)
                for block, k in zip(markets, until, strict=True)
            ]
        rows = market.rows_of(run(candidate.core(decide_on), merged(blocks)), OWN)
        said.append([row for row in rows if row.tick <= known])
    for changed in said[1:]:
        one, other = said[0], changed
        if candidate.family.clock is Clock.CROSS:
            # A row that waits for another symbol may not have been let go by the end of one of the two streams.
            both = {row.tick for row in one} & {row.tick for row in other}
            one, other = ([row for row in rows if row.tick in both] for rows in (one, other))
        if market.signature(other) != market.signature(one):
            return f"what comes after tick {known} changes what it said before ({_first_difference(one, other)})"
    return ""


def warms_up_honestly(candidate: Candidate, seed: int) -> str:
    """Check that no value is missing after the declared warm-up, and that the beginning is forgotten by then."""
    markets = candidate.markets(seed)
    core = candidate.core()
    rows = market.rows_of(run(core, merged(markets)), OWN)
    if core.details()["rows_not_finite"]:
        return "after the declared warm-up there are still values that are not finite: it needs longer"
    if not rows:
        return "it never comes to a row"
    late = TICKS // 3
    pieces = merged([market.cut(block, late, TICKS) for block in markets])
    begun_late = market.rows_of(run(candidate.core(), pieces), OWN)
    early = {row.tick: row.values for row in rows}
    both = [(early[row.tick], row.values) for row in begun_late if row.tick in early]
    if not both:
        return "begun later it never comes to a row"
    one, other = np.array([pair[0] for pair in both]), np.array([pair[1] for pair in both])
    spread = np.ptp(np.concatenate([one, other]), axis=0)
    far = np.abs(one - other) > 0.03 * spread + 1e-9
    for column, share in enumerate(far.mean(axis=0)):
        if share > 0.05:
            name = candidate.config.features[column].output
            return f"'{name}' still knows when the stream began after the declared warm-up ({share:.0%} of the rows)"
    return ""


def rests_finite(candidate: Candidate, seed: int) -> str:
    """Check that constant prices give finite values."""
    core = candidate.core()
    rows = market.rows_of(run(core, merged(candidate.markets(seed, still=True))), OWN)
    if core.details()["rows_not_finite"]:
        return "constant prices give a value that is not finite"
    if not rows and not candidate.family.warm_up(candidate.family.quick_params).data:
        return "constant prices give no row"
    return ""


def refuses_what_it_lacks(candidate: Candidate, seed: int) -> str:
    """Check that a feed without a needed input is refused by name, and gives no row."""
    family, config = candidate.family, candidate.config
    names = {spec.name for spec in config.features if spec.family == family.name}
    if "calendar" in family.inputs:
        return _is_refused(lambda: Engine(FeatureSet.from_config(config), EVERY_BAR), names)
    if family.clock is Clock.CROSS:
        return _is_refused(lambda: FeaturesCore(config, (OWN,), EVERY_BAR, INSTRUMENTS), names)
    if not any(COLUMNS[needed] for needed in family.inputs - {"quotes"}):
        return ""
    said = run(candidate.core(), [market.quotes_only(block) for block in candidate.markets(seed)])
    refused = [m for m in said if isinstance(m, Alert) and m.name == "features_refused"]
    if market.rows_of(said):
        return "without its inputs it still makes rows"
    if len(refused) != 1 or not all(name in refused[0].detail for name in names):
        return "a feed without its inputs is not refused by name"
    return ""


def _is_refused(build: Callable[[], object], names: set[str]) -> str:
    try:
        build()
    except ConfigError as error:
        return "" if any(name in str(error) for name in names) else f"the refusal names no feature: {error}"
    return "without its inputs it is not refused"


def grows_nowhere(candidate: Candidate, seed: int) -> str:
    """Check that its state stays as large as it is, and that its machine code allocates nothing."""
    core = candidate.core()
    blocks = [piece for block in candidate.markets(seed) for piece in market.pieces(block, range(100, TICKS, 100))]
    blocks = in_turns([blocks])
    run(core, blocks[:len(blocks) // 2])
    size = len(core.snapshot())
    allocations._nrt_python.memsys_enable_stats()
    before = allocations.rtsys.get_allocation_stats()
    run(core, blocks[len(blocks) // 2:])
    after = allocations.rtsys.get_allocation_stats()
    allocations._nrt_python.memsys_disable_stats()
    if after.alloc - after.free > before.alloc - before.free:
        return "its machine code keeps memory it took"
    grown = len(core.snapshot()) - size
    return f"its state grew by {grown} bytes" if grown > (8_192 if candidate.family.clock is Clock.CROSS else 0) else ""


def agrees_with_python(candidate: Candidate, seed: int) -> str:
    """Check that the machine code gives what the kernel gives as plain Python, to the rounding of logarithms."""
    family = candidate.family
    if family.clock in (Clock.CROSS, Clock.SERIES):
        return ""
    (block,) = candidate.markets(seed)
    core = candidate.core(DecideOn(kind="tick", every=1))
    rows = market.rows_of(run(core, [block]))
    wanted, column_of = in_python(family, block)
    n = len(family.outputs)
    for row in rows[::7]:
        values = wanted[:n, column_of[row.tick - 1]]
        if not np.allclose(row.values[:n], values, rtol=1e-9, atol=1e-10):
            return f"at tick {row.tick} machine code gives {row.values[:n].tolist()}, Python {values.tolist()}"
    return "" if rows else "it never comes to a row"


def in_python(family: Family, block: TickBlock) -> tuple[Floats, np.ndarray]:
    """Return a family's values as plain Python computes them, and the place of each tick's value among them."""
    params = family.quick_params
    table = event_table(market.events(), params["impact"], ()) if "calendar" in family.inputs else []
    p = np.array([*params.values(), *table])
    n = len(block)
    out = np.full((MAX_OUTPUTS, n), np.nan)
    given: dict[str, object] = {
        "f": np.zeros(family.floats(params)), "i": np.zeros(family.ints, dtype=np.int64), "p": p, "point": POINT,
        "row_at": np.arange(n), "out": out, **{name: getattr(block, name) for name in market.COLUMNS},
    }
    column_of = np.arange(n)
    if family.clock is Clock.BARS:
        visible_at, given["bars"] = closed_bars(block)
        given["n"] = len(visible_at)
        column_of = np.searchsorted(visible_at, column_of, side="right") - 1
    family.kernel(**{name: given[name] for name in argument_names(family.kernel)})
    return out, column_of


def closed_bars(block: TickBlock) -> tuple[list[int], Floats]:
    """Return the bars of the shortest timeframe: the tick that closed each, and their fields."""
    engine = Engine(FeatureSet((SOURCE,), TIMEFRAMES_S), DecideOn())
    state = engine.new_state()
    engine.walk(state, POINT, 1, block.time_ns, block.bid, block.ask)
    bars = [bar for bar in engine.closed_bars() if bar.timeframe_s == TIMEFRAMES_S[0]]
    fields = engine.bar_fields(TIMEFRAMES_S[0])
    assert fields.shape == (CLOSED_FLOATS, len(bars))
    return [bar.at for bar in bars], fields


def _first_difference(expected: Sequence[Message], said: Sequence[Message]) -> str:
    for one, other in zip(market.rows_of(expected), market.rows_of(said), strict=False):
        if market.signature([one]) != market.signature([other]):
            same_length = len(one.values) == len(other.values)
            at = np.flatnonzero(one.values != other.values).tolist() if same_length else []
            where = f"'{one.names[at[0]]}' " if at else ""
            return f"first at tick {one.tick}: {where}{one.values.tolist()} became {other.values.tolist()}"
    return f"{len(market.rows_of(expected))} rows became {len(market.rows_of(said))}"


def check_family(family: Family, seed: int = 1) -> dict[str, str]:
    """Run the whole suite on a family that is registered; numbers are drawn from the seed.

    Returns
    -------
    Name of each check -> what is wrong, empty where nothing is. After a faulty description nothing else is run.
    """
    problem = is_described(family)
    if problem:
        return {"description": problem}
    candidate = Candidate(family)
    rng = np.random.default_rng(seed)
    cuts = [np.unique(rng.integers(1, TICKS, 60)).tolist() for _ in candidate.symbols]
    return {
        "description": "",
        "block cuts": survives_cuts(candidate, seed, cuts),
        "restart": survives_restart(candidate, seed, int(rng.integers(1, TICKS))),
        "no look-ahead": sees_no_future(candidate, seed, int(rng.integers(TICKS // 2, TICKS - 1))),
        "honest warm-up": warms_up_honestly(candidate, seed),
        "constant prices": rests_finite(candidate, seed),
        "missing inputs": refuses_what_it_lacks(candidate, seed),
        "no growth": grows_nowhere(candidate, seed),
        "plain Python": agrees_with_python(candidate, seed),
    }
