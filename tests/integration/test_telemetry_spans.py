"""Spans as a collector gets them: real programs, a receiver that decodes the protobuf."""

import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from infrastructure.telemetry import exporting, tracing
from integration.otlp_kit import Collector, Received
from integration.telemetry_kit import Served, served
from support import wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setattr(exporting, "EVERY_S", 0.02)
    with Collector() as made:
        yield made


@asynccontextmanager
async def traced(
    collector: Collector, url: str, namespace: str, role: Any = "all", **telemetry: Any
) -> AsyncIterator[Served]:
    wanted = {"otlp_endpoint": collector.url, **telemetry}
    async with served(url, namespace, role, telemetry=wanted) as made:
        yield made


async def spans(collector: Collector, name: str, count: int = 1) -> list[Received]:
    """Return the spans of a name when there are ``count``."""
    return await wait_until(
        lambda: found if len(found := collector.named(name)) >= count else None, f"{count} spans '{name}'"
    )


SCHEDULE = {"id": "b1", "name": "Beat", "data": {"word": "x"}, "trigger": {"interval_s": 0.05}}


async def test_a_request_its_schedule_and_its_fires_are_found_from_each_other(
    collector: Collector, redis_url: str, namespace: str
) -> None:
    async with traced(collector, redis_url, namespace) as one:
        answer = await one.http.post("/api/v1/schedules", json=SCHEDULE, headers={"traceparent": CALLER})
        assert answer.status_code == 201
        runs = await spans(collector, "run Beat", 3)
        (request,) = await spans(collector, "POST /api/v1/schedules")
        (schedule,) = await spans(collector, "schedule Beat")
    assert (request.trace_id, request.parent_id, request.kind) == (TRACE, "00f067aa0ba902b7", Span.SPAN_KIND_SERVER)
    assert request.attributes["http.response.status_code"] == 201
    assert (schedule.trace_id, schedule.parent_id, schedule.kind) == (TRACE, request.span_id, Span.SPAN_KIND_PRODUCER)
    assert schedule.attributes["messaging.destination.name"] == "Beat"
    assert schedule.attributes["roundsman.job.id"] == "b1"
    for run in runs:
        assert run.links == [(TRACE, schedule.span_id)]
        assert (run.parent_id, run.kind, run.status) == ("", Span.SPAN_KIND_CONSUMER, Status.STATUS_CODE_UNSET)
        assert run.attributes["messaging.system"] == "roundsman"
        assert run.attributes["messaging.operation.type"] == "process"
        assert run.attributes["roundsman.reason"] == "fire"
        assert run.attributes["roundsman.outcome"] == "succeeded"
        assert run.attributes["messaging.client.id"] == one.program.instance_id
        assert run.resource["service.name"] == "roundsman"
        assert run.resource["service.namespace"] == namespace
    assert len({run.trace_id for run in runs} | {TRACE}) == len(runs) + 1  # a trace each: it may fire for years
    assert len({run.attributes["messaging.message.id"] for run in runs}) == len(runs)
    assert set(collector.paths) == {"/v1/traces"}


async def test_a_run_now_and_a_backfill_are_in_the_trace_of_who_asked(
    collector: Collector, redis_url: str, namespace: str
) -> None:
    async with traced(collector, redis_url, namespace) as one:
        await one.http.post("/api/v1/schedules", json={**SCHEDULE, "trigger": {"interval_s": 3600}})
        answer = await one.http.post("/api/v1/schedules/b1/run", headers={"traceparent": CALLER})
        assert answer.status_code == 202
        (run,) = await spans(collector, "run Beat")
        (asked,) = await spans(collector, "run_now")
    assert (run.trace_id, run.parent_id, run.links) == (TRACE, asked.span_id, [])
    assert run.attributes["roundsman.reason"] == "run_now"


async def test_all_attempts_of_a_run_are_children_of_who_asked_and_tell_their_errors(
    collector: Collector, redis_url: str, namespace: str
) -> None:
    async with traced(collector, redis_url, namespace) as one:
        await one.bus.schedule_task(
            ScheduledTaskDescriptor(id="s1", name="Shaky", data={"fail_times": 9}, correlation_id="order 7")
        )
        first, second, third = await spans(collector, "run Shaky", 3)
        (schedule,) = await spans(collector, "schedule Shaky")
    assert {one.trace_id for one in (first, second, third)} == {schedule.trace_id}
    assert {one.parent_id for one in (first, second, third)} == {schedule.span_id}
    assert [one.attributes["roundsman.attempt"] for one in (first, second, third)] == [1, 2, 3]
    assert [one.attributes["roundsman.outcome"] for one in (first, second, third)] == ["retry", "retry", "failed"]
    for attempt in (first, second, third):
        assert attempt.status == Status.STATUS_CODE_ERROR
        assert attempt.said == "ValueError: not\nyet"
        assert attempt.attributes["error.type"] == "ValueError"
        assert attempt.attributes["messaging.message.conversation_id"] == "order 7"
        (event,) = attempt.events
        assert (event["name"], event["exception.type"]) == ("exception", "ValueError")
        assert "telemetry_jobs.py" in event["exception.stacktrace"]


async def test_all_attempts_of_a_fire_meet_in_one_trace(collector: Collector, redis_url: str, namespace: str) -> None:
    async with traced(collector, redis_url, namespace) as one:
        await one.bus.schedule_task(RecurrentTaskDescriptor(id="b", name="Spanning", interval=1))

        def of_one_fire() -> list[Received]:
            found = collector.named("run Spanning")
            twice = [span for span in found if span.attributes["roundsman.attempt"] == 2]
            return [span for span in found if twice and _run(span) == _run(twice[0])]

        first, second = await wait_until(of_one_fire, "a fire that was tried twice")
    assert first.trace_id == second.trace_id
    assert first.span_id != second.span_id


def _run(span: Received) -> Any:
    return span.attributes["messaging.message.id"]


async def test_what_a_body_asks_for_goes_on_in_its_trace(collector: Collector, redis_url: str, namespace: str) -> None:
    async with traced(collector, redis_url, namespace) as one:
        await one.bus.schedule_task(ScheduledTaskDescriptor(id="n1", name="Nested", data={"next_id": "n2"}))
        (last,) = await spans(collector, "run Plain")
        (asked,) = await spans(collector, "schedule Plain")
        (body,) = await spans(collector, "run Nested")
    assert last.trace_id == asked.trace_id == body.trace_id
    assert (last.parent_id, asked.parent_id) == (asked.span_id, body.span_id)


async def test_a_job_that_ends_itself_has_no_error(collector: Collector, redis_url: str, namespace: str) -> None:
    async with traced(collector, redis_url, namespace) as one:
        await one.bus.schedule_task(RecurrentTaskDescriptor(id="b", name="Beat", interval=0.01, data={"end": True}))
        run = (await spans(collector, "run Beat"))[0]
    assert (run.attributes["roundsman.outcome"], run.events) == ("terminated", [])
    assert run.status == Status.STATUS_CODE_UNSET


async def test_another_process_executes_in_the_trace_of_the_one_that_was_asked(
    collector: Collector, redis_url: str, namespace: str
) -> None:
    """Without spans of its own an API-only process passes on the place that the request came with."""
    async with served(redis_url, namespace, "api") as door, traced(collector, redis_url, namespace) as worker:
        body = {"id": "b1", "name": "Beat", "trigger": {"interval_s": 3600}}
        await door.http.post("/api/v1/schedules", json=body, headers={"traceparent": CALLER})
        await door.http.post("/api/v1/schedules/b1/run", headers={"traceparent": CALLER})
        (run,) = await spans(collector, "run Beat")
    assert (run.trace_id, run.parent_id) == (TRACE, "00f067aa0ba902b7")
    assert run.attributes["messaging.client.id"] == worker.program.instance_id


@pytest.mark.parametrize(
    "header", ["garbage", f"00-{'0' * 32}-00f067aa0ba902b7-01", "00-x-y-01", "9" * 9000, CALLER[:-3]]
)
async def test_a_header_that_is_no_place_in_a_trace_is_ignored(redis_url: str, namespace: str, header: str) -> None:
    async with served(redis_url, namespace) as plain:
        answer = await plain.http.post("/api/v1/schedules", json=SCHEDULE, headers={"traceparent": header})
        assert answer.status_code == 201
        stored = await plain.program.container.scheduling.schedules().get("b1")
        assert stored is not None
        assert stored.state.traceparent is None


async def test_the_same_wish_in_another_trace_is_the_same_wish(
    collector: Collector, redis_url: str, namespace: str
) -> None:
    async with traced(collector, redis_url, namespace, "api") as one:
        wish = ScheduledTaskDescriptor(id="s1", name="Shaky", scheduled_at="2100-01-01T00:00:00Z")
        first = await one.bus.schedule_task(wish)
        again = await one.bus.schedule_task(wish)
        other = await one.bus.schedule_task(wish.model_copy(update={"data": {"fail_times": 1}}))
        made = [await one.http.post("/api/v1/schedules", json=SCHEDULE, headers={"traceparent": CALLER})]
        made += [await one.http.post("/api/v1/schedules", json=SCHEDULE)]
    assert [one.result for one in (first, again, other)] == ["created", "unchanged", "changed"]
    assert [answer.status_code for answer in made] == [201, 200]
    assert made[1].json()["generation"] == 1


async def test_of_what_is_not_sampled_nothing_is_sent_and_all_goes_on(
    collector: Collector, redis_url: str, namespace: str
) -> None:
    async with traced(collector, redis_url, namespace, trace_ratio=0.0) as one:
        await one.bus.schedule_task(ScheduledTaskDescriptor(id="s1", name="Shaky", data={"fail_times": 1}))
        assert (await one.ended("s1")).status == "succeeded"
    assert collector.spans == []


async def test_a_stop_sends_the_last_spans(
    collector: Collector, redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "EVERY_S", 60.0)
    async with traced(collector, redis_url, namespace) as one:
        await one.bus.schedule_task(ScheduledTaskDescriptor(id="s1", name="Shaky"))
        await one.ended("s1")
        assert collector.spans == []
    assert {span.name for span in collector.spans} >= {"schedule Shaky", "run Shaky"}
    assert not [thread for thread in threading.enumerate() if thread.name == "spans"]


async def test_an_endpoint_that_is_away_costs_one_warning_and_no_run(
    redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "EVERY_S", 0.02)
    monkeypatch.setattr(tracing, "EXPORT_TIMEOUT_S", 0.2)
    with Collector() as gone:
        pass
    with caplog.at_level(logging.INFO):
        async with traced(gone, redis_url, namespace) as one:
            for number in range(3):
                await one.bus.schedule_task(ScheduledTaskDescriptor(id=f"s{number}", name="Shaky"))
                assert (await one.ended(f"s{number}")).status == "succeeded"
                failed = await one.value("roundsman_spans_total", outcome="failed")
                await wait_until(lambda before=failed: _more(one, before), "a failed export")  # type: ignore[misc]
    told = [record for record in caplog.records if "spans" in record.getMessage() or "opentelemetry" in record.name]
    assert len(told) == 1, [record.getMessage() for record in told]
    assert gone.url in told[0].getMessage()
    assert told[0].levelname == "WARNING"


async def _more(one: Served, before: float) -> bool:
    return await one.value("roundsman_spans_total", outcome="failed") > before


async def test_an_endpoint_that_answers_nothing_holds_up_neither_runs_nor_the_stop(
    collector: Collector,
    redis_url: str,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(exporting, "FLUSH_S", 0.1)
    monkeypatch.setattr(tracing, "EXPORT_TIMEOUT_S", 1.0)
    collector.hold.clear()
    async with traced(collector, redis_url, namespace) as one:
        for number in range(3):
            await one.bus.schedule_task(ScheduledTaskDescriptor(id=f"s{number}", name="Shaky"))
            assert (await one.ended(f"s{number}")).status == "succeeded"
        await one.program.telemetry.stop()
        assert collector.paths == []
        assert "is slow: the last spans are given up" in caplog.text
    collector.hold.set()
    await wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "spans"])


async def test_an_endpoint_that_refuses_is_told_once_and_so_is_its_return(
    collector: Collector, redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    collector.status = 400
    with caplog.at_level(logging.INFO):
        async with traced(collector, redis_url, namespace) as one:
            await one.bus.schedule_task(ScheduledTaskDescriptor(id="s1", name="Shaky"))
            await wait_until(lambda: _more(one, 0.0))
            collector.status = 200
            await one.bus.schedule_task(ScheduledTaskDescriptor(id="s2", name="Shaky"))
            await spans(collector, "run Shaky")
    told = [record.getMessage() for record in caplog.records if "spans" in record.getMessage()]
    assert len(told) == 2
    assert "400" in told[0]
    assert told[1] == f"spans are sent to {collector.url} again"


def test_without_an_endpoint_nothing_of_the_exporter_is_imported() -> None:
    """The SDK itself may be: redis-py imports its metrics where it is installed."""
    code = (
        "import sys; from infrastructure.program import Program; from infrastructure.settings import Settings; "
        "program = Program(Settings()); assert program.telemetry.tracing is None; "
        "print([name for name in sys.modules if 'opentelemetry.exporter' in name or name in "
        "('requests', 'google.protobuf', 'infrastructure.telemetry.tracing', 'infrastructure.telemetry.exporting')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_endpoint_without_the_library_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['opentelemetry.exporter'] = None; "
        "from infrastructure.program import Program; from infrastructure.settings import Settings; "
        "Program(Settings.model_validate({'telemetry': {'otlp_endpoint': 'http://127.0.0.1:4318'}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install roundsman[otlp]" in done.stderr
