"""A rule strategy at work: its rows, its answers, the predictions they become."""

import numpy as np

from libs.common.errors import last_line_in
from libs.common.messages.base import Floats
from libs.common.messages.features import Prediction
from libs.common.messages.market import Side
from services.inference.roster import RosterState
from services.inference.strategies import STAY_OUT, Strategy, StrategyTable, Suggestions

NO_SIGNAL = "no_signal"


class RuleDesk:
    """Keeps what a strategy may look back at, symbol by symbol.

    Parameters
    ----------
    name : of the strategy
    strategy : asked
    """

    def __init__(self, name: str, strategy: Strategy) -> None:
        self.name = name
        self.strategy = strategy
        self._tables: dict[tuple[str, ...], StrategyTable] = {}

    def check(self, names: tuple[str, ...]) -> None:
        """Make sure that rows of these features hold all the strategy looks at.

        Raises
        ------
        ConfigError : naming what is missing
        """
        StrategyTable(self.strategy, names)

    def told(self, error: Exception) -> str:
        """Return what went wrong, for a person, with the line of the strategy's file where it can be told."""
        code = getattr(getattr(self.strategy.decide, "__func__", self.strategy.decide), "__code__", None)
        file = code.co_filename if code is not None else ""
        line = last_line_in(error, file)
        place = f"{file.replace(chr(92), '/').rsplit('/', 1)[-1]}, line {line}: " if line else ""
        return f"{place}{type(error).__name__}: {error}"

    def decide(self, state: RosterState, names: tuple[str, ...], values: Floats, bid: Floats, ask: Floats) -> Suggestions:
        """Return what the strategy says of a symbol's next rows.

        Parameters
        ----------
        state : of the symbol; remembers the rows that may be looked back at
        names : of the features
        values, bid, ask : (n, m), (n,), (n,) the rows, in order of time

        Raises
        ------
        ConfigError : when the rows lack a feature the strategy needs
        ValueError : when it answers with something else than one finite suggestion per row
        """
        table = self._tables.get(names)
        if table is None:
            table = self._tables[names] = StrategyTable(self.strategy, names)
        tail = np.frombuffer(state.rule_tail, dtype="<f8").reshape(-1, values.shape[1] + 2)
        said, tail = table.decide(tail, values, bid, ask)
        _refuse_nonsense(said)
        state.rule_tail = tail.astype("<f8").tobytes()
        state.rule_suggestions += int(np.count_nonzero(said.side))
        return said


def rule_prediction(
    rules: RuleDesk, said: Suggestions, at: int, symbol: str, ts_event_ns: int, bid: float, ask: float, now_ns: int
) -> Prediction:
    """Return the prediction one suggestion amounts to.

    Parameters
    ----------
    at : which row of the suggestions
    ts_event_ns : of the row
    """
    sign, confidence = int(said.side[at]), float(said.confidence[at])
    side = None if sign == STAY_OUT else Side.BUY if sign > 0 else Side.SELL
    stop = float(said.stop_distance[at])
    return Prediction(
        ts_event_ns=ts_event_ns, ts_init_ns=now_ns, symbol=symbol,
        p_down=confidence if sign < 0 else 0.0, p_flat=1.0 - confidence if sign else 1.0,
        p_up=confidence if sign > 0 else 0.0, expected_return_pct=0.0, confidence=confidence if sign else 0.0,
        side=side, stop_distance=stop if sign else 0.0,
        target_distance=float(said.target_distance[at]) if sign else 0.0, volatility=stop if sign else 0.0,
        horizon_s=rules.strategy.horizon_s, model=f"strategy-{rules.name}", version=1, bid=bid, ask=ask,
        reason="" if sign else NO_SIGNAL,
    )


def _refuse_nonsense(said: Suggestions) -> None:
    acts = said.side != STAY_OUT
    for name in ("stop_distance", "target_distance", "confidence"):
        column = getattr(said, name)[acts]
        if not (np.isfinite(column).all() and (column >= 0.0).all()):
            raise ValueError(f"{name} of a suggestion must be finite and not below 0")
    if (said.confidence[acts] > 1.0).any():
        raise ValueError("confidence is at most 1")
