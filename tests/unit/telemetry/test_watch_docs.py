"""The documentation's table and the dashboard name what the program exposes, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from infrastructure.telemetry.metrics import METRICS, table

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/how-to/watch-it.md").read_text()
DASHBOARD: dict[str, Any] = json.loads((ROOT / "dashboards/roundsman.json").read_text())
NAME = re.compile(r"\b(?:roundsman|process)_[a-z0-9_]+\b(?!=)")
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
EXPOSED = {f"{metric.name}{suffix}" for metric in METRICS for suffix in SUFFIXES[metric.kind]}
OF_PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
"""Of prometheus_client's own collector."""


def expressions() -> list[tuple[str, str]]:
    """Return title and query of each panel, and the queries of variables."""
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    queries = [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]
    variables = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    return queries + [(one["name"], one["query"]["query"]) for one in variables]


def test_the_page_has_the_table_that_the_code_makes() -> None:
    assert table() in PAGE, "docs/how-to/watch-it.md: put in what infrastructure.telemetry.metrics.table() returns"


def test_the_page_names_no_metric_that_is_not_there() -> None:
    assert set(NAME.findall(PAGE)) - EXPOSED - {metric.name for metric in METRICS} == set()


@pytest.mark.parametrize(("title", "query"), expressions(), ids=lambda value: value[:30])
def test_each_query_of_the_dashboard_names_metrics_and_labels_that_are_exposed(title: str, query: str) -> None:
    named = set(NAME.findall(query))
    assert named, title
    assert named - EXPOSED - OF_PROCESS == set()
    known = {label for metric in METRICS for label in metric.labels} | {"le", "instance"}
    selected = set(re.findall(r"([a-z_]+)(?:=~|=|!=)", query))
    grouped = {label.strip() for labels in re.findall(r"by \(([^)]*)\)", query) for label in labels.split(",")}
    assert selected | grouped <= known


def test_each_metric_of_the_program_is_on_the_dashboard() -> None:
    shown = {name for _, query in expressions() for name in NAME.findall(query)}
    assert {metric.name for metric in METRICS if not shown & {metric.name, f"{metric.name}_bucket"}} == set()


def test_what_is_the_same_for_all_processes_is_never_added_up() -> None:
    fleet = {metric.name for metric in METRICS if metric.scope == "fleet"}
    for title, query in expressions():
        if fleet & set(NAME.findall(query)):
            assert not re.search(r"\b(sum|rate|increase)\b", query), title


def test_no_label_takes_a_name_of_prometheus_and_each_metric_keeps_its_conventions() -> None:
    for metric in METRICS:
        assert not {"job", "instance", "le"} & set(metric.labels)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.kind != "histogram" or metric.name.endswith("_seconds")


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    places = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
