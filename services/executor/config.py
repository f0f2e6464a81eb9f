"""Section ``executor`` of the configuration."""

from typing import Annotated, Literal

from msgspec import Meta

from libs.common.config import Settings
from libs.common.mt5.sim.settings import TerminalSettings
from services.executor.stops import BreakEven, Trailing


class Mt5Account(Settings, frozen=True, kw_only=True):
    """Which account may be traded; what is left 0 or empty is pinned when the account is first seen.

    Parameters
    ----------
    login, server : as the terminal shows them
    trade_mode : demo, contest or real money; real needs ``system.mode: live`` as well
    margin_mode : how positions are kept
    currency : of the account
    """

    login: Annotated[int, Meta(ge=0)] = 0
    server: str = ""
    trade_mode: Literal["", "demo", "contest", "real"] = ""
    margin_mode: Literal["", "netting", "exchange", "hedging"] = ""
    currency: str = ""


class Mt5Settings(Settings, frozen=True, kw_only=True):
    """How orders reach the terminal of section ``mt5``.

    Parameters
    ----------
    account : which account may be traded
    send_timeout_s : an order without an answer for longer is in doubt, and the worker is killed
    read_timeout_s, connect_timeout_s : the same for questions, and for starting and logging in
    """

    account: Mt5Account = Mt5Account()
    send_timeout_s: Annotated[float, Meta(gt=0, le=120)] = 15.0
    read_timeout_s: Annotated[float, Meta(gt=0, le=120)] = 10.0
    connect_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 120.0


class ExecutorConfig(Settings, frozen=True, kw_only=True):
    """How orders are executed.

    Parameters
    ----------
    broker : ``sim``: the simulated terminal in this process; ``mt5``: the terminal of section ``mt5``;
        ``ea``: that terminal, by way of its Expert Advisor
    mt5 : how orders reach that terminal
    terminal : settings of the simulated terminal
    namespace : 1..32767, tells this installation's magic numbers apart from others' on the same account
    account_every_s : the account is published at least so often while ticks flow, and at every change
    break_even, trailing : rules for the stop loss of open positions; null: off
    filling : how much of an order must be executed at once
    answer_timeout_s : an order without an answer for longer is in doubt
    quiet_period_s : an order in doubt that is in no book of the broker for so long was not executed
    look_every_s : pause between two looks into the broker's books
    close_retry_s : pause before a position is asked closed again after the broker definitely refused
    close_slippage_points : tolerance of our own closing orders
    """

    broker: Literal["sim", "mt5", "ea"] = "sim"
    mt5: Mt5Settings = Mt5Settings()
    terminal: TerminalSettings = TerminalSettings()
    namespace: Annotated[int, Meta(ge=1, le=32767)] = 1
    account_every_s: Annotated[float, Meta(gt=0)] = 1.0
    break_even: BreakEven | None = None
    trailing: Trailing | None = None
    filling: Literal["fok", "ioc", "return"] = "ioc"
    answer_timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    quiet_period_s: Annotated[float, Meta(gt=0)] = 45.0
    look_every_s: Annotated[float, Meta(gt=0)] = 1.0
    close_retry_s: Annotated[float, Meta(gt=0)] = 5.0
    close_slippage_points: Annotated[int, Meta(ge=0)] = 100
