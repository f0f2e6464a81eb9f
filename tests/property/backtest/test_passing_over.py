"""Whatever the market, the broker and the rules: passing over quiet steps decides what walking every step decides."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.backtest.passing_world import decided, quotes, run, sections

DECIDE = st.one_of(
    st.fixed_dictionaries({"kind": st.just("tick"), "every": st.integers(1, 50)}),
    st.fixed_dictionaries({"kind": st.just("bar"), "every": st.just(60)}),
    st.fixed_dictionaries({"kind": st.just("interval"), "every": st.integers(2, 90)}),
)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1), decide_on=DECIDE, latency_ms=st.sampled_from([0.0, 50.0, 3_000.0]),
    hedging=st.booleans(), stop=st.sampled_from([0.0001, 0.0004, 0.003]), horizon_s=st.sampled_from([0, 90]),
    loss_pct=st.sampled_from([0.3, 50.0]), on_opposite=st.sampled_from(["hold", "close", "reverse"]),
    account_every_s=st.sampled_from([0.2, 1.0, 5.0]), max_block=st.sampled_from([1, 64, 4_096]),
)
def test_passing_over_quiet_steps_changes_no_decision(
    seed: int, decide_on: dict[str, object], latency_ms: float, hedging: bool, stop: float, horizon_s: int,
    loss_pct: float, on_opposite: str, account_every_s: float, max_block: int,
) -> None:
    configuration = sections(
        system={"symbols": ["EURUSD"], "decide_on": decide_on, "seed": seed},
        ingest={"adapter": "synthetic", "max_block": max_block},
        inference={
            "strategy": {"name": "mean_reversion", "params": {
                "threshold": 0.5, "protection": {"stop": stop, "target": stop}, "horizon_s": horizon_s,
            }},
            "drift": {"enabled": False},
        },
        risk={"max_daily_loss_pct": loss_pct, "on_opposite": on_opposite},
        executor={"account_every_s": account_every_s, "terminal": {
            "latency_ms": latency_ms, "hedging": hedging, "slippage": "half_normal", "slippage_points": 2.0,
        }},
    )
    blocks = [quotes(seed, 4_000, step_ns=2_000_000_000)]
    quick, cores = run(configuration, blocks, careful=False)
    slow, careful_cores = run(configuration, blocks, careful=True)
    assert decided(quick) == decided(slow)
    assert cores.terminal.balance_ccy == careful_cores.terminal.balance_ccy
