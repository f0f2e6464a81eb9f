"""Who answers a program's questions to its terminal. Replaceable: a test's own, the simulated terminal, its host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.mql.harness.expert import Expert


class Answerer:
    """Base of whoever answers: a method per MQL5 function, named like it, taking its arguments.

    Enumerations and properties come as their MQL5 names (``"SYMBOL_BID"``, ``"PERIOD_M1"``), times as seconds,
    structures as dictionaries with MQL5's field names, and go back the same way. A function that fails raises
    ``expert.MqlError(code, result)``. The table of functions and the form of each answer is in README.md.
    """

    expert: Expert

    def attach(self, expert: Expert) -> None:
        """Note which program asks."""
        self.expert = expert

    def answer(self, call: str, arguments: list[Any]) -> Any:
        """Answer one call.

        Raises
        ------
        AssertionError : nobody answers this function
        """
        method = getattr(self, call, None)
        assert method is not None, (
            f"the program calls {call}{tuple(arguments)}, which {type(self).__name__} does not answer"
        )
        return method(*arguments)


class Unanswered(Answerer):
    """Answers only what a program without any market may ask."""

    def TimeCurrent(self) -> int:
        return 1_700_000_000

    def TimeTradeServer(self) -> int:
        return 1_700_000_000

    def SymbolInfoInteger(self, symbol: str, name: str) -> int:
        return {"SYMBOL_DIGITS": 5}[name]

    def SymbolInfoDouble(self, symbol: str, name: str) -> float:
        return {"SYMBOL_POINT": 0.00001}[name]
