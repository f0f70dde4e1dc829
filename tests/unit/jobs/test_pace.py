"""Estimates: when a job may be done, from what is before it and how such jobs fared."""

from datetime import UTC, datetime
from typing import Any

import pytest

from domain.jobs.job import Job
from domain.jobs.pace import MEMORY_MS, Flow, Outlook, expected_end_ms

NOW = 1_795_500_000_000


def job(status: str = "queued", **more: Any) -> Job:
    return Job(id="j", task="Import", status=status, created_at=datetime.now(UTC), **more)


def expected(made: Job, started_ms: int | None = None, **known: Any) -> float | None:
    """Return in how many ms a job may be done."""
    found = expected_end_ms(made, Outlook(NOW, **known), started_ms)
    return None if found is None else found - NOW


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "expired"])
def test_nothing_is_expected_of_what_is_over(status: str) -> None:
    assert expected(job(status), NOW - 1000, average_ms=500) is None


def test_nothing_is_expected_of_what_waits_for_a_person() -> None:
    assert expected(job(parked="it cannot be loaded"), average_ms=500, ahead=0) is None


@pytest.mark.parametrize("made", [job(), job("running"), job("retrying")])
def test_without_history_nobody_can_tell(made: Job) -> None:
    assert expected(made, NOW - 100, ahead=3, per_s=2.0) is None
    assert expected(made, NOW - 100, due_ms=NOW + 5) is None


def test_one_that_runs_ends_as_others_did_and_not_before_now() -> None:
    assert expected(job("running"), NOW - 300, average_ms=1000) == 700
    assert expected(job("running"), NOW - 5000, average_ms=1000) == 0


def test_one_that_tells_its_progress_is_believed() -> None:
    assert expected(job("running", progress=25.0), NOW - 1000, average_ms=50) == 3000
    assert expected(job("running", progress=25.0), NOW - 1000) == 3000
    assert expected(job("running", progress=1.0), NOW - 1000, average_ms=5000) == 4000
    assert expected(job("running", progress=100.0), NOW - 1000) == 0


def test_one_that_waits_for_its_time_ends_after_it() -> None:
    assert expected(job(), due_ms=NOW + 60_000, average_ms=500) == 60_500
    assert expected(job("retrying"), due_ms=NOW - 5, average_ms=500) == 500


def test_one_that_is_first_starts_now() -> None:
    assert expected(job(), ahead=0, average_ms=500) == 500


def test_one_that_waits_ends_when_those_before_it_are_done() -> None:
    assert expected(job(), ahead=20, per_s=10.0, average_ms=500) == 2500
    assert expected(job(), ahead=20, per_s=None, running=4, average_ms=500) == 20 * 500 / 4 + 500
    assert expected(job(), ahead=20, per_s=1.0, running=4, average_ms=500) == 20 * 500 / 4 + 500, (
        "the queue was idle before"
    )


def test_where_nothing_moves_nobody_can_tell() -> None:
    assert expected(job(), ahead=20, per_s=0.0, running=0, average_ms=500) is None
    assert expected(job(), ahead=None, average_ms=500) is None


def flow_of(per_s: float, for_ms: int) -> Flow:
    """Return what settle.lua counts of so many a second, for so long."""
    flow = Flow.parse(f"0 {NOW} {NOW}")
    step = 100
    for now in range(NOW, NOW + for_ms, step):
        rate = flow.per_s * 2.718281828 ** (-(now - flow.last_ms) / MEMORY_MS) + per_s * step / MEMORY_MS
        flow = Flow(rate, now, NOW)
    return flow


@pytest.mark.parametrize("for_ms", [2_000, 30_000, 600_000])
def test_a_rate_is_known_soon_and_stays(for_ms: int) -> None:
    assert flow_of(40, for_ms).at(NOW + for_ms) == pytest.approx(40, rel=0.06)


def test_a_rate_is_forgotten() -> None:
    flow = flow_of(40, 600_000)
    assert flow.at(NOW + 600_000 + 10 * MEMORY_MS) < 0.01


def test_a_single_job_is_no_great_rate() -> None:
    assert Flow(1000 / MEMORY_MS, NOW, NOW).at(NOW) <= 1.01
