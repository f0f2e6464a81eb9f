"""The only speller of subjects.

Broker symbols hold characters NATS forbids or treats as separators (``US30.cash``, ``EUR USD``, ``#AAPL``):
everything outside ``[A-Za-z0-9_-]`` is percent-encoded (UTF-8) in a token and decoded on the way back.
"""

from functools import lru_cache
from urllib.parse import quote, unquote

_SAFE = "-_"


@lru_cache(maxsize=4_096)
def encode_token(text: str) -> str:
    """Percent-encode a name so that it is one subject token.

    >>> encode_token("US30.cash"), encode_token("#AAPL"), encode_token("EURUSD")
    ('US30%2Ecash', '%23AAPL', 'EURUSD')

    Raises
    ------
    ValueError : for an empty name, which cannot be a token
    """
    if not text:
        raise ValueError("an empty name cannot be part of a subject")
    # quote() leaves "." and "~" alone because they are harmless in a URL; in a subject they are not.
    return quote(text, safe=_SAFE).replace(".", "%2E").replace("~", "%7E")


def decode_token(token: str) -> str:
    """Return the name that ``encode_token`` turned into a token.

    >>> decode_token("US30%2Ecash")
    'US30.cash'
    """
    return unquote(token)


def ticks(symbol: str) -> str:
    return f"ticks.{encode_token(symbol)}"


def bars(symbol: str, timeframe_s: int) -> str:
    return f"bars.{encode_token(symbol)}.{timeframe_s}s"


def feed(symbol: str) -> str:
    return f"feed.{encode_token(symbol)}"


def features(symbol: str) -> str:
    return f"features.{encode_token(symbol)}"


def predictions(symbol: str) -> str:
    return f"predictions.{encode_token(symbol)}"


def shadow_predictions(symbol: str) -> str:
    return f"shadows.{encode_token(symbol)}"


def orders_approved(account: str, symbol: str) -> str:
    return f"orders.approved.{encode_token(account)}.{encode_token(symbol)}"


def orders_refused(account: str, symbol: str) -> str:
    return f"orders.refused.{encode_token(account)}.{encode_token(symbol)}"


def executions(account: str, symbol: str) -> str:
    return f"executions.{encode_token(account)}.{encode_token(symbol)}"


def account(name: str) -> str:
    return f"account.{encode_token(name)}"


def models(name: str, event: str) -> str:
    return f"models.{encode_token(name)}.{event}"


def control(verb: str) -> str:
    return f"control.{verb}"


def drift(symbol: str) -> str:
    return f"drift.{encode_token(symbol)}"


def alerts(severity: str) -> str:
    return f"alerts.{severity}"


def risk_state(account_name: str) -> str:
    return f"risk.{encode_token(account_name)}"


def health(service: str) -> str:
    return f"health.{service}"


def watermark(service: str) -> str:
    return f"health.watermark.{service}"


def deadletter(service: str) -> str:
    return f"deadletter.{service}"


def ea(account_name: str, *what: str) -> str:
    """Return a subject of the dialogue with an Expert Advisor: what it is about, then perhaps a symbol.

    >>> ea("paper", "ticks", "US30.cash")
    'ea.paper.ticks.US30%2Ecash'
    """
    return ".".join(("ea", *map(encode_token, (account_name, *what))))


def matches(pattern: str, subject: str) -> bool:
    """Tell whether a subject matches a pattern with ``*`` (one token) and ``>`` (one or more at the end).

    >>> matches("orders.>", "orders.approved.demo.EURUSD"), matches("ticks.*", "ticks.a.b")
    (True, False)
    """
    wanted, given = pattern.split("."), subject.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return len(given) > index
        if index >= len(given) or (token not in ("*", given[index])):
            return False
    return len(wanted) == len(given)
