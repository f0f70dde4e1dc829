"""Schedules, runs and events in memory, changed by the same rules as the scripts of the real store."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from application.scheduling.moments import at
from domain.runs.run import TERMINAL, PastAttempt, RunReason, RunRecord, RunSpec, RunStatus, check_transition
from domain.scheduling.schedule import ScheduleCounts
from testing.clock import KitClock

TAG_FIELDS = ("run_id", "job_id", "name", "reason", "fire_time")
"""The part of a spec that every event of its run carries."""
FIRES = (RunReason.FIRE, RunReason.RUN_NOW)
"""What counts for overlap, and what the next fire supersedes while it waits for a retry."""
HISTORY_KEPT = 20

Emit = Callable[[str, dict[str, Any], str | None, str | None], object]


@dataclass(eq=False)
class MemoryRun:
    """A run. ``held``: it waits for others of its schedule; ``later`` (ms): it waits for a moment.

    ``untold``: nobody has heard of it yet, as a fire that starts at once is first told as started, with this.
    """

    spec: RunSpec
    data: str
    lane: str
    queued: int
    order: int
    status: RunStatus = RunStatus.QUEUED
    attempt: int = 0
    retries: int = 0
    token: int = 0
    held: bool = False
    later: int | None = None
    untold: dict[str, Any] | None = None
    stopped: bool = False
    started: int | None = None
    ended: int | None = None
    error: str | None = None
    result: Any = None
    progress: float | None = None
    message: str | None = None
    parked: str | None = None
    attempts: list[PastAttempt] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Return the run's id."""
        return self.spec.run_id

    @property
    def job(self) -> str:
        """Return the id of its schedule or one-shot."""
        return self.spec.job_id

    @property
    def is_over(self) -> bool:
        """Tell whether its status is terminal."""
        return self.status in TERMINAL

    @property
    def is_ready(self) -> bool:
        """Tell whether it may be claimed."""
        rests = self.held or self.later is not None or self.parked is not None
        return self.status is RunStatus.QUEUED and not rests

    def record(self, instance: str) -> RunRecord:
        """Return it as the store shows it."""
        times = {"queued_at": self.queued, "started_at": self.started, "ended_at": self.ended}
        return RunRecord(
            **{name: getattr(self.spec, name) for name in TAG_FIELDS},
            status=self.status,
            attempt=self.attempt,
            **{name: None if moment is None else at(moment) for name, moment in times.items()},
            instance=instance if self.status is RunStatus.RUNNING else None,
            error=self.error,
            result=self.result,
            progress=self.progress,
            message=self.message,
            parked=self.parked,
            attempts=list(self.attempts),
        )


@dataclass
class MemorySchedule:
    """A schedule: its definition and state as the JSON texts that they are in the real store."""

    definition: str
    state: str
    incarnation: str
    lane: str
    look: int | None
    limit: int = 1
    counts: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)


class Memory:
    """What both stores of a kit share. Every method is one of the steps that several scripts of the real store take."""

    def __init__(self, clock: KitClock, instance: str, emit: Emit) -> None:
        self.clock = clock
        self.instance = instance
        self._emit = emit
        self.schedules: dict[str, MemorySchedule] = {}
        self.runs: dict[str, MemoryRun] = {}
        """Open runs, and one-shots that are over."""
        self.history: dict[str, deque[MemoryRun]] = {}
        self.backlog: dict[str, deque[MemoryRun]] = {}
        self.all_runs: list[MemoryRun] = []
        """Every run that was ever made, oldest first."""
        self.ended: list[MemoryRun] = []
        """Runs that are over, in the order of their ends."""

    def emit(self, topic: str, data: dict[str, Any]) -> None:
        """Publish what happened to a schedule."""
        self._emit(topic, data, None, None)

    def announce(self, topic: str, run: MemoryRun, **more: Any) -> None:
        """Publish what happened to a run."""
        tag = run.spec.model_dump(mode="json", include=set(TAG_FIELDS))
        data = {**tag, "attempt": run.attempt, "instance_id": self.instance, **more}
        self._emit(topic, data, run.spec.correlation_id, run.spec.traceparent)

    def active(self, job: str) -> list[MemoryRun]:
        """Return the runs of a schedule that are not over."""
        return [run for run in self.runs.values() if run.job == job and not run.is_over]

    def places_taken(self, job: str) -> int:
        """Count the runs of a schedule that are not over and do not wait for others."""
        return sum(not run.held for run in self.active(job))

    def move(self, run: MemoryRun, status: RunStatus) -> None:
        """Change a run's status as the machine of ``domain.runs.run`` allows."""
        check_transition(run.status, status)
        run.status = status

    def create(self, run: MemoryRun, **more: Any) -> None:
        """Make a run, and tell that it is queued."""
        self.create_own(run)
        run.untold = None
        self.announce("job.queued", run, **more)

    def create_own(self, run: MemoryRun, **more: Any) -> None:
        """Make a run that starts at once."""
        self.runs[run.id] = run
        self.all_runs.append(run)
        run.untold = more

    def hold(self, run: MemoryRun, in_front: bool, **more: Any) -> None:
        """Make a run that waits for others of its schedule."""
        run.held = True
        waiting = self.backlog.setdefault(run.job, deque())
        waiting.appendleft(run) if in_front else waiting.append(run)
        self.create(run, **more)

    def release_next(self, job: str) -> bool:
        """Let the next waiting run of a schedule go, if there is a place; tell whether one went."""
        waiting = self.backlog.get(job)
        schedule = self.schedules.get(job)
        if not waiting or self.places_taken(job) >= (schedule.limit if schedule else 1):
            return False
        run = waiting.popleft()
        run.held = False
        run.order = self.clock.now
        return True

    def finish(self, run: MemoryRun, status: RunStatus, topic: str, facts: dict[str, Any], **ending: Any) -> None:
        """End a run; ``facts`` is what the schedule's statistics say of it, ``ending`` what the event tells."""
        self.move(run, status)
        run.ended, run.later, run.parked = self.clock.now, None, None
        run.error = ending.get("error") or ending.get("why")
        run.result = ending.get("result")
        self.ended.append(run)
        self.announce(topic, run, **ending)
        if run.spec.reason is RunReason.ONE_SHOT:
            if status is RunStatus.FAILED:
                self.announce("job.dead", run, **ending)
            return
        del self.runs[run.id]
        known = {"last_outcome": status.value, "last_ended": run.ended, **facts}
        if self.count(run.spec.incarnation, run.job, {status.value: 1}, known):
            self.history.setdefault(run.job, deque(maxlen=HISTORY_KEPT)).appendleft(run)
        if run.held:
            run.held = False
            self.backlog[run.job].remove(run)
        else:
            self.release_next(run.job)

    def supersede(self, run: MemoryRun) -> None:
        """Let a retry that waits give way to a newer run of its schedule."""
        self.finish(run, RunStatus.FAILED, "job.failed", {}, superseded=True, error=run.error)

    def cancel_waiting(self, job: str, why: str) -> list[str]:
        """Cancel the runs of a schedule that do not execute; return those that do: they may end, but not retry."""
        self.backlog.pop(job, None)
        running = []
        for run in self.active(job):
            if run.status is RunStatus.RUNNING:
                running.append(run.id)
                run.stopped = True
            else:
                run.held = False
                self.finish(run, RunStatus.CANCELLED, "job.cancelled", {}, why=why)
        return running

    def remove(self, job: str) -> None:
        """Forget a schedule, its counters and its history."""
        self.schedules.pop(job, None)
        self.history.pop(job, None)

    def count(self, incarnation: str, job: str, changes: dict[str, int], facts: dict[str, Any]) -> bool:
        """Count for a schedule, unless it was made anew since; tell whether it is the same."""
        schedule = self.schedules.get(job)
        if schedule is None or incarnation < schedule.incarnation:
            return False
        schedule.counts.update(changes)
        schedule.facts.update(facts)
        return True

    def counts(self, job: str) -> ScheduleCounts:
        """Return what was counted of a schedule."""
        schedule = self.schedules.get(job)
        known = ScheduleCounts.model_fields
        return ScheduleCounts(**{name: n for name, n in schedule.counts.items() if name in known} if schedule else {})
