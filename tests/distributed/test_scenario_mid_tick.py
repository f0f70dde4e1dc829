"""Killed, or frozen, between two steps of the protocol: each time exactly there."""

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import pytest

from application.scheduling import ScheduledTaskDescriptor
from distributed.checker_journal import journaling_control
from distributed.fleet import Member
from distributed.scenario_kit import JOBS, Scenario, attempts, scenario
from distributed.trap_proxy import Moment, Trap, TrapProxy
from domain.errors import StoreUnavailable
from domain.scheduling.schedule import PutResult
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey

pytestmark = pytest.mark.timeout(400)  # several waits, each with its own deadline
PAIR = ("tack", "tock")
MOMENTS: tuple[Moment, ...] = ("asked", "answered")


class Doomed:
    """One process with a way to the store of its own, that dies where it is told to."""

    def __init__(self, run: Scenario, valkey: EmbeddedValkey) -> None:
        self._run = run
        self.proxy = TrapProxy(valkey)
        self.member: Member | None = None

    async def dies_at(self, script: str, moment: Moment, needle: str, **environ: str) -> None:
        """Start it, and kill it at this step."""

        async def kill() -> bool:
            assert self.member is not None
            self._run.fleet.kill(self.member)
            return False

        async with self.proxy:
            trap = self.proxy.trap = Trap(script, moment, needle, kill)
            self.member = self._run.fleet.start(redis_url=self.proxy.url, **environ)
            await self._run.until(trap.sprung.is_set, f"{script} to be {moment}")


class FarControl:
    """A control side with a way to the store of its own."""

    def __init__(self, proxy: TrapProxy, run: Scenario) -> None:
        self._store = RedisStore(proxy.url, run.namespace)
        self.control = journaling_control(self._store, run.journal, JOBS)

    async def aclose(self) -> None:
        await self._store.close()


async def told(run: Scenario, topic: str) -> list[tuple[str, int]]:
    """Return run and attempt of each event of a topic about our schedules."""
    found = await run.events("job", topic)
    return [(event["run_id"], event["attempt"]) for event in found if event["job_id"] in PAIR]


async def test_one_fire_survives_a_death_between_any_two_steps_of_the_tick(
    valkey: EmbeddedValkey, namespace: str, tmp_path: Path
) -> None:
    async with scenario(valkey.url, namespace, tmp_path, lease_s=1) as run:
        await run.recurrent(*PAIR, interval_s=0.1)
        # Both taken, so hidden from all others, but not committed.
        await Doomed(run, valkey).dies_at("take", "answered", "tock")
        assert await told(run, "job.queued") == await told(run, "job.started") == []
        # Both committed, but there is one slot: at most one run became its own at once, the other is to be claimed.
        await Doomed(run, valkey).dies_at("commit", "answered", "tock", ROUNDSMAN_BACKGROUND_JOBS__CONCURRENCY="1")
        queued, started = dict(await told(run, "job.queued")), dict(await told(run, "job.started"))
        assert len(queued) + len(started) == 2
        fire = next(iter(queued))
        # Claimed, but no body began.
        await Doomed(run, valkey).dies_at("claim", "answered", fire)
        assert (fire, 1) in await told(run, "job.started")
        assert run.fleet.lines() == []
        # The body ended, but the store was not told.
        await Doomed(run, valkey).dies_at("settle", "asked", fire)
        assert [line.attempt for line in run.fleet.lines("end") if line.run_id == fire] == [2]
        assert fire not in dict(await told(run, "job.succeeded"))
        # Settled, but nobody heard the answer.
        await Doomed(run, valkey).dies_at("settle", "answered", fire)
        assert (fire, 3) in await told(run, "job.succeeded")

        run.fleet.start()
        await run.ended(5, *PAIR)
        await run.verdict()
        begun = attempts(run.fleet.lines("begin"))
        assert begun[fire] == [2, 3]
        assert Counter(run_id for run_id, _ in await told(run, "job.succeeded")) == Counter(begun.keys())
        assert [lost for lost in await told(run, "job.lost") if lost[0] == fire] == [(fire, 1), (fire, 2)]


async def test_a_one_shot_survives_every_death_from_acceptance_to_settle(
    valkey: EmbeddedValkey, namespace: str, tmp_path: Path
) -> None:
    async def cut() -> bool:
        return False

    task = ScheduledTaskDescriptor(id="once", name="WriteOnce")
    async with scenario(valkey.url, namespace, tmp_path, lease_s=1) as run:
        async with TrapProxy(valkey) as proxy, contextlib.aclosing(FarControl(proxy, run)) as far:
            # Cut before the store has seen it, and after it has accepted it: the caller cannot know which, and asks
            # again.
            for moment in MOMENTS:
                proxy.trap = Trap("submit", moment, "once", cut)
                with pytest.raises(StoreUnavailable):
                    await far.control.schedule(task)
            assert (await far.control.schedule(task)).result is PutResult.UNCHANGED
        await Doomed(run, valkey).dies_at("claim", "answered", "once")
        assert run.fleet.lines() == []
        await Doomed(run, valkey).dies_at("settle", "asked", "once")
        run.fleet.start()
        await run.settled("once")
        await run.verdict()
        assert attempts(run.fleet.lines("end")) == {"once": [2, 3]}
        record = (await run.control.get_task_info("once")).run  # type: ignore[union-attr]
        assert (record.status, record.attempt) == ("succeeded", 3)


async def test_a_commit_that_comes_too_late_changes_nothing(
    valkey: EmbeddedValkey, namespace: str, tmp_path: Path
) -> None:
    released = asyncio.Event()

    async def hold() -> bool:
        await released.wait()
        return True

    async with scenario(valkey.url, namespace, tmp_path, lease_s=1) as run, TrapProxy(valkey) as proxy:
        other = run.fleet.start()
        await run.recurrent("tock", interval_s=0.3)
        await run.set_up()
        await run.ended(1, "tock")
        other.freeze()
        late = run.fleet.start(redis_url=proxy.url)
        proxy.trap = Trap("take", "answered", "tock", hold)
        await run.until(lambda: proxy.trap is None, "a take to be held")
        other.thaw()
        await run.work(other)
        await run.ended(2, "tock")  # the other has taken, committed and run it meanwhile
        committed = proxy.trap = Trap("commit", "answered", "tock", hold)
        released.set()
        await run.until(committed.sprung.is_set, "the late commit")
        await run.ended(3, "tock")
        await run.verdict()
        started = Counter(event["run_id"] for event in await run.events("job", "job.started"))
        assert set(started.values()) == {1}
        assert late.returncode == 0


async def test_a_settle_that_comes_too_late_changes_nothing(
    valkey: EmbeddedValkey, namespace: str, tmp_path: Path
) -> None:
    async with scenario(valkey.url, namespace, tmp_path, lease_s=1) as run, TrapProxy(valkey) as proxy:
        released = asyncio.Event()
        late = run.fleet.start(redis_url=proxy.url)
        await run.set_up()

        async def hold() -> bool:
            late.freeze()
            await released.wait()
            return True

        settle = proxy.trap = Trap("settle", "asked", "again", hold)
        await run.at_once("again", first_hold_s=0.01, hold_s=3)
        await run.until(lambda: proxy.trap is None, "a settle to be held")
        other = run.fleet.start()
        await run.until(lambda: other.pid in {line.pid for line in run.fleet.lines("begin")}, "the run to be overtaken")
        released.set()  # the store hears of the first attempt's end while the second is executing
        await run.until(settle.sprung.is_set, "the settle to pass")
        late.thaw()
        await run.until(lambda: len(run.fleet.lines("end")) == 2, "the second attempt to end")
        await run.verdict()
        assert [(line.pid, line.attempt) for line in run.fleet.lines("end")] == [(late.pid, 1), (other.pid, 2)]
        succeeded = await run.events("job", "job.succeeded")
        assert [event["attempt"] for event in succeeded if event["job_id"] == "again"] == [2]
