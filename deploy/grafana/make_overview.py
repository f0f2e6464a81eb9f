"""Writes dashboards/overview.json: what Tickwire sees, thinks and does, on one page.

Run it after a change (`python deploy/grafana/make_overview.py`) and commit both files; a test compares them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).parent / "dashboards" / "overview.json"
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
_COLUMNS = 24


@dataclass(frozen=True)
class Query:
    """One PromQL expression and the text of its legend."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """One picture.

    Parameters
    ----------
    kind : ``timeseries`` or ``stat``
    unit : Grafana's name of the unit
    width : columns of 24
    colours : value from which a colour holds -> colour; only for ``stat``
    words : value -> word shown instead; only for ``stat``
    stack : draw one series on top of the other
    """

    title: str
    queries: tuple[Query, ...]
    text: str
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 7
    colours: tuple[tuple[float | None, str], ...] = ()
    words: tuple[tuple[int, str], ...] = ()
    stack: bool = False


GREEN_AT_ONE = ((None, "red"), (1.0, "green"))
RED_AT_ONE = ((None, "green"), (1.0, "red"))

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Is it well?",
        (
            Panel(
                "Services ready",
                (Query("tickwire_service_ready", "{{service}}"),),
                "Inputs joined, nothing replays, bus reached.",
                kind="stat", width=12, height=4, colours=GREEN_AT_ONE, words=((0, "no"), (1, "ready")),
            ),
            Panel(
                "Trading",
                (Query("tickwire_risk_halted", "trading"),),
                "Halted by a limit or by hand until `tickwire resume`.",
                kind="stat", width=4, height=4, colours=RED_AT_ONE, words=((0, "allowed"), (1, "HALTED")),
            ),
            Panel(
                "Orders in doubt",
                (Query("tickwire_executor_orders_unknown", "orders"),),
                "Sent, and nobody knows what became of them; counted as worst-case exposure.",
                kind="stat", width=4, height=4, colours=RED_AT_ONE,
            ),
            Panel(
                "Messages lost",
                (Query("sum(tickwire_bus_messages_lost_total)", "messages"),),
                "Holes in sequences that no stream holds any more.",
                kind="stat", width=4, height=4, colours=RED_AT_ONE,
            ),
        ),
    ),
    (
        "What it sees",
        (
            Panel(
                "Ticks per second",
                (Query("sum by (symbol) (rate(tickwire_ingest_ticks_total[$__rate_interval]))", "{{symbol}}"),),
                "Good ticks published by ingest.",
            ),
            Panel(
                "Ticks kept back, by rule",
                (Query("sum by (rule) (tickwire_ingest_quarantined_total)", "{{rule}}"),),
                "Since ingest started. They lie in its quarantine folder.", stack=True,
            ),
            Panel(
                "Feed stale",
                (Query("tickwire_ingest_feed_stale", "{{symbol}}"),),
                "1 while a symbol is silent although its market is open.",
            ),
        ),
    ),
    (
        "What it thinks",
        (
            Panel(
                "Decision points per minute",
                (Query("60 * sum by (symbol) (rate(tickwire_features_rows_total[$__rate_interval]))", "{{symbol}}"),),
                "Feature rows: one per symbol whenever a decision is due.",
            ),
            Panel(
                "Predictions per minute",
                (Query("60 * sum by (side) (rate(tickwire_inference_predictions_total[$__rate_interval]))", "{{side}}"),),
                "By the side they suggest.", stack=True,
            ),
            Panel(
                "Model version",
                (Query("tickwire_inference_model_version", "{{symbol}}"),),
                "Of the champion that inference has loaded.",
            ),
            Panel(
                "Drift of features (PSI)",
                (Query("tickwire_inference_drift_psi", "{{symbol}}"),),
                "The highest population stability index of any watched feature; above 0.25 the market has changed.",
            ),
            Panel(
                "Trainings",
                (Query("sum by (symbol, outcome) (tickwire_trainer_trainings_total)", "{{symbol}} {{outcome}}"),),
                "Since the trainer started, by what became of them.",
            ),
            Panel(
                "Labelled rows held",
                (Query("tickwire_trainer_samples", "{{symbol}}"),),
                "What the next training would see.",
            ),
        ),
    ),
    (
        "What it does",
        (
            Panel(
                "Approved and refused per minute",
                (
                    Query("60 * sum(rate(tickwire_risk_approvals_total[$__rate_interval]))", "approved"),
                    Query(
                        "60 * sum by (reason) (rate(tickwire_risk_refusals_total[$__rate_interval]))",
                        "refused: {{reason}}",
                    ),
                ),
                "What risk said to predictions, and why not.", width=12, stack=True,
            ),
            Panel(
                "Orders by what became of them",
                (Query("sum by (state) (tickwire_executor_orders_total)", "{{state}}"),),
                "Since the executor started.", width=12,
            ),
            Panel(
                "Equity and balance",
                (
                    Query("tickwire_executor_equity_ccy", "equity {{account}}"),
                    Query("tickwire_executor_balance_ccy", "balance {{account}}"),
                ),
                "In the currency of the account.",
            ),
            Panel(
                "Open positions",
                (Query("tickwire_executor_open_positions", "{{account}}"),),
                "Ours and others' on the account.",
            ),
            Panel(
                "Slippage",
                (
                    Query(
                        "histogram_quantile(0.5, "
                        "sum by (le) (rate(tickwire_executor_slippage_points_bucket[$__range])))",
                        "median",
                    ),
                    Query(
                        "histogram_quantile(0.9, "
                        "sum by (le) (rate(tickwire_executor_slippage_points_bucket[$__range])))",
                        "90 of 100 below",
                    ),
                ),
                "Fill against approved price, points; positive is worse.",
            ),
        ),
    ),
    (
        "How it runs",
        (
            Panel(
                "Loop lag",
                (Query("tickwire_service_loop_lag_seconds", "{{service}}"),),
                "Worst delay of an event loop in a second.", unit="s",
            ),
            Panel(
                "Time a core takes for what has piled up (p99)",
                (
                    Query(
                        "histogram_quantile(0.99, sum by (service, le) "
                        "(rate(tickwire_service_handle_seconds_bucket[$__rate_interval])))",
                        "{{service}}",
                    ),
                ),
                "One turn of the service loop.", unit="s",
            ),
            Panel(
                "Messages per second",
                (Query("sum by (service) (rate(tickwire_service_messages_in_total[$__rate_interval]))", "{{service}}"),),
                "Handled by a core.",
            ),
            Panel(
                "Bus gaps",
                (
                    Query("sum by (service) (tickwire_bus_gaps_filled_total)", "{{service}} filled"),
                    Query("sum by (service) (tickwire_bus_messages_lost_total)", "{{service}} lost"),
                ),
                "Holes in sequences: filled from the stream, or lost. Since the service started.",
            ),
            Panel(
                "Reconnections",
                (Query("tickwire_bus_reconnects_total", "{{service}}"),),
                "Since the service started.",
            ),
            Panel(
                "Memory",
                (Query('process_resident_memory_bytes{job="tickwire"}', "{{service}}"),),
                "Resident, per service.", unit="bytes",
            ),
        ),
    ),
)


def overview() -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                "gridPos": {"x": 0, "y": top, "w": _COLUMNS, "h": 1},
            }
        )
        top += 1
        left = 0
        for panel in row:
            if left + panel.width > _COLUMNS:
                left, top = 0, top + panel.height
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            panels.append(_panel(panel, len(panels) + 1, place))
            left += panel.width
        top += row[-1].height
    return {
        "uid": "tickwire-overview",
        "title": "Tickwire overview",
        "description": "Made by deploy/grafana/make_overview.py; change that, not this.",
        "tags": ["tickwire"],
        "timezone": "utc",
        "schemaVersion": 41,
        "editable": False,
        "refresh": "5s",
        "time": {"from": "now-30m", "to": "now"},
        "annotations": {
            "list": [
                {
                    "name": "Alarms", "enable": True, "iconColor": "red", "datasource": DATASOURCE,
                    "expr": 'ALERTS{alertstate="firing", severity="critical"}', "titleFormat": "{{alertname}}",
                }
            ]
        },
        "templating": {"list": []},
        "panels": panels,
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": DATASOURCE,
        "gridPos": place,
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": DATASOURCE, "expr": query.expr, "legendFormat": query.legend}
            for at, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        steps = [{"value": value, "color": colour} for value, colour in panel.colours]
        words = {str(value): {"text": word, "index": at} for at, (value, word) in enumerate(panel.words)}
        return {
            "unit": panel.unit,
            "color": {"mode": "thresholds"},
            "thresholds": {"mode": "absolute", "steps": steps},
            "mappings": [{"type": "value", "options": words}] if words else [],
        }
    stacking = {"mode": "normal" if panel.stack else "none", "group": "A"}
    return {
        "unit": panel.unit,
        "color": {"mode": "palette-classic"},
        "custom": {"lineWidth": 1, "fillOpacity": 25 if panel.stack else 5, "showPoints": "never", "stacking": stacking},
    }


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {
            "colorMode": "background", "graphMode": "none", "textMode": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


if __name__ == "__main__":
    OUTPUT.write_text(json.dumps(overview(), indent=1) + "\n", encoding="utf-8")
