"""Builds the cores of a run from the sections of a configuration, with a simulated terminal as their broker."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from libs.common.config import InstrumentConfig, SystemConfig
from libs.common.core import Effect, EffectResult
from libs.common.errors import ConfigError
from libs.common.mt5.sim.terminal import SimulatedTerminal
from libs.common.trading.instrument import Instrument
from services.executor.config import ExecutorConfig
from services.executor.core import ExecutorCore
from services.executor.desk import SimulatedDesk
from services.executor.effects import IntentRecorded, RecordIntent, RecordStates, StatesRecorded
from services.features.calendar import CalendarEvent
from services.features.config import FeaturesConfig
from services.features.core import FeaturesCore
from services.inference.config import InferenceConfig
from services.inference.core import InferenceCore
from services.inference.library import ModelLibrary
from services.inference.strategies import TEMPLATES
from services.ingest.config import IngestConfig
from services.risk.config import RiskConfig
from services.risk.core import RiskCore


class Sections(msgspec.Struct, frozen=True, kw_only=True):
    """The sections of a configuration that a run depends on."""

    system: SystemConfig
    instruments: dict[str, InstrumentConfig]
    ingest: IngestConfig
    features: FeaturesConfig
    inference: InferenceConfig
    risk: RiskConfig
    executor: ExecutorConfig


class Seal:
    """Stands for risk's key pair where both ends are one process: a keyed hash instead of a signature.

    What is signed and what is checked is the same; only who could forge it differs, and in here nobody is another.
    """

    key_id = "in-process"

    def __init__(self, key: bytes = b"backtest") -> None:
        self._key = key

    def sign(self, content: bytes) -> str:
        return hashlib.blake2b(content, key=self._key, digest_size=16).hexdigest()

    def verify(self, content: bytes, signature: str) -> bool:
        return hmac.compare_digest(self.sign(content), signature)


class Cores(msgspec.Struct, frozen=True, kw_only=True):
    """The cores of one run and the terminal they trade with."""

    features: FeaturesCore
    inference: InferenceCore
    risk: RiskCore
    executor: ExecutorCore
    terminal: SimulatedTerminal


def build_cores(
    sections: Sections,
    *,
    library: ModelLibrary | None = None,
    strategies: Mapping[str, Any] = TEMPLATES,
    calendar: Sequence[CalendarEvent] | None = None,
) -> Cores:
    """Return the cores as a live system with these sections would have them.

    Parameters
    ----------
    library : verified models
    strategies : rule strategies by name, the user's own included
    calendar : economic events, where ``features.calendar`` names a file

    Raises
    ------
    ConfigError : when the sections contradict each other
    """
    system = sections.system
    for symbol in system.symbols:
        if symbol not in sections.instruments:
            raise ConfigError(f"instruments: no entry for '{symbol}' of system.symbols. Add it.")
    instruments = {name: Instrument(name, config) for name, config in sections.instruments.items()}
    seal: Any = Seal()
    terminal = SimulatedTerminal(sections.executor.terminal, instruments, system.seed)
    return Cores(
        features=FeaturesCore.from_config(sections.features, system, sections.instruments, calendar),
        inference=InferenceCore(
            sections.inference, ModelLibrary() if library is None else library, strategies
        ),
        risk=RiskCore(sections.risk, system.account, system.symbols, sections.instruments, seal),
        executor=ExecutorCore(sections.executor, system.account, instruments, SimulatedDesk(terminal), seal),
        terminal=terminal,
    )


def keep_no_journal(effect: Effect) -> EffectResult:
    """Answer the executor's journal effects: in a run that can be repeated at will nothing needs to survive a crash.

    Raises
    ------
    TypeError : for an effect only an external broker calls for
    """
    if isinstance(effect, RecordIntent):
        return IntentRecorded(
            ts_event_ns=effect.ts_event_ns, ts_init_ns=effect.ts_init_ns, effect_id=effect.effect_id,
            order_id=effect.order_id, new=True, state="",
        )
    if isinstance(effect, RecordStates):
        return StatesRecorded(
            ts_event_ns=effect.ts_event_ns, ts_init_ns=effect.ts_init_ns, effect_id=effect.effect_id
        )
    raise TypeError(f"a simulated terminal needs no {type(effect).__name__}")
