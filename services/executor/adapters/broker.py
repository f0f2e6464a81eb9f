"""What the executor needs of a broker outside its process."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from libs.common.messages.market import TickBlock
from services.executor.broker import Answer, BrokerDeal, BrokerReport, Standing


class Reply(NamedTuple):
    """An answer, with the order's deals as far as the broker shows them already.

    An answer whose ``ts_ns`` is 0, and a standing whose ``asked_ns`` is, get the time at which the core asked.
    """

    answer: Answer
    deals: tuple[BrokerDeal, ...] = ()
    standing: Standing | None = None


class Moved(NamedTuple):
    """What a moved market has caused, in order, and how the account stands after it."""

    deals: tuple[BrokerDeal, ...]
    standing: Standing


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


@runtime_checkable
class PreparingBroker(Protocol):
    """A broker that makes a request fit before it is sent: nothing has left us until ``send``."""

    async def prepare(self, key: str, request: dict[str, Any]) -> dict[str, Any]:
        """Return the request as it will be sent.

        Raises
        ------
        BrokerError : it cannot be sent now, or never; the text says why
        """
        ...


@runtime_checkable
class FedBroker(Protocol):
    """A broker whose market is the tick blocks we hand it (a simulated terminal outside this process)."""

    async def advance(self, block: TickBlock, asked_ns: int) -> Moved:
        """Let the market move; the same block again changes nothing.

        Raises
        ------
        BrokerError : it did not, or nobody knows
        """
        ...


@runtime_checkable
class RunningBroker(Protocol):
    """A broker with something to start and to end."""

    async def start(self) -> None:
        """Begin; called once, before anything else.

        Raises
        ------
        ConfigError : it can never work as configured
        """
        ...

    async def close(self) -> None: ...
