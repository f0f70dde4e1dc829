"""One-shots: a job that runs once, now or at a given time."""

from datetime import UTC, datetime

from application.runs.registry import JobRegistry
from application.runs.store import RunStore
from application.scheduling.compiled import at, effective_retry, milliseconds
from application.scheduling.deeds import Deed, WriteDown, of_one_shot, unwritten
from application.scheduling.store import ScheduleStore
from application.scheduling.tracing import UNTRACED, SchedulingTrace
from domain.runs.job import JobDefinition
from domain.runs.run import TERMINAL, RunReason, RunSpec, RunStatus
from domain.scheduling.descriptor import ScheduledTaskDescriptor
from domain.scheduling.errors import IdTaken, ScheduleNotFound, TimeInThePast
from domain.scheduling.schedule import OneShotInfo, PutResult, Stopped

PAST_TOLERANCE_S = 60.0
"""A time this little in the past was meant as "now" by a caller whose clock is a bit off."""


class OneShots:
    """Schedule, stop and show one-shots. A one-shot is a run whose id is the job's."""

    def __init__(
        self,
        registry: JobRegistry,
        schedules: ScheduleStore,
        runs: RunStore,
        default_timeout_s: float,
        write_down: WriteDown = unwritten,
        trace: SchedulingTrace = UNTRACED,
    ) -> None:
        self._registry = registry
        self._schedules = schedules
        self._runs = runs
        self._default_timeout_s = default_timeout_s
        self._write_down = write_down
        self._trace = trace

    async def schedule(self, wanted: ScheduledTaskDescriptor) -> tuple[PutResult, OneShotInfo]:
        """Put a one-shot into the store. Identical: nothing changes. Changed: replaced, unless it was started."""
        with self._trace.scheduling("schedule", wanted.name, wanted.id):
            return await self._put(wanted)

    async def _put(self, wanted: ScheduledTaskDescriptor) -> tuple[PutResult, OneShotInfo]:
        definition = self._registry.expect(wanted.name, "scheduled", wanted.version)
        data = definition.dump(wanted.data, wanted.version)
        now = at(await self._schedules.now())
        await self._refuse_the_past(wanted, now)
        due = wanted.scheduled_at
        spec = self._spec(wanted, definition, due or now)
        due_ms, note = None if due is None else milliseconds(due), self._write_down(of_one_shot(wanted))
        answer = await self._runs.submit(spec, data, due_ms=due_ms, note=note)
        if answer.verdict == "taken":
            what = "a schedule" if answer.status == "schedule" else f"another one-shot, which is {answer.status}"
            raise IdTaken(id=wanted.id, what=what)
        return PutResult(answer.verdict), await self.info(wanted.id)

    async def stop(self, task_id: str, cancel_running: bool, why: str, who: str) -> Stopped:
        """Cancel a one-shot that waits; one that is executing only with ``cancel_running``, decided in the store."""
        run = await self._runs.get(task_id)
        if run is None or run.reason is not RunReason.ONE_SHOT or run.status in TERMINAL:
            raise ScheduleNotFound(id=task_id)
        note = self._write_down(Deed("job.cancelled", task_id, by=who, of_job=True))
        had = (await self._runs.cancel([task_id], why, executing=cancel_running, note=note))[task_id]
        if had == "" or had in TERMINAL:  # it has ended since it was read
            raise ScheduleNotFound(id=task_id)
        running = [task_id] if had == RunStatus.RUNNING else []
        stopped = cancel_running or not running
        return Stopped(id=task_id, stopped=stopped, running=running, cancelled=running if cancel_running else [])

    async def info(self, task_id: str) -> OneShotInfo:
        """Return a one-shot; raises ``ScheduleNotFound``."""
        run = await self._runs.get(task_id)
        if run is None or run.reason is not RunReason.ONE_SHOT:
            raise ScheduleNotFound(id=task_id)
        return OneShotInfo(id=task_id, name=run.name, run=run)

    async def waiting(self, limit: int) -> list[OneShotInfo]:
        """Return one-shots that are not settled, oldest first."""
        runs = await self._runs.one_shots(limit)
        return [OneShotInfo(id=run.job_id, name=run.name, run=run) for run in runs]

    async def _refuse_the_past(self, wanted: ScheduledTaskDescriptor, now: datetime) -> None:
        due = wanted.scheduled_at
        if due is None or (late_s := (now - due).total_seconds()) <= PAST_TOLERANCE_S:
            return
        if await self._runs.get(wanted.id) is None:  # asking again for what was accepted in time is no mistake
            raise TimeInThePast(id=wanted.id, when=due.astimezone(UTC).isoformat(), late_s=round(late_s))

    def _spec(self, wanted: ScheduledTaskDescriptor, definition: JobDefinition, due: datetime) -> RunSpec:
        return RunSpec(
            run_id=wanted.id,
            job_id=wanted.id,
            name=wanted.name,
            reason=RunReason.ONE_SHOT,
            fire_time=due,
            scheduled_at=wanted.scheduled_at,
            version=definition.version,
            timeout_s=wanted.timeout_s or definition.timeout_s or self._default_timeout_s,
            retry=effective_retry(definition.retry, wanted.max_retries),
            correlation_id=wanted.correlation_id,
            traceparent=self._trace.traceparent(),
        )
