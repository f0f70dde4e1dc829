"""Schedules over HTTP, on a real server and a real store."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api_kit import Api, problem_type
from application.scheduling import ScheduledTaskDescriptor
from support import wait_until


@pytest.fixture
async def api(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    async with Api(redis_url, namespace) as running:
        yield running


@pytest.fixture
async def executing(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    async with Api(redis_url, namespace, executes=True) as running:
        yield running


def report(schedule_id: str = "r", **more: Any) -> dict[str, Any]:
    return {"id": schedule_id, "name": "Report", "data": {"team": "ops"}, "trigger": {"interval_s": 60}, **more}


async def test_a_schedule_is_made_shown_and_the_same_request_again_changes_nothing(api: Api) -> None:
    made = await api.post("/schedules", report())
    assert made.status_code == 201
    assert made.headers["location"] == "/api/v1/schedules/r"
    body = made.json()
    assert body["trigger"] == {"interval_s": 60}
    assert body["data"] == {"team": "ops", "rows": 0}
    assert body["status"] == "active"
    assert body["generation"] == 1
    assert body["next_fire"] == body["next_run_time"]
    assert body["created_at"].endswith("Z")
    again = await api.post("/schedules", report())
    assert (again.status_code, again.json()["generation"]) == (200, 1)
    assert (await api.get("/schedules/r")).json() == again.json()


async def test_a_changed_request_changes_the_schedule(api: Api) -> None:
    await api.post("/schedules", report())
    changed = await api.post("/schedules", report(trigger={"cron": "0 6 * * *", "timezone": "Europe/Brussels"}))
    assert changed.status_code == 200
    assert changed.json()["generation"] == 2
    assert changed.json()["trigger"] == {"cron": "0 6 * * *", "timezone": "Europe/Brussels"}


async def test_without_an_id_a_schedule_gets_one(api: Api) -> None:
    body = report()
    del body["id"]
    made = await api.post("/schedules", body)
    assert made.status_code == 201
    assert (await api.get(made.headers["location"].removeprefix("/api/v1"))).json()["id"] == made.json()["id"]


async def test_the_next_run_is_later_than_the_fire_by_its_jitter(api: Api) -> None:
    body = (await api.post("/schedules", report(policy={"jitter_s": 3600}))).json()
    assert body["next_run_time"] > body["next_fire"]


async def test_a_patch_changes_what_it_names_and_keeps_the_rest(api: Api) -> None:
    await api.post("/schedules", report(policy={"overlap": "allow(2)", "jitter_s": 3}))
    await api.post("/schedules/r/pause", {"reason": "so"})
    body = (await api.patch("/schedules/r", {"policy": {"jitter_s": 5}, "data": {"team": "dev", "rows": 4}})).json()
    assert body["policy"]["overlap"] == "allow(2)"
    assert body["policy"]["jitter_s"] == 5
    assert body["data"] == {"team": "dev", "rows": 4}
    assert body["trigger"] == {"interval_s": 60}
    assert body["status"] == "paused"
    body = (await api.patch("/schedules/r", {"trigger": {"cron": "*/5 * * * *"}})).json()
    assert body["trigger"] == {"cron": "*/5 * * * *", "timezone": "UTC"}
    assert (await api.patch("/schedules/r", {})).json()["generation"] == body["generation"]


async def test_a_list_gives_pages_in_order_and_filters(api: Api) -> None:
    for number in range(5):
        await api.post("/schedules", report(f"r{number}"))
    await api.post("/schedules", {"id": "n", "name": "Note", "trigger": {"interval_s": 60}})
    await api.post("/schedules/r3/pause")
    found, cursor = [], None
    while True:
        page = (await api.get("/schedules", params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        assert len(page["items"]) <= 2
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == ["n", "r0", "r1", "r2", "r3", "r4"]
    named = (await api.get("/schedules", params={"name": "Note"})).json()
    assert [item["id"] for item in named["items"]] == ["n"]
    paused = (await api.get("/schedules", params={"state": "paused"})).json()
    assert [item["id"] for item in paused["items"]] == ["r3"]


async def test_a_pause_says_who_and_why_and_ends_with_resume(api: Api) -> None:
    await api.post("/schedules", report())
    body = (await api.post("/schedules/r/pause", {"reason": "the database moves"})).json()
    assert body["status"] == "paused"
    assert (body["paused"]["by"], body["paused"]["reason"]) == ("api", "the database moves")
    assert body["next_fire"] is None
    assert (await api.post("/schedules/r/resume")).json()["status"] == "active"
    refused = await api.post("/schedules/r/resume")
    assert (refused.status_code, problem_type(refused)) == (409, "not-resumable")


async def test_stopping_takes_a_schedule_out_of_the_store(api: Api) -> None:
    await api.post("/schedules", report())
    stopped = await api.delete("/schedules/r")
    assert stopped.json() == {"id": "r", "stopped": True, "running": [], "cancelled": []}
    for gone in (await api.get("/schedules/r"), await api.delete("/schedules/r"), await api.get("/schedules/r/runs")):
        assert (gone.status_code, problem_type(gone)) == (404, "schedule-not-found")


async def test_a_run_now_is_shown_while_it_executes_and_when_it_is_over(executing: Api) -> None:
    body = {"id": "h", "name": "Note", "data": {"hold": True, "label": "x"}, "trigger": {"interval_s": 3600}}
    await executing.post("/schedules", body)
    started = await executing.post("/schedules/h/run")
    assert started.status_code == 202
    run_id = started.json()["run_id"]
    await wait_until(lambda: executing.ledger.of("h"))
    assert (await executing.get("/schedules/h")).json()["running"] == [run_id]
    busy = await executing.post("/schedules/h/run")
    assert (busy.status_code, problem_type(busy)) == (409, "schedule-busy")
    assert run_id in busy.json()["detail"]
    assert [run["status"] for run in (await executing.get("/schedules/h/runs")).json()["items"]] == ["running"]
    executing.ledger.gate("x").set()

    async def over() -> bool:
        runs = (await executing.get("/schedules/h/runs")).json()["items"]
        return [run["status"] for run in runs] == ["succeeded"] and bool(runs[0]["ended_at"])

    await wait_until(over)
    shown = (await executing.get("/schedules/h")).json()
    assert (shown["last_outcome"], shown["counts"]["succeeded"], shown["running"]) == ("succeeded", 1, [])


@pytest.mark.parametrize("cancel", [True, False])
async def test_stopping_lists_what_still_runs_and_cancels_it_if_asked(executing: Api, cancel: bool) -> None:
    body = {"id": "h", "name": "Note", "data": {"hold": True, "label": "x"}, "trigger": {"interval_s": 3600}}
    await executing.post("/schedules", body)
    run_id = (await executing.post("/schedules/h/run")).json()["run_id"]
    await wait_until(lambda: executing.ledger.of("h"))
    stopped = (await executing.delete("/schedules/h", params={"cancel_running": cancel})).json()
    assert stopped["running"] == [run_id]
    assert stopped["cancelled"] == ([run_id] if cancel else [])
    if cancel:
        await wait_until(lambda: run_id in executing.ledger.cancelled)
    else:
        executing.ledger.gate("x").set()


async def test_a_backfill_makes_a_run_for_each_fire_and_none_twice(api: Api) -> None:
    started = datetime.now(UTC) - timedelta(hours=1)
    body = report(policy={"start": started.isoformat()}, trigger={"interval_s": 600})
    assert (await api.post("/schedules", body)).status_code == 201
    span = {
        "since": (started + timedelta(minutes=5)).isoformat(),
        "until": (started + timedelta(minutes=35)).isoformat(),
    }
    made = await api.post("/schedules/r/backfill", span)
    assert made.status_code == 202
    assert len(made.json()["run_ids"]) == 3
    assert (await api.post("/schedules/r/backfill", span)).json() == made.json()
    assert len((await api.get("/schedules/r/runs", params={"limit": 2})).json()["items"]) == 2


async def test_an_id_that_a_one_shot_has_is_taken_and_shows_no_schedule(api: Api) -> None:
    await api.instance.bus.schedule_task(ScheduledTaskDescriptor(id="once", name="Once"))
    taken = await api.post("/schedules", report("once"))
    assert (taken.status_code, problem_type(taken)) == (409, "id-taken")
    assert (await api.get("/schedules/once")).status_code == 404
