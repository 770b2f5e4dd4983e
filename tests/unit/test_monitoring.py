"""The rules and dashboards of ``monitoring/``: each alert has a test and advice; each metric exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from factorylink.util import metrics
from tests.support import metrics_table
from tests.support.prometheus import DASHBOARDS, MONITORING, promtool, queries, quicker

PAGE = metrics_table.PAGE
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
NAMES = [rule["alert"] for rule in RULES]
TESTS = ("alerts_test.yml", "alerts_days_test.yml")
# Other programs' metrics in rules and dashboards; another test checks on a live gateway that they exist.
OTHERS = re.compile(r"^(jupyterhub|nodejs|process|requests)_\w+$|^up$")
# Parts of an expression that are no metric names: functions, operators, labels, and everything in braces or quotes.
WORDS = re.compile(r"\b[a-z_][a-z0-9_]*\b(?! *\()")
NO_METRICS = {"and", "or", "unless", "by", "on", "ignoring"}


def named(expression: str) -> set[str]:
    """Return the names of metrics in an expression."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"|\$\w+|\b(by|on|ignoring) *\([^)]*\)", " ", expression)
    return {word for word in WORDS.findall(bare) if word not in NO_METRICS}


def exists(name: str) -> bool:
    """Return True if the link has a metric with that name, or another program has."""
    base = re.sub(r"_(bucket|count|sum)$", "", name)
    ours = {line.split("`")[1] for line in metrics_table.table().splitlines()[2:]}
    return name in ours or base in ours or OTHERS.match(name) is not None


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    shown = metrics_table.shown(PAGE.read_text(encoding="utf-8"))
    assert shown == metrics_table.table(), "run python -m tests.support.metrics_table: it writes docs/observability.md"


def test_every_gauge_says_what_it_tells() -> None:
    for name, gauge in metrics.GAUGES.items():
        assert name.startswith("factorygate_")
        assert gauge.help[0].isupper() or gauge.help[0].isdigit()
        assert not gauge.help.endswith(".")


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_each_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"observability.md#{rule['alert'].lower()}"
    assert f"\n#### {rule['alert']}\n" in PAGE.read_text(encoding="utf-8"), "docs/observability.md says what to do"
    assert [name for name in named(rule["expr"]) if not exists(name)] == []


def test_each_alert_has_a_test_that_sees_it_fire() -> None:
    tests = [test for name in TESTS for test in yaml.safe_load((MONITORING / name).read_text())["tests"]]
    fired = {test["name"] for test in tests for expected in test["promql_expr_test"] if expected["exp_samples"]}
    assert fired == set(NAMES)
    assert len(NAMES) == len(set(NAMES))


def test_the_rules_are_valid_and_pass_their_tests() -> None:
    checked = promtool("check", "rules", "alerts.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", *TESTS)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_a_rule_with_another_threshold_fails_its_test(tmp_path: Path) -> None:
    rules = (MONITORING / "alerts.yml").read_text()
    (tmp_path / "alerts.yml").write_text(rules.replace("factorygate_factory_up == 0", "factorygate_factory_up == 2"))
    (tmp_path / "alerts_test.yml").write_text((MONITORING / "alerts_test.yml").read_text())
    assert promtool("test", "rules", str(tmp_path / "alerts_test.yml")).returncode != 0


def test_the_example_configuration_is_valid(tmp_path: Path) -> None:
    config = (MONITORING / "prometheus.yml").read_text()
    config = config.replace("/etc/factorygate/monitoring", str(MONITORING))
    token = tmp_path / "token"
    token.write_text("x")
    (tmp_path / "prometheus.yml").write_text(config.replace("/etc/factorygate/admin-token", str(token)))
    checked = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole_and_asks_for_metrics_that_exist(path: Path) -> None:
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["uid"] == f"factorygate-{path.stem}"
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        where = panel["gridPos"]
        assert where["x"] + where["w"] <= 24
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert [target["refId"] for target in panel["targets"]] == [chr(65 + n) for n in range(len(panel["targets"]))]
    for query in queries(path):
        assert [name for name in named(query.expression) if not exists(name)] == [], query


def test_the_dashboards_are_the_four_that_the_chart_ships() -> None:
    assert [path.stem for path in DASHBOARDS] == ["budgets", "factory", "gateway", "overview"]


def test_a_name_that_no_metric_has_is_found() -> None:
    assert not exists("factorygate_session")
    assert named('sum by (factory) (rate(factorygate_x_total{factory="$factory"}[5m])) > 0 or vector(0)') == {
        "factorygate_x_total"
    }


def test_rules_for_a_test_wait_less_long() -> None:
    assert quicker("for: 5m\nexpr: rate(x[10m]) > 600", 20, 60) == "for: 5s\nexpr: rate(x[30s]) > 600"
