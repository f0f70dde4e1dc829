"""A clock jumps by hours: that of the host, which decides nothing, and that of the store, which decides what is due."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from cluster import Cluster, Instance
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.runs import scripts
from infrastructure.scheduling.clock_watch import ClockWatch
from integration.watched_kit import DEGRADED, OK, Start
from sample_jobs import Entry
from support import wait_until

STEP = timedelta(seconds=0.05)
HOURS = timedelta(hours=3)
Put = Callable[[timedelta], Awaitable[None]]


async def scheduled(cluster: Cluster, instance: Instance) -> None:
    """Let one schedule fire, and another one hold its first run."""
    step_s = STEP.total_seconds()
    await instance.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=step_s))
    held = {"label": "held", "hold": True}
    await instance.bus.schedule_task(RecurrentTaskDescriptor(id="h", name="Note", data=held, interval=step_s))
    await more(cluster)
    await wait_until(lambda: len(cluster.ledger.of("h")) == 1)


async def more(cluster: Cluster, fires: int = 10) -> None:
    """Wait for so many more fires."""
    enough = len(cluster.ledger.of("s")) + fires
    await wait_until(lambda: len(cluster.ledger.of("s")) >= enough, f"{fires} more fires")


async def of_one_rhythm(cluster: Cluster) -> list[Entry]:
    """Return the fires in their order, after a check that each came once and none of a step is missing."""
    fires = sorted(cluster.ledger.of("s"), key=lambda entry: entry.fire_time)
    assert len({entry.fire_time for entry in fires}) == len({entry.run_id for entry in fires}) == len(fires)
    assert {entry.attempt for entry in cluster.ledger.entries} == {1}, "nobody was taken over"
    assert cluster.ledger.cancelled == []
    first, last = fires[0].fire_time, fires[-1].fire_time
    skipped = sum(
        event["count"]
        for event in await cluster.events("schedule", "schedule.fire_skipped")
        if event["id"] == "s" and first < datetime.fromisoformat(event["fire_time"]) < last
    )
    told = len(fires) - 1 + sum(entry.missed for entry in fires[1:]) + skipped
    assert told == round((last - first) / STEP), "each due time ran, or was told as missed or skipped"
    return fires


@pytest.mark.parametrize("by", [HOURS, -HOURS], ids=["forwards", "backwards"])
async def test_of_the_host(cluster: Cluster, by: timedelta) -> None:
    one = await cluster.start()
    await cluster.start()
    await scheduled(cluster, one)
    with time_machine.travel(datetime.now(UTC) + by, tick=True):
        await more(cluster)
        await one.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once"))
        await wait_until(lambda: cluster.ledger.of("o"), "a one-shot of now")
    await more(cluster)
    for instance in cluster.instances:
        cluster.ledger.gate("held").set()
        await instance.stop()
    fires = await of_one_rhythm(cluster)
    assert fires[-1].fire_time - fires[0].fire_time < HOURS / 2
    assert all(entry.missed < 1_000 for entry in fires)


@pytest.fixture
def put_clock(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """Give what puts the store's clock: a key of the test is added to the time, wherever the program asks for it."""
    text, now, key = scripts._text, RedisStore.now, cluster.redis.key("test-shift")
    shift = "local TIME = redis.call('TIME')\nTIME[1] = TIME[1] + (redis.call('GET', PREFIX .. 'test-shift') or 0)"

    def shifted(package: str, name: str) -> str:
        found = text(package, name)
        if name == "prelude":
            assert "local TIME = redis.call('TIME')" in found
        return found.replace("local TIME = redis.call('TIME')", shift)

    async def shifted_now(store: RedisStore) -> int:
        return await now(store) + 1000 * int(await store.command.get(key) or 0)

    async def put(by: timedelta) -> None:
        await cluster.redis.command.set(key, round(by.total_seconds()))

    monkeypatch.setattr(scripts, "_text", shifted)
    monkeypatch.setattr(RedisStore, "now", shifted_now)
    _forget_scripts()
    yield put
    _forget_scripts()


def _forget_scripts() -> None:
    scripts.source.cache_clear()
    scripts._shared.cache_clear()


async def test_of_the_store_forwards(cluster: Cluster, put_clock: Put, caplog: pytest.LogCaptureFixture) -> None:
    """One fire for all that became due, as ``catch_up`` says; leases that seem to have lapsed are not taken over."""
    one = await cluster.start()
    await cluster.start()
    await scheduled(cluster, one)
    await put_clock(HOURS)
    await wait_until(lambda: any(entry.missed >= 1_000 for entry in cluster.ledger.of("s")), "a fire that catches up")
    await more(cluster)
    assert "the store's clock went forward by 10" in caplog.text
    assert one.engine.condition().clock_behind_s == 0.0
    cluster.ledger.gate("held").set()
    for instance in cluster.instances:
        await instance.stop()
    entries = cluster.ledger.entries
    assert len({entry.run_id for entry in entries}) == len(entries)
    assert {entry.attempt for entry in entries} == {1}
    assert sum(entry.missed >= 1_000 for entry in cluster.ledger.of("s")) == 1
    assert cluster.ledger.cancelled == []


async def test_of_the_store_back_and_forth(cluster: Cluster, put_clock: Put, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing fires twice: schedules wait for their time, and health says why. All else goes on."""
    await put_clock(HOURS)
    one = await cluster.start()
    await scheduled(cluster, one)
    await put_clock(timedelta(0))
    await wait_until(lambda: one.engine.condition().clock_behind_s > 0, "the jump to be noticed")
    fired = len(cluster.ledger.of("s"))
    assert 10_000 < one.engine.condition().clock_behind_s <= HOURS.total_seconds()
    assert "THE STORE'S CLOCK WENT BACK by 10" in caplog.text
    assert any(record.levelno == logging.ERROR for record in caplog.records)
    await one.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once"))
    await wait_until(lambda: cluster.ledger.of("o"), "a one-shot of now")
    extra = await one.scheduler.run_now("s")
    await wait_until(lambda: any(entry.run_id == extra for entry in cluster.ledger.of("s")), "a run beside the rhythm")
    assert len(cluster.ledger.of("s")) <= fired + 1
    await one.bus.schedule_task(RecurrentTaskDescriptor(id="new", name="Note", interval=0.05))
    await wait_until(lambda: len(cluster.ledger.of("new")) >= 3, "a new schedule to fire by the new time")
    await put_clock(HOURS)
    await wait_until(lambda: one.engine.condition().clock_behind_s == 0, "the clock to be right again")
    await more(cluster)
    cluster.ledger.gate("held").set()
    await one.stop()
    cluster.ledger.entries = [entry for entry in cluster.ledger.entries if entry.run_id != extra]
    await of_one_rhythm(cluster)


def test_slow_answers_are_no_jump(caplog: pytest.LogCaptureFixture) -> None:
    watch = ClockWatch()
    for asked_s, store_ms in ((100.0, 1_000_000), (101.0, 1_006_000), (107.0, 1_007_000), (3_600.0, 4_500_000)):
        watch.heard(store_ms, asked_s)
        assert watch.behind_s == 0.0
    assert caplog.text == ""
    assert watch.ahead_ms == 900_000


async def test_health_says_why_nothing_fires(
    valkey: EmbeddedValkey, begin: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = await begin(valkey, monitoring={"local_worker": False})
    assert (await program.services().health.look()).components["scheduler"].status is OK
    monkeypatch.setattr(ClockWatch, "behind_s", 3_600.0)
    found = (await program.services().health.look()).components["scheduler"]
    assert found.status is DEGRADED
    assert found.detail == "the store's clock was put back: for 3600 s more schedules may not fire"
