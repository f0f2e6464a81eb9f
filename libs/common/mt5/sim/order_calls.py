"""The package's three calls that are written in Python: Buy, Sell and Close."""

from typing import Any

from libs.common.mt5 import constants as mt5

DEVIATION_POINTS = 10
ATTEMPTS = 10
_MOVED = (mt5.TRADE_RETCODE_REQUOTE, mt5.TRADE_RETCODE_PRICE_OFF)


class OrderCalls:
    """Short calls over ``order_send``; they raise where the others would have returned ``None`` within them."""

    def order_send(self, *unnamed: Any, **named: Any) -> Any:
        """Send a request."""
        raise TypeError("the package says how")

    def symbol_info_tick(self, *arguments: Any) -> Any:
        """Return a symbol's last tick."""
        raise TypeError("the package says how")

    def positions_get(self, *unnamed: Any, **named: Any) -> Any:
        """Return open positions."""
        raise TypeError("the package says how")

    def Buy(
        self, symbol: str, volume: float, price: float | None = None, *, comment: str | None = None,
        ticket: int | None = None,
    ) -> Any:
        """Buy at a price, or at the current one with up to ten attempts."""
        return self._at_market(mt5.ORDER_TYPE_BUY, symbol, volume, price, comment, ticket)

    def Sell(
        self, symbol: str, volume: float, price: float | None = None, *, comment: str | None = None,
        ticket: int | None = None,
    ) -> Any:
        """Sell at a price, or at the current one with up to ten attempts."""
        return self._at_market(mt5.ORDER_TYPE_SELL, symbol, volume, price, comment, ticket)

    def Close(
        self, symbol: str, *, comment: str | None = None, ticket: int | None = None
    ) -> Any:
        """Close a symbol's positions, or one by its ticket.

        Returns
        -------
        True when all were closed, ``"Partially"`` when some were, False when none was; ``None`` when a call failed.
        """
        found = self.positions_get(symbol=symbol) if ticket is None else self.positions_get(ticket=ticket)
        closed = 0
        for position in found:
            answer = None
            for _ in range(ATTEMPTS):
                tick = self.symbol_info_tick(symbol)
                if tick is None:
                    return None
                is_buy = position.type == mt5.POSITION_TYPE_BUY
                side = mt5.ORDER_TYPE_SELL if is_buy else mt5.ORDER_TYPE_BUY
                price = tick.bid if is_buy else tick.ask
                answer = self._raw_order(side, symbol, position.volume, price, comment, position.ticket)
                if answer is None:
                    return None
                if answer.retcode not in _MOVED:
                    break
            closed += answer is not None and answer.retcode == mt5.TRADE_RETCODE_DONE
        if closed == 0:
            return False
        return True if closed == len(found) else "Partially"

    def _raw_order(
        self, side: int, symbol: str, volume: float, price: float, comment: str | None = None,
        ticket: int | None = None,
    ) -> Any:
        request: dict[str, Any] = {
            "action": mt5.TRADE_ACTION_DEAL, "symbol": symbol, "volume": volume, "type": side, "price": price,
            "deviation": DEVIATION_POINTS,
        }
        if comment is not None:
            request["comment"] = comment
        if ticket is not None:
            request["position"] = ticket
        return self.order_send(request)

    def _at_market(
        self, side: int, symbol: str, volume: float, price: float | None, comment: str | None, ticket: int | None
    ) -> Any:
        if price is not None:
            return self._raw_order(side, symbol, volume, price, comment, ticket)
        answer = None
        for _ in range(ATTEMPTS):
            tick = self.symbol_info_tick(symbol)
            offered = tick.ask if side == mt5.ORDER_TYPE_BUY else tick.bid
            answer = self._raw_order(side, symbol, volume, offered, comment, ticket)
            if answer is None or answer.retcode not in _MOVED:
                break
        return answer
