"""What an attempt ends with, whatever its body raises."""

import asyncio
from typing import Any

import pytest

from application.runs.attempt import ERROR_LIMIT
from application.scheduling import (
    JobTerminationException,
    PermanentError,
    RetryPolicy,
    TransientError,
)
from domain.runs.outcome import Cancelled, Failed, Outcome, Retry, Succeeded, Terminated
from unit.runs.runner_kit import forever, outcome_of

TWICE = RetryPolicy(max_retries=2, backoff_s=7, jitter=False)


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
