"""Every run has a timeout, and can be cancelled.

Both reach an async body as ``CancelledError`` at its next ``await``; a plain function must look for itself.
"""

import asyncio
import time
from pathlib import Path

from application.scheduling import JobContext, ScheduledBackgroundJob, ScheduledTaskDescriptor, backgroundjob
from fundamentals.conftest import App
from support import wait_until


@backgroundjob(task_type="scheduled", timeout_s=60)
class Dig(ScheduledBackgroundJob):
    """Dig for ever, and put the spade away when it is time to end."""

    diary: Path

    async def run_at(self) -> None:
        self.diary.write_text("digging")
        try:
            await asyncio.Event().wait()
        finally:
            self.diary.write_text("the spade is put away")


@backgroundjob(task_type="scheduled")
class DigSlowly(ScheduledBackgroundJob):
    """The same as a plain function: it has a thread of its own, and must look whether it is to end."""

    diary: Path

    def run_at(self, ctx: JobContext) -> None:
        self.diary.write_text("digging")
        while not ctx.cancelled:
            time.sleep(0.01)
        self.diary.write_text("the spade is put away")


async def test_a_body_that_takes_too_long_is_ended_and_has_failed(app: App, tmp_path: Path) -> None:
    """Here the descriptor says how long; else the class does, else the setting ``default_timeout_s``."""
    diary = tmp_path / "diary"
    await app.bus.schedule_task(
        ScheduledTaskDescriptor(id="dig", name="Dig", data={"diary": str(diary)}, timeout_s=0.2)
    )
    run = await app.end_of("dig")
    assert (run.status, run.error) == ("failed", "TimeoutError: the body did not end within its timeout of 0.2 s")
    assert diary.read_text() == "the spade is put away"


async def test_a_running_job_is_cancelled(app: App, tmp_path: Path) -> None:
    for name in ("Dig", "DigSlowly"):
        diary = tmp_path / name
        await app.bus.schedule_task(ScheduledTaskDescriptor(id=name, name=name, data={"diary": str(diary)}))
        await wait_until(diary.exists, "the body to begin")
        stopped = await app.scheduler.stop_task(name, cancel_running=True)
        assert stopped.cancelled == [name]
        assert (await app.end_of(name)).status == "cancelled"
        await wait_until(lambda diary=diary: diary.read_text() == "the spade is put away", "the body to end")
