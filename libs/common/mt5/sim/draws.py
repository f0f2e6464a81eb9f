"""Numbers that look random and are functions of seed, purpose and counter: no state, any order, any machine."""

import hashlib
import math
from statistics import NormalDist

from libs.common.mt5.sim.settings import TerminalSettings

_NORMAL = NormalDist()


def normal(seed: int, purpose: str, counter: int) -> float:
    """Return a standard normal number that belongs to the three arguments."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{counter}".encode(), digest_size=8).digest()
    uniform = ((int.from_bytes(digest, "big") >> 11) + 0.5) / 2**53
    return _NORMAL.inv_cdf(uniform)


def latency_ns(settings: TerminalSettings, seed: int, request_number: int) -> int:
    """Return how long the server takes to get to a request, ns."""
    if settings.latency_ms == 0.0:
        return 0
    stretch = 1.0
    if settings.latency_sigma > 0.0:
        stretch = math.exp(settings.latency_sigma * normal(seed, "latency", request_number))
    return max(1, round(settings.latency_ms * stretch * 1e6))


def slippage_points(settings: TerminalSettings, seed: int, order_ticket: int) -> int:
    """Return by how many points an order is filled worse than the quote, >= 0."""
    if settings.slippage == "none":
        return 0
    if settings.slippage == "fixed":
        return round(settings.slippage_points)
    return round(abs(normal(seed, "slippage", order_ticket)) * settings.slippage_points)
