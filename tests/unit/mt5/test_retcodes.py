"""Every answer of a terminal has one meaning."""

import pytest

from libs.common.mt5 import constants as mt5
from libs.common.mt5.retcodes import OUTCOMES, Outcome, outcome_of, outcome_of_error


def test_every_trade_code_has_an_outcome():
    codes = {value for name, value in vars(mt5).items() if name.startswith("TRADE_RETCODE_")}
    assert codes == OUTCOMES.keys()


@pytest.mark.parametrize(("outcome", "codes"), [
    (Outcome.DONE, [10009]),
    (Outcome.PARTIAL, [10010]),
    (Outcome.PLACED, [10008]),
    (Outcome.RETRY_SAFE, [10004, 10020, 10021, 10024]),
    (Outcome.UNKNOWN, [10007, 10011, 10012, 10028, 10031, 10099, 0]),
    (Outcome.REJECTED, [10006, *range(10013, 10020), 10022, 10025, 10026, 10027, 10030, *range(10032, 10037),
                        *range(10038, 10047)]),
])
def test_a_code_means_what_the_reference_says(outcome, codes):
    assert {code: outcome_of(code) for code in codes} == dict.fromkeys(codes, outcome)


@pytest.mark.parametrize("action", [mt5.TRADE_ACTION_SLTP, mt5.TRADE_ACTION_MODIFY])
def test_no_changes_means_done_for_a_change(action):
    assert outcome_of(10025, action) is Outcome.DONE
    assert outcome_of(10013, action) is Outcome.REJECTED


@pytest.mark.parametrize(("code", "text", "outcome"), [
    (-2, 'Invalid "volume" argument', Outcome.REJECTED), (-2, "Terminal: Invalid params", Outcome.UNKNOWN),
    (-10004, "No IPC connection", Outcome.REJECTED), (-8, "Auto-Trading disabled", Outcome.REJECTED),
    (-10001, "IPC send failed", Outcome.UNKNOWN), (-10002, "IPC recv failed", Outcome.UNKNOWN),
    (-10005, "IPC timeout", Outcome.UNKNOWN), (1, "Success", Outcome.UNKNOWN),
])
def test_only_proof_that_nothing_was_sent_is_a_rejection(code, text, outcome):
    assert outcome_of_error(code, text) is outcome
