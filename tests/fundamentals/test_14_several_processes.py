"""Any number of processes may share one store. Each fire is run by one of them, and nobody has to be the leader."""

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from application.scheduling import RecurrentBackgroundJob, RecurrentTaskDescriptor, backgroundjob
from fundamentals.conftest import Process, running
from infrastructure.settings import Settings
from support import wait_until


@backgroundjob(task_type="recurrent")
class Who(RecurrentBackgroundJob):
    """Tell which process this is."""

    async def run_every(self) -> int:
        return os.getpid()


def who(schedule_id: str) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(id=schedule_id, name="Who", interval=0.1)


async def test_two_instances_share_a_schedule_and_each_controls_it(settings: Settings) -> None:
    async with running(settings) as one, running(settings) as two:
        started = await one.listen("job.started")
        await one.bus.schedule_task(who("shared"))
        runs = await two.ended_runs("shared", 5)
        await two.scheduler.stop_task("shared")
        assert (await one.scheduler.list_tasks(name="Who")).items == []
        await wait_until(lambda: len(started) >= 5)
    assert [run.attempt for run in runs] == [1] * len(runs)
    ids = [event.data["run_id"] for event in started]
    assert len(set(ids)) == len(ids), "each fire was run once"


async def test_two_processes_share_schedules_and_one_goes_on_when_the_other_is_killed(
    settings: Settings, start_process: Callable[[], Process]
) -> None:
    """This test's own program has the role of an API process: it schedules and looks, and executes nothing."""
    async with running(settings, role="api") as app:
        ended = await app.listen("job.succeeded")

        def pids() -> set[int]:
            return {event.data["result"] for event in ended if event.data["name"] == "Who"}

        for n in range(10):
            await app.bus.schedule_task(who(f"s{n}"))
        victim, survivor = start_process(), start_process()
        await wait_until(lambda: pids() == {victim.pid, survivor.pid}, "both to work", 90)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        killed_at = datetime.now(UTC)
        await wait_until(lambda: ended[-1].time > killed_at + timedelta(seconds=0.5), "the other to go on", 90)
        assert {event.data["result"] for event in ended if event.time > killed_at} == {survivor.pid}
        survivor.send_signal(signal.SIGTERM)
        assert survivor.wait(60) == 0
