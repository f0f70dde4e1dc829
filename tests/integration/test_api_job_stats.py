"""Statistics of jobs, and jobs of the history, over HTTP."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api_kit import Api, problem_type
from application.jobs.history import JobHistory
from infrastructure.jobs.history.address import read_address
from infrastructure.jobs.history.connection import HistoryConnection
from integration.history_kit import HistoryUnderTest, row


@pytest.fixture
async def api(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    async with Api(redis_url, namespace) as started:
        yield started


def give(api: Api, history: JobHistory) -> None:
    api.instance.jobs._history = history


async def test_statistics_tell_of_all_and_of_each(api: Api, history: HistoryUnderTest) -> None:
    now = int(time.time() * 1000)
    failed = {"status": "failed", "queue": None, "running_ms": 2_000, "ended_ms": now, "task": "Mail"}
    cancelled = row("c", status="cancelled", ended_ms=now, waiting_ms=None, running_ms=None, team_id="acme")
    await history.write(row("a", ended_ms=now), row("b", ended_ms=now), row("f", **failed), cancelled)
    give(api, history.search)
    stats = (await api.get("/jobs/stats?days=2")).json()
    assert (stats["until"], stats["team_id"]) == (datetime.fromtimestamp(now / 1000, UTC).date().isoformat(), None)
    whole = stats["all"]
    assert (whole["total"], whole["succeeded"], whole["failed"], whole["cancelled"]) == (4, 2, 1, 1)
    assert whole["success_rate"] == pytest.approx(2 / 3, abs=1e-4)
    assert whole["running_s"] == {"p50": pytest.approx(0.1, rel=0.02), "p95": pytest.approx(2, rel=0.02)} | {
        "p99": pytest.approx(2, rel=0.02)
    }
    assert [(one["name"], one["total"]) for one in stats["by_task"]] == [("Import", 3), ("Mail", 1)]
    assert [(one["name"], one["total"]) for one in stats["by_queue"]] == [("free", 3), ("", 1)]
    assert [(one["name"], one["total"]) for one in stats["by_team"]] == [("", 3), ("acme", 1)]
    assert [one["total"] for one in stats["by_day"]] == [0, 4]
    of_team = (await api.get("/jobs/stats?team_id=acme")).json()
    assert (of_team["all"]["total"], of_team["all"]["success_rate"], of_team["all"]["waiting_s"]) == (1, None, None)
    assert len(of_team["by_day"]) == 7


@pytest.mark.parametrize("query", ["days=0", "days=367", "days=x", "team_id=", f"team_id={'x' * 201}", "dayz=1"])
async def test_statistics_of_nonsense_are_refused(api: Api, query: str) -> None:
    answer = await api.get(f"/jobs/stats?{query}")
    assert (answer.status_code, problem_type(answer)) == (422, "invalid-request")


async def test_without_a_history_there_are_no_statistics(api: Api) -> None:
    answer = await api.get("/jobs/stats")
    assert (answer.status_code, problem_type(answer)) == (404, "history-is-off")


async def test_a_history_that_is_away_is_told_and_hides_no_other_job(api: Api, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    away = HistoryConnection(read_address(f"sqlite:///{tmp_path / 'taken'}", tmp_path))
    await away.start()
    give(api, away)
    try:
        job = (await api.post("/jobs", {"task": "Once", "params": {"label": "a"}})).json()
        for path in ("/jobs/stats", "/jobs/nobody-knows", "/jobs/nobody-knows/result", "/jobs?cursor=h:1:x"):
            answer = await api.get(path)
            assert (answer.status_code, problem_type(answer)) == (503, "history-unavailable"), path
            assert int(answer.headers["Retry-After"]) > 0
        listed = (await api.get("/jobs")).json()
        assert [one["id"] for one in listed["items"]] == [job["id"]]
        assert listed["next_cursor"].startswith("h:")
    finally:
        await away.stop()


async def test_a_job_of_the_history_is_shown_and_cannot_be_run_again(api: Api, history: HistoryUnderTest) -> None:
    await history.write(row("old", result='{"rows":3}', team_id="acme"), row("failed", status="failed", error="no"))
    give(api, history.search)
    shown = (await api.get("/jobs/old")).json()
    assert (shown["status"], shown["team_id"], shown["params"]) == ("succeeded", "acme", None)
    assert (await api.get("/jobs/old/result")).json() == {"id": "old", "result": {"rows": 3}}
    assert [one["id"] for one in (await api.get("/jobs?status=failed")).json()["items"]] == ["failed"]
    again = await api.post("/jobs/failed/retry")
    assert (again.status_code, problem_type(again)) == (409, "job-is-past")
    cancelled = await api.delete("/jobs/old")
    assert (cancelled.status_code, problem_type(cancelled)) == (409, "job-is-over")
