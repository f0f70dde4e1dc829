"""A user's job module, as a type checker in strict mode likes it. Checked by mypy and pyright, never run."""

from dataclasses import field
from datetime import UTC, datetime
from typing import Annotated, Protocol

from application.scheduling import (
    BackgroundTasksBus,
    Inject,
    Injected,
    JobContext,
    RecurrentBackgroundJob,
    RecurrentTaskDescriptor,
    RetryPolicy,
    ScheduledBackgroundJob,
    ScheduledTaskDescriptor,
    SchedulePolicy,
    backgroundjob,
    injected,
)
from testing import JobKit, run_job


class Clock(Protocol):
    def now(self) -> float: ...


class FixedClock:
    def now(self) -> float:
        return 1.0


@backgroundjob(task_type="recurrent", retry=RetryPolicy(max_retries=3), timeout_s=60)
class Ledger(RecurrentBackgroundJob):
    label: str
    hold_s: float = 0.0
    tags: list[str] = field(default_factory=list[str])
    clock: Injected[Clock]
    wall: Annotated[Clock, Inject("wall")]

    async def run_every(self, ctx: JobContext) -> dict[str, float]:
        await ctx.progress(0.5, f"half of {self.label}")
        return {"at": self.clock.now() + self.wall.now() + ctx.attempt}


@backgroundjob(task_type="scheduled", slots=True)
class Sync(ScheduledBackgroundJob):
    count: int
    bus: Injected[BackgroundTasksBus]

    def run_at(self, *, ctx: JobContext) -> int:
        ctx.progress(0.5)
        self.bus.schedule_task_sync(ScheduledTaskDescriptor(name="Sync", data={"count": self.count - 1}))
        return 0 if ctx.cancelled else self.count


@backgroundjob(task_type="recurrent")
class LeavesClockOut(RecurrentBackgroundJob):
    label: str
    clock: Injected[Clock] = injected()

    async def run_every(self) -> float:
        return self.clock.now()


@backgroundjob(task_type="recurrent")
class LeavesContextOut(RecurrentBackgroundJob):
    def run_every(self) -> None:
        return None


async def schedule(bus: BackgroundTasksBus) -> str:
    policy = SchedulePolicy(overlap="queue_one", catch_up="all(3)", start=datetime(2026, 1, 1, tzinfo=UTC))
    wanted = RecurrentTaskDescriptor(id="l", name="Ledger", data={"label": "a"}, interval=30, policy=policy)
    scheduled = await bus.schedule_task(wanted)
    return scheduled.info.id


async def try_them() -> None:
    run = await run_job(Ledger(label="a", clock=FixedClock(), wall=FixedClock()))
    assert run.status == "succeeded"
    await run_job(Ledger, {"label": "a"}, given={"clock": FixedClock(), "wall": FixedClock()})
    await run_job(LeavesContextOut())
    await run_job(LeavesClockOut(label="a"), given={Clock: FixedClock()})
    async with JobKit(Ledger, Sync, given={Clock: FixedClock()}) as kit:
        await kit.advance(minutes=1)
