"""What a body returns, and data that does not load."""

import math
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator

from application.runs.attempt import RESULT_LIMIT
from application.scheduling import (
    RecurrentBackgroundJob,
    RetryPolicy,
    backgroundjob,
)
from domain.runs.outcome import Failed, Retry, Succeeded
from unit.runs.runner_kit import RunnerKit, job_of, outcome_of

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


async def test_a_sync_body_may_return_an_awaitable() -> None:
    async def later() -> int:
        return 5

    def body(self: Any) -> Any:
        return later()

    assert await outcome_of(body) == Succeeded("5")


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
