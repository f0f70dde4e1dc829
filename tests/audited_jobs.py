"""Jobs that ask for things themselves."""

from application.scheduling import (
    BackgroundTasksBus,
    BackgroundTaskScheduler,
    Injected,
    JobTerminationException,
    RecurrentBackgroundJob,
    ScheduledBackgroundJob,
    ScheduledTaskDescriptor,
    backgroundjob,
)


@backgroundjob(task_type="recurrent")
class EndsItself(RecurrentBackgroundJob):
    async def run_every(self) -> None:
        raise JobTerminationException("it has done its work")


@backgroundjob(task_type="scheduled")
class Pauses(ScheduledBackgroundJob):
    target: str
    scheduler: Injected[BackgroundTaskScheduler]

    async def run_at(self) -> None:
        await self.scheduler.pause(self.target, "the job said so")


@backgroundjob(task_type="scheduled")
class SchedulesFromThread(ScheduledBackgroundJob):
    task_id: str
    bus: Injected[BackgroundTasksBus]

    def run_at(self) -> None:
        self.bus.schedule_task_sync(
            ScheduledTaskDescriptor(
                id=self.task_id, name="Pauses", data={"target": "absent"}, scheduled_at="2099-01-01T00:00:00Z"
            )
        )
