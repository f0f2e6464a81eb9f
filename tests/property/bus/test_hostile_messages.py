"""Whatever of a permitted type comes on a subject a service hears: it is turned down, or the core can live with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from libs.common.bus.protocol import opened
from libs.common.codec import Codec, encode
from libs.common.config import InstrumentConfig, SystemConfig
from libs.common.core import Effect, dispatch
from libs.common.messages.market import TickBlock
from libs.common.mt5.sim.terminal import SimulatedTerminal
from libs.common.routing import subject_of
from libs.common.signing import Signer, Verifier
from services.executor.config import ExecutorConfig
from services.executor.core import ExecutorCore
from services.executor.desk import SimulatedDesk
from services.executor.shell import instruments_of
from services.features.config import FeaturesConfig
from services.features.core import FeaturesCore
from services.inference.config import InferenceConfig
from services.inference.core import InferenceCore
from services.inference.library import ModelLibrary
from services.risk.config import RiskConfig
from services.risk.core import RiskCore
from services.trainer.config import TrainerConfig
from services.trainer.core import TrainerCore
from tests.property.bus.message_strategies import of_kind

SYMBOLS = ("EURUSD", "XAUUSD")
SYSTEM = SystemConfig(symbols=SYMBOLS)
INSTRUMENTS = {
    "EURUSD": InstrumentConfig(), "XAUUSD": InstrumentConfig(digits=2, contract_size=100.0, margin_currency="XAU")
}  # fmt: skip
SIGNER = Signer(bytes(32))
START_NS = 1_704_700_000_000_000_000
S = 1_000_000_000
any_codec = Codec()


def executor():
    instruments = instruments_of(SYSTEM, INSTRUMENTS)
    desk = SimulatedDesk(SimulatedTerminal(ExecutorConfig().terminal, instruments, 1))
    return ExecutorCore(ExecutorConfig(), "paper", instruments, desk, Verifier(SIGNER.public_bytes))


CORES = {
    "features": lambda: FeaturesCore.from_config(FeaturesConfig(), SYSTEM, INSTRUMENTS, None),
    "inference": lambda: InferenceCore(InferenceConfig(), ModelLibrary()),
    "risk": lambda: RiskCore(RiskConfig(), "paper", SYMBOLS, INSTRUMENTS, SIGNER),
    "executor": executor,
    "trainer": lambda: TrainerCore(TrainerConfig(), SYMBOLS, INSTRUMENTS, 1),
}


def true_ticks(number, symbol):
    """The ticks that come between all the rest."""
    times = START_NS + number * 60 * S + np.arange(3) * S
    bid = np.array([1.1, 1.1002, 1.1001])
    return TickBlock(
        ts_event_ns=int(times[-1]), ts_init_ns=0, symbol=symbol, first_tick=3 * number + 1, time_ns=times, bid=bid,
        ask=bid + 0.0001,
    )


@st.composite
def heard(draw, core):
    """A message of a kind the core hears, more often than not about what it knows."""
    message = draw(of_kind(draw(st.sampled_from([kind for route in core.HEARS for kind in route.kinds]))))
    changes = {"seq": 1, "ts_event_ns": draw(st.integers(-1, 2 * START_NS))}
    for name, known in (("symbol", SYMBOLS), ("account", ("paper",)), ("order_id", ("ab" * 12, "cd" * 12))):
        if hasattr(message, name) and draw(st.integers(0, 5)):
            changes[name] = draw(st.sampled_from(known))
    if isinstance(message, TickBlock):
        times = np.sort(np.abs(message.time_ns) % (2 * START_NS))
        changes |= {"time_ns": times, "ts_event_ns": int(times[-1])}
    return structs.replace(message, **changes)


@pytest.mark.parametrize("name", CORES)
def test_no_message_that_is_let_in_ends_a_core(name):
    @settings(max_examples=40, deadline=None)
    @given(st.lists(heard(CORES[name]()), min_size=1, max_size=12))
    def check(messages):
        core, let_in = CORES[name](), 0
        routes = [kind for route in core.HEARS for kind in route.kinds]
        for number, message in enumerate(messages):
            if TickBlock in routes:
                dispatch(core, true_ticks(number, SYMBOLS[number % 2]), START_NS + number * 60 * S)
            delivered = opened(any_codec, subject_of(message), encode(message))
            if delivered.message is None:
                assert delivered.error
                continue
            let_in += 1
            for output in dispatch(core, delivered.message, max(START_NS, message.ts_event_ns)):
                if not isinstance(output, Effect):
                    any_codec.decode(encode(output), subject_of(output))
        again = CORES[name]()
        again.restore(core.snapshot())
        assert again.snapshot() == core.snapshot()

    check()
