"""Every answer of a terminal has one meaning for every thing it may be asked."""

import pytest

from libs.common.mt5 import constants as mt5
from libs.common.mt5.retcodes import ACTIONS, BY_ACTION, OUTCOMES, Outcome, outcome_of, outcome_of_error

# deal, pending, sltp, modify, remove, close_by; R rejected, S retry safe, D done, P partial, L placed, ? unknown
TABLE = """
10004 SSSSSS  requote
10006 RRRRRR  rejected
10007 ??????  cancelled by the trader: before or after it left, nobody says
10008 LLLLLL  placed
10009 DLDDDD  done; a pending order is placed, not executed
10010 PL???P  done in part; half a change does not exist
10011 ??????  processing error
10012 ??????  timeout
10013 RRRRRR  invalid request
10014 RRRRRR  invalid volume
10015 RRRRRR  invalid price
10016 RRRRRR  invalid stops
10017 RRRRRR  trade disabled
10018 RRRRRR  market closed
10019 RRRRRR  no money
10020 SSSSSS  price changed
10021 SSSSSS  no quotes
10022 RRRRRR  invalid expiration
10023 ??????  order state changed
10024 SSSSSS  too many requests
10025 RRDDRR  no changes: for a change, it is in force already
10026 RRRRRR  server disables automated trading
10027 RRRRRR  client disables automated trading
10028 ??????  locked
10029 RRRRRR  frozen
10030 RRRRRR  invalid filling
10031 ??????  no connection
10032 RRRRRR  only for real accounts
10033 RRRRRR  limit of orders
10034 RRRRRR  limit of volume
10035 RRRRRR  invalid order
10036 RRRRRR  position closed
10038 RRRRRR  invalid close volume
10039 RRRRRR  close order exists
10040 RRRRRR  limit of positions
10041 RRRRRR  pending order's activation rejected
10042 RRRRRR  long only
10043 RRRRRR  short only
10044 RRRRRR  close only
10045 RRRRRR  first in, first out
10046 RRRRRR  hedging prohibited
10099 ??????  a code nobody knows
    0 ??????  no code at all
"""
LETTERS = {
    "R": Outcome.REJECTED, "S": Outcome.RETRY_SAFE, "D": Outcome.DONE, "P": Outcome.PARTIAL, "L": Outcome.PLACED,
    "?": Outcome.UNKNOWN,
}
ROWS = [(int(code), letters) for code, letters, *_ in (line.split() for line in TABLE.strip().splitlines())]


@pytest.mark.parametrize(("code", "letters"), ROWS)
def test_a_code_means_one_thing_for_each_action(code, letters):
    assert [outcome_of(code, action) for action in ACTIONS] == [LETTERS[letter] for letter in letters]


def test_every_trade_code_is_in_the_table():
    codes = {value for name, value in vars(mt5).items() if name.startswith("TRADE_RETCODE_")}
    assert codes == OUTCOMES.keys() == {code for code, _ in ROWS} - {10099, 0}
    assert {code for _, code in BY_ACTION} <= codes


def test_every_action_is_in_the_table():
    assert set(ACTIONS) == {value for name, value in vars(mt5).items() if name.startswith("TRADE_ACTION_")}


@pytest.mark.parametrize(("code", "text", "outcome"), [
    (-2, 'Invalid "volume" argument', Outcome.REJECTED), (-2, "Terminal: Invalid params", Outcome.UNKNOWN),
    (-10004, "No IPC connection", Outcome.REJECTED), (-8, "Auto-Trading disabled", Outcome.REJECTED),
    (-10001, "IPC send failed", Outcome.UNKNOWN), (-10002, "IPC recv failed", Outcome.UNKNOWN),
    (-10005, "IPC timeout", Outcome.UNKNOWN), (1, "Success", Outcome.UNKNOWN),
])
def test_only_proof_that_nothing_was_sent_is_a_rejection(code, text, outcome):
    assert outcome_of_error(code, text) is outcome
