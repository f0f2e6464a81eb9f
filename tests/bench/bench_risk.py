"""How long risk takes to turn a prediction into a signed order, beside the signature alone."""

import time
from collections.abc import Callable
from statistics import median

from libs.common.signing import Signer, sign_approval
from services.risk.config import RiskConfig
from tests.unit.risk.scenarios import SEED, WEDNESDAY_NOON, World, halt, only_approval, prediction

N = 2_000
REPEATS = 5
ROOMY = RiskConfig(
    max_positions_per_symbol=10**6, max_open_positions=10**6, max_symbol_exposure_x=100, max_total_exposure_x=100,
    max_orders_per_minute=10**6, repeat_window_ms=0, min_free_margin_pct=0, account_max_age_ms=10**9,
    quote_max_age_ms=10**9,
)  # fmt: skip
STEP_NS = 8_000_000_000
"""Between two predictions an approval expires and is forgotten, so nothing piles up."""


def microseconds_each(work: Callable[[int], object]) -> float:
    began = time.perf_counter()
    for k in range(N):
        work(k)
    return (time.perf_counter() - began) / N * 1e6


def deciding(halted: bool) -> list[float]:
    """Return µs per prediction: approved and signed, or refused by the halt."""
    found = []
    for _ in range(REPEATS):
        world = World(ROOMY).ready()
        if halted:
            world.hear(halt())
        messages = [prediction(ts_ns=WEDNESDAY_NOON + k * STEP_NS) for k in range(N)]
        found.append(
            microseconds_each(
                lambda k, core=world.core, all_of_them=messages: core.on_prediction(
                    all_of_them[k], WEDNESDAY_NOON + k * STEP_NS
                )
            )
        )
    return found


def signing() -> list[float]:
    """Return µs per signature of an approval."""
    order = only_approval(World().ready().hear(prediction()))
    signer = Signer(SEED)
    return [microseconds_each(lambda k: sign_approval(order, signer)) for _ in range(REPEATS)]


def rows() -> list[dict[str, object]]:
    """Measure and return the rows of the benchmark table."""
    floor = signing()
    table: list[dict[str, object]] = []
    for name, ours in (
        ("risk, prediction to signed order", deciding(halted=False)),
        ("risk, prediction refused", deciding(halted=True)),
    ):
        table.append({
            "name": name, "unit": "µs", "value": median(ours), "against": "Ed25519 signature of an order",
            "against_value": median(floor), "ratio": median(ours) / median(floor), "n": N * REPEATS,
            "min": min(ours), "max": max(ours),
        })
    return table


if __name__ == "__main__":
    for row in rows():
        print(row)
