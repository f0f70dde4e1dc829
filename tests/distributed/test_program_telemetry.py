"""The program as a process of its own: its log for machines, its spans, and what a process without an API tells."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from distributed.program_kit import Roundsman
from external_server import free_port
from integration.otlp_kit import Collector
from support import NO_AUTHORITIES

SCHEDULE = {"id": "b1", "name": "Spanning", "trigger": {"interval_s": 0.2}}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


def test_a_process_logs_lines_of_json_alone_and_sends_the_spans_of_its_bodies(
    tmp_path: Path, collector: Collector, no_server_left: None
) -> None:
    environ = {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "ROUNDSMAN_BACKGROUND_JOBS__MODULES": '["telemetry_jobs"]',
        "ROUNDSMAN_TELEMETRY__LOG_FORMAT": "json",
        "ROUNDSMAN_TELEMETRY__OTLP_ENDPOINT": collector.url,
    }
    with closing(Roundsman(tmp_path, **environ)) as program:
        program.start()
        program.call("POST", "/schedules", 201, SCHEDULE)
        program.wait(lambda: collector.named("work of the body"), "a span that a body made")
        (run, *_) = program.wait(lambda: collector.named("run Spanning"), "the span of its run")
        assert program.interrupt() == 0
    (inner, *_) = collector.named("work of the body")
    assert (inner.trace_id, inner.parent_id) == (run.trace_id, run.span_id)
    assert collector.named("POST /api/v1/schedules")
    lines = [json.loads(line) for line in program.said.split("\n") if line.startswith("{")]
    said = [line for line in lines if line["logger"] == "a.library"]
    first = next(line for line in said if line["run_id"] == run.attributes["messaging.message.id"])
    assert first["message"] == "in a span\nof its own \u2028 \x1b[2J"
    assert (first["trace_id"], first["span_id"]) == (run.trace_id, inner.span_id)
    assert (first["job"], first["job_id"], first["attempt"]) == ("Spanning", "b1", 1)
    assert any("two\nlines" in line["message"] for line in lines)
    assert not re.search(r"^(Traceback|  File|ValueError)", program.said, re.MULTILINE)


def test_a_process_without_an_api_is_scraped_at_an_address_of_its_own(
    tmp_path: Path, redis_url: str, namespace: str
) -> None:
    port = free_port()
    environ = {
        "ROUNDSMAN_STORE__REDIS_URL": redis_url,
        "ROUNDSMAN_STORE__NAMESPACE": namespace,
        "ROUNDSMAN_TELEMETRY__METRICS_ADDRESS": f"127.0.0.1:{port}",
    }
    with (
        closing(Roundsman(tmp_path, **environ)) as program,
        httpx2.Client(trust_env=False, verify=NO_AUTHORITIES) as http,
    ):
        program.begin("--role", "scheduler")

        def scrape() -> dict[str, float] | None:
            try:
                text = http.get(f"http://127.0.0.1:{port}/metrics").text
            except httpx2.TransportError:
                return None
            families = text_string_to_metric_families(text)
            found = {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}
            return found if found.get("roundsman_scheduler_passes_total") else None

        found = program.wait(scrape, "a scrape of the scheduler")
        assert found["roundsman_store_up"] == 1
        assert found["roundsman_slots_free"] > 0
        assert http.get(f"http://127.0.0.1:{port}/api/v1/schedules").status_code == 404
        assert program.interrupt() == 0
