"""Whatever the rules, a stop only ever moves to protect."""

from hypothesis import given
from hypothesis import strategies as st

from libs.common.config import InstrumentConfig
from libs.common.messages.market import Side
from libs.common.trading.instrument import Instrument
from services.executor.stops import BreakEven, Protected, Trailing, better_stop

points = st.integers(-3_000, 3_000)
break_evens = st.none() | st.builds(
    BreakEven, after=st.floats(0.1, 5.0), offset_points=st.integers(0, 50)
)
trailings = st.none() | st.builds(
    Trailing, distance=st.floats(0.1, 500.0), after=st.floats(0.0, 100.0),
    unit=st.sampled_from(["stop_distances", "points"]), step_points=st.integers(1, 50),
)


@given(
    side=st.sampled_from(list(Side)), open_points=points, sl_points=st.none() | points, close_points=points,
    spread_points=st.integers(0, 100), distance_points=st.integers(0, 500), level=st.integers(0, 80),
    break_even=break_evens, trailing=trailings,
)
def test_a_stop_only_moves_to_protect_on_the_grid_and_as_near_as_allowed(
    side: Side,
    open_points: int,
    sl_points: int | None,
    close_points: int,
    spread_points: int,
    distance_points: int,
    level: int,
    break_even: BreakEven | None,
    trailing: Trailing | None,
) -> None:
    instrument = Instrument("EURUSD", InstrumentConfig(stops_level_points=level))
    base = 110_000
    sl = 0.0 if sl_points is None else instrument.price(base + sl_points)
    position = Protected(side, instrument.price(base + open_points), sl, distance_points * instrument.point)
    close = base + close_points
    bid, ask = (close, close + spread_points) if side is Side.BUY else (close - spread_points, close)
    quote = (instrument.price(bid), instrument.price(ask))
    moved = better_stop(position, *quote, instrument, break_even, trailing)
    if moved is None:
        return
    wanted, rule = moved
    assert rule in ("break_even", "trailing")
    assert instrument.is_stop_allowed(side.sign, wanted, 0.0, *quote), "the broker would take it"
    if sl:
        assert side.sign * (instrument.points(wanted) - instrument.points(sl)) >= 1
    assert better_stop(position._replace(sl=wanted), *quote, instrument, break_even, trailing) is None
