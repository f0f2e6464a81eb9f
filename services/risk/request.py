"""What the checks are asked about."""

import msgspec

from libs.common.messages.features import Prediction
from libs.common.messages.market import Side
from libs.common.messages.orders import OrderPurpose
from libs.common.trading.instrument import Instrument
from services.risk.sizing import Size
from services.risk.state import Quote


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order as it would be sent if every check passes.

    Parameters
    ----------
    order_id : derived from the prediction
    side : of the order, ``None`` when the prediction suggests none
    instrument, quote : ``None`` when the symbol is not configured, or no tick of it has come
    size : volume; ``sl``, ``tp`` : prices, 0.0 for none
    closing : ids of positions that the same decision closes
    exposures_x : worst-case notional of every exposed symbol before the order, multiples of equity; ``None`` for one
        that cannot be valued; empty for an order that only reduces
    exposure_x : that of the order's symbol after it
    """

    order_id: str
    prediction: Prediction
    purpose: OrderPurpose
    side: Side | None
    instrument: Instrument | None
    quote: Quote | None
    size: Size
    sl: float
    tp: float
    position_id: int = 0
    closing: frozenset[int] = frozenset()
    exposures_x: dict[str, float | None] = {}
    exposure_x: float | None = None

    @property
    def symbol(self) -> str:
        return self.prediction.symbol
