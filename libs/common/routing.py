"""Which subject a message belongs on."""

from collections.abc import Callable
from typing import Any

from libs.common import subjects
from libs.common.messages import account, control, ea, features, market, models, orders
from libs.common.messages.base import Message

_ROUTES: dict[type[Message], Callable[[Any], str]] = {
    market.TickBlock: lambda m: subjects.ticks(m.symbol),
    market.Bar: lambda m: subjects.bars(m.symbol, m.timeframe_s),
    market.FeedStatus: lambda m: subjects.feed(m.symbol),
    features.FeatureBlock: lambda m: subjects.features(m.symbol),
    features.Prediction: lambda m: (
        subjects.shadow_predictions(m.symbol) if m.shadow else subjects.predictions(m.symbol)
    ),
    features.DriftDetected: lambda m: subjects.drift(m.symbol),
    orders.OrderApproved: lambda m: subjects.orders_approved(m.account, m.symbol),
    orders.OrderRefused: lambda m: subjects.orders_refused(m.account, m.symbol),
    account.AccountSnapshot: lambda m: subjects.account(m.account),
    models.ModelPublished: lambda m: subjects.models(m.name, "published"),
    models.ModelShadowed: lambda m: subjects.models(m.name, "shadowed"),
    models.ModelPromoted: lambda m: subjects.models(m.name, "promoted"),
    models.ModelRefused: lambda m: subjects.models(m.name, "refused"),
    models.ModelRetired: lambda m: subjects.models(m.name, "retired"),
    models.ModelLoaded: lambda m: subjects.models(m.name, "loaded"),
    models.ModelRejected: lambda m: subjects.models(m.name, "rejected"),
    control.Halt: lambda m: subjects.control("halt"),
    control.Resume: lambda m: subjects.control("resume"),
    control.Flatten: lambda m: subjects.control("flatten"),
    control.RetrainModel: lambda m: subjects.control("retrain"),
    control.PromoteModel: lambda m: subjects.control("promote"),
    control.AdoptModel: lambda m: subjects.control("adopt"),
    control.TradingHalted: lambda m: subjects.risk_state(m.account),
    control.TradingResumed: lambda m: subjects.risk_state(m.account),
    control.Alert: lambda m: subjects.alerts(m.severity),
    control.Heartbeat: lambda m: subjects.health(m.service),
    control.Watermark: lambda m: subjects.watermark(m.service),
    control.DeadLetter: lambda m: subjects.deadletter(m.service),
}
for _kind in (
    orders.OrderSent, orders.OrderFilled, orders.OrderPartiallyFilled, orders.OrderRejected, orders.OrderUnknown,
    orders.OrderResolved, orders.PositionClosed, orders.StopsMoved,
):
    _ROUTES[_kind] = lambda m: subjects.executions(m.account, m.symbol)


def _of_terminal(what: str) -> Callable[[Any], str]:
    return lambda m: subjects.ea(m.account, what)


def _of_symbol(what: str) -> Callable[[Any], str]:
    return lambda m: subjects.ea(m.account, what, m.symbol)


_ROUTES |= {
    ea.EaHello: _of_terminal("hello"),
    ea.EaHeartbeat: _of_terminal("heartbeat"),
    ea.EaCalendar: _of_terminal("calendar"),
    ea.EaAccount: _of_terminal("account"),
    ea.EaTransaction: _of_terminal("transactions"),
    ea.EaOrder: _of_terminal("orders"),
    ea.EaHistoryRequest: _of_terminal("history"),
    ea.EaBooksRequest: lambda m: subjects.ea(m.account, "books", m.asker),
    ea.EaTicks: _of_symbol("ticks"),
    ea.EaBars: _of_symbol("bars"),
    ea.EaSpecification: _of_symbol("specification"),
    ea.EaBarRequest: _of_symbol("decide"),
    ea.EaPrediction: _of_symbol("predictions"),
    ea.EaModel: _of_symbol("models"),
}


def subject_of(message: Message) -> str:
    """Return the subject a message is published on.

    Raises
    ------
    KeyError : for effects and other messages that never go on the bus
    """
    return _ROUTES[type(message)](message)
