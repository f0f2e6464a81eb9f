"""Which account this is, and whether it is the one we were told to trade."""

from typing import Literal

import msgspec

from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import AccountInfo

TradeMode = Literal["demo", "contest", "real"]
MarginMode = Literal["netting", "exchange", "hedging"]
_TRADE_MODES: dict[int, TradeMode] = {
    mt5.ACCOUNT_TRADE_MODE_DEMO: "demo", mt5.ACCOUNT_TRADE_MODE_CONTEST: "contest", mt5.ACCOUNT_TRADE_MODE_REAL: "real",
}
_MARGIN_MODES: dict[int, MarginMode] = {
    mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING: "netting", mt5.ACCOUNT_MARGIN_MODE_EXCHANGE: "exchange",
    mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING: "hedging",
}


class AccountIdentity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What makes an account this account and no other.

    Parameters
    ----------
    login, server : where we are logged in
    trade_mode : demo, contest or real money
    margin_mode : netting or exchange (one position per symbol), hedging (many)
    currency : of the account
    """

    login: int
    server: str
    trade_mode: TradeMode
    margin_mode: MarginMode
    currency: str


def identity_of(account: AccountInfo) -> AccountIdentity:
    """Return the identity of an account; a mode nobody knows counts as real money."""
    return AccountIdentity(
        login=account.login, server=account.server, trade_mode=_TRADE_MODES.get(account.trade_mode, "real"),
        margin_mode=_MARGIN_MODES.get(account.margin_mode, "netting"), currency=account.currency,
    )


def differences(pinned: dict[str, object], seen: AccountIdentity) -> list[str]:
    """Return what is not as pinned, in words; pins that are 0, empty or missing say nothing."""
    return [
        f"{name} is {getattr(seen, name)}, pinned is {wanted}"
        for name, wanted in pinned.items()
        if wanted and getattr(seen, name) != wanted
    ]


def refusal_of_account(seen: AccountIdentity, mode: str, pinned: dict[str, object]) -> str:
    """Return why this account must not be traded, with the remedy; empty when it may.

    Parameters
    ----------
    mode : ``system.mode``; on paper a real account is never traded
    pinned : identity by field, from the configuration or from the first time we saw the account
    """
    if mode != "live" and seen.trade_mode == "real":
        return (
            f"account {seen.login} on {seen.server} holds real money and system.mode is {mode}: nothing is sent. "
            "Log the terminal in to a demo account, or set system.mode: live."
        )
    wrong = differences(pinned, seen)
    if wrong:
        return (
            f"this is not the pinned account: {'; '.join(wrong)}. Log the terminal in to the right one; if the change "
            "is meant, set executor.mt5.account and remove the executor's account.json."
        )
    return ""
