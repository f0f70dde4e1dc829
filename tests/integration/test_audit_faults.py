"""The audit when the store misbehaves: one entry for each change that took effect, and none for any other."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from application.audit.writing import AuditRetention, AuditWriter
from application.runs.registry import JobRegistry
from application.scheduling import BackgroundTaskScheduler, RecurrentTaskDescriptor, ScheduledTaskDescriptor
from domain.errors import StoreFull, StoreUnavailable, StrangeKey
from external_server import ExternalServer
from fault_proxy import FaultProxy
from infrastructure.audit.log import AuditQuery, RedisAuditLog
from infrastructure.key_types import KEY_TYPES
from infrastructure.redis import connection
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.redis.strangers import find_strange_keys
from infrastructure.runs.scripts import Retention
from infrastructure.runs.store import RedisRunStore
from infrastructure.scheduling.store import RedisJobStore
from sample_jobs import Note, Once

HOUR = RecurrentTaskDescriptor(id="s1", name="Note", data={"label": "a"}, interval=3600)


def scheduler_on(store: RedisStore) -> BackgroundTaskScheduler:
    schedules, runs = RedisJobStore(store, "i1", Retention()), RedisRunStore(store, "i1", Retention())
    return BackgroundTaskScheduler(
        JobRegistry([Note, Once]), schedules, runs, write_down=AuditWriter("i1", AuditRetention())
    )


async def actions(store: RedisStore) -> list[str]:
    return [entry.action for entry in (await RedisAuditLog(store).page(AuditQuery())).items]


@asynccontextmanager
async def behind(proxy: FaultProxy, namespace: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(proxy.url, namespace)
    try:
        yield store
    finally:
        await store.close()


def _pause(one: BackgroundTaskScheduler) -> Awaitable[object]:
    return one.pause("s1", "moving")


def _stop(one: BackgroundTaskScheduler) -> Awaitable[object]:
    return one.stop_task("s1")


def _submit(one: BackgroundTaskScheduler) -> Awaitable[object]:
    return one.schedule(ScheduledTaskDescriptor(id="o1", name="Once", scheduled_at="2099-01-01T00:00:00Z"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ask", "script", "action"),
    [
        (_pause, "_control", "schedule.paused"),
        (_stop, "_control", "schedule.removed"),
        (_submit, "_submit", "job.scheduled"),
    ],
)
async def test_a_change_whose_answer_was_lost_has_its_entry_and_asked_again_no_other(
    ask: Callable[[BackgroundTaskScheduler], Awaitable[object]],
    script: str,
    action: str,
    valkey: EmbeddedValkey,
    store: RedisStore,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await scheduler_on(store).schedule(HOUR)
    monkeypatch.setattr(connection, "COMMAND_TIMEOUT_S", 0.3)
    async with FaultProxy(valkey) as proxy, behind(proxy, namespace) as far:
        one = scheduler_on(far)
        await one.get_task_info("s1")
        held = one._runs if script == "_submit" else one._schedules
        known = getattr(held, script)
        await far.command.script_load(known.script)
        proxy.mute_at = known.sha.encode()
        with pytest.raises(StoreUnavailable):
            await ask(one)
        assert proxy.fault == "mute"
        await proxy.set_fault("none")
        assert await actions(store) == [action, "schedule.created"]
        if action != "schedule.removed":
            await ask(one)
        assert await actions(store) == [action, "schedule.created"]


async def test_when_the_store_is_away_nothing_is_changed_and_nothing_noted(
    valkey: EmbeddedValkey, store: RedisStore, namespace: str
) -> None:
    await scheduler_on(store).schedule(HOUR)
    async with FaultProxy(valkey) as proxy, behind(proxy, namespace) as far:
        one = scheduler_on(far)
        await proxy.set_fault("down")
        with pytest.raises(StoreUnavailable):
            await one.pause("s1")
    assert await actions(store) == ["schedule.created"]


async def test_a_full_store_notes_what_it_lets_pass_and_no_more(
    external: Callable[..., ExternalServer], namespace: str
) -> None:
    server = external()
    store = RedisStore(server.url, namespace)
    one = scheduler_on(store)
    try:
        await one.schedule(HOUR)
        server.tell("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreFull):
            await one.schedule(HOUR.model_copy(update={"id": "s2"}))
        await one.pause("s1")
        await one.stop_task("s1")
        server.tell("CONFIG", "SET", "maxmemory", "0")
        assert await actions(store) == ["schedule.removed", "schedule.paused", "schedule.created"]
    finally:
        await store.close()


async def test_a_stranger_in_the_place_of_the_log_refuses_the_change_whole(store: RedisStore) -> None:
    one = scheduler_on(store)
    await one.schedule(HOUR)
    key = store.key("audit", "changes")
    await store.command.delete(key)
    await store.command.set(key, "not ours")
    with pytest.raises(StrangeKey):
        await one.pause("s1")
    info = await one.get_task_info("s1")
    assert getattr(info, "paused", "?") is None
    assert any(key in text for text in await find_strange_keys(store, KEY_TYPES))
    await store.command.delete(key)
    await one.pause("s1")
    assert await actions(store) == ["schedule.paused"]


async def test_an_entry_goes_to_disk_with_its_change(redis_url: str, namespace: str, store: RedisStore) -> None:
    confirming = RedisStore(redis_url, namespace, confirm_on_disk=True)
    try:
        await scheduler_on(confirming).schedule(HOUR)
        assert await actions(store) == ["schedule.created"]
    finally:
        await confirming.close()
