"""Runs that were marked as unknown to every running instance, and end or change before the mark is taken away."""

from application.scheduling import ScheduledTaskDescriptor
from cluster import Cluster
from domain.runs.outcome import Succeeded
from hands import Hands, one_shot, schedule

LEASE_MS = 1_000


def mark_all(hand: Hands) -> None:
    """Sweep as long as it takes until what nobody knows is parked: nobody has announced a lane."""
    hand.client.hset(f"{hand.prefix}orphans", mapping=dict.fromkeys(("Note@1", "Once@1"), 1))
    hand.call("sweep", LEASE_MS, "1")


async def marks(hand: Hands) -> dict[str, str]:
    found: dict[str, str] = hand.client.hgetall(f"{hand.prefix}parked")
    return found


async def test_a_run_that_ends_before_its_mark_is_taken_away_leaves_none(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await schedule(a, interval=3600)
    run_id = await a.instance.scheduler.run_now("s")
    (claim,) = a.claim()
    a.lapse("Note@1")
    mark_all(b)
    assert list(await marks(a)) == [run_id]
    assert a.settle(claim, Succeeded()) == "settled"
    b.announce(LEASE_MS)
    b.call("sweep", LEASE_MS, "1")
    assert await marks(a) == {}


async def test_a_one_shot_that_is_changed_while_it_is_marked_runs_once_and_unmarked(
    cluster: Cluster, hands: tuple[Hands, Hands]
) -> None:
    a, b = hands
    await one_shot(a)
    mark_all(b)
    assert list(await marks(a)) == ["o"]
    await a.instance.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", data={"label": "changed"}))
    b.announce(LEASE_MS)
    b.call("sweep", LEASE_MS, "1")
    (claim,) = a.claim()
    assert a.settle(claim, Succeeded()) == "settled"
    assert a.claim() == []
    assert await marks(a) == {}
    assert len(await cluster.events("job", "job.started")) == 1
