"""What the simulated terminal tells: answers to requests, and deals."""

import msgspec

from libs.common.mt5.results import OrderSendResult, TradeDeal


class RequestAnswered(msgspec.Struct, frozen=True, tag=True):
    """The server has answered a submitted request.

    Parameters
    ----------
    ts_ns : when it was executed or refused, ns UTC
    request_key : as given to ``submit``
    """

    ts_ns: int
    request_key: str
    result: OrderSendResult


class DealAdded(msgspec.Struct, frozen=True, tag=True):
    """A deal was made: by a request, a pending order, SL, TP or stop-out.

    Parameters
    ----------
    ts_ns : when, ns UTC (the deal's own times are the server's clock)
    """

    ts_ns: int
    deal: TradeDeal


TerminalEvent = RequestAnswered | DealAdded
