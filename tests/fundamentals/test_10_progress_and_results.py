"""A body says how far it is with ``ctx.progress``; what it returns is its result."""

import asyncio
from pathlib import Path

from application.scheduling import JobContext, ScheduledBackgroundJob, ScheduledTaskDescriptor, backgroundjob
from fundamentals.conftest import App
from support import wait_until


@backgroundjob(task_type="scheduled")
class Bake(ScheduledBackgroundJob):
    """Bake until the bell rings."""

    bell: Path

    async def run_at(self, ctx: JobContext) -> dict[str, object]:
        await ctx.progress(0.25, "in the oven")
        while not self.bell.exists():
            await asyncio.sleep(0.01)
        return {"cake": "apple", "slices": 8}


@backgroundjob(task_type="scheduled")
class Guess(ScheduledBackgroundJob):
    """Return what is not JSON."""

    async def run_at(self) -> object:
        return {"a": object()}


async def test_progress_is_seen_while_it_runs_and_the_result_when_it_has_ended(app: App, tmp_path: Path) -> None:
    """Progress is a fraction in the body, and percent for whoever looks. Words within a quarter of a second are one."""
    bell = tmp_path / "bell"
    told = await app.listen("job.progress")
    await app.bus.schedule_task(ScheduledTaskDescriptor(id="bake", name="Bake", data={"bell": str(bell)}))
    await wait_until(lambda: told, "progress to be told")
    run = (await app.scheduler.get_task_info("bake")).run
    assert (run.status, run.progress, run.message) == ("running", 25.0, "in the oven")
    bell.touch()
    run = await app.end_of("bake")
    assert (run.status, run.result) == ("succeeded", {"cake": "apple", "slices": 8})


async def test_a_result_must_be_json(app: App) -> None:
    await app.bus.schedule_task(ScheduledTaskDescriptor(id="guess", name="Guess"))
    run = await app.end_of("guess")
    assert run.status == "failed"
    assert "What 'Guess' returned cannot be kept" in run.error
