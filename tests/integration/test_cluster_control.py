"""Control from a process that executes nothing: at once, in the middle of another's tick, and after restarts of all."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor, SchedulePolicy
from cluster import Cluster, Instance
from domain.runs.run import RunStatus
from domain.scheduling.errors import ScheduleBusy, ScheduleNotFound
from domain.scheduling.schedule import PutResult, ScheduleInfo, ScheduleStatus
from hands import Hands, one_shot, planned, planned_run, status
from support import wait_until

Control = Callable[[Instance], Awaitable[object]]


def note(interval: float = 3600, overlap: str = "skip", **data: object) -> RecurrentTaskDescriptor:
    policy = SchedulePolicy(overlap=overlap)
    return RecurrentTaskDescriptor(id="s", name="Note", data=data, interval=interval, policy=policy)


async def info(instance: Instance) -> ScheduleInfo:
    found = await instance.scheduler.get_task_info("s")
    assert isinstance(found, ScheduleInfo)
    return found


async def pause(instance: Instance) -> object:
    return await instance.scheduler.pause("s", "for a test")


async def resume(instance: Instance) -> object:
    await pause(instance)
    return await instance.scheduler.resume("s")


async def park(instance: Instance) -> object:
    stored = await instance.schedules.get("s")
    assert stored is not None
    return await instance.scheduler.park("s", "a test", stored.state.incarnation, stored.state.generation)


async def change(instance: Instance) -> object:
    return await instance.bus.schedule_task(note(interval=0.01, label="changed"))


async def change_the_rhythm(instance: Instance) -> object:
    return await instance.scheduler.modify("s", {"cron": "0 0 1 1 *"})


async def stop(instance: Instance) -> object:
    return await instance.scheduler.stop_task("s")


async def make_anew(instance: Instance) -> object:
    await stop(instance)
    return await instance.bus.schedule_task(note(interval=0.01))


@pytest.mark.parametrize("control", [pause, resume, park, change, change_the_rhythm, stop, make_anew])
async def test_what_happens_between_take_and_commit_makes_the_commit_a_no(
    cluster: Cluster, hands: tuple[Hands, Hands], control: Control
) -> None:
    ticking, api = hands
    await ticking.instance.bus.schedule_task(note(interval=0.01))
    ((_, text),) = await wait_until(ticking.take)
    await control(api.instance)
    after = await api.instance.schedules.get("s")
    plan = planned("s", text, text.replace('"due":', '"due":1'), planned_run("s@x.1", "s"))
    reply = ticking.call("commit", 9, 60_000, *plan)
    assert (reply[1], list(reply[2])) == (1, [""])
    assert await api.instance.schedules.get("s") == after
    assert await cluster.events("job") == []
    told = await cluster.events("schedule", "schedule.fire_skipped")
    assert {event["why"] for event in told} <= {"paused", "changed", "stopped", "parked"}, "what control itself tells"


async def test_a_fire_that_was_refused_as_its_schedule_changed_comes_again(hands: tuple[Hands, Hands]) -> None:
    ticking, api = hands
    await ticking.instance.bus.schedule_task(note(interval=0.01))
    ((_, text),) = await wait_until(ticking.take)
    before = await api.instance.schedules.get("s")
    await change(api.instance)
    after = await api.instance.schedules.get("s")
    assert before is not None
    assert after is not None
    assert after.state.due == before.state.due
    ((_, again),) = await wait_until(ticking.take)
    assert (again, again == text) == (after.text, False)


async def test_all_control_works_from_a_process_that_executes_nothing(cluster: Cluster) -> None:
    api, other = await cluster.start(executes=False), await cluster.start(executes=False)
    await cluster.start()
    await cluster.start()
    await api.bus.schedule_task(note(label="held", hold=True))
    run_id = await api.scheduler.run_now("s")
    await wait_until(lambda: cluster.ledger.of("s"))
    assert (await info(other)).running == [run_id]
    with pytest.raises(ScheduleBusy, match=run_id):
        await other.scheduler.run_now("s")
    await other.scheduler.pause("s", "by night", by="ann")
    rests = (await info(api)).paused
    assert rests is not None
    assert (rests.by, rests.reason) == ("ann", "by night")
    await api.scheduler.resume("s")
    changed = await other.scheduler.modify("s", {"interval": 1800})
    assert changed.result is PutResult.CHANGED
    stopped = await api.scheduler.stop_task("s", cancel_running=True)
    assert (stopped.running, stopped.cancelled) == ([run_id], [run_id])
    await wait_until(lambda: cluster.ledger.cancelled == [run_id])
    with pytest.raises(ScheduleNotFound):
        await other.scheduler.get_task_info("s")
    topics = [event["topic"] for event in await cluster.events("schedule")]
    names = ["created", "paused", "resumed", "changed", "removed"]
    assert topics == [f"schedule.{name}" for name in names]


async def test_what_was_asked_for_holds_after_all_processes_are_gone(cluster: Cluster) -> None:
    first = await cluster.start()
    for name in ("paused", "changed", "stopped", "waits"):
        await first.bus.schedule_task(note(label=name).model_copy(update={"id": name}))
    await first.stop()
    api = await cluster.start(executes=False)
    await api.scheduler.pause("paused", "over night", by="ann")
    await api.scheduler.modify("changed", {"interval": 0.05})
    await api.scheduler.modify("paused", {"interval": 0.05})
    await api.scheduler.stop_task("stopped")
    run_id = await api.scheduler.run_now("waits")
    soon = datetime.now(UTC) + timedelta(seconds=0.1)
    await api.bus.schedule_task(ScheduledTaskDescriptor(id="once", name="Once", scheduled_at=soon))
    await api.stop()
    last = await cluster.start()
    # What every program does when it starts.
    again = await last.bus.schedule_task(note(interval=0.05, label="paused").model_copy(update={"id": "paused"}))
    assert again.result is PutResult.UNCHANGED
    await wait_until(lambda: len(cluster.ledger.of("changed")) > 3 and cluster.ledger.of("once"))
    assert [entry.run_id for entry in cluster.ledger.of("waits")] == [run_id]
    assert cluster.ledger.of("stopped") == cluster.ledger.of("paused") == []
    rests = await last.scheduler.get_task_info("paused")
    assert isinstance(rests, ScheduleInfo)
    assert rests.status is ScheduleStatus.PAUSED
    assert rests.paused is not None
    assert (rests.paused.by, rests.paused.reason, rests.generation) == ("ann", "over night", 2)
    await last.scheduler.resume("paused")
    await wait_until(lambda: cluster.ledger.of("paused"))


async def test_scheduling_the_same_at_every_start_leaves_the_rhythm_alone(cluster: Cluster) -> None:
    first = await cluster.start()
    await first.bus.schedule_task(note(interval=0.1))
    await wait_until(lambda: cluster.ledger.of("s"))
    anchor = (await first.schedules.get("s")).state.anchor  # type: ignore[union-attr]
    for _ in range(4):
        more = await cluster.start()
        assert (await more.bus.schedule_task(note(interval=0.1))).result is PutResult.UNCHANGED
    seen = len(cluster.ledger.of("s"))
    await wait_until(lambda: len(cluster.ledger.of("s")) > seen + 3)
    assert (await first.schedules.get("s")).state.anchor == anchor  # type: ignore[union-attr]
    fires = [entry.fire_time for entry in cluster.ledger.of("s")]
    assert len(set(fires)) == len(fires)
    assert {(round(fire.timestamp() * 1000) - anchor) % 100 for fire in fires} == {0}


async def test_stop_lists_what_runs_cancels_what_waits_and_nothing_new_begins(cluster: Cluster) -> None:
    api = await cluster.start(executes=False)
    await cluster.start()
    await api.bus.schedule_task(note(interval=0.05, overlap="queue_one", label="held", hold=True))

    async def one_waits() -> bool:
        return (await info(api)).counts.fired == 2

    await wait_until(one_waits)
    running = (await info(api)).running
    waiting = [run.run_id for run in await api.scheduler.runs("s") if run.run_id not in running]
    stopped = await api.scheduler.stop_task("s")
    assert (stopped.running, stopped.cancelled) == (running, [])
    assert [event["run_id"] for event in await cluster.events("job", "job.cancelled")] == waiting
    made = len(await cluster.made())
    cluster.ledger.gate("held").set()

    async def all_over() -> bool:
        return len(await cluster.events("job", "job.succeeded")) == 1

    await wait_until(all_over)
    assert len(await cluster.made()) == made
    assert [entry.run_id for entry in cluster.ledger.of("s")] == running


async def test_a_one_shot_that_is_claimed_while_it_is_stopped_goes_on(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await one_shot(a)
    assert [claim.spec.run_id for claim in a.claim()] == ["o"]
    # What a stop asks for that read the one-shot while it waited.
    assert await b.instance.runs.cancel(["o"], "stopped", executing=False) == {"o": "running"}
    assert await status(a, "o") is RunStatus.RUNNING
    stopped = await b.instance.scheduler.stop_task("o")
    assert (stopped.stopped, stopped.running, stopped.cancelled) == (False, ["o"], [])
    stopped = await b.instance.scheduler.stop_task("o", cancel_running=True)
    assert (stopped.stopped, stopped.running, stopped.cancelled) == (True, ["o"], ["o"])
    with pytest.raises(ScheduleNotFound):
        await b.instance.scheduler.stop_task("o")


async def test_who_stopped_a_one_shot_is_told(cluster: Cluster, hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await one_shot(a)
    assert (await b.instance.scheduler.stop_task("o", by="ann")).stopped
    (told,) = await cluster.events("job", "job.cancelled")
    assert told["why"] == "stopped by ann"
