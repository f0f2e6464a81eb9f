"""What the executor needs of a broker outside its process."""

from typing import Any, NamedTuple, Protocol

from services.executor.broker import Answer, BrokerDeal, BrokerReport


class Reply(NamedTuple):
    """An answer, with the order's deals as far as the broker shows them already."""

    answer: Answer
    deals: tuple[BrokerDeal, ...] = ()


class Broker(Protocol):
    """An adapter: one attempt per call, never a second one of its own."""

    async def send(self, key: str, request: dict[str, Any]) -> Reply:
        """Send one request, once.

        Raises
        ------
        BrokerError : it certainly never left us
        OutcomeUncertain : it may have left us
        TimeoutError : nobody answered in time; as uncertain
        """
        ...

    async def read(self, asked_ns: int, since_ns: int) -> BrokerReport:
        """Read account, orders, positions and deals back to ``since_ns``; times in UTC.

        Raises
        ------
        BrokerError : the books cannot be read now
        """
        ...
