"""GET /metrics as Prometheus sees it: real programs, its own parser."""

import asyncio
import hashlib
import re
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from domain.scheduling.policy import SchedulePolicy
from domain.scheduling.schedule import ScheduleInfo
from infrastructure.program import Program
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.settings import InvalidSettings, Settings, load_settings
from infrastructure.telemetry import program_metrics
from infrastructure.telemetry.metrics import METRICS
from infrastructure.web.metrics_server import MetricsAddressNotUsable
from integration.telemetry_kit import Served, served, value
from support import NO_AUTHORITIES, wait_until


async def test_a_program_tells_what_its_runs_did(redis_url: str, namespace: str) -> None:
    async with served(redis_url, namespace) as one:
        await one.bus.schedule_task(RecurrentTaskDescriptor(id="b1", name="Beat", interval=0.02))
        await one.bus.schedule_task(ScheduledTaskDescriptor(id="s1", name="Shaky", data={"fail_times": 1}))
        await one.bus.schedule_task(ScheduledTaskDescriptor(id="s2", name="Shaky", data={"fail_times": 9}))
        assert (await one.ended("s1")).status == "succeeded"
        assert (await one.ended("s2")).status == "failed"
        found = await wait_until(lambda: _some(one, "roundsman_attempts_total", job_name="Beat", outcome="succeeded"))
    ended = {
        outcome: value(found, "roundsman_attempts_total", job_name="Shaky", outcome=outcome)
        for outcome in ("retry", "succeeded", "failed", "lost", "cancelled")
    }
    assert ended == {"retry": 3, "succeeded": 1, "failed": 1, "lost": 0, "cancelled": 0}
    assert value(found, "roundsman_runs_started_total", job_name="Shaky") == 5
    assert value(found, "roundsman_run_lateness_seconds_count", job_name="Shaky") == 2  # first attempts
    assert value(found, "roundsman_run_duration_seconds_count", job_name="Shaky") == 5
    beats = value(found, "roundsman_runs_started_total", job_name="Beat")
    assert 1 <= beats <= value(found, "roundsman_fires_due_total", job_name="Beat")
    assert value(found, "roundsman_run_lateness_seconds_count", job_name="Beat") == beats
    assert value(found, "roundsman_run_lateness_seconds_bucket", job_name="Beat", le="+Inf") == beats
    assert value(found, "roundsman_schedules_taken_total") >= 1
    assert value(found, "roundsman_scheduler_passes_total") >= 1
    assert value(found, "roundsman_store_up") == 1
    assert value(found, "roundsman_instances", status="alive") == 1
    assert value(found, "roundsman_slots_free") > 0
    assert value(found, "roundsman_events_total", outcome="failed") == 0
    assert value(found, "process_cpu_seconds_total") > 0


async def test_fires_that_are_left_out_are_counted_by_who_left_them_out(redis_url: str, namespace: str) -> None:
    async with served(redis_url, namespace) as one, served(redis_url, namespace, role="api") as other:
        await one.bus.schedule_task(RecurrentTaskDescriptor(id="h", name="Slow", interval=0.02))
        name = "roundsman_fires_skipped_total"
        await wait_until(lambda: _some(one, name, why="overlap"), "fires that overlap")
        scheduler = one.program.services().scheduler
        await scheduler.pause("h")
        info = await scheduler.get_task_info("h")
        assert isinstance(info, ScheduleInfo)

        async def all_counted() -> bool:
            return await one.value(name, why="overlap") == info.counts.skipped

        await wait_until(all_counted, "as many as the schedule counts")
        assert await other.value(name, why="overlap") == 0, "the other process left out none of them"
        assert await one.value(name, why="stopped") == 0
        await scheduler.stop_task("h", cancel_running=True)


async def _some(one: Served, name: str, **labels: str) -> Any:
    found = await one.scrape()
    return found if value(found, name, **labels) else None


async def test_what_is_exposed_is_what_is_declared(redis_url: str, namespace: str) -> None:
    async with served(redis_url, namespace) as one:
        found = await one.scrape()
        answer = await one.http.get("/metrics")
        modern = await one.http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    own = {name for name in found if name.startswith("roundsman_")}
    assert own == {
        metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name for metric in METRICS
    }
    assert {metric.name: found[metric.name.removesuffix("_total")].type for metric in METRICS} == {
        metric.name: metric.kind for metric in METRICS
    }
    labels = {metric.name: set(metric.labels) for metric in METRICS}
    for family in found.values():
        for sample in family.samples if family.name.startswith("roundsman_") else ():
            base = sample.name if sample.name in labels else sample.name.rpartition("_")[0]
            assert set(sample.labels) - {"le"} == labels[base]
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    assert {family.name for family in openmetrics(modern.text)} >= own


async def test_groups_of_the_event_bus_are_told_with_what_they_have_before_them(redis_url: str, namespace: str) -> None:
    async with served(redis_url, namespace) as one:
        gate = asyncio.Event()

        async def handle(event: object) -> None:
            await gate.wait()

        events = one.program.container.events()
        subscription = events.subscribe(["worker.registered"], handle, group="slow")
        await subscription.ready()
        await events.publish("worker.registered", {"worker_id": "w"})
        found = await wait_until(lambda: _some(one, "roundsman_event_group_pending", group="slow"))
        gate.set()
        assert value(found, "roundsman_event_group_pending", group="slow") == 1
        assert value(found, "roundsman_events_total", outcome="published") >= 1


async def test_no_number_of_schedules_adds_a_line(redis_url: str, namespace: str) -> None:
    async with served(redis_url, namespace) as one:
        far = SchedulePolicy.model_validate({"start": "2100-01-01T00:00:00Z"})
        await one.bus.schedule_task(RecurrentTaskDescriptor(id="b", name="Beat", interval=0.05))
        await wait_until(lambda: _some(one, "roundsman_attempts_total", job_name="Beat", outcome="succeeded"))
        before = await one.http.get("/metrics")
        for start in range(0, 2_000, 500):
            descriptors = [
                RecurrentTaskDescriptor(id=f"many-{number}", name="Beat", interval=60, policy=far)
                for number in range(start, start + 500)
            ]
            await asyncio.gather(*(one.bus.schedule_task(descriptor) for descriptor in descriptors))
        await asyncio.gather(
            *(one.bus.schedule_task(ScheduledTaskDescriptor(id=f"one-{number}", name="Plain")) for number in range(50))
        )
        await one.ended("one-49")
        after = await wait_until(lambda: _some(one, "roundsman_attempts_total", job_name="Plain", outcome="succeeded"))
        text = (await one.http.get("/metrics")).text
    assert after
    assert "many-" not in text
    assert "one-" not in text
    kinds = re.compile(r'job_name="(\w+)"')
    assert set(kinds.findall(text)) - {"WorkerSilenceCheckJob"} == {"Beat", "Plain"}
    assert len(text.splitlines()) < 2 * len(before.text.splitlines())


async def test_without_its_store_a_program_is_scraped_all_the_same(
    fresh_valkey: Callable[[], EmbeddedValkey],
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(program_metrics, "FLEET_KEPT_S", 0.0)
    server = fresh_valkey()
    async with served(server.url, namespace) as one:
        assert await one.value("roundsman_store_up") == 1
        server.close()
        found = await wait_until(lambda: _some(one, "roundsman_store_reconnects_total", part="scheduler"))
        assert value(found, "roundsman_store_up") == 0
        assert found["roundsman_queue_runs"].samples == []
        await wait_until(lambda: _some(one, "roundsman_lease_renewals_total", outcome="failed"))
        assert "could not be read for metrics" not in caplog.text  # that is for what nobody expected
        server.open()


@pytest.mark.parametrize("role", ["api", "scheduler"])
async def test_each_process_tells_of_itself_and_the_fleet_is_the_same_for_all(
    redis_url: str, namespace: str, role: str
) -> None:
    """An API-only process counts no runs; a scheduler-only one is scraped at an address of its own."""
    address = {"telemetry": {"metrics_address": "127.0.0.1:0"}} if role == "scheduler" else {}
    async with served(redis_url, namespace) as one:
        await one.bus.schedule_task(ScheduledTaskDescriptor(id="p", name="Plain"))
        await one.ended("p")
        settings = Settings.model_validate({**one.program.settings.model_dump(), **address})
        if role == "api":
            async with served(redis_url, namespace, "api") as other:
                await wait_until(lambda: _two(other))
                found = await other.scrape()
        else:
            other_program = Program(settings, "scheduler")
            await other_program.start()
            try:
                assert other_program.telemetry.server is not None
                port = other_program.telemetry.server.port
                async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=NO_AUTHORITIES) as http:
                    other = Served(other_program, http)
                    await wait_until(lambda: _two(other))
                    found = await other.scrape()
                    assert (await http.get("/health/live")).status_code == 200
                    assert (await http.get("/api/v1/schedules")).status_code == 404
            finally:
                await other_program.stop()
        mine = await one.scrape()
    assert value(mine, "roundsman_runs_started_total", job_name="Plain") == 1
    assert value(found, "roundsman_runs_started_total", job_name="Plain") == 0
    assert [s.labels["role"] for s in found["roundsman_build_info"].samples] == [role]
    assert bool(found["roundsman_slots_free"].samples) == (role == "scheduler")


async def _two(one: Served) -> bool:
    return await one.value("roundsman_instances", status="alive") == 2


async def test_with_keys_only_who_has_one_scrapes(redis_url: str, namespace: str) -> None:
    keys = [{"name": "prometheus", "role": "viewer", "key_sha256": hashlib.sha256(b"k").hexdigest()}]
    async with served(redis_url, namespace, server={"api_keys": keys}) as one:
        refused = await one.http.get("/metrics")
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
        assert await one.scrape(headers={"Authorization": "Bearer k"})


async def test_a_page_of_another_name_cannot_read_them(redis_url: str, namespace: str) -> None:
    async with served(redis_url, namespace) as one:
        assert (await one.http.get("/metrics", headers={"Host": "evil.example"})).status_code == 403
        assert (await one.http.post("/metrics")).status_code == 405


async def test_an_address_that_is_taken_says_which_setting_to_change(redis_url: str, namespace: str) -> None:
    async with served(redis_url, namespace) as one:
        taken = f"127.0.0.1:{one.http.base_url.port}"
        settings = {**one.program.settings.model_dump(), "telemetry": {"metrics_address": taken}}
        program = Program(Settings.model_validate(settings))
        with pytest.raises(MetricsAddressNotUsable, match=r"telemetry\.metrics_address"):
            await program.start()


@pytest.mark.parametrize(
    ("key", "given", "told"),
    [
        ("METRICS_ADDRESS", "9464", "host:port"),
        ("METRICS_ADDRESS", "::1:9464", "host:port"),
        ("METRICS_ADDRESS", "127.0.0.1:99999", "host:port"),
        ("METRICS_ADDRESS", "0.0.0.0:9464", "set server.api_keys"),
        ("OTLP_ENDPOINT", "localhost:4318", "http://"),
        ("OTLP_ENDPOINT", "grpc://localhost:4317", "http://"),
        ("OTLP_ENDPOINT", "http://user:geheim@localhost:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("OTLP_ENDPOINT", "http://local host", "http://"),
        ("TRACE_RATIO", "1.5", "less than or equal to 1"),
        ("TRACE_RATIO", "nan", "TRACE_RATIO"),
    ],
)
def test_settings_that_cannot_be_say_why(key: str, given: str, told: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        load_settings(environ={f"ROUNDSMAN_TELEMETRY__{key}": given})
    assert told in str(caught.value)
    assert "geheim" not in str(caught.value)
