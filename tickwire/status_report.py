"""A status as plain values, and as tables."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from libs.common.bus.streams import SERVICES
from libs.common.messages.account import AccountSnapshot
from libs.common.messages.base import Message
from libs.common.messages.control import Heartbeat, TradingHalted
from tickwire.flow import sequence_lags
from tickwire.models_history import VersionState
from tickwire.runfile import RunFile
from tickwire.tail_format import clock, format_value

SILENT_AFTER_S = 3.0
_DETAILS_SHOWN = 6


def collect_status(
    *,
    target_url: str,
    run: RunFile | None,
    beats: Mapping[str, Heartbeat],
    ages_s: Mapping[str, float],
    account: Message | None,
    risk: Message | None,
    champions: Mapping[str, VersionState],
) -> dict[str, Any]:
    """Return everything ``tickwire status`` knows as plain values (what ``--json`` prints).

    Parameters
    ----------
    beats, ages_s : newest heartbeat per service, and how long ago it was heard, seconds
    account, risk : newest message on ``account.<account>`` and ``risk.<account>``
    champions : model name -> the version in charge
    """
    lags = sequence_lags(beats)
    expected = tuple(run.services) if run is not None else SERVICES
    services = [
        _service(name, beats.get(name), ages_s.get(name), lags.get(name, {}), run)
        for name in dict.fromkeys((*expected, *beats))
    ]
    return {
        "url": target_url,
        "ready": all(service["state"] == "ready" for service in services),
        "services": services,
        "models": [
            {"name": name, "version": state.version, "symbol": state.symbol, "in_service": state.in_service,
             "metrics": state.metrics}
            for name, state in sorted(champions.items())
        ],
        "risk": _risk(risk),
        "account": _account(account) if isinstance(account, AccountSnapshot) else None,
    }


def _service(
    name: str, beat: Heartbeat | None, age_s: float | None, lags: Mapping[str, int], run: RunFile | None
) -> dict[str, Any]:
    state = "silent"
    if beat is not None and age_s is not None and age_s <= SILENT_AFTER_S:
        state = "ready" if beat.ready else "starting"
    return {
        "name": name,
        "state": state,
        "pid": run.services.get(name) if run is not None else None,
        "age_s": None if age_s is None else round(age_s, 1),
        "loop_lag_ms": None if beat is None else round(beat.lag_ms, 2),
        "sequence_lag": {subject: lag for subject, lag in lags.items() if lag},
        "version": None if beat is None else beat.version,
        "details": {} if beat is None else dict(beat.details),
    }


def _risk(message: Message | None) -> dict[str, Any]:
    if isinstance(message, TradingHalted):
        since = clock(message.ts_event_ns)
        return {"halted": True, "reason": message.reason, "detail": message.detail, "since": since}
    return {"halted": False, "reason": "", "detail": "", "since": ""}


def _account(account: AccountSnapshot) -> dict[str, Any]:
    peak = max(account.peak_equity_ccy, account.equity_ccy)
    return {
        "account": account.account,
        "currency": account.currency,
        "balance": account.balance_ccy,
        "equity": account.equity_ccy,
        "margin": account.margin_ccy,
        "drawdown_pct": 100.0 * (peak - account.equity_ccy) / peak if peak > 0 else 0.0,
        "unknown_lots": account.unknown_lots,
        "at": clock(account.ts_event_ns),
        "positions": [
            {
                "position_id": position.position_id, "symbol": position.symbol, "side": position.side.value,
                "volume_lots": position.volume_lots, "price_open": position.price_open, "sl": position.sl,
                "tp": position.tp, "profit": position.profit_ccy, "opened": clock(position.opened_ns),
            }
            for position in account.positions
        ],
    }


_STATE_COLOURS = {"ready": "green", "starting": "yellow", "silent": "bold red"}


def render_status(report: Mapping[str, Any]) -> list[Any]:
    """Return a status as things rich can print."""
    parts: list[Any] = [Text(f"stack at {report['url']}", style="bold"), _services_table(report["services"])]
    parts.append(_models_table(report["models"]) if report["models"] else Text("no model was promoted yet"))
    risk = report["risk"]
    if risk["halted"]:
        reason = " ".join(filter(None, (risk["reason"], risk["detail"])))
        parts.append(Text(f"risk: HALTED since {risk['since']}: {reason}", style="bold red"))
    else:
        parts.append(Text("risk: trading", style="green"))
    parts += _account_parts(report["account"])
    return parts


def _services_table(services: list[dict[str, Any]]) -> Table:
    table = Table("service", "state", "pid", "heard", "loop lag", "sequence lag", "details", box=None, pad_edge=False)
    for service in services:
        lags = ", ".join(f"{subject} {lag}" for subject, lag in service["sequence_lag"].items()) or "0"
        details = list(service["details"].items())[:_DETAILS_SHOWN]
        table.add_row(
            service["name"],
            Text(service["state"], style=_STATE_COLOURS[service["state"]]),
            str(service["pid"] or "-"),
            "never" if service["age_s"] is None else f"{service['age_s']:.1f} s ago",
            "-" if service["loop_lag_ms"] is None else f"{service['loop_lag_ms']:.1f} ms",
            lags,
            Text(" ".join(f"{key}={format_value(key, value)}" for key, value in details), style="dim"),
        )
    return table


def _models_table(models: list[dict[str, Any]]) -> Table:
    table = Table("champion", "version", "symbol", "loaded", "metrics", box=None, pad_edge=False)
    for model in models:
        metrics = " ".join(f"{key}={value:.4g}" for key, value in sorted(model["metrics"].items())[:_DETAILS_SHOWN])
        loaded = "yes" if model["in_service"] else "no"
        table.add_row(model["name"], str(model["version"]), model["symbol"], loaded, Text(metrics, style="dim"))
    return table


def _account_parts(account: dict[str, Any] | None) -> list[Any]:
    if account is None:
        return [Text("account: not reported yet", style="yellow")]
    head = Text(
        f"account {account['account']}: equity {account['equity']:.2f} {account['currency']}, balance "
        f"{account['balance']:.2f}, margin {account['margin']:.2f}, drawdown {account['drawdown_pct']:.2f} % "
        f"(at {account['at']})"
    )
    unknown = {symbol: lots for symbol, lots in account["unknown_lots"].items() if lots}
    parts: list[Any] = [head]
    if unknown:
        parts.append(Text(f"orders of unknown outcome: {unknown} lots", style="bold red"))
    if not account["positions"]:
        return [*parts, Text("no open positions")]
    table = Table("position", "symbol", "side", "lots", "open", "sl", "tp", "profit", box=None, pad_edge=False)
    for position in account["positions"]:
        table.add_row(
            str(position["position_id"]), position["symbol"], position["side"], f"{position['volume_lots']:g}",
            f"{position['price_open']:g}", f"{position['sl']:g}", f"{position['tp']:g}",
            Text(f"{position['profit']:+.2f}", style="green" if position["profit"] >= 0 else "red"),
        )
    return [*parts, table]
