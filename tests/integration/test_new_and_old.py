"""What belongs to the past reaches the store late, and must not touch what is there now."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor, SchedulePolicy
from cluster import Cluster
from domain.runs.outcome import Terminated
from domain.scheduling.schedule import PutResult, ScheduleInfo
from hands import Hands, schedule
from newer_jobs import NewerNote, NewerOnce
from support import wait_until, wait_until_sync


async def made_anew(hand: Hands) -> Any:
    """Claim a run of a schedule, then remove the schedule and make it again; return the claim."""
    await schedule(hand, interval=3600)
    await hand.instance.scheduler.run_now("s")
    (claim,) = hand.claim()
    await hand.instance.scheduler.stop_task("s")
    await schedule(hand, interval=3600)
    return claim


async def test_termination_spares_a_schedule_that_was_made_anew(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    claim = await made_anew(a)
    assert a.settle(claim, Terminated("the old worker is gone")) == "settled"
    assert isinstance(await a.instance.scheduler.get_task_info("s"), ScheduleInfo)


async def test_parking_spares_a_schedule_that_was_made_anew(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    spec = (await made_anew(a)).spec
    await a.instance.scheduler.park("s", "it did not load", spec.incarnation, spec.generation)
    info = await a.instance.scheduler.get_task_info("s")
    assert isinstance(info, ScheduleInfo)
    assert info.parked is None
    stored = await a.instance.schedules.get("s")
    assert stored is not None
    await a.instance.scheduler.park("s", "it does not load", stored.state.incarnation, spec.generation)
    info = await a.instance.scheduler.get_task_info("s")
    assert isinstance(info, ScheduleInfo)
    assert info.parked is not None


async def test_an_older_and_a_newer_program_take_only_their_own(cluster: Cluster) -> None:
    older, newer = await cluster.start(), await cluster.start(jobs=(NewerNote, NewerOnce))
    for n, program in enumerate((older, newer)):
        await program.bus.schedule_task(RecurrentTaskDescriptor(id=f"s{n}", name="Note", interval=0.05))
        await program.bus.schedule_task(ScheduledTaskDescriptor(id=f"o{n}", name="Once"))
    await wait_until(lambda: all(len(cluster.ledger.of(f"s{n}")) > 10 and cluster.ledger.of(f"o{n}") for n in range(2)))
    labels = {entry.job_id: entry.label for entry in cluster.ledger.entries}
    assert labels == {"s0": "plain", "o0": "plain", "s1": "newer", "o1": "newer"}
    assert {entry.attempt for entry in cluster.ledger.entries} == {1}
    assert await cluster.events("job", "job.lost") == []


async def test_a_schedule_goes_to_the_version_that_scheduled_it_last_and_back(cluster: Cluster) -> None:
    older, newer = await cluster.start(), await cluster.start(jobs=(NewerNote, NewerOnce))
    for program, label in ((older, "plain"), (newer, "newer"), (older, "plain")):
        changed = await program.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=0.05))
        assert changed.result is not PutResult.UNCHANGED
        before = {entry.run_id for entry in cluster.ledger.entries}

        def later(seen: set[str] = before) -> list[str]:
            return [entry.label for entry in cluster.ledger.entries if entry.run_id not in seen]

        await wait_until(lambda later=later: len(later()) > 10)
        assert set(later()[1:]) == {label}, "but for one that may have been claimed before the change"
    run_ids = [entry.run_id for entry in cluster.ledger.entries]
    assert len(set(run_ids)) == len(run_ids)


async def test_a_change_at_the_moment_of_a_fire_does_not_fire_it_again(cluster: Cluster) -> None:
    await cluster.start()
    api = await cluster.start(executes=False)
    policy = SchedulePolicy(start=datetime.now(UTC) - timedelta(hours=1), overlap="allow(9)")
    held = {"label": "held", "hold": True}
    await api.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=1, data=held, policy=policy))
    now, asked = api.schedules.now, False

    async def answered_late() -> int:
        nonlocal asked
        answer, first, asked = await now(), not asked, True
        if first:
            await wait_until(lambda: cluster.ledger.of("s"))
        return answer

    api.schedules.now = answered_late  # type: ignore[method-assign]  # the network is slow just now
    await api.scheduler.modify("s", {"interval": 0.5})
    await wait_until(lambda: len(cluster.ledger.of("s")) > 2)
    run_ids = [entry.run_id for entry in cluster.ledger.of("s")]
    assert len(set(run_ids)) == len(run_ids)


async def test_a_fire_that_was_made_is_not_made_again_when_the_clock_was_put_back(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await schedule(a, interval=3600)
    a.fire("s@x.1", "allow", 9)
    (claim,) = a.claim()
    a.fire("s@x.1", "allow", 9)
    assert a.claim() == []
    assert a.renew(claim) == []


async def test_a_renewal_that_comes_late_does_not_revoke_a_newer_claim(cluster: Cluster) -> None:
    one = await cluster.start(lease_ms=60_000)
    data = {"fail_times": 1, "hold": True, "label": "held"}
    await one.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", data=data, max_retries=3))
    await wait_until(lambda: cluster.ledger.of("o"))
    renewal, loop, gate = one.engine._renewal, asyncio.get_running_loop(), cluster.ledger.gate("held")
    send = renewal._renew

    def send_late(**call: Any) -> Any:
        loop.call_soon_threadsafe(gate.set)  # the first attempt goes on,
        loop.call_soon_threadsafe(gate.clear)  # the second waits
        wait_until_sync(lambda: len(cluster.ledger.of("o")) == 2)
        return send(**call)

    renewal._renew = send_late
    await asyncio.to_thread(renewal._renew_once)
    renewal._renew = send
    gate.set()

    async def succeeded() -> bool:
        run = await one.runs.get("o")
        return run is not None and run.status == "succeeded"

    await wait_until(succeeded)
    assert [entry.attempt for entry in cluster.ledger.of("o")] == [1, 2]
