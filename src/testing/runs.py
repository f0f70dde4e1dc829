"""Runs in memory: submitted, claimed, settled and cancelled as the scripts of the real store do it."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from application.runs.asking import Note
from application.runs.store import LaneStats, QueueStats, Submission
from application.scheduling.moments import at
from domain.runs.outcome import Cancelled, Failed, Lost, Outcome, Released, Retry, Succeeded, Terminated
from domain.runs.run import Claim, PastAttempt, RunReason, RunRecord, RunSpec, RunStatus, lane_of
from domain.scheduling.schedule import ScheduleState
from testing.memory import FIRES, Memory, MemoryRun


class MemoryRuns:
    """Implements ``application.runs.store``: ``RunStore`` for the scheduler, ``Settlements`` for the runner.

    Notes for the audit are not kept.

    ``freed`` is called with a claim that is settled, ``revoke`` with a run that was cancelled while it executed.
    ``unloadable`` collects the claims of fires whose payload does not load: their schedules are to be parked.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.outcomes: dict[str, Outcome] = {}
        """What the last attempt of each run ended with."""
        self.unloadable: list[tuple[Claim, str]] = []
        self.freed: Callable[[Claim], None] = lambda claim: None
        self.revoke: Callable[[str], None] = lambda run_id: None

    async def submit(
        self,
        spec: RunSpec,
        data: str,
        *,
        due_ms: int | None = None,
        limit: int = 1,
        state: str = "",
        confirm: bool = True,
        note: Note | None = None,
    ) -> Submission:
        """Make one run; see the port."""
        memory, now = self._memory, self._memory.clock.now
        later = due_ms if due_ms is not None and due_ms > now else None
        order = now if later is None else later
        run = MemoryRun(spec, data, lane_of(spec.name, spec.version), queued=now, order=order, later=later)
        if spec.reason is RunReason.ONE_SHOT:
            return self._submit_one_shot(run)
        known = memory.runs.get(spec.run_id)
        if known is not None:
            return Submission("unchanged", known.status, ())
        if not self._is_defined_as(spec.job_id, state):
            return Submission("stale", "", ())
        running = [other.id for other in memory.active(run.job) if _executes(other)]
        if spec.reason is RunReason.RUN_NOW:
            if len(running) >= limit:
                return Submission("busy", "", tuple(running))
            self._supersede_one(run.job, limit)
        if memory.places_taken(run.job) < limit:
            memory.create(run)
        else:
            memory.hold(run, spec.reason is RunReason.RUN_NOW)
        return Submission("created", "queued", tuple(running))

    def _submit_one_shot(self, run: MemoryRun) -> Submission:
        memory, old = self._memory, self._memory.runs.get(run.id)
        if run.id in memory.schedules:
            return Submission("taken", "schedule", ())
        if old is not None and (old.spec, old.data, old.lane) == (run.spec, run.data, run.lane):
            return Submission("unchanged", old.status, ())
        if old is not None and (old.status is not RunStatus.QUEUED or old.attempt):
            return Submission("taken", old.status, ())
        if old is not None:
            memory.all_runs.remove(old)
        memory.create(run)
        return Submission("created" if old is None else "changed", "queued", ())

    def _is_defined_as(self, job: str, state: str) -> bool:
        standing = self._memory.schedules.get(job)
        if standing is None:
            return False
        one, other = ScheduleState.model_validate_json(standing.state), ScheduleState.model_validate_json(state)
        return (one.incarnation, one.generation) == (other.incarnation, other.generation)

    def _supersede_one(self, job: str, limit: int) -> None:
        waiting = [
            run
            for run in self._memory.active(job)
            if run.status is RunStatus.RETRYING and run.spec.reason in FIRES and not run.held
        ]
        if waiting and self._memory.places_taken(job) >= limit:
            self._memory.supersede(waiting[0])

    async def cancel(
        self, run_ids: Sequence[str], why: str, *, executing: bool = True, note: Note | None = None
    ) -> dict[str, str]:
        """Cancel runs and the bodies of those that execute; see the port."""
        reply, revoked = {}, []
        for run_id in run_ids:
            run = self._memory.runs.get(run_id)
            reply[run_id] = run.status.value if run else ""
            if run is None or run.is_over or (_executes(run) and not executing):
                continue
            if _executes(run):
                revoked.append(run_id)
            self._memory.finish(run, RunStatus.CANCELLED, "job.cancelled", {}, why=why)
        for run_id in revoked:
            self.revoke(run_id)
        return reply

    async def unpark(self, job_id: str, note: Note | None = None) -> list[str]:
        """Let the parked runs of a job go on; return them."""
        parked = [run for run in self._memory.active(job_id) if run.parked is not None]
        for run in parked:
            run.parked = None
            self._memory.announce("job.queued", run, why="resumed")
        return [run.id for run in parked]

    async def get(self, run_id: str) -> RunRecord | None:
        """Return one run, or None."""
        run = self._memory.runs.get(run_id)
        return run.record(self._memory.instance) if run else None

    async def find(self, run_ids: Sequence[str]) -> list[RunRecord]:
        """Return those that there are."""
        found = [await self.get(run_id) for run_id in run_ids]
        return [run for run in found if run is not None]

    async def one_shots(self, limit: int) -> list[RunRecord]:
        """Return one-shots that are not over, oldest first."""
        found = [run for run in self._memory.runs.values() if _is_open_one_shot(run)]
        return [run.record(self._memory.instance) for run in found[:limit]]

    async def runs_of(self, job_id: str) -> list[RunRecord]:
        """Return unsettled runs, then settled ones, each newest first."""
        active = sorted(self._memory.active(job_id), key=lambda run: run.id, reverse=True)
        return [run.record(self._memory.instance) for run in [*active, *self._memory.history.get(job_id, ())]]

    async def queue_stats(self, lanes: Sequence[str]) -> QueueStats:
        """Count the runs that are not over."""
        found = [run for run in self._memory.runs.values() if not run.is_over]
        stats = {}
        for lane in sorted({*lanes, *(run.lane for run in self._memory.all_runs)}):
            ready = [run for run in found if run.lane == lane and run.is_ready]
            oldest = max((self._memory.clock.now - run.order for run in ready), default=None)
            running = sum(run.lane == lane and _executes(run) for run in found)
            stats[lane] = LaneStats(len(ready), running, None if oldest is None else oldest / 1000)
        later = sum(run.later is not None for run in found)
        return QueueStats(stats, later, sum(run.parked is not None for run in found))

    # What claim.lua does.

    def next_later(self) -> int | None:
        """Return when (ms) the next delayed run or waiting retry goes on, or None."""
        return min((run.later for run in self._memory.runs.values() if run.later is not None), default=None)

    def claim(self, slots: int) -> list[Claim]:
        """Take the ready runs, those that are due longest first, as many as there are free slots."""
        memory, now = self._memory, self._memory.clock.now
        due = [run for run in memory.runs.values() if run.later is not None and run.later <= now]
        for run in sorted(due, key=lambda run: (run.later, run.id)):
            run.later, run.order = None, now
            if run.status is RunStatus.RETRYING:
                memory.move(run, RunStatus.QUEUED)
                memory.announce("job.queued", run)
        ready = sorted((run for run in memory.runs.values() if run.is_ready), key=lambda run: (run.order, run.id))
        return [self._own(run) for run in ready[:slots]]

    def _own(self, run: MemoryRun) -> Claim:
        memory = self._memory
        memory.move(run, RunStatus.RUNNING)
        run.token = max(run.token + 1, memory.clock.now * 1000)
        run.attempt += 1
        run.started = memory.clock.now
        memory.announce("job.started", run, **(run.untold or {}), token=str(run.token))
        run.untold = None
        spec = RunSpec.model_validate_json(
            run.spec.model_dump_json(exclude_none=True)
        )  # as it would come from the store
        return Claim(spec, run.data, run.lane, run.attempt, run.retries, str(run.token))

    # What settle.lua and progress.lua do.

    def add(self, claim: Claim, outcome: Outcome) -> None:
        """Settle an attempt at once, if its claim still holds."""
        run = self._memory.runs.get(claim.spec.run_id)
        if run is not None and _executes(run) and str(run.token) == claim.token:
            self.outcomes[run.id] = outcome
            self._settle(run, claim, outcome)
        self.freed(claim)

    def progress(self, claim: Claim, percent: float, message: str) -> None:
        """Note how far a run is. Every word is kept and told here, and not the latest of a quarter of a second."""
        run = self._memory.runs.get(claim.spec.run_id)
        if run is not None and _executes(run) and str(run.token) == claim.token:
            run.progress, run.message = percent, message[:500]
            self._memory.announce("job.progress", run, progress=percent, message=run.message)

    def _settle(self, run: MemoryRun, claim: Claim, outcome: Outcome) -> None:
        memory, spec = self._memory, claim.spec
        match outcome:
            case Succeeded(result):
                memory.finish(run, RunStatus.SUCCEEDED, "job.succeeded", {}, result=json.loads(result))
            case Retry(error, delay_s):
                self._retry(run, error, round(delay_s * 1000))
            case Failed(error, unloadable=True) if spec.reason is RunReason.ONE_SHOT:
                memory.move(run, RunStatus.QUEUED)
                run.parked = error
                memory.announce("job.parked", run, why=error)
            case Failed(error, unloadable):
                if unloadable and spec.incarnation:
                    self.unloadable.append((claim, error))
                memory.finish(run, RunStatus.FAILED, "job.failed", {"last_error": error}, error=error)
            case Cancelled(why):
                memory.finish(run, RunStatus.CANCELLED, "job.cancelled", {}, why=why)
            case Terminated(why):
                self._terminate(run, spec, why)
            case Released(started, why):
                run.attempt -= 0 if started else 1
                memory.move(run, RunStatus.QUEUED)
                memory.announce("job.queued", run, why=f"given back: {why}")
            case Lost():
                raise ValueError("a lost run has nothing to settle")

    def _retry(self, run: MemoryRun, error: str, delay_ms: int) -> None:
        memory, backlog = self._memory, self._memory.backlog.get(run.job, ())
        behind = backlog[0].spec.reason if backlog else None
        gives_way = run.spec.reason in FIRES and behind is RunReason.FIRE
        if run.stopped or gives_way:
            why: dict[str, Any] = {"stopped": True} if run.stopped else {"superseded": True}
            memory.finish(run, RunStatus.FAILED, "job.failed", {"last_error": error}, error=error, **why)
            return
        run.retries += 1
        started = None if run.started is None else at(run.started)
        run.attempts.append(
            PastAttempt(
                attempt=run.attempt,
                instance=memory.instance,
                started_at=started,
                ended_at=at(memory.clock.now),
                error=error,
            )
        )
        memory.move(run, RunStatus.RETRYING)
        run.error, run.later = error, memory.clock.now + delay_ms
        memory.announce("job.retrying", run, error=error, retry_in_s=delay_ms / 1000)
        facts = {"last_outcome": "retrying", "last_ended": memory.clock.now, "last_error": error}
        memory.count(run.spec.incarnation, run.job, {"retried": 1}, facts)

    def _terminate(self, run: MemoryRun, spec: RunSpec, why: str) -> None:
        memory, standing = self._memory, self._memory.schedules.get(run.job)
        memory.finish(run, RunStatus.SUCCEEDED, "job.terminated", {"last_outcome": "terminated"}, why=why)
        state = ScheduleState.model_validate_json(standing.state) if standing else None
        if state is None or (state.incarnation, state.generation) != (spec.incarnation, spec.generation):
            return
        memory.remove(run.job)
        memory.cancel_waiting(run.job, "its schedule was ended by the job itself")
        memory.emit("schedule.removed", {"id": run.job, "why": why, "terminated": True})


def _executes(run: MemoryRun) -> bool:
    return run.status is RunStatus.RUNNING


def _is_open_one_shot(run: MemoryRun) -> bool:
    return run.spec.reason is RunReason.ONE_SHOT and not run.is_over
