"""A schedule that a newer version of the program wrote is seen as parked with its reason, and can be stopped."""

import asyncio
import json
from typing import Any

import pytest

from api_kit import Api, problem_type
from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from cli_support import roundsman
from cluster import Cluster, Instance
from domain.scheduling.errors import UnreadableSchedule, WaitsForInstance
from domain.scheduling.schedule import ScheduleInfo, ScheduleStatus
from infrastructure.redis.connection import RedisStore
from support import wait_until

NEWER_STATE = {"generation": {"of": "a later version"}, "lane": "Note@1"}


def note(task_id: str) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(id=task_id, name="Note", interval=3600)


async def write_definition(store: RedisStore, schedule_id: str, **more: Any) -> None:
    """Add to a definition what this version does not know."""
    key = store.key("schedules")
    known = json.loads(await store.command.hget(key, schedule_id) or "")
    await store.command.hset(key, schedule_id, json.dumps({**known, **more}))


async def write_state(store: RedisStore, schedule_id: str, text: str) -> None:
    await store.command.hset(store.key("states"), schedule_id, text)


@pytest.fixture
async def api(cluster: Cluster) -> Instance:
    """An API-only instance with three schedules, of which the second cannot be read."""
    made = await cluster.start(executes=False)
    for n in range(3):
        await made.bus.schedule_task(note(f"s{n}"))
    await write_definition(cluster.redis, "s1", lunar_phase="full")
    return made


async def test_it_is_listed_as_parked_with_what_could_be_made_out(api: Instance) -> None:
    page = await api.scheduler.list_tasks()
    assert [item.id for item in page.items] == ["s0", "s1", "s2"]
    found = page.items[1]
    assert (found.name, found.status) == ("Note", ScheduleStatus.PARKED)
    assert (found.descriptor, found.generation, found.created_at, found.next_fire) == (None, None, None, None)
    assert found.parked is not None
    assert found.parked.at is None
    assert "cannot be read by this version of the program: lunar_phase:" in found.parked.reason
    assert [item.id for item in (await api.scheduler.list_tasks(status="parked")).items] == ["s1"]
    assert [item.id for item in (await api.scheduler.list_tasks(name="Note", limit=2)).items] == ["s0", "s1"]
    assert [item.id for item in (await api.scheduler.list_tasks(name="Other")).items] == []
    shown = await api.scheduler.get_task_info("s1")
    assert shown == found
    assert await api.scheduler.runs("s1") == []


@pytest.mark.parametrize(
    ("text", "name"),
    [(json.dumps(NEWER_STATE), "Note"), ("no json", "Note"), ("[1]", "Note"), ('{"lane": 7}', "Note")],
)
async def test_whatever_its_state_looks_like_it_can_be_stopped(
    cluster: Cluster, api: Instance, text: str, name: str
) -> None:
    await write_state(cluster.redis, "s0", text)
    found = await api.scheduler.get_task_info("s0")
    assert isinstance(found, ScheduleInfo)
    assert (found.name, found.status) == (name, ScheduleStatus.PARKED)
    stopped = await api.scheduler.stop_task("s0")
    assert stopped.stopped
    assert "s0" not in [item.id for item in (await api.scheduler.list_tasks()).items]
    (removed,) = await cluster.events("schedule", "schedule.removed")
    assert removed["id"] == "s0"
    await api.bus.schedule_task(note("s0"))


async def test_a_stop_beside_which_a_newer_version_writes_stops_it_all_the_same(
    cluster: Cluster, api: Instance
) -> None:
    find, texts = api.schedules.find, [json.dumps(NEWER_STATE)]

    async def found_before(schedule_id: str) -> Any:
        found = await find(schedule_id)
        if texts:
            await write_state(cluster.redis, schedule_id, texts.pop())
        return found

    api.schedules.find = found_before  # type: ignore[method-assign]  # the other one writes at this very moment
    assert (await api.scheduler.stop_task("s0")).stopped
    assert texts == []
    assert await find("s0") is None


async def test_without_a_definition_its_lane_tells_its_name(cluster: Cluster, api: Instance) -> None:
    await cluster.redis.command.hdel(cluster.redis.key("schedules"), "s0")
    found = await api.scheduler.get_task_info("s0")
    assert found.name == "Note"
    await write_state(cluster.redis, "s0", "{}")
    assert (await api.scheduler.get_task_info("s0")).name == "?"


async def test_its_runs_that_execute_are_told_and_cancelled(cluster: Cluster) -> None:
    one = await cluster.start()
    data = {"label": "held", "hold": True}
    await one.bus.schedule_task(note("s").model_copy(update={"data": data}))
    run_id = await one.scheduler.run_now("s")
    await wait_until(lambda: cluster.ledger.of("s"))
    await write_state(cluster.redis, "s", json.dumps(NEWER_STATE))
    found = await one.scheduler.get_task_info("s")
    assert isinstance(found, ScheduleInfo)
    assert found.running == [run_id]
    stopped = await one.scheduler.stop_task("s", cancel_running=True)
    assert (stopped.running, stopped.cancelled) == ([run_id], [run_id])
    await wait_until(lambda: cluster.ledger.cancelled == [run_id])


async def test_what_would_have_to_understand_it_is_refused(api: Instance) -> None:
    for attempt in (
        api.scheduler.pause("s1"),
        api.scheduler.resume("s1"),
        api.scheduler.run_now("s1"),
        api.scheduler.modify("s1", {"interval": 5}),
        api.bus.schedule_task(note("s1")),
    ):
        with pytest.raises(UnreadableSchedule, match="It was left as it is"):
            await attempt
    found = await api.scheduler.get_task_info("s1")
    assert isinstance(found, ScheduleInfo)
    assert found.status is ScheduleStatus.PARKED


async def test_over_http_and_at_the_command_line(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api:
        for n in range(2):
            body = {"id": f"s{n}", "name": "Note", "data": {}, "trigger": {"interval_s": 3600}}
            await api.post("/schedules", body)
        await write_definition(api.instance.store, "s0", lunar_phase="full")
        unreadable, _ = (await api.get("/schedules")).json()["items"]
        assert (unreadable["id"], unreadable["name"], unreadable["status"]) == ("s0", "Note", "parked")
        for field in ("data", "trigger", "policy", "generation", "created_at", "next_fire", "next_run_time"):
            assert unreadable[field] is None, field
        assert unreadable["parked"]["at"] is None
        assert (await api.get("/schedules/s0")).json() == unreadable
        for refused in (await api.post("/schedules/s0/pause"), await api.post("/schedules/s0/run")):
            assert refused.status_code == 409
            assert problem_type(refused) == "unreadable-schedule"
        await shown_by_the_command_line(api)
        assert (await api.delete("/schedules/s0")).json()["stopped"] is True
        assert (await api.get("/schedules/s0")).status_code == 404


async def shown_by_the_command_line(api: Api) -> None:
    listed = await asyncio.to_thread(roundsman, "schedules", "list", url=api.base)
    assert listed.status == 0
    assert listed.out.splitlines()[1].split()[:3] == ["s0", "Note", "-"]
    shown = await asyncio.to_thread(roundsman, "schedules", "show", "s0", url=api.base)
    assert shown.status == 0
    assert "cannot be read by this version" in shown.out


async def test_a_worker_whose_monitoring_cannot_be_read_hides_no_other(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api:
        for worker_id in ("w1", "w2"):
            await api.post("/workers", {"id": worker_id, "name": worker_id, "provider": "scripted"})
            await api.put(f"/workers/{worker_id}/monitoring", {"interval_s": 3600})
        await write_definition(api.instance.store, "worker-metrics-w1", lunar_phase="full")
        first, second = (await api.get("/workers")).json()["items"]
        assert first["monitoring"]["status"] == "parked"
        assert "cannot be read" in first["monitoring"]["parked_reason"]
        assert second["monitoring"]["interval_s"] == 3600
        assert (await api.get("/workers/w1/monitoring")).json() == first["monitoring"]
        assert (await api.put("/workers/w1/monitoring", {"interval_s": 60})).status_code == 409
        assert (await api.delete("/workers/w1/monitoring")).json()["stopped"] is True


async def test_what_waits_for_an_instance_is_not_resumed_by_a_person(cluster: Cluster) -> None:
    api = await cluster.start(lease_ms=1_000, executes=False, announces=True)
    await api.bus.schedule_task(note("s").model_copy(update={"interval": 0.1}))

    async def parked() -> bool:
        return (await api.scheduler.list_tasks(status="parked")).items != []

    await wait_until(parked)
    with pytest.raises(WaitsForInstance, match="no running instance knows 'Note' in version 1"):
        await api.scheduler.resume("s")

    async def waits() -> str | None:
        run = await api.runs.get("o")
        return run and run.parked

    await api.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once"))
    await wait_until(waits)
    with pytest.raises(WaitsForInstance, match="no running instance knows 'Once' in version 1"):
        await api.scheduler.resume("o")
    assert await waits()
    assert [event["run_id"] for event in await cluster.events("job", "job.queued")] == ["o"]
