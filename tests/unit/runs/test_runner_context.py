"""What a body learns about its run, and what it may say while it runs."""

import contextvars
import math
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from application.runs.context import JobContext
from domain.runs.outcome import Failed, Succeeded
from support import wait_until
from unit.runs.runner_kit import FIRE_TIME, RunnerKit, job_of, outcome_of


async def test_a_body_learns_about_its_attempt() -> None:
    contexts: list[JobContext] = []

    async def body(self: Any, ctx: JobContext) -> None:
        contexts.append(ctx)

    before = datetime.now(UTC)
    await outcome_of(body, timeout_s=60)
    (ctx,) = contexts
    assert (ctx.run_id, ctx.job_id, ctx.attempt, ctx.fire_time, ctx.missed, ctx.token, ctx.correlation_id) == (
        "r1",
        "j1",
        1,
        FIRE_TIME,
        2,
        "1",
        "c1",
    )
    assert before + timedelta(seconds=60) <= ctx.deadline <= datetime.now(UTC) + timedelta(seconds=60)
    assert "_report" not in repr(ctx)


async def positional(self: Any, ctx: JobContext) -> str:
    return ctx.run_id


async def keyword(self: Any, *, ctx: JobContext) -> str:
    return ctx.run_id


async def anything(self: Any, *args: Any, **kwargs: Any) -> str:
    assert not kwargs
    found: str = args[0].run_id
    return found


def in_thread(self: Any, ctx: JobContext) -> str:
    return ctx.run_id


def keyword_in_thread(self: Any, *, ctx: JobContext) -> str:
    return ctx.run_id


async def left_out(self: Any) -> str:
    return "r1"


def left_out_in_thread(self: Any) -> str:
    return "r1"


@pytest.mark.parametrize(
    "body", [positional, keyword, anything, in_thread, keyword_in_thread, left_out, left_out_in_thread]
)
async def test_the_context_is_given_as_the_body_takes_it(body: Any) -> None:
    assert await outcome_of(body) == Succeeded('"r1"')


def test_steps_are_progress_with_the_count_in_the_message() -> None:
    told: list[tuple[float, str]] = []
    ctx = context(_report=lambda percent, message: told.append((percent, message)))
    ctx.step(0, of=3)
    ctx.step(3, of=10, message="copying")
    ctx.step(10, of=10, message="copying")
    assert told == [(0.0, "(0 of 3)"), (30.0, "copying (3 of 10)"), (100.0, "copying (10 of 10)")]


@pytest.mark.parametrize(("number", "of"), [(-1, 3), (4, 3), (0, 0), (1, 0), (math.nan, 3)])
def test_a_step_beyond_the_last_is_a_mistake(number: int, of: int) -> None:
    with pytest.raises(ValueError, match="is none; count the steps"):
        context().step(number, of=of)


def context(**more: Any) -> JobContext:
    now = datetime.now(UTC)
    return JobContext(
        run_id="r", job_id="j", attempt=1, fire_time=now, missed=0, deadline=now, token="1", queue="pro", **more
    )


async def test_progress_is_noted_from_async_and_sync_bodies() -> None:
    async def asynchronous(self: Any, ctx: JobContext) -> None:
        await ctx.progress(0)
        await ctx.progress(1 / 3, "a third")
        ctx.progress(True, "all")

    def synchronous(self: Any, ctx: JobContext) -> None:
        ctx.progress(Decimal("0.5"), "half")  # type: ignore[arg-type]  # a number all the same

    kit = RunnerKit(job_of(asynchronous))
    await kit.run("Job")
    await wait_until(lambda: len(kit.settled.reports) == 3, "the reports")
    assert kit.settled.reports == [("r1", 0.0, ""), ("r1", 33.33, "a third"), ("r1", 100.0, "all")]
    kit = RunnerKit(job_of(synchronous))
    await kit.run("Job")
    assert kit.settled.reports == [("r1", 50.0, "half")]
    assert type(kit.settled.reports[0][1]) is float


@pytest.mark.parametrize(
    ("fraction", "message", "why"),
    [
        (math.nan, "", "ValueError: progress is a fraction from 0.0 to 1.0, not nan"),
        (math.inf, "", "ValueError"),
        (1.0001, "", "ValueError"),
        (-0.1, "", "ValueError"),
        (50, "", "ValueError: progress is a fraction from 0.0 to 1.0, not 50"),
        ("0.5", "", "TypeError"),
        (None, "", "TypeError"),
        (0.5, None, "TypeError: the message of progress is a text, not NoneType"),
        (0.5, b"half", "TypeError: the message of progress is a text, not bytes"),
    ],
)
async def test_bad_progress_is_an_error_in_the_body(fraction: Any, message: Any, why: str) -> None:
    async def body(self: Any, ctx: JobContext) -> None:
        await ctx.progress(fraction, message)

    outcome = await outcome_of(body)
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith(why)


async def test_a_run_that_is_over_reports_no_progress() -> None:
    contexts: list[JobContext] = []

    async def body(self: Any, ctx: JobContext) -> None:
        contexts.append(ctx)

    kit = RunnerKit(job_of(body))
    await kit.run("Job")
    assert contexts[0].cancelled
    contexts[0].progress(0.5, "of an attempt before")
    await kit.run("Job")
    assert kit.settled.reports == []


async def test_a_context_made_by_hand_in_a_test_needs_no_runner() -> None:
    ctx = JobContext(run_id="r", job_id="j", attempt=1, fire_time=FIRE_TIME, missed=0, deadline=FIRE_TIME, token="1")
    await ctx.progress(0.5)
    assert not ctx.cancelled


marker: contextvars.ContextVar[str] = contextvars.ContextVar("marker", default="clean")


async def test_context_variables_leak_neither_into_a_run_nor_out_of_it() -> None:
    marker.set("of whoever starts runs")

    async def asynchronous(self: Any) -> str:
        seen = marker.get()
        marker.set("of a run")
        return seen

    def synchronous(self: Any) -> str:
        seen = marker.get()
        marker.set("of a run")
        return seen

    for body in (asynchronous, synchronous):
        kit = RunnerKit(job_of(body))
        assert [await kit.run("Job") for _ in range(2)] == [Succeeded('"clean"')] * 2
    assert marker.get() == "of whoever starts runs"


async def test_a_sync_body_has_a_thread_of_its_own() -> None:
    threads: set[str] = set()
    meeting = threading.Barrier(3)

    def body(self: Any) -> None:
        meeting.wait(30)
        threads.add(threading.current_thread().name + str(threading.get_ident()))

    kit = RunnerKit(job_of(body))
    claims = [kit.start("Job") for _ in range(3)]
    for claim in claims:
        assert await kit.outcome(claim) == Succeeded("null")
    assert len(threads) == 3
