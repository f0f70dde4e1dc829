"""What a log line tells of the run and of the trace that it was written in: a real program, a handler as it sets up."""

import contextvars
import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from domain.runs.run import Claim, RunReason, RunSpec
from infrastructure.telemetry.logs import ConsoleFormatter, JsonFormatter
from infrastructure.telemetry.run_context import FIELDS, RunFacts, enter_run
from integration.telemetry_kit import served
from support import wait_until

Lines = Callable[[str], list[dict[str, Any]]]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Return the lines of one logger so far, as objects."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(RunFacts())
    logging.getLogger().addHandler(handler)
    before = logging.getLogger().level
    logging.getLogger().setLevel(logging.INFO)
    yield lambda name: [line for text in stream.getvalue().splitlines() if (line := json.loads(text))["logger"] == name]
    logging.getLogger().setLevel(before)
    logging.getLogger().removeHandler(handler)


async def test_a_librarys_plain_call_tells_the_run_wherever_a_body_makes_it(
    lines: Lines, redis_url: str, namespace: str
) -> None:
    async with served(redis_url, namespace) as one:
        await one.bus.schedule_task(ScheduledTaskDescriptor(id="n1", name="Nested", correlation_id="order 7"))
        await one.bus.schedule_task(ScheduledTaskDescriptor(id="p1", name="Plain"))
        await one.ended("n1")
        await one.ended("p1")
    nested, plain = ([line for line in lines("a.library") if line["job_id"] == job_id] for job_id in ("n1", "p1"))
    assert [line["message"] for line in nested] == ["from a task", "from a thread", "from a bare thread"]
    for line in nested:
        known = {name: line[name] for name in ("run_id", "job", "attempt", "correlation_id")}
        assert known == {"run_id": "n1", "job": "Nested", "attempt": 1, "correlation_id": "order 7"}
    (line,) = plain
    assert (line["message"], line["run_id"], line["job"]) == ("from a sync body", "p1", "Plain")
    assert "correlation_id" not in line


async def test_attempts_are_told_apart_and_an_error_is_one_line(lines: Lines, redis_url: str, namespace: str) -> None:
    async with served(redis_url, namespace) as one:
        await one.bus.schedule_task(ScheduledTaskDescriptor(id="s1", name="Shaky", data={"fail_times": 1}))
        await one.ended("s1")
    assert [line["attempt"] for line in lines("a.library")] == [1, 2]
    (failed,) = lines("application.runs.attempt")
    assert (failed["run_id"], failed["attempt"]) == ("s1", 1)
    assert "not\nyet" in failed["message"]


async def test_runs_side_by_side_do_not_mix_and_what_a_body_did_not_log_tells_none(
    lines: Lines, redis_url: str, namespace: str
) -> None:
    async with served(redis_url, namespace) as one:
        for number in range(20):
            data = {"word": f"w{number}"}
            await one.bus.schedule_task(RecurrentTaskDescriptor(id=f"b{number}", name="Beat", interval=0.05, data=data))
        await wait_until(lambda: len({line["job_id"] for line in lines("a.library")}) == 20)
        logging.getLogger("outside").info("of no run")
    for line in lines("a.library"):
        assert line["message"] == line["job_id"].replace("b", "w")
        assert line["run_id"].startswith(f"{line['job_id']}@")
    assert not set(lines("outside")[0]) & set(FIELDS)


async def test_the_trace_that_a_request_came_with_is_told(lines: Lines, redis_url: str, namespace: str) -> None:
    caller = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    schedule = {"id": "b1", "name": "Beat", "trigger": {"interval_s": 3600}}
    async with served(redis_url, namespace) as one:
        await one.http.post("/api/v1/schedules", json=schedule, headers=caller)
        await one.http.post("/api/v1/schedules/b1/run", headers=caller)
        (line,) = await wait_until(lambda: lines("a.library"))
    assert (line["trace_id"], line["span_id"]) == (TRACE, "00f067aa0ba902b7")


async def test_no_body_logs_in_the_name_of_another_run_or_forges_a_line(
    lines: Lines, redis_url: str, namespace: str
) -> None:
    hostile = 'x\n{"level":"critical","run_id":"other"}\u2028\x1b[2J'
    async with served(redis_url, namespace) as one:
        data = {"fail_times": 1, "why": hostile}
        await one.bus.schedule_task(
            ScheduledTaskDescriptor(id="s1", name="Shaky", data=data, correlation_id="a\nb\x1b[2J")
        )
        await one.ended("s1")
    told = [line for name in ("a.library", "application.runs.attempt") for line in lines(name)]
    assert {line["run_id"] for line in told} == {"s1"}
    assert {line["correlation_id"] for line in told} == {"a\nb\x1b[2J"}
    assert hostile in lines("application.runs.attempt")[0]["message"]


def test_what_a_caller_says_of_a_run_does_not_replace_what_is_known() -> None:
    spec = RunSpec(
        run_id="mine",
        job_id="j",
        name="N",
        reason=RunReason.FIRE,
        fire_time=datetime.now(UTC),
        timeout_s=1,
        correlation_id="a\nb\x1b[2J",
    )
    record = logging.makeLogRecord({"msg": "hello\nyou", "run_id": "other", "trace_id": "none"})

    def log_it() -> None:
        enter_run(Claim(spec, "{}", "N@1", 2, 0, "1"))
        RunFacts().filter(record)

    contextvars.copy_context().run(log_it)
    assert json.loads(JsonFormatter().format(record))["run_id"] == "mine"
    first, second = ConsoleFormatter().format(record).splitlines()
    assert first.endswith("hello [run=mine attempt=2 correlation=a\\nb\\x1b[2J trace=none]")
    assert second == "    you"
