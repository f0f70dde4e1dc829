"""Schedule, execute, control: one instance on a real store."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import pytest

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor, SchedulePolicy
from cluster import Cluster, Instance
from domain.errors import StoreUnavailable
from domain.runs.errors import InvalidData, UnknownJob, UnknownVersion, WrongTaskType
from domain.runs.run import RunStatus
from domain.scheduling.errors import (
    IdTaken,
    InvalidTrigger,
    NotResumable,
    ScheduleBusy,
    ScheduleNotFound,
    TimeInThePast,
)
from domain.scheduling.schedule import OneShotInfo, PutResult, ScheduleInfo, ScheduleStatus
from sample_jobs import Note, Once
from support import wait_until


def every(seconds: float, task_id: str = "s", **data: object) -> RecurrentTaskDescriptor:
    policy = data.pop("policy", SchedulePolicy())
    return RecurrentTaskDescriptor(id=task_id, name="Note", data=data, interval=seconds, policy=policy)


async def test_a_recurrent_job_runs_again_and_again_with_its_data_and_dependency(cluster: Cluster) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(every(0.05, label="again"))
    await wait_until(lambda: len(cluster.ledger.of("s")) >= 3)
    entries = cluster.ledger.of("s")
    assert {entry.label for entry in entries} == {"again"}
    assert len({entry.run_id for entry in entries}) == len(entries)
    gaps = {later.fire_time - earlier.fire_time for earlier, later in itertools.pairwise(entries)}
    assert all(gap % timedelta(seconds=0.05) == timedelta(0) for gap in gaps)


async def test_what_is_scheduled_before_start_runs_after_it(cluster: Cluster) -> None:
    one = cluster.make()
    scheduled = await one.bus.schedule_task(ScheduledTaskDescriptor(id="early", name="Once"))
    assert scheduled.result is PutResult.CREATED
    await one.start()
    await wait_until(lambda: cluster.ledger.of("early"))


async def test_a_one_shot_ends_with_its_result_and_is_remembered(cluster: Cluster) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", data={"label": "x"}))

    async def over() -> bool:
        info = await one.scheduler.get_task_info("o")
        assert isinstance(info, OneShotInfo)
        return info.run.status is RunStatus.SUCCEEDED and info.run.result == {"label": "x"}

    await wait_until(over)
    assert await one.scheduler.list_one_shots() == []
    assert [event["topic"] for event in await cluster.events("job")][0:2] == ["job.queued", "job.started"]
    again = await one.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", data={"label": "x"}))
    assert again.result is PutResult.UNCHANGED
    with pytest.raises(IdTaken, match="succeeded"):
        await one.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", data={"label": "y"}))


async def test_a_one_shot_waits_for_its_time_and_can_be_changed_until_then(cluster: Cluster) -> None:
    one = await cluster.start()
    soon = datetime.now(UTC) + timedelta(hours=1)
    await one.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", scheduled_at=soon))
    assert [info.id for info in await one.scheduler.list_one_shots()] == ["o"]
    sooner = datetime.now(UTC) + timedelta(seconds=0.2)
    changed = await one.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", scheduled_at=sooner))
    assert changed.result is PutResult.CHANGED
    await wait_until(lambda: cluster.ledger.of("o"))


async def test_retries_follow_the_policy_and_end_in_failure(cluster: Cluster) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(ScheduledTaskDescriptor(id="ok", name="Once", data={"fail_times": 2}, max_retries=2))
    await one.bus.schedule_task(ScheduledTaskDescriptor(id="no", name="Once", data={"fail_times": 9}, max_retries=1))

    async def status(task_id: str) -> RunStatus:
        info = await one.scheduler.get_task_info(task_id)
        assert isinstance(info, OneShotInfo)
        return info.run.status

    async def both_over() -> bool:
        return await status("ok") is RunStatus.SUCCEEDED and await status("no") is RunStatus.FAILED

    await wait_until(both_over)
    assert [entry.attempt for entry in cluster.ledger.of("ok")] == [1, 2, 3]
    assert [entry.attempt for entry in cluster.ledger.of("no")] == [1, 2]
    retrying = await cluster.events("job", "job.retrying")
    assert {event["error"] for event in retrying} >= {"ValueError: attempt 1"}


async def test_a_short_retry_does_not_wait_for_the_poll(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.scheduling.tick.LONGEST_WAIT_S", 3600.0)
    one = await cluster.start()
    await one.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", data={"fail_times": 1}, max_retries=1))
    await wait_until(lambda: [entry.attempt for entry in cluster.ledger.of("o")] == [1, 2])


async def test_fires_follow_each_other_without_the_poll(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.scheduling.tick.LONGEST_WAIT_S", 3600.0)
    one = await cluster.start(lease_ms=3_600_000)  # nor does the end of a take show the schedule again
    await one.bus.schedule_task(every(0.1, policy=SchedulePolicy(jitter_s=0.05)))
    await wait_until(lambda: len(cluster.ledger.of("s")) >= 3)


async def test_a_sync_call_that_gets_no_answer_says_so_and_takes_its_work_back(cluster: Cluster) -> None:
    api, busy = await cluster.start(executes=False), cluster.make(executes=False)
    busy.scheduler.loop = asyncio.new_event_loop()  # it does not turn until the caller has given up
    with pytest.raises(StoreUnavailable, match="no answer within"):
        await asyncio.to_thread(busy.bus.schedule_task_sync, every(60), 0.05)
    await asyncio.to_thread(_let_it_turn, busy)
    assert (await api.scheduler.list_tasks()).items == []


def _let_it_turn(instance: Instance) -> None:
    """Let an instance's loop do all that it was asked for, and close it."""

    async def all_of_it() -> None:
        await asyncio.sleep(0)
        asked = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*asked, return_exceptions=True)
        await instance.store.close()

    loop = instance.scheduler.loop
    assert loop is not None
    loop.run_until_complete(all_of_it())
    loop.close()


async def test_scheduling_the_same_again_changes_nothing_and_a_change_keeps_the_rhythm(cluster: Cluster) -> None:
    api = await cluster.start(executes=False)
    first = await api.bus.schedule_task(every(60))
    assert isinstance(first.info, ScheduleInfo)
    assert (await api.bus.schedule_task(every(60))).result is PutResult.UNCHANGED
    other_data = await api.bus.schedule_task(every(60, label="new"))
    assert (other_data.result, other_data.info.generation) == (PutResult.CHANGED, 2)
    assert other_data.info.next_fire == first.info.next_fire
    await api.scheduler.pause("s", "holiday", by="eve")
    faster = await api.bus.schedule_task(every(30, label="new"))
    assert faster.info.status is ScheduleStatus.PAUSED
    assert faster.info.paused.by == "eve"
    resumed = await api.scheduler.resume("s")
    assert resumed.next_fire is not None
    assert resumed.next_fire < first.info.next_fire
    with pytest.raises(NotResumable):
        await api.scheduler.resume("s")


async def test_a_job_that_terminates_leaves_the_store(cluster: Cluster) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(every(0.05, end=True))

    async def gone() -> bool:
        return await cluster.events("schedule", "schedule.removed") != []

    await wait_until(gone)
    with pytest.raises(ScheduleNotFound):
        await one.scheduler.get_task_info("s")
    (terminated,) = await cluster.events("job", "job.terminated")
    assert terminated["why"] == "nothing is left to do"
    keys = await cluster.redis.command.keys(cluster.redis.key("*"))
    assert not [key for key in keys if ":ev:" not in key and (key.endswith((":s", "states", "schedules", "stats")))]


async def test_stop_ends_it_and_says_what_still_runs(cluster: Cluster) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(every(0.05, label="held", hold=True))
    await wait_until(lambda: cluster.ledger.of("s"))
    stopped = await one.scheduler.stop_task("s")
    assert stopped.running == [cluster.ledger.of("s")[0].run_id]
    assert stopped.cancelled == []
    cluster.ledger.gate("held").set()
    await wait_until(lambda: not one.engine.runner.held)
    assert len(cluster.ledger.of("s")) == 1
    with pytest.raises(ScheduleNotFound):
        await one.scheduler.stop_task("s")


async def test_stop_with_cancel_running_cancels_on_another_instance(cluster: Cluster) -> None:
    await cluster.start()
    api = await cluster.start(executes=False)
    await api.bus.schedule_task(every(0.05, label="held", hold=True))
    await wait_until(lambda: cluster.ledger.of("s"))
    stopped = await api.scheduler.stop_task("s", cancel_running=True)
    assert stopped.cancelled == stopped.running == [cluster.ledger.of("s")[0].run_id]
    await wait_until(lambda: cluster.ledger.cancelled == stopped.running)
    assert [event["run_id"] for event in await cluster.events("job", "job.cancelled")] == stopped.running


async def test_run_now_leaves_the_rhythm_alone_and_respects_overlap(cluster: Cluster) -> None:
    one = await cluster.start()
    first = await one.bus.schedule_task(every(3600, label="held", hold=True))
    run_id = await one.scheduler.run_now("s")
    await wait_until(lambda: cluster.ledger.of("s"))
    assert cluster.ledger.of("s")[0].run_id == run_id
    with pytest.raises(ScheduleBusy, match="skip"):
        await one.scheduler.run_now("s")
    info = await one.scheduler.get_task_info("s")
    assert info.running == [run_id]
    assert info.next_fire == first.info.next_fire


async def test_pause_holds_fires_back_on_all_instances_and_survives_a_restart(cluster: Cluster) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(every(0.05))
    await wait_until(lambda: cluster.ledger.of("s"))
    await one.scheduler.pause("s", "too loud")
    await wait_until(lambda: not one.engine.runner.held)
    await one.stop()
    seen = len(cluster.ledger.of("s"))
    two = await cluster.start()
    await two.bus.schedule_task(every(3600, "other"))
    await two.scheduler.run_now("other")
    await wait_until(lambda: cluster.ledger.of("other"))
    assert len(cluster.ledger.of("s")) == seen
    await two.scheduler.resume("s")
    await wait_until(lambda: len(cluster.ledger.of("s")) > seen)


async def test_list_filters_and_pages(cluster: Cluster) -> None:
    api = await cluster.start(executes=False)
    for n in range(5):
        await api.bus.schedule_task(every(60, f"s{n}"))
    await api.scheduler.pause("s3")
    page = await api.scheduler.list_tasks(limit=2)
    assert [info.id for info in page.items] == ["s0", "s1"]
    rest = await api.scheduler.list_tasks(limit=10, cursor=page.next_cursor or "")
    assert [info.id for info in rest.items] == ["s2", "s3", "s4"]
    assert rest.next_cursor is None
    assert [info.id for info in (await api.scheduler.list_tasks(status="paused")).items] == ["s3"]
    assert (await api.scheduler.list_tasks(name="Other")).items == []


async def test_one_unreadable_schedule_does_not_hide_the_others(cluster: Cluster) -> None:
    api = await cluster.start(executes=False)
    for task_id in ("a", "b", "c"):
        await api.bus.schedule_task(every(60, task_id))
    await cluster.redis.command.hset(cluster.redis.key("schedules"), "b", '{"from": "a newer version"}')
    found = {info.id: info.status for info in (await api.scheduler.list_tasks()).items}
    assert found == {"a": "active", "b": "parked", "c": "active"}
    assert await cluster.redis.command.hexists(cluster.redis.key("schedules"), "b")


async def test_modify_merges_fields_and_keeps_the_rest(cluster: Cluster) -> None:
    api = await cluster.start(executes=False)
    await api.bus.schedule_task(every(60, label="keep", policy=SchedulePolicy(overlap="allow(3)", jitter_s=1)))
    changed = await api.scheduler.modify("s", {"interval": 30, "policy": {"jitter_s": 2}})
    descriptor = changed.info.descriptor
    assert (descriptor.interval, descriptor.policy.jitter_s, descriptor.policy.overlap) == (30, 2, "allow(3)")
    assert descriptor.data["label"] == "keep"
    with pytest.raises(ScheduleNotFound):
        await api.scheduler.modify("nothing", {"interval": 30})


async def test_a_schedule_ends_with_its_last_fire(cluster: Cluster) -> None:
    one = await cluster.start()
    end = datetime.now(UTC) + timedelta(seconds=0.5)
    await one.bus.schedule_task(every(0.2, policy=SchedulePolicy(end=end)))

    async def removed() -> bool:
        return [event["id"] for event in await cluster.events("schedule", "schedule.removed")] == ["s"]

    await wait_until(removed)
    assert 1 <= len(await cluster.made()) <= 2


@pytest.mark.parametrize(
    ("descriptor", "error", "says"),
    [
        (RecurrentTaskDescriptor(id="x", name="Notes", interval=5), UnknownJob, "Did you mean Note"),
        (every(5, "x", label=3), InvalidData, "label"),
        (every(5, "x", colour="red"), InvalidData, "colour"),
        (RecurrentTaskDescriptor(id="x", name="Once", interval=5), WrongTaskType, "scheduled job"),
        (ScheduledTaskDescriptor(id="x", name="Note"), WrongTaskType, "recurrent job"),
        (RecurrentTaskDescriptor(id="x", name="Note", cron="0 0 30 2 *"), InvalidTrigger, "never fire"),
        (RecurrentTaskDescriptor(id="x", name="Note", cron="whenever"), InvalidTrigger, "five fields"),
        (every(5, "x", policy=SchedulePolicy(end=datetime(2020, 1, 1, tzinfo=UTC))), InvalidTrigger, "never fire"),
        (
            ScheduledTaskDescriptor(id="x", name="Once", scheduled_at=datetime(2020, 1, 1, tzinfo=UTC)),
            TimeInThePast,
            "Leave the time out",
        ),
        (RecurrentTaskDescriptor(id="x", name="Note", interval=5, version=7), UnknownVersion, "version 7"),
    ],
)
async def test_what_is_wrong_is_raised_to_the_caller_and_stores_nothing(
    cluster: Cluster, descriptor: RecurrentTaskDescriptor, error: type[Exception], says: str
) -> None:
    api = await cluster.start(executes=False)
    with pytest.raises(error, match=says):
        await api.bus.schedule_task(descriptor)
    with pytest.raises(ScheduleNotFound):
        await api.scheduler.get_task_info("x")


async def test_an_id_is_a_schedules_or_a_one_shots(cluster: Cluster) -> None:
    api = await cluster.start(executes=False)
    await api.bus.schedule_task(every(60, "both"))
    with pytest.raises(IdTaken, match="a schedule"):
        await api.bus.schedule_task(ScheduledTaskDescriptor(id="both", name="Once"))
    await api.bus.schedule_task(ScheduledTaskDescriptor(id="one", name="Once"))
    with pytest.raises(IdTaken, match="one-shot"):
        await api.bus.schedule_task(every(60, "one"))


def test_the_sample_jobs_are_jobs() -> None:
    assert Note.__dependencies__.keys() == Once.__dependencies__.keys() == {"ledger"}
