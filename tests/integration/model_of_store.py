"""A plain-Python model of the protocol (docs/decisions/001): what each step makes of schedules, runs and events."""

from collections.abc import Callable, Iterable, Sequence

from domain.runs.run import RunReason
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.schedule import ScheduleState
from integration.model_hands import Planned, TakenPlan
from integration.model_of_runs import FIRES, MRun, MSchedule, RunsModel


class StoreModel(RunsModel):
    """The whole store. Each method is one step; ``events`` is what the steps announced since it was last emptied."""

    # take and commit

    def take(self, lanes: Iterable[str], hidden: bool) -> set[tuple[str, str]]:
        taken = set()
        for schedule_id, schedule in self.schedules.items():
            if schedule.look == "now" and schedule.state.lane in lanes:
                taken.add((schedule_id, schedule.text))
                schedule.look = "far" if hidden else "now"
        return taken

    def commit(self, taker: str, plans: Sequence[TakenPlan], free: int) -> int:
        """Write plans; return how many were refused, as their schedules have changed since they were taken."""
        refused = 0
        for plan in plans:
            schedule = self.schedules.get(plan.schedule.id)
            if schedule is None or schedule.text != plan.text:
                refused += 1
            else:
                free = self._commit(taker, schedule, plan, free)
        return refused

    def _commit(self, taker: str, schedule: MSchedule, plan: TakenPlan, free: int) -> int:
        job, state, known = plan.schedule.id, schedule.state, set(self.runs)
        if plan.after is not None:
            schedule.state, schedule.text, schedule.look = plan.after, plan.after.dump(), "far"
        if plan.dropped:
            self.emit("schedule.fire_skipped", job, why="missed", count=plan.dropped)
            schedule.counts["missed"] += plan.dropped
        if plan.planned:
            for run in self.active(job):
                if run.status == "retrying" and run.reason in FIRES:
                    self.supersede(run)
        for one in plan.planned:
            if one.run_id not in known:  # planned again by a clock that was put back
                free -= self._admit(schedule, state, one, taker if free > 0 else "")
        if plan.after is None:
            self._forget(job)
            self.emit("schedule.removed", job)
        return free

    def _admit(self, schedule: MSchedule, state: ScheduleState, one: Planned, taker: str) -> int:
        """Make a run, hold it back, or skip it; return how many slots of its taker that took."""
        job = schedule.definition.id
        run = MRun(one.run_id, job, state.lane, one.reason, state.incarnation)
        fires = [other for other in self.active(job) if other.reason in FIRES]
        places = len(self.executing(job)) < schedule.limit
        if one.reason is RunReason.FIRE and len(fires) >= schedule.limit:
            waits = any(other.place == "held" for other in fires)
            if schedule.definition.policy.overlap_mode != "queue_one" or waits:
                self.emit("schedule.fire_skipped", job, why="overlap", count=1 + one.missed, run_id=run.id)
                schedule.counts["skipped"] += 1 + one.missed
                return 0
            places = False
        schedule.counts.update(fired=1, missed=one.missed)
        if places and taker and not self.ready(state.lane):
            self.runs[run.id] = run
            self.own(run, taker)
            return 1
        self._make(run, places, in_front=one.reason is RunReason.FIRE)
        return 0

    def _make(self, run: MRun, has_place: bool, in_front: bool) -> None:
        self.runs[run.id] = run
        self.tell("job.queued", run)
        if not has_place:
            run.place = "held"
            waiting = self.backlog.setdefault(run.job, [])
            waiting.insert(0 if in_front else len(waiting), run.id)

    # What people ask for.

    def write(self, state: ScheduleState, definition: RecurrentTaskDescriptor, topic: str) -> None:
        """Make or change a schedule."""
        schedule = self.schedules.setdefault(definition.id, MSchedule("", state, definition))
        schedule.state, schedule.text, schedule.definition = state, state.dump(), definition
        schedule.look = None if state.paused or state.parked else "far"
        self.limits[definition.id] = schedule.limit
        for _ in self.backlog.get(definition.id, [])[:]:
            self.release(definition.id)
        self.emit(topic, definition.id)

    def outrun(self, schedule: MSchedule, expected: ScheduleState) -> None:
        """Let a schedule hold still for a change that only its fires made come too late."""
        same = schedule.state.model_copy(update={"due": 0}) == expected.model_copy(update={"due": 0})
        if same and schedule.look is not None and not schedule.text.endswith(" "):
            schedule.text += " "
            schedule.look = "far"

    def submit_one_shot(self, job: str, lane: str, what: str, delayed: bool) -> tuple[str, str]:
        run = self.runs.get(job)
        if job in self.schedules:
            return "taken", "schedule"
        if run is not None and run.what == what:
            return "unchanged", run.status
        if run is not None and (run.status, run.attempt) != ("queued", 0):
            return "taken", run.status
        verdict = "created" if run is None else "changed"
        self._make(MRun(job, job, lane, RunReason.ONE_SHOT, what=what), has_place=True, in_front=False)
        self.runs[job].place = "later" if delayed else "ready"
        return verdict, "queued"

    def submit(self, job: str, run_id: str, reason: RunReason, is_gone: Callable[[str], bool]) -> tuple[str, list[str]]:
        """Make a run beside the rhythm. Which of several waiting retries gives way is the store's to choose."""
        schedule = self.schedules[job]
        running = [run.id for run in self.executing(job) if run.status != "retrying"]
        if reason is RunReason.RUN_NOW:
            if len(running) >= schedule.limit:
                return "busy", running
            waiting = [run for run in self.executing(job) if run.status == "retrying" and run.reason in FIRES]
            if len(self.executing(job)) >= schedule.limit and waiting:
                self.supersede(next(run for run in waiting if is_gone(run.id)))
        has_place = len(self.executing(job)) < schedule.limit
        run = MRun(run_id, job, schedule.state.lane, reason, schedule.state.incarnation)
        self._make(run, has_place, in_front=reason is RunReason.RUN_NOW)
        return "created", running

    def cancel(self, run_ids: Sequence[str], executing: bool) -> dict[str, str]:
        reply = {}
        for run_id in run_ids:
            run = self.runs.get(run_id)
            reply[run_id] = run.status if run else ""
            if run is not None and run.place != "done" and (executing or run.status != "running"):
                self.count(run, "cancelled", cancelled=1)
                self.finish(run, "cancelled", "job.cancelled")
        return reply

    def unpark(self, job: str) -> set[str]:
        resumed = {run.id for run in self.active(job) if run.place == "parked"}
        for run_id in resumed:
            run = self.runs[run_id]
            run.place, run.takeovers = "ready", 0
            self.tell("job.queued", run)
        return resumed
