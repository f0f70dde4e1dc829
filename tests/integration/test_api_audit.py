"""The audit over HTTP: what is written down, by whom, once, and how it is found again."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api_kit import API_KEYS, Api, problem_type
from application.runs.asking import Actor, asked_by
from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from domain.scheduling.errors import NotResumable
from support import wait_until

CLI = {"User-Agent": "roundsman/9.9 (ann@laptop)"}
HOUR = {"id": "s1", "name": "Note", "data": {"label": "a"}, "trigger": {"interval_s": 3600}}


@pytest.fixture
async def api(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    async with Api(redis_url, namespace) as running:
        yield running


async def entries(api: Api, query: str = "", **options: Any) -> list[dict[str, Any]]:
    answer = await api.get(f"/audit{query}", **options)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def actions(api: Api, query: str = "") -> list[str]:
    return [entry["action"] for entry in await entries(api, query)]


async def test_each_change_is_one_entry_with_who_what_and_the_difference(api: Api) -> None:
    begun = datetime.now(UTC) - timedelta(seconds=5)
    await api.post("/schedules", HOUR)
    await api.patch("/schedules/s1", {"policy": {"overlap": "queue_one"}, "data": {"label": "b"}}, headers=CLI)
    await api.post("/schedules/s1/pause", {"reason": "moving"}, headers=CLI)
    await api.post("/schedules/s1/resume")
    await api.post("/schedules/s1/run")
    await api.delete("/schedules/s1")
    found = await entries(api)
    assert [entry["action"].partition(".")[2] for entry in reversed(found)] == [
        *("created", "changed", "paused", "resumed", "run", "removed")
    ]
    assert {(entry["target"], entry["instance"]) for entry in found} == {("s1", "i1")}
    removed, _, _, paused, changed, created = found
    assert (created["actor"], created["via"], created["client"]) == ("api", "api", None)
    assert created["changes"]["interval"] == {"before": None, "after": 3600.0}
    assert (changed["actor"], changed["via"]) == ("ann@laptop", "cli")
    assert changed["changes"]["data.label"] == {"before": "a", "after": "b"}
    assert changed["changes"]["policy.overlap"] == {"before": "skip", "after": "queue_one"}
    assert set(changed["changes"]) <= {"data.label", "policy.overlap", "data.hold_s"}
    assert paused["reason"] == "moving"
    assert paused["changes"]["paused.by"] == {"before": None, "after": "ann@laptop"}
    assert removed["changes"]["data.label"] == {"before": "b", "after": None}
    assert begun < datetime.fromisoformat(created["at"]) < datetime.now(UTC) + timedelta(seconds=5)


async def test_what_changed_nothing_is_no_entry(api: Api) -> None:
    await api.post("/schedules", HOUR)
    await api.post("/schedules", HOUR)
    await api.post("/schedules/s1/pause")
    await api.post("/schedules/s1/pause")
    await api.post("/schedules", {**HOUR, "data": {"unknown": 1}})
    await api.delete("/schedules/absent")
    assert await actions(api) == ["schedule.paused", "schedule.created"]
    await api.post("/schedules/s1/resume")
    with pytest.raises(NotResumable):
        await api.services.scheduler.resume("s1")
    assert (await actions(api))[0] == "schedule.resumed"
    assert len(await actions(api)) == 3


async def test_a_backfill_is_one_entry_and_asked_again_none(api: Api) -> None:
    start = "2026-01-01T00:00:00Z"
    await api.post("/schedules", {**HOUR, "policy": {"start": start}})
    body = {"since": start, "until": "2026-01-01T04:00:00Z"}
    assert len((await api.post("/schedules/s1/backfill", body)).json()["run_ids"]) == 5
    await api.post("/schedules/s1/backfill", body)
    (entry,) = await entries(api, "?action=schedule.backfilled")
    assert entry["facts"]["fires"] == 5
    assert entry["facts"]["since"].startswith("2026-01-01T00:00")


async def test_one_shots_are_found_with_the_rest_in_the_order_of_time(api: Api) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    for number in range(3):
        await api.services.bus.schedule_task(ScheduledTaskDescriptor(id=f"o{number}", name="Once", scheduled_at=later))
        await api.post("/schedules", {**HOUR, "id": f"s{number}"})
    wanted = ScheduledTaskDescriptor(id="o1", name="Once", scheduled_at=later + timedelta(hours=1))
    await api.services.bus.schedule_task(wanted)
    await api.services.bus.schedule_task(wanted)
    await api.services.scheduler.stop_task("o1")
    found = await entries(api)
    assert [(entry["action"], entry["target"]) for entry in found] == [
        ("job.cancelled", "o1"),
        ("job.changed", "o1"),
        *[pair for n in (2, 1, 0) for pair in (("schedule.created", f"s{n}"), ("job.scheduled", f"o{n}"))],
    ]
    assert found[0]["facts"] == {"runs": {"o1": "queued"}}
    assert (found[0]["actor"], found[0]["via"]) == ("i1", "program")
    paged: list[str] = []
    cursor = ""
    for _ in range(10):
        page = (await api.get(f"/audit?limit=3{cursor}")).json()
        paged += [entry["id"] for entry in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert paged == [entry["id"] for entry in found]


async def test_it_can_be_searched(api: Api) -> None:
    await api.post("/schedules", HOUR)
    await api.post("/schedules", {**HOUR, "id": "s2"}, headers=CLI)
    await api.post("/schedules/s2/pause")
    assert (await api.post("/workers", {"id": "w1", "name": "W", "provider": "scripted"})).status_code == 201
    assert await actions(api, "?actor=ann%40laptop") == ["schedule.created"]
    assert await actions(api, "?target=s2") == ["schedule.paused", "schedule.created"]
    assert await actions(api, "?action=worker.*") == ["worker.registered"]
    assert await actions(api, "?action=schedule.paused&target=s1") == []
    assert await actions(api, "?since=2099-01-01T00:00:00Z") == []
    assert await actions(api, "?until=2020-01-01T00:00:00Z") == []
    assert len(await actions(api, "?since=2020-01-01T00:00:00Z&until=2099-01-01T00:00:00Z&action=*")) == 4


async def test_workers_and_their_monitoring_are_in_it(api: Api) -> None:
    await api.post("/workers", {"id": "w1", "name": "W", "provider": "scripted", "labels": {"team": "a"}})
    await api.patch("/workers/w1", {"labels": {"team": "b"}})
    await api.patch("/workers/w1", {"labels": {"team": "b"}})
    await api.put("/workers/w1/monitoring", {"interval_s": 60})
    await api.delete("/workers/w1")
    found = await entries(api)
    assert [(entry["action"], entry["target"]) for entry in reversed(found)] == [
        ("worker.registered", "w1"),
        ("worker.changed", "w1"),
        ("schedule.created", "worker-metrics-w1"),
        ("worker.removed", "w1"),
        ("schedule.removed", "worker-metrics-w1"),
    ]
    assert found[-2]["changes"] == {"labels.team": {"before": "a", "after": "b"}}


async def test_with_keys_the_key_is_named_and_the_person_beside_it(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        await api.post("/schedules", HOUR, key="operator", headers=CLI)
        (entry,) = await entries(api, key="viewer")
        assert (entry["actor"], entry["via"], entry["client"]) == ("the-operator", "cli", "ann@laptop")
        for query in ("?actor=the-operator", "?actor=ann%40laptop"):
            assert len(await entries(api, query, key="viewer")) == 1
        assert (await api.get("/audit")).status_code == 401


@pytest.mark.parametrize(
    "agent",
    [
        "roundsman/1 (a%0Ab%1b[31m@h)",
        "roundsman/1 (" + "x" * 2000 + ")",
        "roundsman/1 ()",
        "curl/8",
        "roundsman/1 (%ff%fe)",
    ],
)
async def test_what_a_client_says_of_itself_cannot_do_harm(api: Api, agent: str) -> None:
    await api.post("/schedules", HOUR, headers={"User-Agent": agent})
    (entry,) = await entries(api)
    assert entry["actor"].isprintable()
    assert len(entry["actor"]) <= 100


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("?cursor=17", "invalid-audit-cursor"),
        ("?cursor=c-1-", "invalid-audit-cursor"),
        ("?action=Paused", "invalid-audit-action"),
        ("?action=schedule.pau*", "invalid-audit-action"),
        ("?since=yesterday", "invalid-request"),
        ("?since=1960-01-01T00:00:00Z", "invalid-request"),
        ("?limit=0", "invalid-request"),
        ("?who=ann", "invalid-request"),
        (f"?actor={'x' * 201}", "invalid-request"),
    ],
)
async def test_what_is_asked_wrongly_is_refused(api: Api, query: str, kind: str) -> None:
    answer = await api.get(f"/audit{query}")
    assert (answer.status_code, problem_type(answer)) == (422, kind)


async def test_what_happens_by_itself_is_no_entry(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, executes=True) as api:
        task = RecurrentTaskDescriptor(id="s1", name="Note", data={"label": "a"}, interval=0.02)
        await api.services.bus.schedule_task(task)
        await wait_until(lambda: len(api.ledger.entries) > 5)
        assert await actions(api) == ["schedule.created"]
        await api.services.scheduler.park("s1", "cannot be loaded", await incarnation(api), 1)
        assert await actions(api) == ["schedule.created"]
        assert (await api.get("/schedules/s1")).json()["status"] == "parked"


async def incarnation(api: Api) -> str:
    stored = await api.instance.schedules.get("s1")
    assert stored is not None
    return stored.state.incarnation


async def test_many_who_ask_at_once_leave_one_entry_each_that_took_effect(api: Api) -> None:
    await api.post("/schedules", HOUR)

    async def pause(name: str) -> None:
        with asked_by(Actor(name, "program")):
            await api.services.scheduler.pause("s1", by=name)

    await asyncio.gather(*(pause(f"p{number}") for number in range(8)))
    (entry,) = await entries(api, "?action=schedule.paused")
    shown = (await api.get("/schedules/s1")).json()
    assert entry["actor"] == shown["paused"]["by"]


async def test_entries_that_are_not_ours_are_passed_over(api: Api) -> None:
    await api.post("/schedules", HOUR)
    redis, key = api.instance.store.command, api.instance.store.key("audit", "changes")
    for fields in ({"x": "1"}, {"a": "schedule.paused", "t": "s1", "w": "x", "s": "i", "d": "[" * 5000}):
        await redis.xadd(key, fields)
    await redis.xadd(key, {"a": "schedule.paused", "t": "s1", "w": "x", "s": "i", "d": '"text"'})
    assert await actions(api) == ["schedule.created"]
