"""A minute's worth of the kit for any interpreter: ``python smoke.py`` prints its version when all went as it must.

It touches what differs from version to version: the event loop's timers, timeouts, task groups, threads, dataclasses.
"""

import asyncio
import contextlib
import platform
import sys
from typing import Any

from application.scheduling import (
    BackgroundTasksBus,
    Injected,
    JobContext,
    RecurrentBackgroundJob,
    RecurrentTaskDescriptor,
    RetryPolicy,
    ScheduledBackgroundJob,
    ScheduledTaskDescriptor,
    backgroundjob,
)
from testing import JobKit, run_job_sync


@backgroundjob(task_type="recurrent", timeout_s=60, retry=RetryPolicy(max_retries=1, backoff_s=30, jitter=False))
class Work(RecurrentBackgroundJob):
    how: str

    async def run_every(self, ctx: JobContext) -> list[float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        match self.how:
            case "hang":
                await asyncio.Event().wait()
            case "fail":
                raise OSError("no")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.sleep(3)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(9), 1)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(4))
            group.create_task(asyncio.sleep(1))
        return [loop.time() - began]


@backgroundjob(task_type="scheduled", slots=True)
class InThread(ScheduledBackgroundJob):
    bus: Injected[BackgroundTasksBus]

    def run_at(self, *, ctx: JobContext) -> None:
        self.bus.schedule_task_sync(ScheduledTaskDescriptor(id="after", name="Last"))


@backgroundjob(task_type="scheduled")
class Last(ScheduledBackgroundJob):
    def run_at(self) -> None: ...


def every(how: str, **options: Any) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor.model_validate({"id": how, "name": "Work", "data": {"how": how}, **options})


async def play() -> None:
    async with JobKit(Work, InThread, Last, at="2026-10-24T12:00:00Z", patience_s=0.05) as kit:
        await kit.schedule(every("wait", cron="30 2 * * *", timezone="Europe/Brussels"))
        await kit.schedule(ScheduledTaskDescriptor(name="InThread"))
        await kit.run_due()
        kit.assert_ran(Last, times=1)
        (run,) = await kit.advance(days=1)
        assert (run.result, f"{run.record.fire_time:%H:%M}") == ([2 + 1 + 4], "00:30"), run.described()
        await kit.schedule(every("hang", interval=3600))
        await kit.schedule(every("fail", interval=3600))
        await kit.advance(hours=1)
        assert (await kit.drain())[-1].error == "TimeoutError: the body did not end within its timeout of 60 s"
        assert kit.runs("fail")[0].attempt == 2


if __name__ == "__main__":
    asyncio.run(play())
    assert run_job_sync(Last()).status == "succeeded"
    sys.stdout.write(platform.python_version())
