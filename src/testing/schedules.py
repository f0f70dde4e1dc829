"""Schedules in memory: changed by compare-and-set, planned and fired as the tick does it."""

import logging
from collections.abc import AsyncIterator
from typing import Any

from application.runs.registry import JobRegistry
from application.scheduling import states
from application.scheduling.compiled import CompiledSchedule, compile_schedule
from application.scheduling.moments import iso
from application.scheduling.planning import Plan, PlannedRun, look_at, plan
from application.scheduling.store import Change, Changed, OpenRuns, Statistics, Stored, Unreadable
from domain.runs.run import RunReason, RunStatus
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.policy import SchedulePolicy
from domain.scheduling.schedule import ScheduleState
from testing.memory import FIRES, Memory, MemoryRun, MemorySchedule

log = logging.getLogger(__name__)

ON_TIME_MS = 10_000
"""Under catch-up ``none``, what is at most so late is in time: two leases of the default length, as in the program."""


class MemorySchedules:
    """Implements ``application.scheduling.store.ScheduleStore``, and what take.lua and commit.lua do."""

    def __init__(self, memory: Memory, registry: JobRegistry, default_timeout_s: float) -> None:
        self._memory = memory
        self._registry = registry
        self._default_timeout_s = default_timeout_s

    async def now(self) -> int:
        """Return the kit's time, ms."""
        return self._memory.clock.now

    async def confirm(self) -> None:
        """Do nothing: there is no disk."""

    async def change(self, change: Change) -> Changed:
        """Change one schedule and announce it, if its state is still the one that was read.

        Fires are never withdrawn here: what is due is taken before anybody can change it.
        """
        memory, standing = self._memory, self._memory.schedules.get(change.id)
        if (standing.state if standing else None) != (change.before.text if change.before else None):
            return Changed(done=False, current=_stored(standing) if standing and change.after else None)
        one_shot = memory.runs.get(change.id)
        if standing is None and one_shot is not None and not one_shot.is_over:
            return Changed(done=False, one_shot=True)
        running = self._write(change, standing)
        memory.emit(change.topic, change.event)
        return Changed(done=True, running=tuple(running))

    def _write(self, change: Change, standing: MemorySchedule | None) -> list[str]:
        """Write the new state; return the executing runs of a schedule that was removed."""
        memory, after = self._memory, change.after
        if after is None:
            memory.remove(change.id)
            return memory.cancel_waiting(change.id, str(change.event.get("why", "")))
        if standing is None:
            standing = MemorySchedule("", "", after.incarnation, after.lane, None)
            memory.schedules[change.id] = standing
        if change.definition is not None:
            standing.definition = change.definition.model_dump_json(exclude_none=True)
            standing.limit = change.definition.policy.overlap_limit
        standing.state, standing.lane, standing.look = after.dump(), after.lane, change.look
        while memory.release_next(change.id):
            pass
        return []

    async def get(self, schedule_id: str) -> Stored | None:
        """Return a schedule, read from its JSON, or None."""
        found = self._memory.schedules.get(schedule_id)
        return _stored(found) if found else None

    async def find(self, schedule_id: str) -> Stored | None:
        """Return the same."""
        return await self.get(schedule_id)

    async def find_all(self, schedule_ids: list[str]) -> "list[Stored | Unreadable | None]":
        """Return some of them."""
        return [await self.get(schedule_id) for schedule_id in schedule_ids]

    async def statistics(self, schedule_ids: list[str]) -> list[Statistics]:
        """Return what is counted of each."""
        schedules = [(job, self._memory.schedules.get(job)) for job in schedule_ids]
        return [Statistics(self._memory.counts(job), **(found.facts if found else {})) for job, found in schedules]

    async def open_runs(self, job_ids: list[str]) -> list[OpenRuns]:
        """Return which runs of each execute, and which are parked."""
        return [self._open_runs(sorted(self._memory.active(job), key=lambda run: run.id)) for job in job_ids]

    @staticmethod
    def _open_runs(runs: list[MemoryRun]) -> OpenRuns:
        running = [run.id for run in runs if run.status is RunStatus.RUNNING]
        return OpenRuns(running, {run.id: run.parked for run in runs if run.parked is not None})

    async def scan(self, after: str = "") -> AsyncIterator[tuple[str, Stored]]:
        """Yield the schedules whose ids sort after ``after``, in the order of their ids."""
        for schedule_id in sorted(self._memory.schedules):
            if schedule_id > after and schedule_id in self._memory.schedules:
                yield schedule_id, _stored(self._memory.schedules[schedule_id])

    def next_look(self) -> int | None:
        """Return when (ms) the next schedule is to be taken, or None."""
        return min((found.look for found in self._memory.schedules.values() if found.look is not None), default=None)

    def fire(self) -> bool:
        """Plan and commit every schedule that is due; tell whether there was one."""
        now = self._memory.clock.now
        due = [(found.look, job) for job, found in self._memory.schedules.items() if found.look is not None]
        taken = [job for look, job in sorted(due) if look <= now]
        for job in taken:
            self._fire(job, now)
        return bool(taken)

    def _fire(self, job: str, now: int) -> None:
        standing = self._memory.schedules[job]
        stored = _stored(standing)
        compiled = compile_schedule(stored.definition, stored.state, self._registry, self._default_timeout_s)
        policy, state = stored.definition.policy, stored.state
        planned = plan(job, compiled.trigger, policy, state.due, now, ON_TIME_MS)
        after = None if planned.next_due is None else state.model_copy(update={"due": planned.next_due})
        if planned.gave_up_at is not None:
            after = states.given_up(state, now, planned.gave_up_at)
            standing.state, standing.look = after.dump(), None
            reason = after.parked.reason if after.parked else ""
            self._memory.emit("schedule.changed", {"id": job, "parked": reason})
        elif after is not None:
            standing.state, standing.look = after.dump(), look_at(job, after.due, policy)
        self._commit(compiled, state, planned)
        if after is None:
            self._memory.remove(job)
            self._memory.emit("schedule.removed", {"id": job, "why": "it has no further fire"})

    def _commit(self, compiled: CompiledSchedule, state: ScheduleState, planned: Plan) -> None:
        memory, job, policy = self._memory, compiled.descriptor.id, compiled.descriptor.policy
        if planned.dropped:
            since = iso(state.due)
            event = {"id": job, "why": "missed", "count": planned.dropped, "since": since}
            memory.emit("schedule.fire_skipped", event)
            memory.count(state.incarnation, job, {"missed": planned.dropped}, {})
        if planned.runs:
            for run in memory.active(job):
                if run.status is RunStatus.RETRYING and run.spec.reason in FIRES:
                    memory.supersede(run)
        for one in planned.runs:
            spec = compiled.spec(one)
            run = MemoryRun(spec, compiled.data, state.lane, queued=memory.clock.now, order=one.due)
            self._make(run, one, policy)

    def _make(self, run: MemoryRun, one: PlannedRun, policy: SchedulePolicy) -> None:
        """Make the run of a fire ready, let it wait, or skip it, as the overlap policy says."""
        memory, job = self._memory, run.job
        verdict = self._admit(run, policy)
        if verdict == "skip":
            tag = run.spec.model_dump(mode="json", include={"run_id", "job_id", "name", "reason", "fire_time"})
            memory.emit("schedule.fire_skipped", {"id": job, "why": "overlap", "count": 1 + one.missed, **tag})
            memory.count(run.spec.incarnation, job, {"skipped": 1 + one.missed}, {})
            return
        more: dict[str, Any] = {"missed": one.missed} if one.missed else {}
        if verdict == "ready":
            memory.create_own(run, **more)
        else:
            memory.hold(run, verdict == "front", **more)
        memory.count(run.spec.incarnation, job, {"fired": 1, "missed": one.missed}, {"last_fire": one.due})

    def _admit(self, run: MemoryRun, policy: SchedulePolicy) -> str:
        """Decide whether a run goes ahead (``ready``), waits behind others (``back``, ``front``) or is skipped."""
        active = self._memory.active(run.job)
        fires = [other for other in active if other.spec.reason in FIRES]
        has_place = sum(not other.held for other in active) < policy.overlap_limit
        if run.spec.reason is RunReason.CATCH_UP:
            waiting = sum(other.held for other in active if other.spec.reason is RunReason.CATCH_UP)
            return "ready" if has_place else "back" if waiting < policy.catch_up_limit else "skip"
        if len(fires) >= policy.overlap_limit:
            waits = any(other.held for other in fires)
            return "front" if policy.overlap_mode == "queue_one" and not waits else "skip"
        return "ready" if has_place else "front"


def _stored(found: MemorySchedule) -> Stored:
    definition = RecurrentTaskDescriptor.model_validate_json(found.definition)
    return Stored(found.state, ScheduleState.model_validate_json(found.state), definition)
