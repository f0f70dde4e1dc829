"""Dependencies that misbehave: they neither hide what the body said, nor hold a run for ever."""

import asyncio
from typing import Any

import pytest
from dependency_injector import containers, providers

from application.scheduling import Injected, JobTerminationException, RecurrentBackgroundJob, RetryPolicy, backgroundjob
from domain.runs.outcome import Cancelled, Failed, Retry, Succeeded, Terminated
from unit.runs.runner_kit import RunnerKit, forever


class Moody:
    """Context managers that misbehave."""

    def __init__(self, mood: str) -> None:
        self.mood = mood

    async def __aenter__(self) -> "Moody":
        if self.mood == "will not open":
            raise TimeoutError("no connection is free")
        if self.mood == "opens for ever":
            await forever()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if self.mood == "swallows":
            return True
        if self.mood == "fails to close":
            raise ConnectionError("rollback failed")
        if self.mood == "closes for ever":
            await forever()
        return False


@backgroundjob(task_type="recurrent")
class Suffers(RecurrentBackgroundJob):
    thing: Injected[Moody]
    how: str = "returns"

    async def run_every(self) -> str:
        if self.how == "returns":
            return "fine"
        if self.how == "hangs":
            await forever()
        raise {"fails": RuntimeError, "ends": JobTerminationException, "cancels": asyncio.CancelledError}[self.how]("x")


async def suffer(mood: str, how: str = "returns", **options: Any) -> Any:
    container = containers.DynamicContainer()
    container.thing = providers.Factory(Moody, mood)
    kit = RunnerKit(Suffers, container=container, clean_up_s=0.02)
    return await kit.run(Suffers, f'{{"how":"{how}"}}', **options)


TWICE = RetryPolicy(max_retries=2, backoff_s=7, jitter=False)


async def test_a_dependency_that_cannot_be_made_is_a_failed_attempt() -> None:
    assert await suffer("will not open", retry=TWICE) == Retry("TimeoutError: no connection is free", 7.0)


async def test_a_dependency_that_never_opens_meets_the_timeout() -> None:
    outcome = await suffer("opens for ever", timeout_s=0.01)
    assert outcome == Failed("TimeoutError: the body did not end within its timeout of 0.01 s")


async def test_a_dependency_that_fails_to_close_fails_a_run_that_succeeded() -> None:
    """It was the commit that failed, perhaps."""
    assert await suffer("fails to close", retry=TWICE) == Retry("ConnectionError: rollback failed", 7.0)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("fails", Failed("RuntimeError: x (and leaving its dependencies failed: ConnectionError: rollback failed)")),
        ("ends", Terminated("x")),
        ("cancels", Cancelled("the body was cancelled")),
    ],
)
async def test_a_dependency_that_fails_to_close_does_not_hide_what_the_body_said(how: str, expected: Any) -> None:
    assert await suffer("fails to close", how) == expected


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("returns", Succeeded('"fine"')),
        ("fails", Failed("RuntimeError: x")),
        ("ends", Terminated("x")),
        ("cancels", Cancelled("the body was cancelled")),
    ],
)
async def test_a_dependency_that_swallows_errors_does_not_make_a_success_of_them(how: str, expected: Any) -> None:
    assert await suffer("swallows", how) == expected


async def test_a_dependency_that_swallows_a_timeout_does_not_make_a_success_of_it() -> None:
    assert isinstance(await suffer("swallows", "hangs", timeout_s=0.01), Failed)


async def test_a_dependency_that_never_closes_is_left_behind() -> None:
    outcome = await suffer("closes for ever", timeout_s=0.01)
    assert isinstance(outcome, Failed)


async def test_a_job_without_dependencies_needs_no_container() -> None:
    @backgroundjob(task_type="recurrent")
    class Alone(RecurrentBackgroundJob):
        async def run_every(self) -> str:
            return "fine"

    assert await RunnerKit(Alone).run(Alone) == Succeeded('"fine"')
    assert Alone.__definition__.dependencies == {}
