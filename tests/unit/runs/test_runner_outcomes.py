"""What an attempt ends with, whatever its body does."""

import asyncio
import math
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator

from application.runs.attempt import ERROR_LIMIT, RESULT_LIMIT
from application.scheduling import (
    JobTerminationException,
    PermanentError,
    RecurrentBackgroundJob,
    RetryPolicy,
    TransientError,
    backgroundjob,
)
from domain.runs.outcome import Cancelled, Failed, Outcome, Retry, Succeeded, Terminated
from unit.runs.runner_kit import RunnerKit, forever, job_of, outcome_of

TWICE = RetryPolicy(max_retries=2, backoff_s=7, jitter=False)


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (None, "null"),
        ({"a": [1, 2.5, True, None]}, '{"a":[1,2.5,true,null]}'),
        ("ü", '"ü"'),
        (False, "false"),
        ((1, 2), "[1,2]"),
        ("x" * (RESULT_LIMIT - 2), '"' + "x" * (RESULT_LIMIT - 2) + '"'),
    ],
)
async def test_what_a_body_returns_is_kept_as_json(returned: Any, text: str) -> None:
    async def asynchronous(self: Any) -> Any:
        return returned

    def synchronous(self: Any) -> Any:
        return returned

    assert await outcome_of(asynchronous) == Succeeded(text)
    assert await outcome_of(synchronous) == Succeeded(text)


def circular() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def deep() -> list[Any]:
    found: list[Any] = []
    for _ in range(100_000):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        (deep, "cannot be kept"),
        (object(), "not JSON serializable"),
        ({1, 2}, "not JSON serializable"),
        (math.nan, "not JSON compliant"),
        ([math.inf], "not JSON compliant"),
        ({(1, 2): 3}, "keys must be"),
        (circular(), "Circular reference"),
        ("\ud800", "surrogates not allowed"),
        ("x" * (RESULT_LIMIT - 1), f"it has {RESULT_LIMIT + 1} bytes"),
        ("ü" * (RESULT_LIMIT // 2), f"it has {RESULT_LIMIT + 2} bytes"),
    ],
)
async def test_a_result_that_cannot_be_kept_fails_for_good(returned: Any, why: str) -> None:
    """The work is done: a retry would do it again, and return the same."""

    async def body(self: Any) -> Any:
        return returned() if callable(returned) else returned

    outcome = await outcome_of(body, retry=TWICE)
    assert isinstance(outcome, Failed)
    assert why in outcome.error
    assert "What 'Job' returned cannot be kept" in outcome.error
    assert not outcome.unloadable


class Worse(BaseException):
    """Not even an Exception."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no")


RAISED = [
    (RuntimeError("boom"), "RuntimeError: boom"),
    (KeyError("k"), "KeyError: 'k'"),
    (SystemExit(3), "SystemExit: 3"),
    (KeyboardInterrupt(), "KeyboardInterrupt: "),
    (Worse("w"), "Worse: w"),
    (StopAsyncIteration(), "StopAsyncIteration: "),
    (TimeoutError("a socket's"), "TimeoutError: a socket's"),
    (Unprintable(), "Unprintable: (it cannot say what it is)"),
    (RuntimeError("\ud800"), "RuntimeError: \\ud800"),
    (RuntimeError("x" * 9_000), ("RuntimeError: " + "x" * 9_000)[:ERROR_LIMIT]),
    (RuntimeError("\ud800" * 9_000), ("RuntimeError: " + "\\ud800" * 9_000)[:ERROR_LIMIT]),
    (
        ExceptionGroup("all", [ValueError("a"), KeyError("b")]),
        "ExceptionGroup: all (2 sub-exceptions): ValueError: a; ",
    ),
    (ExceptionGroup("one", [ExceptionGroup("two", [ValueError("a")])]), "ValueError: a"),
    (BaseExceptionGroup("one", [SystemExit(1)]), "SystemExit: 1"),
]


@pytest.mark.parametrize(
    ("error", "text"), RAISED, ids=[type(error).__name__ + str(n) for n, (error, _) in enumerate(RAISED)]
)
async def test_whatever_a_body_raises_is_its_outcome_and_hurts_nobody_else(error: BaseException, text: str) -> None:
    async def asynchronous(self: Any) -> None:
        raise error

    def synchronous(self: Any) -> None:
        raise error

    for body in (asynchronous, synchronous):
        outcome = await outcome_of(body)
        assert isinstance(outcome, Failed)
        assert outcome.error.startswith(text)
        assert len(outcome.error) <= ERROR_LIMIT
        assert await outcome_of(body, retry=TWICE) == Retry(outcome.error, 7.0)


async def test_stop_iteration_is_a_failure_too() -> None:
    async def asynchronous(self: Any) -> None:
        raise StopIteration

    def synchronous(self: Any) -> None:
        raise StopIteration

    for body in (asynchronous, synchronous):
        outcome = await outcome_of(body)
        assert isinstance(outcome, Failed)
        assert "StopIteration" in outcome.error


async def raise_in_group(error: Exception) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(forever())
        group.create_task(raising(error))


async def raising(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermanentError("no such bucket"), Failed("PermanentError: no such bucket")),
        (TransientError("slow down", retry_after_s=42), Retry("TransientError: slow down", 42.0)),
        (TransientError("slow down"), Retry("TransientError: slow down", 7.0)),
        (JobTerminationException("the worker is gone"), Terminated("the worker is gone")),
        (JobTerminationException(), Terminated("the body raised JobTerminationException")),
    ],
)
async def test_a_body_steers_its_run_by_what_it_raises_also_from_within_a_task_group(
    error: Exception, expected: Outcome
) -> None:
    async def alone(self: Any) -> None:
        raise error

    def in_thread(self: Any) -> None:
        raise error

    async def in_group(self: Any) -> None:
        await raise_in_group(error)

    for body in (alone, in_thread, in_group):
        assert await outcome_of(body, retry=TWICE) == expected


async def test_termination_beside_another_failure_is_a_failure() -> None:
    """Taking a schedule out of the store is for good: the next fire may say it again, unmixed."""

    async def body(self: Any) -> None:
        raise ExceptionGroup("both", [JobTerminationException("gone"), ValueError("and this")])

    assert isinstance(await outcome_of(body), Failed)


async def test_a_body_that_is_cancelled_from_within_ends_as_cancelled() -> None:
    async def asynchronous(self: Any) -> None:
        raise asyncio.CancelledError

    async def awaits_a_cancelled_task(self: Any) -> None:
        task = asyncio.create_task(forever())
        task.cancel()
        await task

    def synchronous(self: Any) -> None:
        raise asyncio.CancelledError

    for body in (asynchronous, awaits_a_cancelled_task, synchronous):
        assert await outcome_of(body, retry=TWICE) == Cancelled("the body was cancelled")


async def test_a_sync_body_may_return_an_awaitable() -> None:
    async def later() -> int:
        return 5

    def body(self: Any) -> Any:
        return later()

    assert await outcome_of(body) == Succeeded("5")


async def test_an_async_body_that_hangs_fails_at_its_timeout() -> None:
    async def body(self: Any) -> None:
        await forever()

    late = "TimeoutError: the body did not end within its timeout of 0.01 s"
    assert await outcome_of(body, timeout_s=0.01) == Failed(late)
    assert await outcome_of(body, timeout_s=0.01, retry=TWICE) == Retry(late, 7.0)


async def test_a_body_that_comes_to_its_end_though_its_time_is_up_has_succeeded() -> None:
    async def body(self: Any) -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            return "what I have so far"
        return "all"

    assert await outcome_of(body, timeout_s=0.01) == Succeeded('"what I have so far"')


async def test_a_body_that_fails_while_it_is_cancelled_is_late_all_the_same() -> None:
    async def body(self: Any) -> None:
        try:
            await forever()
        finally:
            raise RuntimeError("the clean-up failed")

    outcome = await outcome_of(body, timeout_s=0.01)
    assert isinstance(outcome, Failed)
    assert "timeout of 0.01 s" in outcome.error


async def test_a_timeout_within_the_body_is_an_ordinary_failure() -> None:
    async def body(self: Any) -> None:
        async with asyncio.timeout(0):
            await forever()

    assert await outcome_of(body) == Failed("TimeoutError: ")


@backgroundjob(task_type="recurrent")
class Strict(RecurrentBackgroundJob):
    count: int

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("below zero")

    async def run_every(self) -> int:
        return self.count


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ('{"count":"x"}', "count: Input should be a valid integer"),
        ('{"count":1,"gone":2}', "gone: Extra inputs are not permitted"),
        ("{", "Invalid JSON"),
    ],
)
async def test_data_that_does_not_load_parks_the_run(data: str, why: str) -> None:
    outcome = await RunnerKit(Strict).run(Strict, data, retry=TWICE)
    assert isinstance(outcome, Failed)
    assert outcome.unloadable
    assert why in outcome.error


async def test_a_job_that_is_not_known_parks_the_run() -> None:
    outcome = await RunnerKit(Strict).run("Strickt")
    assert isinstance(outcome, Failed)
    assert outcome.unloadable
    assert "Did you mean Strict?" in outcome.error


async def test_a_constructor_that_raises_is_a_failed_attempt() -> None:
    outcome = await RunnerKit(Strict).run(Strict, '{"count":-1}', retry=TWICE)
    assert outcome == Retry("ValueError: below zero", 7.0)


async def test_a_validator_that_breaks_parks_the_run() -> None:
    def broken(value: int) -> int:
        raise KeyError("its own mistake")

    class Broken(RecurrentBackgroundJob):
        count: Annotated[int, AfterValidator(broken)]

        async def run_every(self) -> None: ...

    job = backgroundjob(task_type="recurrent")(Broken)
    assert await RunnerKit(job).run(job, '{"count":1}') == Failed("KeyError: 'its own mistake'", unloadable=True)


async def test_a_failure_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def body(self: Any) -> None:
        raise RuntimeError("boom")

    with caplog.at_level("INFO"):
        await outcome_of(body)
    (record,) = [record for record in caplog.records if "failed" in record.message]
    assert "run r1, attempt 1, failed (0 of 0 retries are spent)" in record.message
    assert 'raise RuntimeError("boom")' in record.message


async def test_one_bad_body_leaves_the_others_alone() -> None:
    async def bad(self: Any) -> None:
        raise SystemExit

    kit = RunnerKit(job_of(bad), Strict)
    claims = [kit.start("Job"), kit.start(Strict, '{"count":1}'), kit.start("Job"), kit.start(Strict, '{"count":2}')]
    outcomes = [await kit.outcome(claim) for claim in claims]
    assert [type(outcome) for outcome in outcomes] == [Failed, Succeeded, Failed, Succeeded]
