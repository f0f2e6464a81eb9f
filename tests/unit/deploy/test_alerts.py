"""Alarms: tested by promtool, on metrics that exist, with something to do about each."""

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.unit.deploy.deployment import (
    DEPLOY,
    OF_PROMETHEUS,
    ROOT,
    RULES,
    TARGET_LABELS,
    matched_labels,
    metric_names,
    series,
)

TESTS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "alerts_test.yml").read_text(encoding="utf-8"))
SECTIONS = {"**Means:**", "**Do"}


def promtool(*arguments: str) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not on the PATH. Install it: apt-get install prometheus")
    answer = subprocess.run([program, *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_rules_fire_when_they_should_and_not_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


def test_prometheus_reads_its_configuration_and_the_rules() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "config", "prometheus.yml")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_tested_both_ways(rule: dict[str, Any]) -> None:
    cases = [case for test in TESTS["tests"] for case in test["alert_rule_test"] if case["alertname"] == rule["alert"]]
    series_given = [
        test for test in TESTS["tests"] if any(case["alertname"] == rule["alert"] for case in test["alert_rule_test"])
    ]
    assert any(case["exp_alerts"] for case in cases)
    quiet_case = any(not case["exp_alerts"] for case in cases)
    quiet_series = any(
        len(test["input_series"]) > max(len(case["exp_alerts"]) for case in test["alert_rule_test"])
        for test in series_given
    )
    assert quiet_case or quiet_series


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_uses_declared_metrics_and_labels_only(rule: dict[str, Any]) -> None:
    known = series()
    names = metric_names(rule["expr"])
    assert names
    assert names <= set(known) | OF_PROMETHEUS
    labels = TARGET_LABELS.union(*(known.get(name, set()) for name in names))
    assert matched_labels(rule["expr"]) <= labels
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_has_a_severity_and_a_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["runbook"] == f"docs/runbooks/{rule['alert']}.md"
    text = (ROOT / rule["annotations"]["runbook"]).read_text(encoding="utf-8")
    assert text.startswith(f"# {rule['alert']}\n")
    assert all(section in text for section in SECTIONS)


def test_every_runbook_belongs_to_an_alert_and_is_listed() -> None:
    names = {rule["alert"] for rule in RULES}
    folder = ROOT / "docs" / "runbooks"
    assert {path.stem for path in folder.glob("*.md")} == names | {"README"}
    listed = dict(re.findall(r"^\| \[(\w+)\]\(\w+\.md\) \| (\w+) \|$", (folder / "README.md").read_text("utf-8"), re.M))
    assert listed == {rule["alert"]: rule["labels"]["severity"] for rule in RULES}


def test_alertmanager_silences_nothing_that_does_not_exist() -> None:
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8")
    names = set(re.findall(r"Tickwire\w+", text))
    assert names
    assert names <= {rule["alert"] for rule in RULES}


def test_reading_an_expression_finds_its_metrics_and_nothing_else() -> None:
    expression = '60 * sum by (symbol, le) (rate(a_total{job="b", c=~"d"}[$__rate_interval])) or (e > 0 unless e offset 10m)'
    assert metric_names(expression) == {"a_total", "e"}
    assert matched_labels(expression) == {"job", "c"}
