"""The background task scheduler: schedule, stop, pause, resume, run now, list. The store is the truth."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from application.hosting import HostedService
from application.runs.registry import JobRegistry
from application.runs.store import RunStore
from application.scheduling import views
from application.scheduling.compiled import at, compile_schedule, milliseconds
from application.scheduling.one_shots import OneShots
from application.scheduling.planning import PlannedRun, first_due, look_at
from application.scheduling.store import Change, Changed, ScheduleStore, Stored
from application.scheduling.triggers import compile_trigger
from domain.runs.errors import InvalidData
from domain.runs.job import JobDefinition
from domain.runs.run import RunReason, RunRecord, RunSpec, lane_of
from domain.scheduling.descriptor import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from domain.scheduling.errors import (
    BackfillRefused,
    ChangedMeanwhile,
    IdTaken,
    InvalidTrigger,
    NotResumable,
    ScheduleBusy,
    ScheduleNotFound,
    WrongTaskType,
)
from domain.scheduling.schedule import OneShotInfo, Parked, Pause, PutResult, ScheduleInfo, ScheduleState, Stopped

log = logging.getLogger(__name__)

TRIES = 10
"""How often a change is tried again when others change the same schedule at the same time."""
BACKFILL_LIMIT = 1000


@dataclass(frozen=True)
class Scheduled:
    """What scheduling did, and what now stands in the store."""

    result: PutResult
    info: ScheduleInfo | OneShotInfo


@dataclass(frozen=True)
class SchedulePage:
    """Some schedules; ``next_cursor`` asks for what follows, None at the end."""

    items: list[ScheduleInfo]
    next_cursor: str | None


class BackgroundTaskScheduler:
    """Hosted service: in a process that executes jobs it owns the engine; control works in any process, from the store.

    Everybody schedules through ``BackgroundTasksBus``. All methods raise ``StoreUnavailable`` when the store is away, and
    have taken effect in the store when they return.
    """

    def __init__(
        self,
        registry: JobRegistry,
        schedules: ScheduleStore,
        runs: RunStore,
        *,
        engine: HostedService | None = None,
        default_timeout_s: float = 300.0,
        actor: Callable[[], str] = lambda: "program",
    ) -> None:
        self._registry = registry
        self._schedules = schedules
        self._runs = runs
        self._engine = engine
        self._default_timeout_s = default_timeout_s
        self._actor = actor
        self._one_shots = OneShots(registry, schedules, runs, default_timeout_s)
        self.loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Start the engine, where there is one."""
        self.loop = asyncio.get_running_loop()
        if self._engine is not None:
            await self._engine.start()

    async def stop(self) -> None:
        """Stop the engine: no new claims, running jobs get their grace, the rest goes back. Schedules stay."""
        self.loop = None
        if self._engine is not None:
            await self._engine.stop()

    async def schedule(self, descriptor: RecurrentTaskDescriptor | ScheduledTaskDescriptor) -> Scheduled:
        """Put a descriptor into the store, or raise what is wrong with it.

        An identical descriptor changes nothing; a changed one replaces what was there: the rhythm begins anew only when
        the trigger changed, and a pause stays.
        """
        if isinstance(descriptor, ScheduledTaskDescriptor):
            result, info = await self._one_shots.schedule(descriptor)
            return Scheduled(result, info)
        return await self._put(descriptor, await self._schedules.now())

    async def modify(self, schedule_id: str, changes: dict[str, Any]) -> Scheduled:
        """Change some fields of a schedule's descriptor; ``policy`` is merged field by field."""
        stored = await self._found(schedule_id)
        merged = stored.definition.model_dump(exclude_unset=False)
        policy = {**merged.pop("policy"), **changes.pop("policy", {})}
        if "cron" in changes or "interval" in changes:
            merged.update(interval=None, cron=None)
        wanted = RecurrentTaskDescriptor.model_validate({**merged, **changes, "policy": policy, "id": schedule_id})
        return await self._put(wanted, await self._schedules.now(), stored)

    async def stop_task(self, task_id: str, cancel_running: bool = False) -> Stopped:
        """Take a schedule, or a waiting one-shot, out of the store.

        After the return no new run is created. Runs that wait are cancelled; runs that an instance has claimed are
        listed, and cancelled too with ``cancel_running``. Raises ``ScheduleNotFound``.
        """
        for _ in range(TRIES):
            stored = await self._schedules.get(task_id)
            if stored is None:
                return await self._one_shots.stop(task_id, cancel_running)
            why = f"stopped by {self._actor()}"
            changed = await self._change(stored, None, "schedule.removed", {"why": why}, why=why)
            if changed.done:
                return await self._stopped(task_id, changed, cancel_running, why)
        raise ChangedMeanwhile(id=task_id, tries=TRIES)

    async def pause(self, task_id: str, reason: str = "", by: str | None = None) -> ScheduleInfo:
        """Let a schedule rest until ``resume``; runs that exist go on. Pausing twice keeps the first pause."""
        now = await self._schedules.now()
        who = by or self._actor()

        def paused(stored: Stored) -> ScheduleState | None:
            if stored.state.paused:
                return None
            return stored.state.model_copy(update={"paused": Pause(at=at(now), by=who, reason=reason)})

        return await self._update(task_id, paused, "schedule.paused", {"by": who, "reason": reason})

    async def park(self, task_id: str, reason: str, generation: int) -> None:
        """Set a schedule aside that cannot be loaded, unless it was changed since or is gone; ``resume`` brings it back."""
        now = await self._schedules.now()

        def parked(stored: Stored) -> ScheduleState | None:
            if stored.state.parked or stored.state.generation != generation:
                return None
            return stored.state.model_copy(update={"parked": Parked(at=at(now), reason=reason)})

        try:
            await self._update(task_id, parked, "schedule.changed", {"parked": reason})
        except ScheduleNotFound:
            log.info("schedule %s was to be parked, but is gone", task_id)

    async def resume(self, task_id: str) -> ScheduleInfo:
        """Let a paused or parked schedule go on with its next fire to come; what fell into the rest is not caught up."""
        now = await self._schedules.now()

        def resumed(stored: Stored) -> ScheduleState | None:
            if not stored.state.paused and not stored.state.parked:
                raise NotResumable(id=task_id)
            due = self._first_due(stored.definition, stored.state.anchor, now)
            return stored.state.model_copy(update={"paused": None, "parked": None, "due": due})

        return await self._update(task_id, resumed, "schedule.resumed", {"by": self._actor()})

    async def run_now(self, task_id: str) -> str:
        """Run a schedule's job once, beside its rhythm, and return the run's id; raises ``ScheduleBusy`` as overlap says."""
        for _ in range(TRIES):
            stored = await self._found(task_id)
            spec = self._extra_run(stored, f"now.{uuid4().hex[:12]}", RunReason.RUN_NOW, await self._schedules.now())
            policy = stored.definition.policy
            data = self._definition(stored.definition).dump(stored.definition.data)
            answer = await self._runs.submit(spec, data, limit=policy.overlap_limit, state=stored.text)
            if answer.verdict == "created":
                return spec.run_id
            if answer.verdict == "busy":
                raise ScheduleBusy(id=task_id, running=", ".join(answer.running), overlap=policy.overlap)
        raise ChangedMeanwhile(id=task_id, tries=TRIES)

    async def backfill(self, task_id: str, since: datetime, until: datetime) -> list[str]:
        """Make a run for each due time in [since, until], one after another beside the rhythm; return their ids.

        Asked twice, it makes nothing twice while the runs are there. At most ``BACKFILL_LIMIT`` at once.
        """
        stored = await self._found(task_id)
        now, policy = await self._schedules.now(), stored.definition.policy
        trigger = compile_trigger(stored.definition, stored.state.anchor)
        last = min(milliseconds(until), now)
        dues: list[int] = []
        due = trigger.next_after(milliseconds(since) - 1)
        while due is not None and due <= last and len(dues) <= BACKFILL_LIMIT:
            dues.append(due)
            due = trigger.next_after(due)
        if not dues or len(dues) > BACKFILL_LIMIT:
            why = f"more than {BACKFILL_LIMIT} fires lie in that time" if dues else "no fire lies in that time"
            raise BackfillRefused(id=task_id, why=f"{why}; give another 'since' and 'until', both in the past")
        data = self._definition(stored.definition).dump(stored.definition.data)
        for due in dues:
            spec = self._extra_run(stored, f"backfill.{due}", RunReason.BACKFILL, due)
            answer = await self._runs.submit(spec, data, limit=policy.overlap_limit, state=stored.text)
            if answer.verdict == "stale":  # it fired meanwhile: only its state is newer
                stored = await self._found(task_id)
                await self._runs.submit(spec, data, limit=policy.overlap_limit, state=stored.text)
        return [f"{task_id}@{stored.state.incarnation}.backfill.{due}" for due in dues]

    async def get_task_info(self, task_id: str) -> ScheduleInfo | OneShotInfo:
        """Return a schedule, or a one-shot that waits, executes or is still remembered; raises ``ScheduleNotFound``."""
        stored = await self._schedules.get(task_id)
        if stored is None:
            return await self._one_shots.info(task_id)
        (info,) = await self._infos([(task_id, stored)])
        return info

    async def list_tasks(
        self, *, name: str | None = None, status: str | None = None, limit: int = 50, cursor: str = ""
    ) -> SchedulePage:
        """Return schedules in the order of their ids, those after ``cursor``."""
        found: list[tuple[str, Stored]] = []
        async for schedule_id, stored in self._schedules.scan(cursor):
            if (name and stored.definition.name != name) or (status and views.status(stored.state) != status):
                continue
            if len(found) == limit:
                return SchedulePage(await self._infos(found), found[-1][0])
            found.append((schedule_id, stored))
        return SchedulePage(await self._infos(found), None)

    async def list_one_shots(self, limit: int = 100) -> list[OneShotInfo]:
        """Return one-shots that are not settled, oldest first."""
        return await self._one_shots.waiting(limit)

    async def runs(self, task_id: str) -> list[RunRecord]:
        """Return the runs of a schedule that are not over and the last that are; raises ``ScheduleNotFound``."""
        await self._found(task_id)
        return await self._runs.runs_of(task_id)

    async def _put(self, wanted: RecurrentTaskDescriptor, now: int, expected: Stored | None = None) -> Scheduled:
        definition = self._definition(wanted)
        data = definition.data_model.model_validate_json(definition.dump(wanted.data)).model_dump(mode="json")
        wanted = wanted.model_copy(update={"data": data, "version": definition.version})
        before = expected
        for _ in range(TRIES):
            if before is not None and before.definition == wanted:
                return await self._scheduled(PutResult.UNCHANGED, wanted.id, before)
            after = self._next_state(wanted, before, now)
            look = None if after.paused or after.parked else look_at(wanted.id, after.due, wanted.policy)
            topic = "schedule.changed" if before else "schedule.created"
            event = {"name": wanted.name, "generation": after.generation, "by": self._actor()}
            changed = await self._change(
                before, after, topic, event, schedule_id=wanted.id, definition=wanted, look=look
            )
            if changed.done:
                stored = Stored(after.dump(), after, wanted)
                return await self._scheduled(PutResult.CHANGED if before else PutResult.CREATED, wanted.id, stored)
            if changed.one_shot:
                raise IdTaken(id=wanted.id, what="a one-shot that is not over")
            if expected is not None and changed.current is None:
                raise ScheduleNotFound(id=wanted.id)
            before = changed.current
        raise ChangedMeanwhile(id=wanted.id, tries=TRIES)

    def _next_state(self, wanted: RecurrentTaskDescriptor, before: Stored | None, now: int) -> ScheduleState:
        lane = lane_of(wanted.name, wanted.version or 1)
        anchor = now if wanted.policy.start is None else milliseconds(wanted.policy.start)
        if before is None:
            due = self._first_due(wanted, anchor, now)
            incarnation = f"{now:x}{secrets.token_hex(2)}"
            return ScheduleState(generation=1, incarnation=incarnation, lane=lane, anchor=anchor, due=due)
        due = before.state.due
        if _rhythm(before.definition) == _rhythm(wanted):
            anchor = before.state.anchor
        else:
            due = self._first_due(wanted, anchor, now)
        return before.state.model_copy(
            update={
                "generation": before.state.generation + 1,
                "lane": lane,
                "anchor": anchor,
                "due": due,
                "parked": None,
            }
        )

    def _first_due(self, wanted: RecurrentTaskDescriptor, anchor: int, now: int) -> int:
        policy = wanted.policy
        if wanted.interval is not None and anchor > now:
            return anchor  # a start to come is the first fire
        due = first_due(compile_trigger(wanted, anchor), policy, now)
        if due is None:
            raise InvalidTrigger(
                id=wanted.id, why="it would never fire (again); mend its cron line, its start or its end"
            )
        return due

    def _definition(self, wanted: RecurrentTaskDescriptor) -> JobDefinition:
        definition = self._registry.get(wanted.name)
        if definition.task_type != "recurrent":
            hint = "a ScheduledTaskDescriptor"
            raise WrongTaskType(name=wanted.name, actual=definition.task_type, wanted="recurrent", hint=hint)
        if wanted.version not in (None, definition.version):
            why = f"its payload has version {wanted.version}, this program knows version {definition.version}"
            raise InvalidData(name=wanted.name, why=why)
        return definition

    def _extra_run(self, stored: Stored, suffix: str, reason: RunReason, due: int) -> RunSpec:
        compiled = compile_schedule(stored.definition, stored.state, self._registry, self._default_timeout_s)
        spec = compiled.spec(PlannedRun(due, 0, reason))
        return spec.model_copy(update={"run_id": f"{stored.definition.id}@{stored.state.incarnation}.{suffix}"})

    async def _update(
        self, task_id: str, step: Callable[[Stored], ScheduleState | None], topic: str, event: dict[str, object]
    ) -> ScheduleInfo:
        """Compare and set until nobody was faster; a ``step`` of None leaves the schedule as it is."""
        for _ in range(TRIES):
            stored = await self._found(task_id)
            after = step(stored)
            if after is not None:
                resting = after.paused or after.parked
                look = None if resting else look_at(task_id, after.due, stored.definition.policy)
                if not (await self._change(stored, after, topic, event, look=look)).done:
                    continue
                stored = Stored(after.dump(), after, stored.definition)
            (info,) = await self._infos([(task_id, stored)])
            return info
        raise ChangedMeanwhile(id=task_id, tries=TRIES)

    async def _change(
        self,
        before: Stored | None,
        after: ScheduleState | None,
        topic: str,
        event: dict[str, object],
        *,
        schedule_id: str | None = None,
        definition: RecurrentTaskDescriptor | None = None,
        look: int | None = None,
        why: str = "",
    ) -> Changed:
        changed_id = schedule_id or (before.definition.id if before else "")
        return await self._schedules.change(
            Change(changed_id, before, after, topic, {"id": changed_id, **event}, definition, look, why)
        )

    async def _stopped(self, task_id: str, changed: Changed, cancel_running: bool, why: str) -> Stopped:
        running = list(changed.running)
        if not cancel_running:
            return Stopped(id=task_id, running=running)
        statuses = await self._runs.cancel(running, why)
        return Stopped(id=task_id, running=running, cancelled=[run for run in running if statuses[run] == "running"])

    async def _found(self, task_id: str) -> Stored:
        stored = await self._schedules.get(task_id)
        if stored is None:
            raise ScheduleNotFound(id=task_id)
        return stored

    async def _scheduled(self, result: PutResult, schedule_id: str, stored: Stored) -> Scheduled:
        if result is PutResult.CREATED:
            return Scheduled(result, views.schedule(schedule_id, stored))
        (info,) = await self._infos([(schedule_id, stored)])
        return Scheduled(result, info)

    async def _infos(self, found: list[tuple[str, Stored]]) -> list[ScheduleInfo]:
        ids = [schedule_id for schedule_id, _ in found]
        statistics = await self._schedules.statistics(ids)
        executing = await self._schedules.executing(ids) if ids else []
        return [
            views.schedule(schedule_id, stored, counted, running)
            for (schedule_id, stored), counted, running in zip(found, statistics, executing, strict=True)
        ]


def _rhythm(descriptor: RecurrentTaskDescriptor) -> tuple[object, ...]:
    """Return what decides about due times: while it stays, a changed schedule keeps its rhythm."""
    policy = descriptor.policy
    return (descriptor.interval, descriptor.cron, descriptor.timezone, policy.start, policy.end)
