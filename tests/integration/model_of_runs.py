"""What becomes of runs, in a plain-Python model of the protocol (docs/decisions/001): claim, renew, settle."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.runs.outcome import Cancelled, Failed, Outcome, Released, Retry, Succeeded, Terminated
from domain.runs.run import Claim, RunReason
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.schedule import ScheduleState

FIRES = (RunReason.FIRE, RunReason.RUN_NOW)
"""What the next fire supersedes while it waits for a retry."""
HISTORY = 3


@dataclass
class MRun:
    """A run: ``place`` is where the store must have it, and only there."""

    id: str
    job: str
    lane: str
    reason: RunReason
    incarnation: str = ""
    status: str = "queued"
    attempt: int = 0
    retries: int = 0
    takeovers: int = 0
    owner: str = ""
    token: str = "0"
    place: str = "ready"
    stopped: bool = False
    ripe: bool = False
    """Its time in ``later`` has come."""
    lapsed: bool = False
    what: str = ""
    """Which data a one-shot was submitted with."""


@dataclass
class MSchedule:
    """A schedule: ``look`` is ``now``, ``far`` or None (at rest)."""

    text: str
    state: ScheduleState
    definition: RecurrentTaskDescriptor
    look: str | None = "far"
    counts: Counter[str] = field(default_factory=Counter)
    outcome: str | None = None
    history: list[tuple[str, str, int]] = field(default_factory=list)

    @property
    def limit(self) -> int:
        return self.definition.policy.overlap_limit


class RunsModel:
    """What several steps do, and the steps of those who execute."""

    def __init__(self) -> None:
        self.schedules: dict[str, MSchedule] = {}
        self.runs: dict[str, MRun] = {}
        self.backlog: dict[str, list[str]] = {}
        self.events: list[dict[str, Any]] = []
        self.limits: dict[str, int] = {}
        self.batches: dict[str, tuple[int, list[str]]] = {}
        self.silent = True
        self.quiet = True

    # What is asked of the model.

    def active(self, job: str) -> list[MRun]:
        found = [run for run in self.runs.values() if run.job == job and run.place != "done"]
        return sorted(found, key=lambda run: run.id)

    def executing(self, job: str) -> list[MRun]:
        """Return what holds a place of a schedule: all that is not over and not held back."""
        return [run for run in self.active(job) if run.place != "held"]

    def one_shot(self, job: str) -> MRun | None:
        run = self.runs.get(job)
        return run if run is not None and run.place != "done" else None

    def ready(self, lane: str) -> list[MRun]:
        return [run for run in self.runs.values() if run.place == "ready" and run.lane == lane]

    # What several steps do.

    def emit(self, topic: str, about: str, **facts: Any) -> None:
        self.events.append({"topic": topic, "about": about, **facts})

    def tell(self, topic: str, run: MRun, **facts: Any) -> None:
        self.emit(topic, run.id, attempt=run.attempt, **facts)

    def own_schedule(self, run: MRun) -> MSchedule | None:
        """Return the schedule that counts a run: the very incarnation that made it."""
        schedule = self.schedules.get(run.job)
        return schedule if schedule and schedule.state.incarnation == run.incarnation else None

    def count(self, run: MRun, outcome: str | None = None, **changes: int) -> None:
        schedule = self.own_schedule(run)
        if schedule is not None:
            schedule.counts.update(changes)
            schedule.outcome = outcome or schedule.outcome

    def release(self, job: str) -> None:
        """Let the next run that waits behind others go, if there is a place."""
        waiting = self.backlog.get(job, [])
        if waiting and len(self.executing(job)) < self.limits.get(job, 1):
            self.runs[waiting.pop(0)].place = "ready"

    def finish(self, run: MRun, status: str, topic: str, **facts: Any) -> None:
        was, run.status, run.ripe, run.lapsed = run.place, status, False, False
        self.tell(topic, run, **facts)
        if run.reason is RunReason.ONE_SHOT:
            run.place = "done"
            if status == "failed":
                self.tell("job.dead", run)
            return
        del self.runs[run.id]
        schedule = self.own_schedule(run)
        if schedule is not None:
            schedule.history[:] = [(run.id, status, run.attempt), *schedule.history][:HISTORY]
        if was == "held":
            waiting = self.backlog.get(run.job, [])
            if run.id in waiting:
                waiting.remove(run.id)
            return
        self.release(run.job)

    def supersede(self, run: MRun) -> None:
        self.count(run, "failed", failed=1)
        self.finish(run, "failed", "job.failed", superseded=True)

    def cancel_waiting(self, job: str) -> list[str]:
        """Cancel what no instance is executing; return what one is."""
        self.backlog.pop(job, None)
        running = []
        for run in self.active(job):
            if run.status == "running":
                run.stopped = True
                running.append(run.id)
            else:
                self.count(run, "cancelled", cancelled=1)
                self.finish(run, "cancelled", "job.cancelled")
        return running

    def own(self, run: MRun, owner: str) -> None:
        run.status, run.place, run.owner, run.lapsed = "running", "leased", owner, False
        run.attempt += 1
        self.tell("job.started", run, instance_id=owner)

    def park(self, run: MRun) -> None:
        run.status, run.place, run.owner, run.lapsed = "queued", "parked", "", False
        self.tell("job.parked", run)

    def beat(self) -> None:
        if self.silent:
            self.quiet = True
        self.silent = False

    # claim, renew, settle

    def claim(
        self, owner: str, lanes: Sequence[str], limit: int, takeovers: int, scores: dict[str, float], now: int
    ) -> list[str]:
        """Return the ids of the runs that are claimed, in order. ``scores`` are those of the ready runs before."""
        self.beat()
        scores = dict(scores)
        for run in self.runs.values():
            if run.place == "later" and run.ripe:
                run.place, run.ripe, scores[run.id] = "ready", False, now
                if run.status == "retrying":
                    run.status = "queued"
                    self.tell("job.queued", run)
        claimed: list[str] = []
        for lane in lanes if not self.quiet else ():
            lapsed = sorted(run.id for run in self.runs.values() if run.lapsed and run.lane == lane)
            for run_id in lapsed[: limit - len(claimed)]:
                if self._take_over(self.runs[run_id], owner, takeovers):
                    claimed.append(run_id)
        free = limit - len(claimed)
        ready = sorted((scores[run.id], run.id) for lane in lanes for run in self.ready(lane))
        for _, run_id in ready[:free]:
            self.own(self.runs[run_id], owner)
            claimed.append(run_id)
        return claimed

    def _take_over(self, run: MRun, owner: str, limit: int) -> bool:
        self.tell("job.lost", run, taken_over_by=owner)
        self.count(run, lost=1)
        run.takeovers += 1
        if run.takeovers > limit:
            self.park(run)
            return False
        self.own(run, owner)
        return True

    def holds(self, owner: str, claim: Claim) -> bool:
        run = self.runs.get(claim.spec.run_id)
        return run is not None and (run.status, run.owner, run.token) == ("running", owner, claim.token)

    def renew(self, owner: str, claims: Sequence[Claim]) -> list[str]:
        """Return what is lost."""
        self.beat()
        lost = []
        for claim in claims:
            if self.holds(owner, claim):
                self.runs[claim.spec.run_id].lapsed = False
            else:
                lost.append(claim.spec.run_id)
        return lost

    def settle(self, owner: str, number: int, batch: Sequence[tuple[Claim, Outcome]]) -> list[str]:
        last = self.batches.get(owner)
        if last is not None and last[0] == number:
            return last[1]
        verdicts = []
        for claim, outcome in batch:
            held = self.holds(owner, claim)
            if held:
                self._end(self.runs[claim.spec.run_id], claim, outcome)
            verdicts.append("settled" if held else "lost")
        self.batches[owner] = (number, verdicts)
        return verdicts

    def _end(self, run: MRun, claim: Claim, outcome: Outcome) -> None:
        match outcome:
            case Succeeded():
                self.count(run, "succeeded", succeeded=1)
                self.finish(run, "succeeded", "job.succeeded")
            case Retry():
                self._retry(run, outcome)
            case Failed(unloadable=True) if run.reason is RunReason.ONE_SHOT:
                self.park(run)
            case Failed():
                self._fail(run)
            case Cancelled():
                self.count(run, "cancelled", cancelled=1)
                self.finish(run, "cancelled", "job.cancelled")
            case Terminated():
                self._terminate(run, claim)
            case Released(started):
                run.attempt -= 0 if started else 1
                run.status, run.place, run.owner, run.lapsed = "queued", "ready", "", False
                self.tell("job.queued", run)

    def _fail(self, run: MRun, **facts: Any) -> None:
        self.count(run, "failed", failed=1)
        self.finish(run, "failed", "job.failed", **facts)

    def _retry(self, run: MRun, outcome: Retry) -> None:
        waiting = self.backlog.get(run.job, [])
        if run.stopped:
            self._fail(run, stopped=True)
        elif run.reason in FIRES and waiting and self.runs[waiting[0]].reason is RunReason.FIRE:
            self._fail(run, superseded=True)
        else:
            run.status, run.place, run.owner, run.lapsed = "retrying", "later", "", False
            run.retries += 1
            run.ripe = outcome.delay_s == 0
            self.count(run, "retrying", retried=1)
            self.tell("job.retrying", run)

    def _terminate(self, run: MRun, claim: Claim) -> None:
        self.count(run, "terminated", succeeded=1)
        self.finish(run, "succeeded", "job.terminated")
        schedule = self.schedules.get(run.job)
        definition = (claim.spec.incarnation, claim.spec.generation)
        if schedule and (schedule.state.incarnation, schedule.state.generation) == definition:
            self.remove(run.job)

    def _forget(self, job: str) -> None:
        del self.schedules[job]
        self.limits.pop(job, None)

    def remove(self, job: str) -> list[str]:
        """Remove a schedule; return what is executing."""
        self._forget(job)
        running = self.cancel_waiting(job)
        self.emit("schedule.removed", job)
        return running
