"""The account that is traded is the one that was meant."""

from pathlib import Path

import pytest

from libs.common.errors import BrokerError, ConfigError
from libs.common.mt5.results import AccountInfo
from services.executor.adapters.mt5_account import AccountGuard
from services.executor.config import Mt5Account
from services.executor.identity import identity_of

DEMO = AccountInfo(login=7, server="Broker-Demo", trade_mode=0, margin_mode=2, currency="USD")


def guard(folder: Path, mode: str = "paper", **pins: object) -> AccountGuard:
    return AccountGuard(Mt5Account(**pins), mode, folder / "account.json")  # type: ignore[arg-type]


def test_modes_are_told_in_words_and_an_unknown_one_counts_as_real_money() -> None:
    seen = identity_of(DEMO)
    assert (seen.login, seen.server, seen.trade_mode, seen.margin_mode, seen.currency) == (
        7, "Broker-Demo", "demo", "hedging", "USD",
    )
    assert identity_of(DEMO._replace(trade_mode=9)).trade_mode == "real"


def test_on_paper_a_real_account_is_refused_whatever_is_pinned(tmp_path: Path) -> None:
    real = identity_of(DEMO._replace(trade_mode=2))
    with pytest.raises(BrokerError, match=r"holds real money and system\.mode is paper"):
        guard(tmp_path, trade_mode="real").approve(real)
    guard(tmp_path, mode="live").approve(real)


def test_the_first_account_seen_is_pinned_and_stays_pinned_after_a_restart(tmp_path: Path) -> None:
    first = guard(tmp_path)
    first.approve(identity_of(DEMO))
    first.approve(identity_of(DEMO))
    for guarding in (first, guard(tmp_path)):
        with pytest.raises(BrokerError, match="login is 8, pinned is 7"):
            guarding.approve(identity_of(DEMO._replace(login=8)))


@pytest.mark.parametrize(("changed", "words"), [
    ({"server": "Other"}, "server is Other"), ({"margin_mode": 0}, "margin_mode is netting"),
    ({"currency": "EUR"}, "currency is EUR"), ({"trade_mode": 1}, "trade_mode is contest"),
])
def test_every_part_of_the_identity_is_guarded(tmp_path: Path, changed: dict[str, object], words: str) -> None:
    guarding = guard(tmp_path)
    guarding.approve(identity_of(DEMO))
    with pytest.raises(BrokerError, match=words):
        guarding.approve(identity_of(DEMO._replace(**changed)))


def test_a_pin_of_the_configuration_refuses_the_first_account_too(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="login is 7, pinned is 9"):
        guard(tmp_path, login=9).approve(identity_of(DEMO))
    assert not (tmp_path / "account.json").exists()


def test_a_configuration_that_contradicts_the_account_traded_so_far_is_refused_at_start(tmp_path: Path) -> None:
    guard(tmp_path).approve(identity_of(DEMO))
    with pytest.raises(ConfigError, match=r"has login 7, executor\.mt5\.account\.login says 9"):
        guard(tmp_path, login=9)


def test_a_broken_pin_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "account.json").write_text("{")
    with pytest.raises(ConfigError, match="Remove it"):
        guard(tmp_path)
