"""Run now, pause, resume, stop. All of it acts on the store: from any process, before and after restarts."""

import pytest

from application.scheduling import RecurrentBackgroundJob, RecurrentTaskDescriptor, backgroundjob
from domain.scheduling.errors import ScheduleNotFound
from fundamentals.conftest import App, running
from infrastructure.settings import Settings


@backgroundjob(task_type="recurrent")
class Sweep(RecurrentBackgroundJob):
    async def run_every(self) -> str:
        return "clean"


HOURLY = RecurrentTaskDescriptor(id="sweep", name="Sweep", interval=3600)


async def test_run_now_leaves_the_rhythm_alone(app: App) -> None:
    scheduled = await app.bus.schedule_task(HOURLY)
    run_id = await app.scheduler.run_now("sweep")
    (run,) = await app.ended_runs("sweep", 1)
    assert (run.run_id, run.reason, run.result) == (run_id, "run_now", "clean")
    assert (await app.scheduler.get_task_info("sweep")).next_fire == scheduled.info.next_fire


async def test_a_pause_has_a_reason_and_lasts_until_somebody_ends_it(settings: Settings) -> None:
    async with running(settings) as app:
        await app.bus.schedule_task(HOURLY)
        paused = await app.scheduler.pause("sweep", reason="guests are here", by="eve")
        assert (paused.status, paused.next_fire) == ("paused", None)
    async with running(settings) as app:  # a restart does not end it, nor does scheduling it anew
        await app.bus.schedule_task(HOURLY.model_copy(update={"interval": 1800}))
        (resting,) = (await app.scheduler.list_tasks(status="paused")).items
        assert (resting.paused.by, resting.paused.reason) == ("eve", "guests are here")
        resumed = await app.scheduler.resume("sweep")
        assert (resumed.status, resumed.next_fire is None) == ("active", False)


async def test_what_is_stopped_is_gone(app: App) -> None:
    """The answer names the runs that an instance has already; see the file on cancellation for those."""
    await app.bus.schedule_task(HOURLY)
    stopped = await app.scheduler.stop_task("sweep")
    assert (stopped.stopped, stopped.running) == (True, [])
    with pytest.raises(ScheduleNotFound):
        await app.scheduler.get_task_info("sweep")
