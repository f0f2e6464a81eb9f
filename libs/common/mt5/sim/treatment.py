"""How one request is treated against the rules: the place where a fault that happens inside the server is ordered."""

from typing import Literal

import msgspec

from libs.common.mt5 import constants as mt5


class Treatment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the server does otherwise with one request; every default is "nothing".

    Passed to ``SimulatedTerminal.submit`` or ``SimulatedTerminal.execute``; it travels with the request, also through
    a snapshot, and is forgotten once the request has been handled (a pending order keeps its comment and magic).

    Parameters
    ----------
    latency_ns : on its way to the server, instead of the settings' latency; the order of requests is kept
    overtakes : it may arrive before requests that were sent earlier
    refuse_with : TRADE_RETCODE_* with which it is refused before anything is looked at; a requote (10004) and a
        changed price (10020) offer the current quote; 0 for no refusal
    answer_with : TRADE_RETCODE_* the answer carries although the request was handled as usual; order and deal
        are told only with 10008, 10009 and 10010; 0 for the true answer
    fill_lots : a market order finds no more than this volume
    rest : what becomes of what ``fill_lots`` left over: ``filling`` as its filling mode says, ``cancel`` (answer
        10010), or ``reject`` (the deals stand, the order ends as REJECTED and the answer is 10006)
    slippage_points : how much worse than the quote it is filled, instead of the settings' slippage
    comment, magic : what the server writes on order, deal and position instead of the request's
    skip_tickets : so many order and deal tickets are left out before this request
    reason : ORDER_REASON_* of order, deal and position (CLIENT for a person's own trade)
    notices : how often each of its deals is told
    """

    latency_ns: int | None = None
    overtakes: bool = False
    refuse_with: int = 0
    answer_with: int = 0
    fill_lots: float | None = None
    rest: Literal["filling", "cancel", "reject"] = "filling"
    slippage_points: int | None = None
    comment: str | None = None
    magic: int | None = None
    skip_tickets: int = 0
    reason: int = mt5.ORDER_REASON_EXPERT
    notices: int = 1


PLAIN = Treatment()
"""As the rules say."""
