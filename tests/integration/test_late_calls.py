"""What the store reads when its caller has given up long ago, as a server does that was frozen, changes nothing."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from application.scheduling import RecurrentTaskDescriptor
from cluster import Cluster
from domain.runs.run import RunStatus
from hands import LANES, Hands, one_shot, planned, schedule, status
from infrastructure.redis.embedded import EmbeddedValkey
from support import wait_until


async def store_ms(hand: Hands) -> int:
    seconds, microseconds = hand.client.time()  # type: ignore[misc]
    return int(seconds) * 1000 + int(microseconds) // 1000


@pytest.mark.parametrize(("late_ms", "works"), [(-1, False), (60_000, True)])
async def test_a_take_and_a_claim_work_until_their_deadline_only(
    hands: tuple[Hands, Hands], late_ms: int, works: bool
) -> None:
    a, b = hands
    await schedule(a, "s")
    await one_shot(a)

    async def taken_in_vain() -> bool:
        """Take as late as asked, once something is due."""
        until = await store_ms(a) + late_ms
        return bool(a.call("take", f"60000@{until}", 100, *LANES)[2])

    if works:
        await wait_until(taken_in_vain, "a take")
        assert b.take() == []
    else:
        assert not await taken_in_vain()
        await wait_until(b.take, "what was not hidden")
        assert not await taken_in_vain()
    until = await store_ms(a) + late_ms
    rows = a.call("claim", f"60000@{until}", 10, 5, "", 0, "", *LANES)[3]
    assert len(rows) == (1 if works else 0)
    assert await status(a, "o") == (RunStatus.RUNNING if works else RunStatus.QUEUED)


async def test_a_commit_after_its_deadline_fires_nothing(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await schedule(a, "s", interval=3600)
    state = a.client.hget(f"{a.prefix}states", "s")
    args = planned("s", state, "x")
    assert a.call("commit", 9, f"60000@{await store_ms(a) - 1}", *args) == [0, 0, []]
    assert a.client.hget(f"{a.prefix}states", "s") == state
    assert a.call("commit", 9, f"60000@{await store_ms(a) + 60_000}", *args)[1] == 0
    assert a.client.hget(f"{a.prefix}states", "s") == "x"


async def test_after_a_freeze_nothing_that_was_given_up_hides_what_is_due(
    fresh_valkey: Callable[[], EmbeddedValkey], namespace: str
) -> None:
    """The lease is so long that what such a take had hidden would not fire again in this test."""
    server = await asyncio.to_thread(fresh_valkey)
    async with Cluster(server.url, namespace) as cluster:
        instance = await cluster.start(lease_ms=300_000)
        await instance.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=0.05))
        await wait_until(lambda: len(cluster.ledger.of("s")) > 2, "the schedule to run")
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await wait_until(lambda: (instance.engine.condition().ticked_s_ago or 0) > 7, "a call to be given up")
        finally:
            os.kill(server.pid, signal.SIGCONT)
        seen = len(cluster.ledger.of("s"))
        await wait_until(lambda: len(cluster.ledger.of("s")) > seen + 2, "the schedule to go on")
