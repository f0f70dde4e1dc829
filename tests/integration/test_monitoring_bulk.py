"""Starting the monitoring of many workers in one call: each is answered, and none is in the way of another."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from application.monitoring.phases import EPOCH, is_aligned
from application.monitoring.views import BulkStart, MonitoringRequest, Selection
from domain.errors import StoreUnavailable
from domain.monitoring.errors import InvalidMonitoring
from domain.monitoring.worker import Worker, WorkerPatch
from integration.monitoring_kit import Monitor, Site
from support import wait_until


@pytest.fixture
async def site(redis_url: str, namespace: str) -> AsyncIterator[Site]:
    async with Site(redis_url, namespace) as made:
        yield made


@pytest.fixture
async def monitor(site: Site) -> Monitor:
    """An instance that only controls."""
    return await site.start(executes=False, handles=False, sends=False)


async def registered(monitor: Monitor, count: int, **facts: Any) -> list[str]:
    ids = [f"w{number:04}" for number in range(count)]
    for worker_id in ids:
        await monitor.add(worker_id, **facts)
    return ids


def results(answers: Sequence[BulkStart]) -> Counter[str]:
    return Counter(answer.result for answer in answers)


async def test_each_is_answered_in_the_order_asked_and_asking_again_changes_nothing(
    monitor: Monitor, site: Site
) -> None:
    ids = await registered(monitor, 30)
    asked = [*reversed(ids), ids[0]]
    first = await monitor.monitoring.start_many(asked, MonitoringRequest(interval_s=60))
    assert [answer.worker_id for answer in first] == list(reversed(ids))
    assert results(first) == {"created": 30}
    assert {answer.monitoring.interval_s for answer in first if answer.monitoring} == {60}
    told = await site.topics("schedule")
    again = await monitor.monitoring.start_many(ids, MonitoringRequest(interval_s=60))
    assert results(again) == {"unchanged": 30}
    assert results(await monitor.monitoring.start_many(ids)) == {"unchanged": 30}, "without a wish they stay"
    assert await site.topics("schedule") == told == ["schedule.created"] * 30
    changed = await monitor.monitoring.start_many(ids[:10], MonitoringRequest(interval_s=90))
    assert results(changed) == {"changed": 10}
    alone = await monitor.monitoring.start(ids[0], MonitoringRequest(interval_s=90))
    assert (alone.is_new, alone.monitoring.interval_s) == (False, 90)
    assert results(await monitor.monitoring.start_many(ids, MonitoringRequest(interval_s=90))) == {
        "unchanged": 10,
        "changed": 20,
    }


async def test_one_that_fails_keeps_no_other_from_it_and_is_named(monitor: Monitor) -> None:
    ids = await registered(monitor, 3)
    await monitor.store.command.hset(monitor.store.key("states"), "worker-metrics-w0001", "{}")  # of another version
    answers = await monitor.monitoring.start_many([ids[0], "nobody", *ids[1:]], MonitoringRequest(interval_s=60))
    assert [answer.result for answer in answers] == ["created", "failed", "failed", "created"]
    gone, spoiled = (answer.problem for answer in answers[1:3])
    assert gone is not None
    assert (gone.type, gone.status) == ("urn:roundsman:problem:worker-not-found", 404)
    assert "There is no worker 'nobody'" in gone.detail
    assert spoiled is not None
    assert "w0001" in spoiled.detail
    assert await monitor.monitoring.start_many([]) == []
    no_such = await monitor.monitoring.start_many([*ids, "x"], MonitoringRequest(cron="0 0 30 2 *"))
    assert results(no_such) == {"failed": 4}


async def test_what_is_no_rhythm_for_one_is_refused_whole(monitor: Monitor) -> None:
    ids = await registered(monitor, 2)
    with pytest.raises(InvalidMonitoring, match="interval_s"):
        await monitor.monitoring.start_many(ids, MonitoringRequest(interval_s=0))
    assert await monitor.monitoring.of(ids) == [None, None]


async def test_they_rest_and_go_on_together(monitor: Monitor, site: Site) -> None:
    ids = await registered(monitor, 5)
    paused = await monitor.monitoring.start_many(ids, MonitoringRequest(interval_s=60, paused=True))
    assert {answer.monitoring.status for answer in paused if answer.monitoring} == {"paused"}
    resumed = await monitor.monitoring.start_many(ids, MonitoringRequest(paused=False))
    assert {answer.monitoring.status for answer in resumed if answer.monitoring} == {"active"}
    told = await site.topics("schedule")
    await monitor.monitoring.start_many(ids, MonitoringRequest(paused=False))
    assert await site.topics("schedule") == told


async def test_new_ones_are_looked_at_at_once(site: Site) -> None:
    monitor = await site.start()
    ids = await registered(monitor, 20)
    await monitor.monitoring.start_many(ids, MonitoringRequest(interval_s=3000))
    await wait_until(lambda: sorted(site.provider.asked) == ids, "a look at each")


async def test_a_thousand_in_one_call_share_their_round_trips(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is one schedule, due at once; what they ask of the store travels together."""
    now = await monitor.workers.now()
    ids = [f"w{number:04}" for number in range(1000)]
    made = {one: Worker(id=one, name=one, provider="scripted", status_since=now, created_at=now) for one in ids}
    texts = {one: worker.model_dump_json() for one, worker in made.items()}
    await monitor.store.command.hset(monitor.store.key("mon", "workers"), mapping=texts)
    before = await reads(monitor)
    answers = await monitor.monitoring.start_many(ids, MonitoringRequest(interval_s=300))
    assert results(answers) == {"created": 1000}
    between = await reads(monitor)
    assert between - before < 300, "a few round trips for a hundred schedules"
    assert results(await monitor.monitoring.start_many(ids, MonitoringRequest(interval_s=300))) == {"unchanged": 1000}
    assert await reads(monitor) - between < 100, "what is as asked is only read, all at once"
    page = await monitor.monitoring.list(limit=500)
    assert len(page.items) == 500


async def reads(monitor: Monitor) -> int:
    """Return how often the server has read from a connection: commands that were sent together are one read."""
    stats: Any = await monitor.store.command.info("stats")
    return int(stats["total_reads_processed"])


async def test_a_store_that_is_away_for_all_is_an_error_and_for_some_a_partial_failure(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await registered(monitor, 4)
    original, refused = monitor.tasks.schedule_task, set(ids)

    async def schedule(descriptor: Any, **how: Any) -> Any:
        if descriptor.data["worker_id"] in refused:
            raise StoreUnavailable(why="nobody answers")
        return await original(descriptor, **how)

    monkeypatch.setattr(monitor.tasks, "schedule_task", schedule)
    with pytest.raises(StoreUnavailable):
        await monitor.monitoring.start_many(ids, MonitoringRequest(interval_s=60))
    refused -= {ids[2]}
    answers = await monitor.monitoring.start_many(ids, MonitoringRequest(interval_s=60))
    assert [answer.result for answer in answers] == ["failed", "failed", "created", "failed"]
    assert answers[0].problem is not None
    assert answers[0].problem.status == 503
    refused.clear()
    mended = await monitor.monitoring.start_many(ids, MonitoringRequest(interval_s=60))
    assert [answer.result for answer in mended] == ["created", "created", "unchanged", "created"]


async def test_workers_of_a_batch_are_in_phase_and_batches_are_not(monitor: Monitor, site: Site) -> None:
    site.provider.batch_of = lambda worker: worker.region  # type: ignore[method-assign]
    nexts = []
    for number in range(6):
        await monitor.add(f"w{number}", region=["north", "south"][number % 2])
        started = await monitor.monitoring.start(f"w{number}", MonitoringRequest(interval_s=3600))
        nexts.append(started.monitoring.next_run_time)
    assert len(set(nexts)) == 2
    assert nexts[0] == nexts[2] == nexts[4]
    info = await monitor.scheduler.get_task_info("worker-metrics-w0")
    start = info.descriptor.policy.start  # type: ignore[union-attr]
    assert start is not None
    assert is_aligned(start)
    assert (nexts[0] - start).total_seconds() % 3600 == 0  # type: ignore[operator]
    await monitor.add("w9", region="north")
    (later,) = await monitor.monitoring.start_many(["w9"], MonitoringRequest(interval_s=3600))
    assert later.monitoring is not None
    assert later.monitoring.next_run_time == nexts[0]
    by_cron = await monitor.monitoring.start("w0", MonitoringRequest(cron="*/5 * * * *"))
    assert by_cron.monitoring.cron
    info = await monitor.scheduler.get_task_info("worker-metrics-w0")
    assert info.descriptor.policy.start is None  # type: ignore[union-attr]


async def test_who_moves_to_another_batch_moves_to_its_phase(monitor: Monitor, site: Site) -> None:
    site.provider.batch_of = lambda worker: worker.region  # type: ignore[method-assign]
    for number, region in enumerate(("north", "south")):
        await monitor.add(f"w{number}", region=region)
        there = await monitor.monitoring.start(f"w{number}", MonitoringRequest(interval_s=3600))
    moved = await monitor.registry.change("w0", WorkerPatch(region="south"))
    assert moved.monitoring is not None
    assert moved.monitoring.next_run_time == there.monitoring.next_run_time
    told = await site.topics("schedule")
    await monitor.registry.change("w0", WorkerPatch(name="other"))
    await monitor.add("w2", region="north")
    await monitor.registry.change("w2", WorkerPatch(region="south"))
    assert await site.topics("schedule") == told, "nothing to move, or nothing that is watched"


async def test_a_start_that_somebody_chose_stays(monitor: Monitor, site: Site) -> None:
    site.provider.batch_of = lambda worker: "all"  # type: ignore[method-assign]
    await monitor.add("w1")
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=60))
    chosen = datetime(2026, 1, 1, tzinfo=UTC)
    assert chosen > EPOCH
    await monitor.scheduler.modify("worker-metrics-w1", {"policy": {"start": chosen}})
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=90))
    info = await monitor.scheduler.get_task_info("worker-metrics-w1")
    assert info.descriptor.policy.start == chosen  # type: ignore[union-attr]


async def test_a_provider_has_a_default_interval_of_its_own(monitor: Monitor, site: Site) -> None:
    site.provider.default_interval_s = 300
    await monitor.add("w1")
    await monitor.add("l1", provider="local")
    started = await monitor.monitoring.start_many(["w1", "l1"])
    assert [one.monitoring.interval_s for one in started if one.monitoring] == [300, 5]
    asked = await monitor.monitoring.start("w1", MonitoringRequest(interval_s=60))
    assert asked.monitoring.interval_s == 60
    assert (await monitor.monitoring.start("w1")).monitoring.interval_s == 60, "what was asked for stays"


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        ({"worker_ids": ["w1", "nobody"]}, ["w1", "nobody"]),
        ({"all": True}, ["w1", "w2", "w3"]),
        ({"labels": {"team": "web"}}, ["w1", "w2"]),
        ({"labels": {"team": "web"}, "region": "north"}, ["w1"]),
        ({"provider": "local"}, []),
        ({"provider": "scripted", "region": "south"}, ["w2"]),
    ],
)
async def test_workers_are_selected(monitor: Monitor, selection: dict[str, Any], meant: list[str]) -> None:
    await monitor.add("w1", region="north", labels={"team": "web"})
    await monitor.add("w2", region="south", labels={"team": "web", "env": "prod"})
    await monitor.add("w3")
    assert await monitor.monitoring.select(Selection.model_validate(selection)) == meant


@pytest.mark.parametrize(
    "selection",
    [
        {},
        {"all": False},
        {"labels": {}},
        {"worker_ids": []},
        {"worker_ids": ["a"], "all": True},
        {"worker_ids": ["a b"]},
    ],
)
def test_a_selection_must_say_which(selection: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Selection.model_validate(selection)
