"""Killed, or frozen, between two steps of the protocol: each time exactly there."""

import asyncio
from collections import Counter
from pathlib import Path

from distributed.fleet import Member
from distributed.scenario_kit import Scenario, all_end, attempts, scenario
from distributed.trap_proxy import Moment, Trap, TrapProxy
from infrastructure.redis.embedded import EmbeddedValkey


class Doomed:
    """One process with a way to the store of its own, that dies where it is told to."""

    def __init__(self, run: Scenario, valkey: EmbeddedValkey) -> None:
        self._run = run
        self.proxy = TrapProxy(valkey)
        self.member: Member | None = None

    async def dies_at(self, script: str, moment: Moment, needle: str) -> None:
        """Start it, and kill it at this step."""

        async def kill() -> bool:
            assert self.member is not None
            self._run.fleet.kill(self.member)
            return False

        async with self.proxy:
            trap = self.proxy.trap = Trap(script, moment, needle, kill)
            self.member = self._run.fleet.start(redis_url=self.proxy.url)
            await self._run.until(trap.sprung.is_set, f"{script} to be {moment}")


async def told(run: Scenario, topic: str) -> list[tuple[str, int]]:
    """Return run and attempt of each event of a topic about the schedule ``tock``."""
    found = await run.events("job", topic)
    return [(event["run_id"], event["attempt"]) for event in found if event["job_id"] == "tock"]


async def test_one_fire_survives_a_death_between_any_two_steps_of_the_tick(
    valkey: EmbeddedValkey, namespace: str, tmp_path: Path
) -> None:
    async with scenario(valkey.url, namespace, tmp_path, lease_s=1) as run:
        await run.recurrent("tock", interval_s=0.3)
        # Taken, so hidden from all others, but not committed.
        await Doomed(run, valkey).dies_at("take", "answered", "tock")
        assert await told(run, "job.queued") == []
        # Committed, but the tick never heard of it and claimed nothing.
        await Doomed(run, valkey).dies_at("commit", "answered", "tock")
        ((fire, _),) = await told(run, "job.queued")
        assert await told(run, "job.started") == []
        # Claimed, but no body began.
        await Doomed(run, valkey).dies_at("claim", "answered", "tock")
        assert await told(run, "job.started") == [(fire, 1)]
        assert run.fleet.lines() == []
        # The body ended, but the store was not told.
        await Doomed(run, valkey).dies_at("settle", "asked", "tock")
        assert [(line.run_id, line.attempt) for line in run.fleet.lines("end")] == [(fire, 2)]
        assert await told(run, "job.succeeded") == []
        # Settled, but nobody heard the answer.
        await Doomed(run, valkey).dies_at("settle", "answered", "tock")
        assert await told(run, "job.succeeded") == [(fire, 3)]

        run.fleet.start()
        await run.ended(5, "tock")
        await all_end(run.fleet)
        begun = attempts(run.fleet.lines("begin"))
        assert begun.pop(fire) == [2, 3]
        assert set(map(tuple, begun.values())) == {(1,)}
        assert Counter(await told(run, "job.succeeded")) == Counter([(fire, 3), *((other, 1) for other in begun)])
        assert await told(run, "job.lost") == [(fire, 1), (fire, 2)]


async def test_a_commit_that_comes_too_late_changes_nothing(
    valkey: EmbeddedValkey, namespace: str, tmp_path: Path
) -> None:
    released = asyncio.Event()

    async def hold() -> bool:
        await released.wait()
        return True

    async with scenario(valkey.url, namespace, tmp_path, lease_s=1) as run, TrapProxy(valkey) as proxy:
        await run.recurrent("tock", interval_s=0.3)
        late = run.fleet.start(redis_url=proxy.url)
        proxy.trap = Trap("take", "answered", "tock", hold)
        await run.until(lambda: proxy.trap is None, "a take to be held")
        run.fleet.start()
        await run.ended(3, "tock")  # the other has taken, committed and run it meanwhile
        committed = proxy.trap = Trap("commit", "answered", "tock", hold)
        released.set()
        await run.until(committed.sprung.is_set, "the late commit")
        await run.ended(3, "tock")
        await all_end(run.fleet)

        assert set(map(tuple, attempts(run.fleet.lines("begin")).values())) == {(1,)}
        queued = Counter(event["run_id"] for event in await run.events("job", "job.queued"))
        assert set(queued.values()) == {1}
        assert late.returncode == 0
