"""A session that ran: its configuration, its streams and its model bundles, read without touching them."""

import asyncio
import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from backtest.verify import COMPARED
from backtest.wiring import Sections
from libs.common.bus.nats import NatsBus
from libs.common.bus.server import EmbeddedServer
from libs.common.core import Effect, EffectResult
from libs.common.errors import ArtifactError, ConfigError, DataError
from libs.common.messages.base import Message
from libs.common.messages.control import Flatten, Halt, Resume
from libs.common.messages.market import TickBlock
from libs.common.messages.models import ModelPromoted, ModelRetired, ModelShadowed
from libs.common.signing import Verifier
from libs.common.storage.keys import read_key
from services.inference.effects import BundleBroken, BundleVerified, LoadBundle, object_name_of
from services.inference.library import ModelLibrary, verified_model
from tickwire.connect import stored
from tickwire.runfile import read_run_file
from tickwire.sections import read_all

_PATTERNS = (
    "ticks.*", "bars.*.*", "features.*", "predictions.*", "shadows.*", "orders.>", "executions.>", "account.*", "models.*.*",
)
_MODEL_EVENTS = (ModelPromoted, ModelShadowed, ModelRetired)


@dataclass(frozen=True)
class RecordedSession:
    """What a lockstep session left behind.

    Parameters
    ----------
    sections : its configuration
    blocks : its ticks in order of their steps
    events : step -> what inference was told of models in it
    said : everything its services said that can be compared, in order per subject
    bundles : archives of its models by object name
    """

    sections: Sections
    blocks: tuple[TickBlock, ...]
    events: dict[int, list[Message]]
    said: tuple[Message, ...]
    bundles: dict[str, bytes]
    verifier: Verifier


def sections_of(config_file: Path) -> Sections:
    """Return the sections a run depends on, checked.

    Raises
    ------
    ConfigError : naming file, key, problem and remedy
    """
    everything: dict[str, Any] = read_all(config_file)
    return Sections(**{name: everything[name] for name in Sections.__struct_fields__})


def newest_session(parent: Path) -> Path:
    """Return the newest recorded session below a folder.

    Raises
    ------
    ConfigError : when there is none
    """
    found = sorted(folder for folder in parent.glob("*") if (folder / "state" / "nats" / "jetstream").is_dir())
    if not found:
        raise ConfigError(f"{parent}: no recorded session. Run `tickwire demo --lockstep` first, or name its folder.")
    return found[-1]


def read_session(run_dir: Path) -> RecordedSession:
    """Read a finished session from its folder; a copy of its streams is served for the purpose and thrown away.

    Raises
    ------
    ConfigError : when the folder holds no finished lockstep session
    DataError : when its streams hold commands, whose place among the ticks nobody can tell
    """
    config_file, state = run_dir / "config.yaml", run_dir / "state"
    if not config_file.is_file() or not (state / "nats" / "jetstream").is_dir():
        raise ConfigError(
            f"{run_dir}: no recorded session (config.yaml and state/nats/jetstream). Name the folder that "
            "`tickwire demo --lockstep` wrote."
        )
    if read_run_file(state) is not None:
        raise ConfigError(f"{run_dir}: this session is still running. Stop it first.")
    sections = sections_of(config_file)
    if not sections.system.lockstep:
        raise ConfigError(
            f"{config_file}: system.lockstep is off. Running free, what overtakes what is left to chance, so only a "
            "lockstep session can be repeated message by message."
        )
    with tempfile.TemporaryDirectory(prefix="tickwire-verify-") as folder:
        copy = Path(folder)
        shutil.copytree(state / "nats" / "jetstream", copy / "nats" / "jetstream")
        return asyncio.run(_read(copy, sections, Verifier(read_key(state, "trainer.pub"))))


async def _read(copy: Path, sections: Sections, verifier: Verifier) -> RecordedSession:
    server = EmbeddedServer(copy)
    await server.start()
    try:
        bus = await NatsBus.connect(server.url, user="admin", password=server.passwords["admin"])
        try:
            await _refuse_commands(bus)
            messages = [
                delivered.message async for delivered in stored(bus, _PATTERNS) if delivered.message is not None
            ]
            events: dict[int, list[Message]] = {}
            bundles: dict[str, bytes] = {}
            for message in messages:
                if isinstance(message, _MODEL_EVENTS):
                    events.setdefault(message.step, []).append(message)
                    name = object_name_of(message.name, message.version, message.bundle_sha256)
                    if name not in bundles and not isinstance(message, ModelRetired):
                        bundles[name] = await bus.get_object(name)
        finally:
            await bus.close()
    finally:
        await server.stop()
    blocks = sorted((m for m in messages if isinstance(m, TickBlock)), key=lambda block: block.step)
    said = tuple(message for message in messages if isinstance(message, COMPARED))
    return RecordedSession(sections, tuple(blocks), events, said, bundles, verifier)


async def _refuse_commands(bus: NatsBus) -> None:
    for verb, kind in (("halt", Halt), ("resume", Resume), ("flatten", Flatten)):
        found = await bus.last(f"control.{verb}")
        if isinstance(found, kind):
            raise DataError(
                f"control.{verb}", f"{found.issued_by} gave a command in this session ({found.reason})",
                remedy="Commands come from outside of event time, so a session with one cannot be repeated exactly",
            )


class BundleLoader:
    """Performs inference's effects from the archives of a session."""

    def __init__(self, library: ModelLibrary, bundles: dict[str, bytes], verifier: Verifier) -> None:
        self._library, self._bundles, self._verifier = library, bundles, verifier

    def __call__(self, effect: Effect) -> EffectResult:
        """Verify the bundle an effect names and put its model into the library."""
        assert isinstance(effect, LoadBundle)
        named: dict[str, Any] = {
            field: getattr(effect, field)
            for field in (
                "ts_event_ns", "ts_init_ns", "step", "effect_id", "name", "version", "symbol", "bundle_sha256", "shadow",
            )
        }
        try:
            archive = self._bundles[effect.object_name]
            self._library.put(verified_model(archive, self._verifier, effect.bundle_sha256))
        except (ArtifactError, KeyError) as error:
            return BundleBroken(**named, reason=str(error))
        return BundleVerified(**named)


def data_sha256(blocks: tuple[TickBlock, ...]) -> str:
    """Return the hash of a session's ticks."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(msgspec.json.encode([block.symbol, block.first_tick]))
        for column in (block.time_ns, block.bid, block.ask):
            digest.update(column.tobytes())
    return digest.hexdigest()
