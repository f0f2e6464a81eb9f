"""Canonical symbols and what brokers call them: ``EURUSD`` is ``EURUSD.m``, ``US30`` is ``US30.cash``, gold is ``GOLD``.

Everything inside the system uses the canonical name. A broker's name counts as one of its disguises when, taken apart
into letters and digits, it is the canonical name or one of its usual aliases with a prefix or suffix brokers add.
"""

import re
from collections.abc import Iterable

import msgspec

from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import SymbolInfo

ALIASES: dict[str, tuple[str, ...]] = {
    "XAUUSD": ("GOLD", "GOLDUSD"),
    "XAGUSD": ("SILVER", "SILVERUSD"),
    "US30": ("DJ30", "DJI30", "DJI", "WS30", "DOW30", "USA30", "WALLSTREET30"),
    "US500": ("SPX500", "SP500", "USA500", "SPX"),
    "US100": ("NAS100", "USTEC", "NDX100", "USATEC", "NASDAQ100", "USTECH100", "TECH100", "NDX"),
    "US2000": ("RUSSELL2000", "RUS2000", "USSMALL2000"),
    "GER40": ("DE40", "DAX40", "GERMANY40", "DAX", "GER30", "DE30"),
    "UK100": ("FTSE100", "FTSE", "GB100"),
    "FRA40": ("FR40", "CAC40", "F40"),
    "EU50": ("EUSTX50", "STOXX50", "ESTX50", "EURO50"),
    "JP225": ("JPN225", "NI225", "NIKKEI225", "JAP225"),
    "AUS200": ("AU200", "ASX200", "SPI200"),
    "HK50": ("HSI", "HKG50", "HKIND"),
    "XTIUSD": ("USOIL", "WTI", "CRUDEOIL", "USOUSD"),
    "XBRUSD": ("UKOIL", "BRENT", "UKOUSD"),
    "XNGUSD": ("NATGAS", "NGAS"),
    "BTCUSD": ("BITCOIN", "XBTUSD"),
    "ETHUSD": ("ETHEREUM",),
}
"""Canonical symbol -> other names in use for the same thing."""
_WORDS = (
    "cash", "spot", "roll", "cfd", "pro", "prime", "raw", "ecn", "stp", "std", "vip", "mini", "micro", "nano", "fix",
    "var", "ind", "index", "zero", "ext", "plus", "sb", "spr", "x",
)  # fmt: skip
_SUFFIX = re.compile(
    rf"^(?:[#.!+^*~]|[._\-+#!$][A-Za-z0-9]{{0,6}}|[a-z]{{1,4}}|(?:{'|'.join(_WORDS)}))?[#.!+^*~]?$", re.IGNORECASE
)
_PREFIX = re.compile(r"^(?:[#.!_+^*~$@]|[A-Za-z]{1,5}[._\-])?$")
_CURRENCY_TAIL = re.compile(r"^[._\-+#]?[A-Z]{3}$")
_CURRENCIES = frozenset({"USD", "EUR", "GBP", "JPY", "CHF", "AUD", "NZD", "CAD", "SGD", "HKD", "CNH", "SEK", "NOK", "BTC"})
_EXPIRY = re.compile(r"[._\-]?(?:[FGHJKMNQUVXZ]\d{1,2}|[A-Z][a-z]{2}\d{0,2}|\d{1,2}\.?\d{2})$")
_PAIR = re.compile(r"^[A-Z]{6}$")


class Candidate(msgspec.Struct, frozen=True, order=True):
    """A broker's symbol that may be the one sought; the smallest is the best.

    Parameters
    ----------
    rank : 0 the very name, 1 an alias' very name, 2 with additions, 3 an alias with additions
    not_tradable : 1 where the broker does not allow trading it fully
    hidden : 1 where it is not in the Market Watch
    name : the broker's
    """

    rank: int
    not_tradable: int
    hidden: int
    name: str


def candidates(canonical: str, offered: Iterable[SymbolInfo]) -> list[Candidate]:
    """Return the broker's symbols that may be a canonical one, the best first.

    Parameters
    ----------
    offered : ``symbols_get()``; a symbol whose currencies are not the pair's is left out
    """
    found = []
    for info in offered:
        rank = disguise_rank(canonical, info.name)
        if rank is None or not _fits(canonical, info):
            continue
        tradable = info.trade_mode == mt5.SYMBOL_TRADE_MODE_FULL
        found.append(Candidate(rank, int(not tradable), int(not (info.select or info.visible)), info.name))
    return sorted(found)


def choice(found: list[Candidate]) -> str | None:
    """Return the best candidate's name; ``None`` where there is none, or two are equally good.

    >>> choice([Candidate(2, 0, 0, "EURUSD.m"), Candidate(2, 0, 1, "EURUSD.raw")])
    'EURUSD.m'
    """
    if not found:
        return None
    if len(found) > 1 and (found[0].rank, found[0].not_tradable, found[0].hidden) == (
        found[1].rank, found[1].not_tradable, found[1].hidden
    ):  # fmt: skip
        return None
    return found[0].name


def disguise_rank(canonical: str, name: str) -> int | None:
    """Return how plainly a broker's name says a canonical one (see ``Candidate.rank``), ``None`` where it does not.

    >>> disguise_rank("EURUSD", "EURUSD"), disguise_rank("EURUSD", "EURUSD.m"), disguise_rank("XAUUSD", "GOLD")
    (0, 2, 1)
    >>> disguise_rank("US30", "US300"), disguise_rank("EURUSD", "EURUSDT")
    (None, None)
    """
    if name == canonical:
        return 0
    known = (canonical, *ALIASES.get(canonical, ()))
    plain = name.replace("/", "")
    for place, word in enumerate(known):
        if plain.upper() == word.upper():
            return 0 if place == 0 else 1
    for place, word in enumerate(known):
        if _is_dressed(word, plain):
            return 2 if place == 0 else 3
    return None


def _is_dressed(word: str, name: str) -> bool:
    at = name.upper().find(word.upper())
    if at < 0:
        return False
    prefix, suffix = name[:at], name[at + len(word) :]
    if not _PREFIX.match(prefix) or not _SUFFIX.match(suffix):
        return False
    if suffix[:1].isdigit() or (suffix[:1].isalpha() and suffix.isupper() and suffix.lower() not in _WORDS):
        return False  # US30 is not US300, EURUSD is not EURUSDT
    if _CURRENCY_TAIL.match(suffix) and suffix[-3:] in _CURRENCIES:
        return False  # GOLD.EUR is gold in euro
    # A contract that expires is not the thing itself.
    return not (len(suffix) > 1 and _EXPIRY.fullmatch(suffix) and any(c.isdigit() for c in suffix))


def _fits(canonical: str, info: SymbolInfo) -> bool:
    if not _PAIR.match(canonical) or not info.currency_profit:
        return True
    quote = canonical[3:]
    if quote not in _CURRENCIES:
        return True
    # A cent account's currency (USC, EUC) stands for the whole one.
    return info.currency_profit == quote or info.currency_profit == quote[:2] + "C"
