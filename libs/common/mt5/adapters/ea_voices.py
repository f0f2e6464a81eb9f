"""Which Expert Advisor speaks for an account: heard, alone, alive, and of a protocol we know."""

import time
from collections.abc import Callable

import msgspec

from libs.common.errors import BrokerError
from libs.common.messages.ea import PROTOCOL, EaHeartbeat, EaHello, EaMessage

_NS_PER_S = 1_000_000_000
_FORGET_NS = 3_600 * _NS_PER_S


class Voice(msgspec.Struct):
    """What was heard of one instance.

    Parameters
    ----------
    session : grows whenever an instance is heard for the first time, or again after a silence
    last_ns : when it was heard last, the computer's clock
    """

    instance: str
    session: int
    last_ns: int
    hello: EaHello | None = None
    heartbeat: EaHeartbeat | None = None


class Voices:
    """Listens to hellos and heartbeats of one account.

    Parameters
    ----------
    account : account key
    silent_after_s : an instance not heard for so long is gone
    signed : only an Expert Advisor that checks message codes may speak
    """

    def __init__(
        self, account: str, silent_after_s: float, *, signed: bool, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._account, self._silence_ns, self._signed = account, round(silent_after_s * _NS_PER_S), signed
        self._now_ns = now_ns
        self._sessions = 0
        self._voices: dict[str, Voice] = {}
        self.stranger = ""
        """Who spoke in a protocol we do not know; empty while nobody did."""

    def hear(self, message: EaMessage) -> None:
        """Take in any message of an Expert Advisor."""
        if message.account != self._account:
            return
        if message.protocol != PROTOCOL:
            self.stranger = f"instance {message.instance} speaks protocol {message.protocol}, known is {PROTOCOL}"
            return
        now_ns = self._now_ns()
        voice = self._voices.get(message.instance)
        if voice is None or now_ns - voice.last_ns > self._silence_ns:
            self._sessions += 1
            voice = Voice(message.instance, self._sessions, now_ns)
            self._voices[message.instance] = voice
        voice.last_ns = now_ns
        if isinstance(message, EaHello):
            voice.hello = message
        elif isinstance(message, EaHeartbeat):
            voice.heartbeat = message
        self._forget(now_ns)

    def current(self) -> Voice:
        """Return the one that is alive.

        Raises
        ------
        BrokerError : there is none, there are several, or it takes unsigned orders
        """
        now_ns = self._now_ns()
        alive = [voice for voice in self._voices.values() if now_ns - voice.last_ns <= self._silence_ns]
        if not alive:
            raise BrokerError(self.stranger or (
                f"no expert advisor speaks for account {self._account}: put TickwireBridge on a chart with "
                f"InpAccount={self._account}, switch algorithmic trading on, and allow the server's address"
            ))
        if len(alive) > 1:
            raise BrokerError(
                f"{len(alive)} expert advisors speak for account {self._account}: take all but one off their charts"
            )
        voice = alive[0]
        if self._signed and voice.hello is not None and not voice.hello.signed:
            raise BrokerError(
                "the expert advisor takes orders without a message code: give it keys/ea.key (`tickwire mql install`)"
            )
        return voice

    def _forget(self, now_ns: int) -> None:
        for instance, voice in list(self._voices.items()):
            if now_ns - voice.last_ns > _FORGET_NS:
                del self._voices[instance]
