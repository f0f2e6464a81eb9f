"""The deploy files, read once, for the tests that compare them."""

import re
from pathlib import Path
from typing import Any

import yaml

from libs.common.runtime.metrics import CATALOGUE, Metrics

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
ALERTS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]

TARGET_LABELS = {"job", "instance", "service"}
"""What Prometheus adds to every series of ours."""
OF_PROMETHEUS = {"up", "ALERTS"}
_OPERATORS = {"and", "or", "unless", "offset", "bool", "inf", "nan"}
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_NOT_NAMES = (re.compile(r'"[^"]*"'), re.compile(r"\{[^}]*\}"), _GROUPING, re.compile(r"\[[^\]]*\]"))


def metric_names(expression: str) -> set[str]:
    """Return the names of the series a PromQL expression asks for."""
    for pattern in _NOT_NAMES:
        expression = pattern.sub(" ", expression)
    words = re.findall(r"(?<![\w$])([a-zA-Z_]\w*)\b(?!\s*\()", expression)
    return set(words) - _OPERATORS


def grouping_labels(expression: str) -> set[str]:
    """Return the labels an expression groups by."""
    return {label.strip() for match in _GROUPING.findall(expression) for label in match.split(",")}


def matched_labels(expression: str) -> set[str]:
    """Return the labels an expression selects by."""
    inside = " ".join(re.findall(r"\{([^}]*)\}", expression))
    return set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))


def series() -> dict[str, set[str]]:
    """Return every series a service can export, with its labels."""
    found: dict[str, set[str]] = {}
    for metric in CATALOGUE:
        names = [metric.name]
        if metric.kind == "histogram":
            names = [f"{metric.name}_bucket", f"{metric.name}_count", f"{metric.name}_sum"]
        for name in names:
            found[name] = set(metric.labels) | TARGET_LABELS | ({"le"} if name.endswith("_bucket") else set())
    for line in Metrics().render().decode().splitlines():
        if not line.startswith("#"):
            found[re.split(r"[ {]", line)[0]] = set(TARGET_LABELS)
    return found
