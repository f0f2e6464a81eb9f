"""Microstructure from traded volume and depth, for symbols whose feed carries them."""

from services.features.family import Clock, Family, Parameter, WarmUp, span
from services.features.kernels import traded

GROUP = "Microstructure from trades and depth"
SPAN = Parameter(100, meaning="ticks", brief=8)
TRADES, DEPTH = frozenset({"quotes", "last", "volume"}), frozenset({"quotes", "depth"})

FAMILIES = (
    Family(
        "volume_imbalance", Clock.TICKS, traded.volume_imbalance, 1,
        {"imbalance": "EMA_span(signed volume) / EMA_span(volume), sign by Lee and Ready; 0 without trades"},
        {"span": SPAN}, TRADES, warm_up=lambda p: WarmUp(ticks=span(p)), floats=lambda p: 4, ints=1, group=GROUP,
    ),
    Family(
        "vpin", Clock.TICKS, traded.vpin, 1,
        {"vpin": "mean of |bought - sold| / lots over the last `buckets` buckets of `lots` lots"},
        {
            "lots": Parameter(100.0, 1e-6, whole=False, meaning="lots per bucket", brief=5.0),
            "buckets": Parameter(50, 1, meaning="buckets", most=10_000, brief=5),
        },
        TRADES, warm_up=lambda p: WarmUp(data=True), floats=lambda p: 5 + int(p["buckets"]), ints=4, group=GROUP,
    ),
    Family(
        "order_flow_imbalance", Clock.TICKS, traded.order_flow_imbalance, 1,
        {"imbalance": "EMA_span(order flow at the best quotes) / EMA_span(mean volume there)"},
        {"span": SPAN}, DEPTH, warm_up=lambda p: WarmUp(ticks=span(p)), floats=lambda p: 6, ints=1, group=GROUP,
    ),
    Family(
        "depth_imbalance", Clock.ROWS, traded.depth_imbalance, 1,
        {
            "imbalance": "(bid lots - ask lots) / (bid lots + ask lots); 0 if both are 0",
            "micro_price": "(size-weighted mid - mid) / point",
        },
        inputs=DEPTH, group=GROUP,
    ),
)
