"""Workers in the store: created once, changed by compare-and-set, removed with all that is theirs."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.errors import StoreUnavailable
from domain.monitoring.errors import WorkerExists, WorkerNotFound
from domain.monitoring.worker import Worker, WorkerPatch, WorkerRequest, WorkerStatus
from infrastructure.monitoring.samples import RedisSamples
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.monitoring.workers import RedisWorkers
from infrastructure.redis.connection import RedisStore
from unit.monitoring.waveforms import sample

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


@pytest.fixture
def scripts(store: RedisStore) -> MonitoringScripts:
    return MonitoringScripts(store, "i1")


@pytest.fixture
def workers(scripts: MonitoringScripts) -> RedisWorkers:
    return RedisWorkers(scripts)


def worker(worker_id: str = "w1", **facts: Any) -> Worker:
    request = WorkerRequest.model_validate({"name": worker_id, "provider": "local", **facts})
    return Worker.register(request, worker_id, NOW)


async def events(store: RedisStore, family: str = "worker") -> list[tuple[str, dict[str, Any]]]:
    entries = await store.command.xrange(store.key("ev", family))
    return [(fields["t"], json.loads(fields["d"])) for _, fields in entries or []]


async def test_a_worker_is_registered_once(workers: RedisWorkers, store: RedisStore) -> None:
    await workers.create(worker(labels={"env": "prod"}))
    with pytest.raises(WorkerExists, match="There is a worker 'w1' already"):
        await workers.create(worker(name="another"))
    assert await workers.get("w1") == worker(labels={"env": "prod"})
    assert await workers.get("w2") is None
    told = {"worker_id": "w1", "worker_name": "w1", "provider": "local", "region": None, "instance_id": None}
    assert await events(store) == [("worker.registered", {**told, "labels": {"env": "prod"}})]


async def test_pages_go_through_all_in_order(workers: RedisWorkers) -> None:
    for worker_id in ("b", "a", "c:1", "c", "A"):
        await workers.create(worker(worker_id))
    found, cursor = [], ""
    while True:
        page = await workers.page(2, cursor)
        found += [item.id for item in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert found == ["A", "a", "b", "c", "c:1"]
    assert (await workers.page(5)).next_cursor is None


async def test_changes_by_many_at_once_are_all_kept(workers: RedisWorkers) -> None:
    await workers.create(worker())
    patches = [WorkerPatch(labels={f"l{n}": "x"}) for n in range(8)]
    await asyncio.gather(*(workers.change("w1", lambda found, p=patch: found.change(p)) for patch in patches))
    changed = await workers.get("w1")
    assert changed is not None
    assert set(changed.labels) == {f"l{n}" for n in range(8)}


async def test_a_new_status_is_told_and_the_same_is_not(workers: RedisWorkers, store: RedisStore) -> None:
    await workers.create(worker())
    for _ in range(2):
        seen = await workers.change("w1", lambda found: found.observe(WorkerStatus.RUNNING, "it answered", NOW))
    assert seen.status is WorkerStatus.RUNNING
    await workers.change("w1", lambda found: found.change(WorkerPatch(name="other")))
    told = [data for topic, data in await events(store) if topic == "worker.status.changed"]
    assert [(data["previous"], data["status"], data["reason"]) for data in told] == [
        ("unknown", "running", "it answered")
    ]


async def test_what_is_not_there_cannot_be_changed(workers: RedisWorkers) -> None:
    with pytest.raises(WorkerNotFound):
        await workers.change("w1", lambda found: found.change(WorkerPatch(name="x")))


async def test_removing_takes_the_samples_along(
    workers: RedisWorkers, scripts: MonitoringScripts, store: RedisStore
) -> None:
    samples = RedisSamples(scripts)
    await workers.create(worker())
    await samples.append(sample(await workers.now()))
    removed = await workers.remove("w1", "nobody needs it")
    assert removed == worker()
    assert await workers.remove("w1", "again") is None
    assert await workers.get("w1") is None
    assert (await workers.page(10)).items == []
    assert await samples.last(["w1"]) == [None]
    assert await workers.orphans() == ["w1"]
    keys = [key async for key in store.command.scan_iter(match=f"{store.prefix}:mon:*")]
    assert keys == [store.key("mon", "orphans")]
    assert [topic for topic, _ in await events(store)] == [
        "worker.registered",
        "worker.metrics.collected",
        "worker.removed",
    ]
    assert (await events(store))[-1][1]["reason"] == "nobody needs it"


async def test_what_is_remembered_stays(workers: RedisWorkers) -> None:
    assert await workers.facts() == {}
    await workers.remember({"a": "1", "b": "2"})
    await workers.remember({"b": "3"})
    assert await workers.facts() == {"a": "1", "b": "3"}


async def test_a_store_that_is_away_is_said_to_be() -> None:
    away = RedisStore("redis://127.0.0.1:1")
    with pytest.raises(StoreUnavailable):
        await RedisWorkers(MonitoringScripts(away, "i1")).create(worker())
    with pytest.raises(StoreUnavailable):
        await RedisWorkers(MonitoringScripts(away, "i1")).get("w1")
    await away.close()
