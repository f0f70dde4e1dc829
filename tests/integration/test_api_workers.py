"""Workers, their monitoring, their metrics and their alerts over HTTP."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api_kit import API_KEYS, Api, problem_type
from domain.monitoring.sample import MetricSample
from support import wait_until
from unit.monitoring.waveforms import sample

BUILD = {"id": "b7", "name": "Build 7", "provider": "scripted", "labels": {"team": "ops"}}


@pytest.fixture
async def api(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    async with Api(redis_url, namespace) as running:
        yield running


@pytest.fixture
async def executing(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    async with Api(redis_url, namespace, executes=True) as running:
        yield running


async def store_samples(api: Api, count: int, cpu: float = 0.1) -> list[MetricSample]:
    """Store samples a second apart, the last one now."""
    now = datetime.now(UTC)
    made = [sample(now - timedelta(seconds=count - n), cpu, "b7") for n in range(1, count + 1)]
    for one in made:
        assert await api.instance.container.samples().append(one) == "stored"
    return made


async def test_a_worker_is_registered_shown_changed_and_removed(api: Api) -> None:
    made = await api.post("/workers", BUILD)
    assert made.status_code == 201
    assert made.headers["location"] == "/api/v1/workers/b7"
    assert made.json()["status"] == "unknown"
    assert made.json()["monitoring"] is None
    assert (await api.get("/workers/b7")).json() == made.json()
    changed = await api.patch("/workers/b7", {"name": "Build seven", "labels": {"team": None, "room": "2"}})
    assert changed.json()["name"] == "Build seven"
    assert changed.json()["labels"] == {"room": "2"}
    gone = await api.delete("/workers/b7")
    assert (gone.status_code, gone.content) == (204, b"")
    for answer in (
        await api.get("/workers/b7"),
        await api.delete("/workers/b7"),
        await api.patch("/workers/b7", {"name": "x"}),
        await api.get("/workers/b7/metrics"),
        await api.get("/workers/b7/monitoring"),
        await api.put("/workers/b7/monitoring", {}),
        await api.delete("/workers/b7/monitoring"),
        await api.post("/workers/b7/monitoring/run"),
    ):
        assert (answer.status_code, problem_type(answer)) == (404, "worker-not-found")


async def test_an_id_is_taken_once_and_made_up_where_none_is_given(api: Api) -> None:
    await api.post("/workers", BUILD)
    taken = await api.post("/workers", BUILD)
    assert (taken.status_code, problem_type(taken)) == (409, "worker-exists")
    made = await api.post("/workers", {"name": "x", "provider": "scripted"})
    assert made.status_code == 201
    listed = [item["id"] for item in (await api.get("/workers")).json()["items"]]
    assert sorted(listed) == sorted(["b7", made.json()["id"]])


async def test_workers_come_in_pages(api: Api) -> None:
    for number in range(3):
        await api.post("/workers", {**BUILD, "id": f"b{number}"})
    first = (await api.get("/workers", params={"limit": 2})).json()
    second = (await api.get("/workers", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [item["id"] for item in first["items"] + second["items"]] == ["b0", "b1", "b2"]
    assert second["next_cursor"] is None


async def test_monitoring_starts_changes_pauses_and_stops(api: Api) -> None:
    await api.post("/workers", BUILD)
    missing = await api.get("/workers/b7/monitoring")
    assert (missing.status_code, problem_type(missing)) == (404, "not-monitored")
    started = await api.put("/workers/b7/monitoring", {"interval_s": 30})
    assert started.status_code == 201
    body = started.json()
    assert (body["job_id"], body["interval_s"], body["status"]) == ("worker-metrics-b7", 30, "active")
    assert body["next_run_time"].endswith("Z")
    again = await api.put("/workers/b7/monitoring", {"interval_s": 30})
    assert (again.status_code, again.json()["next_run_time"]) == (200, body["next_run_time"])
    assert (await api.get("/workers/b7")).json()["monitoring"]["interval_s"] == 30
    changed = await api.put("/workers/b7/monitoring", {"cron": "*/5 * * * *", "timezone": "Europe/Brussels"})
    assert (changed.status_code, changed.json()["interval_s"], changed.json()["cron"]) == (200, None, "*/5 * * * *")
    paused = (await api.put("/workers/b7/monitoring", {"paused": True})).json()
    assert (paused["status"], paused["pause"]["by"], paused["next_run_time"]) == ("paused", "api", None)
    assert (await api.get("/schedules/worker-metrics-b7")).json()["status"] == "paused"
    assert (await api.put("/workers/b7/monitoring", {"paused": False})).json()["status"] == "active"
    stopped = (await api.delete("/workers/b7/monitoring")).json()
    assert (stopped["stopped"], stopped["id"]) == (True, "worker-metrics-b7")
    gone = await api.delete("/workers/b7/monitoring")
    assert (gone.status_code, problem_type(gone)) == (404, "not-monitored")
    assert (await api.get("/schedules/worker-metrics-b7")).status_code == 404


async def test_without_a_body_monitoring_has_the_interval_of_the_settings(api: Api) -> None:
    await api.post("/workers", BUILD)
    assert (await api.call("PUT", "/workers/b7/monitoring")).json()["interval_s"] == 5


async def test_a_monitored_worker_has_samples(executing: Api) -> None:
    await executing.post("/workers", BUILD)
    await executing.put("/workers/b7/monitoring", {"interval_s": 0.1})

    async def has_samples() -> bool:
        return len((await executing.get("/workers/b7/metrics")).json()["items"]) >= 3

    await wait_until(has_samples)
    shown = (await executing.get("/workers/b7")).json()
    assert shown["status"] == "running"
    assert shown["last_sample"]["metrics"]["cpu_utilization"] == 0.1
    stopped = await executing.delete("/workers/b7/monitoring", params={"cancel_running": True})
    assert stopped.json()["stopped"] is True
    run = await executing.post("/workers/b7/monitoring/run")
    assert (run.status_code, problem_type(run)) == (404, "not-monitored")


async def test_a_look_now_is_refused_while_one_is_going_on(executing: Api) -> None:
    await executing.post("/workers", BUILD)
    gate = executing.ledger.gate("look")
    collect = executing.instance.provider.collect

    async def slowly(worker: Any, now: datetime) -> MetricSample:
        await gate.wait()
        return await collect(worker, now)

    executing.instance.provider.collect = slowly  # type: ignore[method-assign]
    await executing.put("/workers/b7/monitoring", {"interval_s": 3600, "paused": True})
    run = await executing.post("/workers/b7/monitoring/run")
    assert run.status_code == 202

    async def is_running() -> bool:
        return (await executing.get("/workers/b7/monitoring")).json()["running"] == [run.json()["run_id"]]

    await wait_until(is_running)
    busy = await executing.post("/workers/b7/monitoring/run")
    assert (busy.status_code, problem_type(busy)) == (409, "schedule-busy")
    gate.set()


async def test_samples_come_oldest_first_in_pages_and_spans(api: Api) -> None:
    await api.post("/workers", BUILD)
    made = await store_samples(api, 10)
    whole = (await api.get("/workers/b7/metrics")).json()
    assert [item["observed_at"] for item in whole["items"]] == [text(one.observed_at) for one in made]
    last = (await api.get("/workers/b7/metrics", params={"limit": 3})).json()
    assert last["items"] == whole["items"][-3:]
    since = text(made[2].observed_at)
    found, cursor = [], None
    while True:
        query = {"limit": 3, "since": since} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/workers/b7/metrics", params=query)).json()
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert cursor.endswith("Z")
    assert found == whole["items"][2:]
    until = (await api.get("/workers/b7/metrics", params={"since": since, "until": since})).json()
    assert until["items"] == [whole["items"][2]]


async def test_extreme_spans_are_just_long(api: Api) -> None:
    await api.post("/workers", BUILD)
    await store_samples(api, 2)
    span = {"since": "1970-01-01T00:00:00Z", "until": "9998-12-31T23:59:59Z"}
    assert len((await api.get("/workers/b7/metrics", params=span)).json()["items"]) == 2


async def test_alerts_are_listed_by_state_and_worker(api: Api) -> None:
    await api.post("/workers", BUILD)
    await api.put("/workers/b7/monitoring", {"interval_s": 1})
    assert (await api.get("/alerts")).json() == {"items": [], "next_cursor": None}
    await store_samples(api, 2, cpu=0.99)
    await api.instance.container.alert_engine().catch_up("b7")
    (alert,) = (await api.get("/alerts")).json()["items"]
    assert (alert["rule_id"], alert["worker_id"], alert["state"]) == ("high-cpu", "b7", "pending")
    assert len((await api.get("/alerts", params={"state": "pending", "worker": "b7"})).json()["items"]) == 1
    assert (await api.get("/alerts", params={"state": "firing"})).json()["items"] == []
    assert (await api.get("/alerts", params={"worker": "b8"})).json()["items"] == []


async def test_who_removes_a_worker_is_told(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        await api.post("/workers", BUILD, key="admin")
        place = await api.bus.place(["worker.*"])
        await api.delete("/workers/b7", key="admin")
        async for _, event in api.bus.read(["worker.removed"], after=place):
            assert event is not None
            assert "the-admin" in str(event.data)
            break


def text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z").replace(".000Z", "Z")
