"""A broker's name is recognised for what it is, and for nothing else."""

import asyncio

import msgspec
import pytest

from libs.common.config import InstrumentConfig
from libs.common.errors import ConfigError
from libs.common.mt5 import constants as mt5
from libs.common.mt5.adapters.calls import PackageError, TerminalCalls
from libs.common.mt5.adapters.symbol_registry import SymbolMissing, SymbolRegistry
from libs.common.mt5.results import SymbolInfo
from libs.common.mt5.specification import Weight, differences, instrument_of
from libs.common.mt5.symbol_names import candidates, choice, disguise_rank


def info(name: str, **changes) -> SymbolInfo:
    return SymbolInfo(name=name, visible=True, select=True, trade_mode=mt5.SYMBOL_TRADE_MODE_FULL)._replace(**changes)


@pytest.mark.parametrize(
    ("canonical", "name", "rank"),
    [
        ("EURUSD", "EURUSD", 0), ("EURUSD", "eurusd", 0), ("EURUSD", "EUR/USD", 0),
        *(("EURUSD", name, 2) for name in (
            "EURUSD.m", "EURUSDm", "EURUSD.raw", "EURUSD_i", "EURUSD#", "#EURUSD", "EURUSD+", "EURUSD.", "EURUSDpro",
            "EURUSD.PRO", "FX.EURUSD", "EURUSD-ECN", "EURUSDc", "EURUSD!", "EURUSDmicro", "_EURUSD",
        )),
        ("US30", "US30.cash", 2), ("US30", "US30Cash", 2), ("US30", "DJ30", 1), ("US30", "WS30.cash", 3),
        ("US30", "USA30", 1), ("XAUUSD", "GOLD", 1), ("XAUUSD", "GOLDmicro", 3), ("XAUUSD", "GOLD.", 3),
        ("US100", "NAS100.x", 3), ("GER40", "DE40", 1), ("XTIUSD", "USOIL.spot", 3),
    ],
)  # fmt: skip
def test_a_disguise_is_seen_through(canonical, name, rank):
    assert disguise_rank(canonical, name) == rank


@pytest.mark.parametrize(
    ("canonical", "name"),
    [
        ("EURUSD", "EURUSDT"), ("EURUSD", "EURUSX"), ("EURUSD", "GBPUSD"), ("US30", "US300"), ("US30", "US3000.cash"),
        ("US30", "AUS30"), ("US500", "US50"), ("XAUUSD", "GOLDEUR"), ("XAUUSD", "GOLD.EUR"), ("XAUUSD", "GOLDMINERS"),
        ("US30", "US30_H26"), ("US30", "US30.Mar26"), ("US30", "US30Z5"), ("BTCUSD", "BTCUSDT"), ("EURUSD", ""),
        ("EURUSD", "EURUSD.longsuffixx"), ("XAUUSD", "MARIGOLD"), ("XAUUSD", "GOLD-JPY"),
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_not_taken(canonical, name):
    assert disguise_rank(canonical, name) is None


def test_the_plainest_tradable_and_visible_name_is_chosen():
    offered = [
        info("EURUSD.raw"), info("EURUSD.m", visible=False, select=False), info("EURUSD.x", trade_mode=0), info("USDJPY"),
    ]
    assert choice(candidates("EURUSD", offered)) == "EURUSD.raw"
    assert choice(candidates("EURUSD", [*offered, info("EURUSD")])) == "EURUSD"


def test_two_equally_good_names_are_no_choice():
    assert choice(candidates("EURUSD", [info("EURUSD.raw"), info("EURUSD.m")])) is None
    assert choice([]) is None


def test_a_symbol_in_another_currency_is_not_taken():
    currencies = {"GOLD": "EUR", "GOLD.x": "USD", "GOLDc": "USC"}
    offered = [info(name, currency_profit=currency) for name, currency in currencies.items()]
    assert [one.name for one in candidates("XAUUSD", offered)] == ["GOLD.x", "GOLDc"]


# ---- the registry


class Broker(TerminalCalls):
    def __init__(self, *infos: SymbolInfo) -> None:
        self.infos = {one.name: one for one in infos}
        self.asked: list[str] = []

    async def call(self, function, /, *args, deadline_s=None, **kwargs):
        self.asked.append(function)
        if function == "symbols_get":
            return tuple(self.infos.values())
        if args[0] not in self.infos:
            raise PackageError(function, mt5.RES_E_NOT_FOUND, "Terminal: Not found")
        if function == "symbol_select":
            self.infos[args[0]] = self.infos[args[0]]._replace(select=True)
            return True
        return self.infos[args[0]]


def resolve(registry: SymbolRegistry, broker: Broker, symbol: str = "EURUSD") -> str:
    return asyncio.run(registry.resolve(broker, symbol)).name


def test_a_name_is_sought_once_and_then_known(tmp_path):
    broker, path = Broker(info("EURUSD.m", select=False)), tmp_path / "mt5" / "symbols.json"
    assert resolve(SymbolRegistry(path, "Demo", {}), broker) == "EURUSD.m"
    assert broker.infos["EURUSD.m"].select
    broker.asked.clear()
    again = SymbolRegistry(path, "Demo", {})
    assert resolve(again, broker) == "EURUSD.m"
    assert "symbols_get" not in broker.asked
    assert again.canonical_name("EURUSD.m") == "EURUSD"
    assert again.canonical_name("USDJPY") is None


def test_what_is_known_of_one_server_says_nothing_of_another(tmp_path):
    path = tmp_path / "symbols.json"
    resolve(SymbolRegistry(path, "Demo", {}), Broker(info("EURUSD.m")))
    other = SymbolRegistry(path, "Live", {})
    assert other.broker_name("EURUSD") is None
    assert resolve(other, Broker(info("EURUSD.pro"))) == "EURUSD.pro"
    assert SymbolRegistry(path, "Demo", {}).broker_name("EURUSD") == "EURUSD.m"


def test_a_name_that_is_gone_is_sought_again(tmp_path):
    registry = SymbolRegistry(tmp_path / "symbols.json", "Demo", {})
    resolve(registry, Broker(info("EURUSD.m")))
    assert resolve(registry, Broker(info("EURUSD.pro"))) == "EURUSD.pro"


def test_a_given_name_goes_before_everything_and_is_refused_when_unknown(tmp_path):
    registry = SymbolRegistry(None, "Demo", {"EURUSD": "EURUSD.raw"})
    assert resolve(registry, Broker(info("EURUSD"), info("EURUSD.raw"))) == "EURUSD.raw"
    with pytest.raises(ConfigError, match=r"mt5.symbols.EURUSD: .* no symbol 'EURUSD.raw'"):
        resolve(registry, Broker(info("EURUSD")))


def test_several_equal_names_ask_for_a_persons_choice():
    with pytest.raises(ConfigError, match=r"EURUSD.m, EURUSD.raw.*mt5.symbols.EURUSD"):
        resolve(SymbolRegistry(None, "Demo", {}), Broker(info("EURUSD.m"), info("EURUSD.raw")))


def test_no_name_at_all_says_where_to_write_one():
    with pytest.raises(SymbolMissing, match=r"mt5.symbols.EURUSD"):
        resolve(SymbolRegistry(None, "Demo", {}), Broker(info("USDJPY")))


def test_a_broken_file_is_as_good_as_none(tmp_path):
    path = tmp_path / "symbols.json"
    path.write_text("{")
    assert resolve(SymbolRegistry(path, "Demo", {}), Broker(info("EURUSD"))) == "EURUSD"


# ---- the specification

EURUSD = info(
    "EURUSD", digits=5, point=1e-5, trade_tick_size=1e-5, trade_contract_size=100_000.0, currency_profit="USD",
    currency_margin="EUR", volume_min=0.01, volume_max=100.0, volume_step=0.01,
)  # fmt: skip


def test_an_equal_specification_has_no_differences():
    assert differences(InstrumentConfig(), EURUSD) == ()


@pytest.mark.parametrize(
    ("changes", "key", "weight"),
    [
        ({"digits": 3}, "digits", Weight.WRONG), ({"trade_contract_size": 10.0}, "contract_size", Weight.WRONG),
        ({"volume_step": 0.1}, "volume_step", Weight.WRONG), ({"volume_min": 1.0}, "volume_min", Weight.WRONG),
        ({"currency_profit": "JPY"}, "profit_currency", Weight.WRONG), ({"volume_max": 5.0}, "volume_max", Weight.COSTS),
        ({"trade_stops_level": 10}, "stops_level_points", Weight.COSTS),
        ({"swap_mode": mt5.SYMBOL_SWAP_MODE_POINTS, "swap_long": -3.0}, "swap_long_points", Weight.COSTS),
        ({"trade_tick_size": 5e-5}, "tick size", Weight.COSTS),
    ],
)  # fmt: skip
def test_each_difference_is_named_with_both_values(changes, key, weight):
    (found,) = differences(InstrumentConfig(), EURUSD._replace(**changes))
    assert (found.key, found.weight) == (key, weight)
    assert str(found.broker) in str(found)


def test_what_the_broker_leaves_empty_is_not_compared():
    assert differences(InstrumentConfig(), EURUSD._replace(currency_margin="", volume_min=0.0, trade_tick_size=0.0)) == ()


def test_the_brokers_word_as_a_configuration_has_no_differences_left():
    strange = EURUSD._replace(
        digits=2, point=0.01, trade_tick_size=0.01, trade_contract_size=1.0, volume_step=0.1, volume_min=0.1,
        swap_mode=mt5.SYMBOL_SWAP_MODE_POINTS, swap_long=-1.5, trade_stops_level=30, currency_margin="USD",
    )  # fmt: skip
    assert differences(instrument_of(strange, InstrumentConfig(session="always")), strange) == ()
    assert instrument_of(strange, InstrumentConfig(session="always")).session == "always"
    assert msgspec.to_builtins(instrument_of(EURUSD)) == msgspec.to_builtins(InstrumentConfig())
