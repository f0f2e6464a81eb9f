"""What one input of the core leads to, collected while it is handled."""

from libs.common.core import Effect
from libs.common.messages.base import Message
from libs.common.messages.control import Alert, Severity
from services.executor.effects import RecordStates, StateChange


class Turn:
    """Messages, effects and journal lines of one input.

    Parameters
    ----------
    now_ns : the time the core was told; every message's ``ts_init_ns``
    """

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self.account_changed = False
        self._said: list[Message] = []
        self._changes: list[StateChange] = []

    def say(self, message: Message) -> None:
        """Publish a message or ask for an effect."""
        self._said.append(message)

    def journal(self, order_id: str, state: str, detail: str, ts_ns: int) -> None:
        """Note a change of state; all of a turn's changes are written together."""
        self._changes.append(StateChange(order_id=order_id, state=state, detail=detail, ts_ns=ts_ns))

    def alert(self, severity: Severity, name: str, detail: str) -> None:
        """Tell a person."""
        self.say(Alert(
            ts_event_ns=self.now_ns, ts_init_ns=self.now_ns, severity=severity, service="executor", name=name,
            detail=detail,
        ))

    def outputs(self) -> tuple[Message, ...]:
        """Return everything said, in order, and the journal's lines as one last effect."""
        if not self._changes:
            return tuple(self._said)
        return (*self._said, self._record_states())

    def _record_states(self) -> Effect:
        # No order is twice in one state, so its changes name the effect.
        cause = ",".join([f"{change.order_id}={change.state}" for change in self._changes])
        return RecordStates(
            ts_event_ns=self.now_ns, ts_init_ns=self.now_ns, effect_id=f"states:{cause}", changes=tuple(self._changes)
        )
