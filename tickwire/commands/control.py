"""``tickwire halt``, ``resume`` and ``flatten``: commands to risk, with its own word that it obeyed."""

import asyncio
import getpass
import time
import uuid
from typing import Annotated, Any

import typer

from libs.common import subjects
from libs.common.bus.nats import NatsBus
from libs.common.codec import Codec
from libs.common.errors import MalformedMessage
from libs.common.messages.base import Message
from libs.common.messages.control import Flatten, Halt, Resume, TradingHalted, TradingResumed
from tickwire.connect import DataDirOption, PasswordOption, Target, UrlOption, connected, find_target
from tickwire.console import err, out, print_error, print_json

APPS = {name: typer.Typer(add_completion=False) for name in ("halt", "resume", "flatten")}
CONFIRM_WITHIN_S = 2.0
_codec = Codec((TradingHalted, TradingResumed))

ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the log and shown by status.")]
AccountOption = Annotated[str, typer.Option("--account", help="Account key; default: the running stack's.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]


@APPS["halt"].command(name="halt")
def halt(
    reason: ReasonOption = "by hand",
    account: AccountOption = "",
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
    url: UrlOption = "",
    password: PasswordOption = "",
) -> None:
    """Stop opening risk; latched until `tickwire resume`."""
    message = Halt(**_stamp(), reason=reason)
    _command(message, TradingHalted, find_target(data_dir, url, password, account), as_json=as_json)


@APPS["resume"].command(name="resume")
def resume(
    reason: ReasonOption = "by hand",
    account: AccountOption = "",
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
    url: UrlOption = "",
    password: PasswordOption = "",
) -> None:
    """Trade again after a halt."""
    message = Resume(**_stamp(), reason=reason)
    _command(message, TradingResumed, find_target(data_dir, url, password, account), as_json=as_json)


@APPS["flatten"].command(name="flatten")
def flatten(
    symbol: Annotated[str, typer.Option("--symbol", "-s", help="Close this symbol's positions only.")] = "",
    reason: ReasonOption = "by hand",
    account: AccountOption = "",
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
    url: UrlOption = "",
    password: PasswordOption = "",
) -> None:
    """Halt, and close every position of ours."""
    message = Flatten(**_stamp(), reason=reason, symbol=symbol)
    _command(message, TradingHalted, find_target(data_dir, url, password, account), as_json=as_json)


def _stamp() -> dict[str, Any]:
    """Return who says it and when."""
    now_ns = time.time_ns()
    return {
        "ts_event_ns": now_ns,
        "ts_init_ns": now_ns,
        "command_id": uuid.uuid4().hex,
        "issued_by": f"{getpass.getuser()}@tickwire",
    }


def _command(message: Message, expected: type[Message], target: Target, *, as_json: bool) -> None:
    verb = type(message).__name__.lower()
    answer = asyncio.run(_send(message, expected, target))
    if as_json:
        text = "" if answer is None else getattr(answer, "reason", "")
        print_json({"command": verb, "account": target.account, "confirmed": answer is not None, "reason": text})
    elif answer is not None:
        detail = getattr(answer, "reason", "") or getattr(answer, "issued_by", "")
        out.print(f"{verb}: risk confirms for account {target.account}: {type(answer).__name__} ({detail})")
    if answer is None:
        print_error(
            f"{verb}: stored on {subjects.control(verb)}, but risk did not confirm for account {target.account} within "
            f"{CONFIRM_WITHIN_S:.0f} s. It will obey when it is back; look at `tickwire status`."
        )
        raise typer.Exit(1)


async def _send(message: Message, expected: type[Message], target: Target) -> Message | None:
    """Publish a command and return risk's confirmation, ``None`` when none came in time."""
    async with connected(target, "operator") as bus:
        confirmed: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        subject = subjects.risk_state(target.account)

        def heard(_: str, payload: bytes) -> None:
            try:
                answer = _codec.decode(payload, subject)
            except MalformedMessage as error:
                err.print(str(error))
                return
            if isinstance(answer, expected) and not confirmed.done():
                confirmed.set_result(answer)

        before = await bus.last(subject)
        await bus.on_message(subject, heard)
        alive = await _listen_for_risk(bus)
        await bus.publish(message)
        try:
            return await asyncio.wait_for(confirmed, CONFIRM_WITHIN_S)
        except TimeoutError:
            # Risk says nothing new when it is in that state already; then its pulse must do.
            return before if isinstance(before, expected) and alive.is_set() else None


async def _listen_for_risk(bus: NatsBus) -> asyncio.Event:
    alive = asyncio.Event()
    await bus.on_message(subjects.health("risk"), lambda _subject, _payload: alive.set())
    return alive
