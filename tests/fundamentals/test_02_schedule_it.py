"""To have a job run, hand a descriptor to the ``BackgroundTasksBus``.

A descriptor is plain JSON: the job's name, its data, and when to run it. When ``schedule_task`` returns, it is in the
store. From then on it outlives this process, and any process that knows the class may run it.
"""

import asyncio

from application.scheduling import ScheduledBackgroundJob, ScheduledTaskDescriptor, backgroundjob
from fundamentals.conftest import App, running
from infrastructure.program import Program
from infrastructure.settings import Settings


@backgroundjob(task_type="scheduled")
class Add(ScheduledBackgroundJob):
    """Add two numbers, once."""

    left: int
    right: int

    async def run_at(self) -> int:
        return self.left + self.right


SUM = ScheduledTaskDescriptor(id="sum", name="Add", data={"left": 2, "right": 3})


async def test_a_job_runs_and_its_result_is_kept(app: App) -> None:
    await app.bus.schedule_task(SUM)
    run = await app.end_of("sum")
    assert (run.status, run.result) == ("succeeded", 5)


async def test_threads_and_sync_endpoints_have_a_sync_twin(app: App) -> None:
    await asyncio.to_thread(app.bus.schedule_task_sync, SUM)
    assert (await app.end_of("sum")).result == 5


async def test_what_is_scheduled_while_nothing_runs_is_kept_until_something_does(settings: Settings) -> None:
    program = Program(settings)
    await program.open()  # connected, but not started
    await App(program).bus.schedule_task(SUM)
    await program.close()
    async with running(settings) as app:
        assert (await app.end_of("sum")).result == 5


async def test_scheduling_the_same_again_changes_nothing(app: App) -> None:
    """So ten processes may each schedule at their start what they all need."""
    first = await app.bus.schedule_task(SUM)
    again = await app.bus.schedule_task(SUM)
    assert (first.result, again.result) == ("created", "unchanged")
