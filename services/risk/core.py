"""Turns predictions into signed approvals or refusals, counts what is on its way, and halts."""

import math
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from libs.common.config import InstrumentConfig
from libs.common.core import EffectResult, Route, Stage
from libs.common.ids import derived_id
from libs.common.messages.account import AccountSnapshot, Position
from libs.common.messages.base import Message
from libs.common.messages.control import Alert, Flatten, Halt, Resume, Severity, TradingHalted, TradingResumed
from libs.common.messages.features import Prediction
from libs.common.messages.market import Side, TickBlock
from libs.common.messages.orders import (
    OrderApproved,
    OrderFilled,
    OrderPartiallyFilled,
    OrderPurpose,
    OrderRefused,
    OrderRejected,
    OrderResolved,
    OrderSent,
    OrderUnknown,
    PositionClosed,
    RefusalReason,
    StopsMoved,
)
from libs.common.signing import Signer, sign_approval
from libs.common.trading.instrument import Instrument
from libs.common.trading.sessions import fx_market_open
from services.risk.book import Book, order_key
from services.risk.checks import CHECKS, Check
from services.risk.config import RiskConfig
from services.risk.request import OrderRequest
from services.risk.sizing import NO_SIZE, Size, Stops, order_size, place_stops
from services.risk.state import BookState, HaltState, OpenOrder, Quote

_NS_PER_MS = 1_000_000
_MINUTE_NS = 60_000_000_000
_MAX_COMMANDS = 1_000
"""So many command ids are remembered; commands come from people."""
_LOSS_REASONS = (RefusalReason.DAILY_LOSS, RefusalReason.MAX_DRAWDOWN)

_state_decoder = msgspec.msgpack.Decoder(BookState)


class RiskCore:
    """The only door between a prediction and an order.

    Parameters
    ----------
    config : limits; an empty ``allowed_symbols`` allows ``symbols``
    account : account key; messages about other accounts are not ours
    symbols : symbols traded
    instruments : the broker's specification, by symbol
    signer : signs approvals
    checks : what must hold; only tests pass another list
    """

    HEARS: ClassVar[tuple[Route, ...]] = (
        Route(pattern="ticks.*", kinds=(TickBlock,)),
        Route(pattern="account.*", kinds=(AccountSnapshot,), after=("ticks",)),
        Route(
            pattern="executions.*.*",
            kinds=(
                OrderSent, OrderFilled, OrderPartiallyFilled, OrderRejected, OrderUnknown, OrderResolved,
                PositionClosed, StopsMoved,
            ),
            after=("ticks",),
        ),
        Route(pattern="predictions.*", kinds=(Prediction,), after=("ticks", "executor.market")),
        Route(pattern="control.halt", kinds=(Halt,)),
        Route(pattern="control.resume", kinds=(Resume,)),
        Route(pattern="control.flatten", kinds=(Flatten,)),
    )  # fmt: skip
    RESULTS: ClassVar[tuple[type[EffectResult], ...]] = ()
    STAGES: ClassVar[tuple[Stage, ...]] = (
        Stage(name="settled", after=("inference.predicted", "executor.market")),
        # The next step's ticks must not overtake what became of this step's orders.
        Stage(name="rested", after=("ticks", "executor.settled")),
    )

    def __init__(
        self,
        config: RiskConfig,
        account: str,
        symbols: tuple[str, ...],
        instruments: Mapping[str, InstrumentConfig],
        signer: Signer,
        checks: tuple[Check, ...] = CHECKS,
    ) -> None:
        self._config = msgspec.structs.replace(config, allowed_symbols=config.allowed_symbols or symbols)
        self._account = account
        self._signer = signer
        self._checks = checks
        self._reduce_checks = tuple(check for check in checks if check.for_reduce)
        self._standing = tuple((check, check.standing) for check in checks if check.standing is not None)
        self._book = Book({symbol: Instrument(symbol, spec) for symbol, spec in instruments.items()})
        self._grace_ns = config.approval_grace_ms * _NS_PER_MS
        # An order id must be remembered for as long as its prediction is not refused for being stale.
        self._keep_recent_ns = max(
            _MINUTE_NS, config.repeat_window_ms * _NS_PER_MS, 2 * config.prediction_max_age_ms * _NS_PER_MS
        )

    # ---- what the market and the account say

    def on_tick_block(self, msg: TickBlock, now_ns: int) -> tuple[Message, ...]:
        """Remember the last quote."""
        quotes, time_ns = self._book.state.quotes, int(msg.time_ns[-1])
        known = quotes.get(msg.symbol)
        if known is None or time_ns >= known.time_ns:
            quotes[msg.symbol] = Quote(float(msg.bid[-1]), float(msg.ask[-1]), time_ns)
        return ()

    def on_account_snapshot(self, msg: AccountSnapshot, now_ns: int) -> tuple[Message, ...]:
        """Take the account's state over, and halt when a limit on it has tripped."""
        if msg.account != self._account:
            return ()
        self._book.take_account(msg, self._grace_ns)
        halted = self._test_standing_limits(msg.ts_event_ns, now_ns)
        return halted + self._flatten_step(msg.ts_event_ns, now_ns)

    def _test_standing_limits(self, ts_event_ns: int, now_ns: int) -> tuple[Message, ...]:
        for check, standing in self._standing:
            evidence = standing(self._book, self._config)
            if evidence is not None:
                detail = f"{evidence.detail}: {evidence.observed:.4g} {check.unit}, limit {evidence.limit:.4g}"
                flatten = self._config.flatten_on_halt and check.reason in _LOSS_REASONS
                return self._halt(check.reason.value, detail, Severity.CRITICAL, ts_event_ns, now_ns, flatten)
        return ()

    # ---- what became of orders

    def on_order_sent(self, msg: OrderSent, now_ns: int) -> tuple[Message, ...]:
        """Keep counting: the broker has it, so it no longer expires."""
        order = self._order_of(msg)
        if order is not None and order.stage == "approved":
            order.stage = "sent"
        return ()

    def on_order_filled(self, msg: OrderFilled, now_ns: int) -> tuple[Message, ...]:
        """Keep counting what was executed until the account shows it."""
        return self._settle(msg)

    def on_order_partially_filled(self, msg: OrderPartiallyFilled, now_ns: int) -> tuple[Message, ...]:
        """Count the executed part; the rest will not come."""
        return self._settle(msg)

    def _settle(self, msg: OrderFilled | OrderPartiallyFilled) -> tuple[Message, ...]:
        order = self._order_of(msg)
        if order is not None:
            order.stage, order.settled_ns = "settled", msg.ts_event_ns
            order.volume_lots = msg.volume_lots
            if order.purpose is OrderPurpose.OPEN:
                order.position_id = msg.position_id
        return ()

    def on_order_rejected(self, msg: OrderRejected, now_ns: int) -> tuple[Message, ...]:
        """Stop counting: it was definitely not executed."""
        if msg.account == self._account:
            self._book.state.orders.pop(msg.order_id, None)
        return ()

    def on_order_unknown(self, msg: OrderUnknown, now_ns: int) -> tuple[Message, ...]:
        """Count the order at its worst until the broker's records decide."""
        if msg.account != self._account:
            return ()
        orders = self._book.state.orders
        order = orders.get(msg.order_id)
        if order is None:
            order = orders[msg.order_id] = _opening_order(msg.order_id, msg.symbol, msg.side, msg.volume_lots)
        order.stage = "unknown"
        return ()

    def on_order_resolved(self, msg: OrderResolved, now_ns: int) -> tuple[Message, ...]:
        """Settle or forget an order whose outcome was unknown."""
        order = self._book.state.orders.get(msg.order_id)
        if msg.account == self._account and order is not None:
            if msg.executed:
                order.stage, order.settled_ns, order.volume_lots = "settled", msg.ts_event_ns, msg.volume_lots
            else:
                del self._book.state.orders[msg.order_id]
        return ()

    def on_position_closed(self, msg: PositionClosed, now_ns: int) -> tuple[Message, ...]:
        """Forget an executed order whose position is gone before any snapshot showed it."""
        orders = self._book.state.orders
        for order in list(orders.values()):
            # An order that turned a netting position round opened one of the other side under the same id.
            opened_it = order.purpose is OrderPurpose.OPEN and order.stage == "settled" and order.side is msg.side
            if opened_it and msg.account == self._account and order.position_id == msg.position_id:
                order.volume_lots = max(order.volume_lots - msg.volume_lots, 0.0)
                if order.volume_lots < 1e-9:
                    del orders[order.order_id]
        return ()

    def on_stops_moved(self, msg: StopsMoved, now_ns: int) -> tuple[Message, ...]:
        """Do nothing: exposure is counted by volume, wherever the stops are."""
        return ()

    def _order_of(self, msg: OrderSent | OrderFilled | OrderPartiallyFilled) -> OpenOrder | None:
        """Return the open order of our account; one of ours that was given up as expired is counted again."""
        if msg.account != self._account:
            return None
        orders = self._book.state.orders
        if msg.order_id not in orders and order_key(msg.order_id) in self._book.state.own_keys:
            orders[msg.order_id] = _opening_order(msg.order_id, msg.symbol, msg.side, msg.volume_lots)
        return orders.get(msg.order_id)

    # ---- what people command

    def on_halt(self, msg: Halt, now_ns: int) -> tuple[Message, ...]:
        """Stop opening risk until a person resumes."""
        if not self._is_new(msg.command_id):
            return ()
        detail = f"{msg.issued_by}: {msg.reason}"
        return self._halt("command", detail, Severity.WARNING, msg.ts_event_ns, now_ns)

    def on_flatten(self, msg: Flatten, now_ns: int) -> tuple[Message, ...]:
        """Stop opening risk; the executor hears the same command and closes."""
        if not self._is_new(msg.command_id):
            return ()
        detail = f"{msg.issued_by}: {msg.reason}"
        return self._halt("flatten", detail, Severity.WARNING, msg.ts_event_ns, now_ns)

    def on_resume(self, msg: Resume, now_ns: int) -> tuple[Message, ...]:
        """End a halt. After a drawdown halt the drawdown is measured from here on.

        A command that was obeyed before does nothing: a copy the bus delivers late must not end a newer halt.
        """
        state = self._book.state
        if not self._is_new(msg.command_id) or state.halt is None:
            return ()
        if state.halt.reason == RefusalReason.MAX_DRAWDOWN and state.account is not None:
            state.peak_equity_ccy = state.account.equity_ccy
            state.accepted_peak_ccy = state.account.peak_equity_ccy
        state.halt, state.flattening = None, False
        return (
            TradingResumed(
                account=self._account, issued_by=msg.issued_by, ts_event_ns=msg.ts_event_ns, ts_init_ns=now_ns
            ),
        )

    def _is_new(self, command_id: str) -> bool:
        commands = self._book.state.commands
        if command_id in commands:
            return False
        commands[command_id] = True
        if len(commands) > _MAX_COMMANDS:
            del commands[next(iter(commands))]
        return True

    def _halt(
        self, reason: str, detail: str, severity: Severity, ts_event_ns: int, now_ns: int, flatten: bool = False
    ) -> tuple[Message, ...]:
        state = self._book.state
        if state.halt is not None:
            return ()
        state.halt, state.flattening = HaltState(reason, detail, ts_event_ns), flatten
        return (
            TradingHalted(
                account=self._account, reason=reason, detail=detail, ts_event_ns=ts_event_ns, ts_init_ns=now_ns
            ),
            Alert(
                severity=severity, service="risk", name="trading_halted", detail=f"{reason}: {detail}",
                ts_event_ns=ts_event_ns, ts_init_ns=now_ns,
            ),
        )  # fmt: skip

    # ---- decisions

    def on_prediction(self, msg: Prediction, now_ns: int) -> tuple[Message, ...]:
        """Approve or refuse what a prediction asks for."""
        self._book.forget_old(now_ns, self._keep_recent_ns, self._grace_ns)
        if msg.shadow:
            return ()
        closing = self._opposite_positions(msg)
        if not closing:
            return self._decide(self._open_request(msg, ()), now_ns)
        turned = self._turn_round(msg, closing, now_ns)
        if turned is not None:
            return (turned,)
        reductions = tuple(
            [output for position in closing for output in self._decide(self._reduce_request(msg, position), now_ns)]
        )
        all_approved = all([isinstance(output, OrderApproved) for output in reductions])
        if not (self._config.on_opposite == "reverse" and all_approved):
            return reductions
        return reductions + self._decide(self._open_request(msg, closing), now_ns)

    def _opposite_positions(self, msg: Prediction) -> tuple[Position, ...]:
        if msg.side is None or self._config.on_opposite == "hold":
            return ()
        return tuple(p for p in self._book.own_positions(msg.symbol) if p.side is msg.side.opposite)

    def _turn_round(self, msg: Prediction, closing: tuple[Position, ...], now_ns: int) -> OrderApproved | None:
        """Close a netting position and open the other side with one order of both volumes; ``None``: not that way.

        It is counted as if all of it opened: the position may be gone by its own stop when the order arrives.
        """
        account = self._book.state.account
        if self._config.on_opposite != "reverse" or account is None or account.hedging or len(closing) != 1:
            return None
        request = self._open_request(msg, closing, turns=closing[0])
        # Where it is refused as a whole, closing and opening are decided one by one.
        if request.instrument is None or not request.instrument.is_valid_volume(request.size.volume_lots):
            return None
        return None if self._refusal(request, now_ns) is not None else self._approve(request, now_ns)

    def _open_request(
        self, msg: Prediction, closing: tuple[Position, ...], turns: Position | None = None
    ) -> OrderRequest:
        """Return the order a prediction asks for.

        Parameters
        ----------
        closing : positions that the same decision closes
        turns : the one it closes itself, by so much more volume; sized to nothing where there is nothing to open
        """
        instrument = self._book.instruments.get(msg.symbol)
        quote = self._book.state.quotes.get(msg.symbol)
        account = self._book.state.account
        size, stops = NO_SIZE, Stops(0.0, 0.0)
        if msg.side and instrument and account and quote and quote.is_usable:
            stops = place_stops(
                instrument, msg.side, quote.bid, quote.ask, msg.stop_distance, msg.target_distance
            )
            size = order_size(
                instrument, msg, msg.side, quote.entry(msg.side), stops.sl, account.equity_ccy, account.currency,
                self._book.rates_for(instrument), self._config,
            )  # fmt: skip
        if turns is not None and instrument is not None and size.volume_lots > 0.0:
            size = Size(size.wished_lots, instrument.add_volumes(size.volume_lots, turns.volume_lots), size.bound)
        return OrderRequest(
            order_id=self._order_id(msg, "open", 0),
            prediction=msg,
            purpose=OrderPurpose.OPEN,
            side=msg.side,
            instrument=instrument,
            quote=quote,
            size=size,
            sl=stops.sl,
            tp=stops.tp,
            position_id=0 if turns is None else turns.position_id,
            closing=frozenset([position.position_id for position in closing]),
            exposures_x=self._book.exposures_x(),
            exposure_x=self._book.exposure_x(msg.symbol, msg.side, size.volume_lots),
        )

    def _reduce_request(self, msg: Prediction, position: Position) -> OrderRequest:
        return OrderRequest(
            order_id=self._order_id(msg, "reduce", position.position_id),
            prediction=msg,
            purpose=OrderPurpose.REDUCE,
            side=position.side.opposite,
            instrument=self._book.instruments.get(msg.symbol),
            quote=self._book.state.quotes.get(msg.symbol),
            size=Size(position.volume_lots, position.volume_lots, "the position"),
            sl=0.0,
            tp=0.0,
            position_id=position.position_id,
        )

    def _order_id(self, msg: Prediction, purpose: str, position_id: int) -> str:
        return derived_id(
            "order", self._account, msg.symbol, msg.model, msg.version, msg.ts_event_ns, purpose, position_id
        )

    def _decide(self, request: OrderRequest, now_ns: int) -> tuple[Message, ...]:
        """Approve, unless a check refuses."""
        refused = self._refusal(request, now_ns)
        return (self._approve(request, now_ns),) if refused is None else self._count_refusal(refused)

    def _refusal(self, request: OrderRequest, now_ns: int) -> OrderRefused | None:
        """Ask every check that applies; the first that refuses decides."""
        for check in self._reduce_checks if request.purpose is OrderPurpose.REDUCE else self._checks:
            evidence = check.test(request, self._book, self._config, now_ns)
            if evidence is not None:
                return OrderRefused(
                    account=self._account,
                    symbol=request.symbol,
                    reason=check.reason,
                    observed=evidence.observed,
                    limit=evidence.limit,
                    detail=evidence.detail,
                    ts_event_ns=request.prediction.ts_event_ns,
                    ts_init_ns=now_ns,
                )
        return None

    def _count_refusal(self, refused: OrderRefused) -> tuple[Message, ...]:
        state = self._book.state
        if refused.reason is RefusalReason.NO_DIRECTION:
            state.no_direction += 1
            return (refused,) if self._config.report_no_direction else ()
        state.refused[refused.reason.value] = state.refused.get(refused.reason.value, 0) + 1
        return (refused,)

    def _approve(self, request: OrderRequest, now_ns: int) -> OrderApproved:
        msg, reduces = request.prediction, request.purpose is OrderPurpose.REDUCE
        assert request.side is not None, "checked: a request without a side has no volume"
        assert request.quote is not None, "checked: a request without a quote has no volume"
        assert request.instrument is not None, "checked: a request without an instrument has no volume"
        return self._issue(
            OrderApproved(
                order_id=request.order_id,
                account=self._account,
                symbol=request.symbol,
                side=request.side,
                volume_lots=request.size.volume_lots,
                price=request.instrument.round_price(request.quote.entry(request.side)),
                sl=request.sl,
                tp=request.tp,
                purpose=request.purpose,
                position_id=request.position_id,
                max_slippage_points=self._slippage_points(reduces),
                horizon_s=0 if reduces else msg.horizon_s,
                expires_ns=now_ns + self._config.approval_ttl_ms * _NS_PER_MS,
                model=msg.model,
                version=msg.version,
                ts_event_ns=msg.ts_event_ns,
                ts_init_ns=now_ns,
            ),
            now_ns,
        )

    def _slippage_points(self, reduces: bool) -> int:
        return self._config.reduce_max_slippage_points if reduces else self._config.max_slippage_points

    def _issue(self, order: OrderApproved, now_ns: int) -> OrderApproved:
        """Sign an approval and count it from now on."""
        signed = sign_approval(order, self._signer)
        self._book.add(signed, now_ns)
        return signed

    def _flatten_step(self, ts_event_ns: int, now_ns: int) -> tuple[Message, ...]:
        """Close what of ours is open and not yet being closed, while a loss limit's halt asks for it.

        Called with every account snapshot, so a close that was refused or expired is tried again.
        """
        if not self._book.state.flattening:
            return ()
        self._book.forget_old(now_ns, self._keep_recent_ns, self._grace_ns)
        outputs = []
        for position in self._book.own_positions():
            instrument = self._book.instruments.get(position.symbol)
            quote = self._book.state.quotes.get(position.symbol)
            if instrument is None or quote is None or self._book.is_being_closed(position.position_id):
                continue
            if self._is_tradable(instrument, quote, now_ns):
                price = instrument.round_price(quote.entry(position.side.opposite))
                outputs.append(self._issue(self._closing_order(position, price, ts_event_ns, now_ns), now_ns))
        return tuple(outputs)

    def _is_tradable(self, instrument: Instrument, quote: Quote, now_ns: int) -> bool:
        fresh = abs(now_ns - quote.time_ns) <= self._config.quote_max_age_ms * _NS_PER_MS
        open_now = instrument.config.session == "always" or fx_market_open(now_ns)
        return fresh and quote.is_usable and open_now

    def _closing_order(self, position: Position, price: float, ts_event_ns: int, now_ns: int) -> OrderApproved:
        return OrderApproved(
            order_id=derived_id("flatten", self._account, position.symbol, position.position_id, ts_event_ns),
            account=self._account,
            symbol=position.symbol,
            side=position.side.opposite,
            volume_lots=position.volume_lots,
            price=price,
            sl=0.0,
            tp=0.0,
            purpose=OrderPurpose.REDUCE,
            position_id=position.position_id,
            max_slippage_points=self._config.reduce_max_slippage_points,
            horizon_s=0,
            expires_ns=now_ns + self._config.approval_ttl_ms * _NS_PER_MS,
            model="risk",
            version=0,
            ts_event_ns=ts_event_ns,
            ts_init_ns=now_ns,
        )

    # ---- state

    def equity_floor_ccy(self, peak_ccy: float) -> float:
        """Return the equity at which an account snapshot would trip a limit, account currency; infinity when any may.

        Parameters
        ----------
        peak_ccy : highest equity there may have been since the last snapshot
        """
        state, limits = self._book.state, self._config
        if state.account is None or state.flattening:
            return math.inf
        if state.halt is not None:
            # What is halted stays so whatever equity does.
            return -math.inf
        peak = max(state.peak_equity_ccy, peak_ccy)
        floors = (
            state.account.day_start_equity_ccy * (1.0 - limits.max_daily_loss_pct / 100.0),
            peak * (1.0 - limits.max_drawdown_pct / 100.0),
        )
        # A cent above: what rounds to the limit counts as reaching it.
        return max(floors) + 0.01

    @property
    def is_halted(self) -> bool:
        """True from a halt to the next ``Resume``."""
        return self._book.state.halt is not None

    def snapshot(self) -> bytes:
        """Return the whole state."""
        return msgspec.msgpack.encode(self._book.state)

    def restore(self, state: bytes) -> None:
        """Become what ``snapshot`` described."""
        self._book.state = _state_decoder.decode(state)

    def details(self) -> dict[str, float | str]:
        """Return figures for ``tickwire status``."""
        state, account = self._book.state, self._book.state.account
        figures: dict[str, float | str] = {
            "halted": 0.0 if state.halt is None else 1.0,
            "halt_reason": "" if state.halt is None else f"{state.halt.reason}: {state.halt.detail}",
            "approved": float(state.approved),
            "in_flight": float(len(state.orders)),
            "no_direction": float(state.no_direction),
            "daily_loss_pct": self._book.daily_loss_pct(),
            "drawdown_pct": self._book.drawdown_pct(),
            "positions": float(self._book.position_count()),
        }
        if account is not None:
            figures["equity_ccy"] = account.equity_ccy
            exposures = [self._book.exposure_x(symbol) for symbol in self._book.exposed_symbols()]
            figures["exposure_x"] = math.fsum(part for part in exposures if part is not None)
        for reason, count in state.refused.items():
            figures[f"refused_{reason}"] = float(count)
        return {name: value for name, value in figures.items() if isinstance(value, str) or math.isfinite(value)}


def _opening_order(order_id: str, symbol: str, side: Side, lots: float) -> OpenOrder:
    """Return an order that risk counts although it no longer, or never, knew of its approval."""
    return OpenOrder(
        order_id=order_id,
        symbol=symbol,
        side=side,
        purpose=OrderPurpose.OPEN,
        volume_lots=lots,
        position_id=0,
        expires_ns=0,
        stage="sent",
    )
