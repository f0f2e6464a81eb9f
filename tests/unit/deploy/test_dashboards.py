"""Dashboards: what they plot is exported, what they say is there."""

import importlib.util
import json
import re
import sys
from typing import Any

import pytest
import yaml

from tests.unit.deploy.deployment import (
    COMPOSE,
    DEPLOY,
    OF_PROMETHEUS,
    TARGET_LABELS,
    grouping_labels,
    matched_labels,
    metric_names,
    series,
)

FOLDER = DEPLOY / "grafana"
DASHBOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
PANELS: list[dict[str, Any]] = [
    panel for path in DASHBOARDS for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
]
QUERIES: list[tuple[str, str, str]] = [
    (panel["title"], target["expr"], target["legendFormat"]) for panel in PANELS for target in panel.get("targets", [])
]
WANTED = {
    "tickwire_ingest_ticks_total",
    "tickwire_ingest_quarantined_total",
    "tickwire_features_rows_total",
    "tickwire_inference_predictions_total",
    "tickwire_inference_model_version",
    "tickwire_inference_drift_psi",
    "tickwire_risk_approvals_total",
    "tickwire_risk_refusals_total",
    "tickwire_executor_orders_total",
    "tickwire_executor_equity_ccy",
    "tickwire_executor_balance_ccy",
    "tickwire_executor_open_positions",
    "tickwire_service_loop_lag_seconds",
    "tickwire_service_ready",
    "tickwire_bus_gaps_filled_total",
    "tickwire_bus_messages_lost_total",
}


@pytest.mark.parametrize(("title", "expression", "legend"), QUERIES)
def test_a_panel_plots_declared_metrics_and_labels_only(title: str, expression: str, legend: str) -> None:
    known = series()
    names = metric_names(expression)
    assert names, title
    assert names <= set(known) | OF_PROMETHEUS
    labels = TARGET_LABELS.union(*(known.get(name, set()) for name in names))
    assert grouping_labels(expression) | matched_labels(expression) <= labels
    shown = set(re.findall(r"\{\{(\w+)\}\}", legend))
    grouped = grouping_labels(expression)
    assert shown <= (grouped if "sum" in expression else labels)


def test_the_overview_shows_what_a_trader_asks_for() -> None:
    assert set().union(*(metric_names(expression) for _, expression, _ in QUERIES)) >= WANTED


def test_the_committed_dashboard_is_what_its_program_writes() -> None:
    specification = importlib.util.spec_from_file_location("make_overview", FOLDER / "make_overview.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    written = json.loads(module.OUTPUT.read_text(encoding="utf-8"))
    assert written == module.overview(), "run: python deploy/grafana/make_overview.py"


def test_panels_have_their_own_place_and_number() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_every_panel_names_the_provisioned_datasource() -> None:
    provisioned = yaml.safe_load((FOLDER / "provisioning" / "datasources" / "prometheus.yaml").read_text("utf-8"))
    source = provisioned["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    for panel in PANELS:
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": source["uid"]}


def test_grafana_looks_for_dashboards_where_they_are_mounted() -> None:
    provider = yaml.safe_load((FOLDER / "provisioning" / "dashboards" / "tickwire.yaml").read_text("utf-8"))
    path = provider["providers"][0]["options"]["path"]
    assert f"./deploy/grafana/dashboards:{path}:ro" in COMPOSE["services"]["grafana"]["volumes"]
