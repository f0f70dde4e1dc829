"""The audit of whole programs: jobs that ask, several instances, restarts, bounds."""

from collections.abc import Awaitable, Callable

import pytest

from application.runs.asking import Actor, asked_by
from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from domain.audit.entry import AuditEntry
from infrastructure.audit import log
from infrastructure.audit.log import AuditQuery, RedisAuditLog
from infrastructure.program import Program
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from integration.watched_kit import Start
from support import wait_until

Make = Callable[..., Awaitable[Program]]
HOUR = RecurrentTaskDescriptor(id="s1", name="EndsItself", interval=3600)


@pytest.fixture
def make(begin: Start, valkey: EmbeddedValkey) -> Make:
    async def start(**more: object) -> Program:
        jobs = {"modules": ["audited_jobs"], "shutdown_grace_s": 0, "lease_s": 2}
        return await begin(valkey, background_jobs=jobs, monitoring={"local_worker": False}, **more)

    return start


async def found(program: Program, **query: object) -> list[AuditEntry]:
    page = await program.services().audit.page(AuditQuery(**query))  # type: ignore[arg-type]
    return [entry for entry in page.items if not entry.target.startswith("monitoring-")]


async def one(program: Program, action: str, target: str) -> AuditEntry:
    async def look() -> list[AuditEntry]:
        return await found(program, action=action, target=target)

    (entry,) = await wait_until(look, f"{action} of {target}")
    return entry


async def test_a_job_that_asks_is_named_with_its_run(make: Make) -> None:
    program = await make()
    bus = program.services().bus
    await bus.schedule_task(HOUR)
    await bus.schedule_task(ScheduledTaskDescriptor(id="p1", name="Pauses", data={"target": "s1"}))
    paused = await one(program, "schedule.paused", "s1")
    assert (paused.actor, paused.via, paused.run_id, paused.reason) == ("p1", "job", "p1", "the job said so")
    assert paused.changes["paused.by"].after == "p1"


async def test_a_plain_function_that_asks_from_its_thread_is_named_too(make: Make) -> None:
    program = await make()
    wanted = ScheduledTaskDescriptor(id="t1", name="SchedulesFromThread", data={"task_id": "later"})
    await program.services().bus.schedule_task(wanted)
    entry = await one(program, "job.scheduled", "later")
    assert (entry.actor, entry.via, entry.run_id) == ("t1", "job", "t1")


async def test_a_job_that_ends_its_schedule_is_its_own_actor(make: Make) -> None:
    program = await make()
    await program.services().bus.schedule_task(HOUR.model_copy(update={"interval": 0.05}))
    entry = await one(program, "schedule.removed", "s1")
    assert (entry.actor, entry.via, entry.reason) == ("s1", "job", "it has done its work")
    assert (entry.run_id or "").startswith("s1@")
    assert [item.action for item in await found(program)] == ["schedule.removed", "schedule.created"]


async def test_every_instance_shows_the_same_entries_and_a_restart_keeps_them(make: Make) -> None:
    one_program, other = await make(), await make()
    await one_program.services().bus.schedule_task(HOUR)
    await other.services().scheduler.pause("s1", by="ann")
    entries = await found(one_program)
    assert [(entry.action, entry.instance) for entry in entries] == [
        ("schedule.paused", other.instance_id),
        ("schedule.created", one_program.instance_id),
    ]
    assert [entry.actor for entry in entries] == ["ann", one_program.instance_id]
    assert await found(other) == entries
    await one_program.stop()
    await one_program.start()
    assert await found(one_program) == entries


async def test_only_so_many_are_kept_and_one_shots_push_nothing_else_out(make: Make) -> None:
    program = await make(audit={"entries_kept": 100})
    services = program.services()
    await services.bus.schedule_task(HOUR)
    for number in range(500):
        wanted = ScheduledTaskDescriptor(
            id=f"o{number}", name="Pauses", data={"target": "x"}, scheduled_at="2099-01-01T00:00:00Z"
        )  # type: ignore[arg-type]
        await services.bus.schedule_task(wanted)
    store = program.container.store()
    assert 100 <= await store.command.xlen(store.key("audit", "jobs")) <= 200
    assert len(await found(program, action="schedule.created", target="s1")) == 1


async def test_what_is_too_old_is_not_shown(store: RedisStore) -> None:
    seconds, _ = await store.command.time()
    for age_s in (500, 50):
        fields = {"a": "schedule.paused", "t": f"s{age_s}", "w": "x", "s": "i", "d": '{"via":"api"}'}
        await store.command.xadd(store.key("audit", "changes"), fields, id=f"{(seconds - age_s) * 1000}-0")
    page = await RedisAuditLog(store, kept_s=100).page(AuditQuery())
    assert [entry.target for entry in page.items] == ["s50"]


async def test_pages_of_two_long_logs_lose_and_repeat_nothing(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "PAGE", 20)
    seconds, _ = await store.command.time()
    pipe = store.command.pipeline(transaction=False)
    wanted = []
    for number in range(1500):
        which = "jobs" if number % 7 in (1, 2, 5) or number > 1200 else "changes"
        ms = (seconds - 1500 + number // 3) * 1000
        fields = {"a": "schedule.paused", "t": f"s{number}", "w": "x", "s": "i", "d": '{"via":"api"}'}
        pipe.xadd(store.key("audit", which), fields, id=f"{ms}-{number}")
        wanted.append(f"s{number}")
    await pipe.execute()
    audit, seen, cursor = RedisAuditLog(store), [], ""
    while True:
        page = await audit.page(AuditQuery(limit=97, cursor=cursor))
        seen += [entry.target for entry in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert seen == wanted[::-1]
    rare = await audit.page(AuditQuery(target="s3", limit=1))
    assert ([entry.target for entry in rare.items], rare.next_cursor) == (["s3"], None)


async def test_two_entries_of_one_moment_in_both_logs_are_two(store: RedisStore) -> None:
    seconds, _ = await store.command.time()
    for which in ("changes", "jobs"):
        fields = {"a": "schedule.paused", "t": which, "w": "x", "s": "i", "d": '{"via":"api"}'}
        await store.command.xadd(store.key("audit", which), fields, id=f"{seconds * 1000}-0")
    audit = RedisAuditLog(store)
    first = await audit.page(AuditQuery(limit=1))
    second = await audit.page(AuditQuery(limit=1, cursor=first.next_cursor or ""))
    assert {first.items[0].target, second.items[0].target} == {"changes", "jobs"}
    assert second.next_cursor is None


async def test_who_asks_in_a_host_application_can_be_named(make: Make) -> None:
    program = await make()
    with asked_by(Actor("ann", "api", "ann@example.com")):
        await program.services().bus.schedule_task(HOUR)
    entry = await one(program, "schedule.created", "s1")
    assert (entry.actor, entry.via, entry.client) == ("ann", "api", "ann@example.com")
