"""Two runs side by side."""

from typing import Any

from backtest.compare import Side, comparison, figures, pair_trades


def columns(*rows: tuple[Any, ...]) -> dict[str, list[Any]]:
    names = ("symbol", "side", "opened_ns", "closed_ns", "reason", "volume_lots", "net_ccy", "price_open", "price_close")
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


ONE = ("EURUSD", "buy", 100, 200, "tp", 1.0, 5.0, 1.1, 1.2)
TWO = ("EURUSD", "sell", 300, 400, "sl", 1.0, -3.0, 1.2, 1.3)


def test_trades_are_paired_by_how_they_were_opened():
    other = ("EURUSD", "sell", 300, 450, "order", 1.0, 2.0, 1.2, 1.18)
    only = ("EURUSD", "buy", 500, 600, "tp", 1.0, 1.0, 1.1, 1.2)
    found = pair_trades(columns(ONE, TWO), columns(ONE, other, only))
    assert (found.same, found.changed, found.only_a, found.only_b) == (1, ((1, 1),), (), (2,))


def test_parts_of_one_position_are_paired_in_order_and_a_missing_one_is_told():
    half = (*ONE[:3], 150, "order", 0.5, 1.0, 1.1, 1.15)
    rest = (*ONE[:3], 200, "tp", 0.5, 2.0, 1.1, 1.2)
    found = pair_trades(columns(half, rest), columns(half))
    assert (found.same, found.only_a, found.only_b) == (1, (1,), ())


def side(name: str, sharpe: float | None, data: str = "x") -> Side:
    summary = {
        "return_pct": 1.0, "cagr_pct": None, "max_drawdown_pct": 2.0, "sharpe": sharpe, "sortino": None, "calmar": None,
        "sharpe_p": 0.5, "exposure_share": 0.5,
        "trades": {"profit_factor": None, "expectancy_ccy": None, "win_rate": None, "trades": 0},
    }
    costs = dict.fromkeys(("net_ccy", "spread_ccy", "slippage_ccy", "commission_ccy", "swap_ccy"), 0.0)
    metrics = {
        "currency": "USD", "summary": summary, "costs": costs, "refusals": [{"count": 3}, {"count": 4}], "ticks": 10,
        "data_sha256": data, "source_sha256": "y", "title": "t", "symbols": ["EURUSD"],
    }
    start = 100 if name == "a" else 200
    equity = {"time_ns": [start * 10**9, 400 * 10**9], "equity_ccy": [50.0, 55.0], "balance_ccy": [50.0, 55.0]}
    return Side(name=name, folder=name, metrics=metrics, trades=columns(), equity=equity)


def test_a_figure_that_one_run_lacks_has_no_difference():
    by_name = {one.name: one for one in figures(side("a", 1.0), side("b", None))}
    assert (by_name["Sharpe"].a, by_name["Sharpe"].b, by_name["Sharpe"].difference) == (1.0, None, None)
    assert by_name["refused"].a == 7.0


def test_curves_are_in_percent_of_each_start_and_silent_before_it():
    page = comparison(side("a", 1.0), side("b", 2.0, data="other"))
    assert page["equity"] == {"t": [100, 200, 400], "a": [0.0, 0.0, 10.0], "b": [None, 0.0, 10.0]}
    assert page["notes"] == ["The two runs saw different ticks."]
