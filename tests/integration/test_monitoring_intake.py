"""What a look has seen is stored and evaluated in one round, before more is stored; its event finds it done."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from application.monitoring.alert_book import AlertStep, Committed
from application.monitoring.intake import AT_ONCE, SampleIntake
from application.monitoring.stores import Appended, Arrival
from application.monitoring.views import MonitoringRequest
from domain.errors import StoreUnavailable, StrangeKey
from domain.monitoring.sample import MetricSample
from domain.monitoring.worker import WorkerPatch
from integration.monitoring_kit import CPU_RULE, Monitor, Site
from support import wait_until
from unit.monitoring.waveforms import sample

HOT = 0.99
MANY = [f"w{n}" for n in range(2 * AT_ONCE + 7)]


@pytest.fixture
async def site(redis_url: str, namespace: str) -> AsyncIterator[Site]:
    async with Site(redis_url, namespace) as made:
        yield made


async def watching(site: Site, *worker_ids: str, handles: bool = False) -> Monitor:
    """Start an instance that looks at nothing by itself, and open its intake."""
    monitor = await site.start([CPU_RULE], executes=False, handles=handles, sends=False)
    for worker_id in worker_ids or ("w1",):
        await monitor.add(worker_id)
        await monitor.monitoring.start(worker_id, MonitoringRequest(interval_s=10))
    monitor.container.intake().open()
    return monitor


async def seen(monitor: Monitor, worker_id: str = "w1", cpu: float = HOT) -> MetricSample:
    return sample(await monitor.workers.now(), cpu, worker_id).model_copy(update={"provider": "scripted"})


async def cursor_of(monitor: Monitor, worker_id: str = "w1") -> int:
    return (await monitor.book.read(worker_id)).cursor_ms


class Witness:
    """Notes in which order an instance stores and evaluates, and how often it reads what is to be evaluated."""

    def __init__(self, monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting: set[str] = set()
        self.most = self.reads = 0
        append, backlog, commit_all = monitor.samples.append_all, monitor.book.backlog, monitor.book.commit_all

        async def appended(arrivals: Sequence[Arrival]) -> list[Appended | Exception]:
            verdicts = await append(arrivals)
            self.waiting |= {one.sample.worker_id for one in arrivals}
            self.most = max(self.most, len(self.waiting))
            return verdicts

        async def read(worker_ids: Sequence[str], *more: Any) -> Any:
            self.reads += 1
            return await backlog(worker_ids, *more)

        async def committed(steps: Sequence[AlertStep]) -> list[Committed]:
            verdicts = await commit_all(steps)
            self.waiting -= {step.before.worker_id for step in steps}
            return verdicts

        monkeypatch.setattr(monitor.samples, "append_all", appended)
        monkeypatch.setattr(monitor.book, "backlog", read)
        monkeypatch.setattr(monitor.book, "commit_all", committed)


async def test_a_sample_is_evaluated_when_it_is_taken(site: Site) -> None:
    monitor = await watching(site)
    one = await seen(monitor)
    assert await monitor.container.intake().take(one, "r1") == "stored"
    assert await cursor_of(monitor) == one.time_ms
    assert await site.topics("alert") == ["alert.firing"]
    assert await monitor.container.intake().take(one) == "late", "it says what the series says"


async def test_what_is_stored_waits_for_no_more_than_its_round(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = await watching(site, *MANY)
    witness = Witness(monitor, monkeypatch)
    looks = [await seen(monitor, worker_id) for worker_id in MANY]
    await asyncio.gather(*(monitor.container.intake().take(one) for one in looks))
    assert witness.waiting == set()
    assert 1 < witness.most <= AT_ONCE, "samples that were stored and not evaluated at the same moment"
    assert await site.topics("alert") == ["alert.firing"] * len(MANY)


async def test_before_it_is_open_and_after_it_is_closed_nothing_is_evaluated(site: Site) -> None:
    monitor = await watching(site)
    intake: SampleIntake = monitor.container.intake()
    await intake.close()
    assert await intake.take(await seen(monitor)) == "stored"
    assert await cursor_of(monitor) == 0


async def test_closing_waits_for_the_round_under_way(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = await watching(site)
    intake, begun, go = monitor.container.intake(), asyncio.Event(), asyncio.Event()
    commit_all = monitor.book.commit_all

    async def held(steps: Sequence[AlertStep]) -> list[Committed]:
        begun.set()
        await go.wait()
        return await commit_all(steps)

    monkeypatch.setattr(monitor.book, "commit_all", held)
    taking = asyncio.create_task(intake.take(await seen(monitor)))
    await begun.wait()
    closing = asyncio.create_task(intake.close())
    await asyncio.wait([closing], timeout=0.05)
    assert not closing.done()
    go.set()
    await closing
    assert await taking == "stored"
    assert await cursor_of(monitor) > 0


async def test_what_cannot_be_evaluated_is_stored_and_left_to_its_event(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = await watching(site)
    one, commit_all = await seen(monitor), monitor.book.commit_all

    async def refuse(_: Sequence[AlertStep]) -> list[Committed]:
        raise StoreUnavailable(why="it is being tested")

    monkeypatch.setattr(monitor.book, "commit_all", refuse)
    with caplog.at_level(logging.WARNING, "application.monitoring.intake"):
        assert await monitor.container.intake().take(one) == "stored"
    assert "1 samples are stored and will be evaluated later" in caplog.text
    assert await cursor_of(monitor) == 0
    monkeypatch.setattr(monitor.book, "commit_all", commit_all)
    await monitor.handler.start()
    await wait_until(lambda: cursor_of(monitor), "its event has it evaluated")
    assert await site.topics("alert") == ["alert.firing"]


async def test_the_event_of_what_was_evaluated_reads_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = await watching(site, *MANY, handles=True)
    witness = Witness(monitor, monkeypatch)
    rounds = -(-len(MANY) // AT_ONCE)
    looks = [await seen(monitor, worker_id) for worker_id in MANY]
    await asyncio.gather(*(monitor.container.intake().take(one) for one in looks))
    await wait_until(lambda: monitor.events.counters.handled >= len(MANY), "the events")
    assert witness.reads == rounds, "one for each round, and none for an event"


async def test_the_event_of_a_sample_that_only_another_stored_is_looked_into(site: Site) -> None:
    """The other may have died: it has the time to evaluate it, and then somebody else does."""
    died = await site.start([CPU_RULE], executes=False, handles=False, sends=False)
    monitor = await watching(site, handles=True)
    one = await seen(monitor)
    assert await died.container.intake().take(one) == "stored"
    await wait_until(lambda: cursor_of(monitor), "the one that lives evaluates it")
    assert await cursor_of(monitor) == one.time_ms


async def test_a_later_sample_is_not_taken_for_an_earlier_one(site: Site) -> None:
    monitor = await watching(site)
    intake, one = monitor.container.intake(), await seen(monitor)
    await intake.take(one)
    assert not await intake.has_evaluated("w1", one.time_ms + 1)
    await intake.take(await seen(monitor))
    assert await intake.has_evaluated("w1", one.time_ms)
    assert not await intake.has_evaluated("w1", one.time_ms), "it is told once, so that nothing piles up"


async def test_what_goes_wrong_with_one_harms_no_other(site: Site) -> None:
    monitor = await watching(site, "w1", "w2", "w3")
    await monitor.store.command.set(monitor.store.key("mon", "samples", "w2"), "no stream")
    looks = [await seen(monitor, name) for name in ("w1", "w2", "w3", "unknown")]
    intake = monitor.container.intake()
    first, second, third, unknown = await asyncio.gather(*(intake.take(one) for one in looks), return_exceptions=True)
    assert isinstance(second, StrangeKey)
    assert (third, unknown) == ("stored", "gone")
    assert first in ("stored", "late"), "it was stored before the one that could not be"
    assert [len(await monitor.samples.last([name])) for name in ("w1", "w3")] == [1, 1]
    assert await cursor_of(monitor, "w3") > 0
    await monitor.store.command.delete(monitor.store.key("mon", "samples", "w2"))


async def test_when_the_store_is_away_each_hears_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = await watching(site, "w1", "w2")

    async def refuse(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable(why="it is being tested")

    looks = [await seen(monitor, name) for name in ("w1", "w2")]
    monkeypatch.setattr(monitor.samples._scripts, "run", refuse)
    told = await asyncio.gather(*(monitor.container.intake().take(one) for one in looks), return_exceptions=True)
    assert [type(one) for one in told] == [StoreUnavailable] * 2


async def test_who_waits_when_it_stops_waits_no_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = await watching(site)
    intake, begun = monitor.container.intake(), asyncio.Event()

    async def hang(*_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(monitor.samples, "append_all", hang)
    taking = asyncio.create_task(intake.take(await seen(monitor)))
    await begun.wait()
    await intake.stop()
    await intake.stop()
    with pytest.raises(asyncio.CancelledError):
        await taking
    await intake.close()


async def test_who_is_overtaken_leaves_it_to_its_event(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = await watching(site)
    one, commit_all = await seen(monitor), monitor.book.commit_all

    async def overtaken(steps: Sequence[AlertStep]) -> list[Committed]:
        return ["stale" for _ in steps]

    monkeypatch.setattr(monitor.book, "commit_all", overtaken)
    assert await monitor.container.intake().take(one) == "stored"
    assert not await monitor.container.intake().has_evaluated("w1", one.time_ms)
    monkeypatch.setattr(monitor.book, "commit_all", commit_all)
    await monitor.handler.start()
    await wait_until(lambda: cursor_of(monitor), "its event has it evaluated")


async def test_what_is_at_hand_is_not_read_when_it_is_all_that_is_new(site: Site) -> None:
    monitor = await watching(site, "w1", "w2")
    one, other = await monitor.feed(20, HOT, "w1"), await monitor.feed(20, HOT, "w2")
    first, second = await monitor.book.backlog(["w1", "w2"], {"w1": one})
    assert not isinstance(first, Exception)
    assert not isinstance(second, Exception)
    assert first.samples[0] is one
    assert (list(first.samples), list(second.samples)) == ([one], [other])
    assert second.samples[0] is not other
    assert (first.worker, first.interval_s) == (await monitor.workers.get("w1"), 10.0)


async def test_what_is_at_hand_is_read_where_there_is_more_or_it_is_not_there(site: Site) -> None:
    monitor = await watching(site)
    earlier, later = await monitor.feed(30, 0.1), await monitor.feed(20, HOT)
    for at_hand in (earlier, later, await seen(monitor)):
        (found,) = await monitor.book.backlog(["w1"], {"w1": at_hand})
        assert not isinstance(found, Exception)
        assert list(found.samples) == [earlier, later]
    one = await seen(monitor)
    assert await monitor.container.intake().take(one) == "stored"
    assert await cursor_of(monitor) == one.time_ms, "with those before it"
    (nothing,) = await monitor.book.backlog(["w1"], {"w1": one})
    assert not isinstance(nothing, Exception)
    assert not nothing.samples


async def test_a_worker_that_changed_is_evaluated_as_it_is(site: Site) -> None:
    """What was read of it before is kept as long as it is what the store has."""
    monitor = await watching(site)
    await monitor.container.intake().take(await seen(monitor))
    await monitor.registry.change("w1", WorkerPatch(labels={"site": "a"}))
    one = await monitor.feed(-1, HOT)
    (found,) = await monitor.book.backlog(["w1"], {"w1": one})
    assert not isinstance(found, Exception)
    assert found.worker is not None
    assert found.worker.labels == {"site": "a"}
