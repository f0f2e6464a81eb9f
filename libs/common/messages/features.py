"""What the features service saw at a decision point, and what a model made of it."""

from libs.common.messages.base import Floats, Message
from libs.common.messages.market import Side


class FeatureBlock(Message, frozen=True, kw_only=True, eq=False):
    """The feature row of one decision point of one symbol.

    ``ts_event_ns`` is the time of the tick that made the row visible; nothing later is in it.

    Parameters
    ----------
    schema_id : hash of the ordered feature list with its parameters
    names : (k,) feature names in schema order
    values : (k,) values, finite
    tick : number of the tick (``TickBlock.first_tick`` + offset) at which the row was emitted
    bid, ask : the quote of that tick
    """

    symbol: str
    schema_id: str
    names: tuple[str, ...]
    values: Floats
    tick: int
    bid: float
    ask: float

    def __post_init__(self) -> None:
        if len(self.names) != len(self.values):
            raise ValueError(f"{len(self.names)} names but {len(self.values)} values")


class Prediction(Message, frozen=True, kw_only=True):
    """What a model expects, and what it suggests; only risk knows what we can afford.

    Parameters
    ----------
    p_down, p_flat, p_up : probabilities that the lower barrier, the time limit, the upper barrier comes first
    expected_return_pct : expected return of the suggested side over the horizon, percent of price, before costs
    confidence : probability margin of the suggested side, 0..1
    side : suggested side, ``None`` for stay out
    stop_distance, target_distance : suggested distance of SL and TP from the entry price, price units, >= 0
    volatility : one standard deviation of the price over the horizon, price units
    horizon_s : for how long the prediction speaks, seconds
    model, version : who predicts; ``shadow`` predictions are published for the record and never traded
    reason : why ``side`` is None ("low_confidence", "not_confirmed", ...), else ""
    bid, ask : the quote the prediction was made on
    """

    symbol: str
    p_down: float
    p_flat: float
    p_up: float
    expected_return_pct: float
    confidence: float
    side: Side | None
    stop_distance: float
    target_distance: float
    volatility: float
    horizon_s: int
    model: str
    version: int
    bid: float
    ask: float
    shadow: bool = False
    reason: str = ""


class DriftDetected(Message, frozen=True, kw_only=True):
    """A feature's live distribution has left the training window's (population stability index).

    Parameters
    ----------
    feature : the feature that drifted most
    psi : its population stability index
    limit : the index above which we speak of drift
    drifted : every feature above the limit with its index
    rows : live rows compared
    """

    symbol: str
    model: str
    version: int
    feature: str
    psi: float
    limit: float
    drifted: dict[str, float]
    rows: int
