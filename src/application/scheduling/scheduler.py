"""The background task scheduler: schedule, stop, pause, resume, run now, list. The store is the truth."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from application.hosting import HostedService
from application.runs.registry import JobRegistry
from application.runs.store import RunStore
from application.scheduling import states, views, wishes
from application.scheduling.answers import Scheduled, SchedulePage
from application.scheduling.deeds import Deed, WriteDown, of_change, unwritten
from application.scheduling.extra_runs import ExtraRuns
from application.scheduling.one_shots import OneShots
from application.scheduling.store import Change, Changed, ScheduleStore, Stored, Unreadable
from application.scheduling.tracing import UNTRACED, SchedulingTrace
from domain.runs.run import RunRecord
from domain.scheduling.descriptor import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from domain.scheduling.errors import ChangedMeanwhile, IdTaken, NotResumable, ScheduleNotFound, WaitsForInstance
from domain.scheduling.schedule import OneShotInfo, PutResult, ScheduleInfo, ScheduleState, Stopped

log = logging.getLogger(__name__)

TRIES = 10
"""How often a change is tried again when others change the same schedule at the same time."""


class BackgroundTaskScheduler:
    """Hosted service: where jobs execute it owns the engine. Control works in any process, from the store.

    Everybody schedules through ``BackgroundTasksBus``. All methods raise ``StoreUnavailable`` when the store is away,
    and have taken effect in the store when they return.
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
        write_down: WriteDown = unwritten,
        trace: SchedulingTrace = UNTRACED,
    ) -> None:
        self._registry = registry
        self._schedules = schedules
        self._runs = runs
        self._engine = engine
        self._actor = actor
        self._write_down = write_down
        self._trace = trace
        self._one_shots = OneShots(registry, schedules, runs, default_timeout_s, write_down, trace)
        self._extra_runs = ExtraRuns(registry, schedules, runs, default_timeout_s, write_down, trace)
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

    async def schedule(
        self, descriptor: RecurrentTaskDescriptor | ScheduledTaskDescriptor, *, fires_at_once: bool = False
    ) -> Scheduled:
        """Put a descriptor into the store, or raise what is wrong with it.

        An identical descriptor changes nothing; a changed one replaces what was there: the rhythm begins anew only when
        the trigger changed, and a pause stays. With ``fires_at_once`` a new schedule fires now, and then in its rhythm.
        """
        if isinstance(descriptor, ScheduledTaskDescriptor):
            result, info = await self._one_shots.schedule(descriptor)
            return Scheduled(result, lambda: info)
        with self._trace.scheduling("schedule", descriptor.name, descriptor.id):
            return await self._put(lambda _: descriptor, fires_at_once=fires_at_once)

    async def modify(self, schedule_id: str, changes: dict[str, Any]) -> Scheduled:
        """Change some fields of a schedule's descriptor; ``policy`` is merged field by field.

        What others change at the same time stays, if it is another field. Data that was stored for an older version of
        the job is upgraded to the present one, or checked against it where the class cannot, and goes on as that.
        """
        stored = await self._found(schedule_id)
        return await self._put(
            lambda before: wishes.modified(self._registry, (before or stored).definition, changes), stored
        )

    async def stop_task(self, task_id: str, cancel_running: bool = False, by: str | None = None) -> Stopped:
        """Take a schedule, or a waiting one-shot, out of the store.

        After the return no new run is created. Runs that wait are cancelled; runs that an instance has claimed are
        listed, and cancelled too with ``cancel_running``. Raises ``ScheduleNotFound``.
        """
        for _ in range(TRIES):
            who = by or self._actor()
            why = f"stopped by {who}"
            stored = await self._schedules.find(task_id)
            if stored is None:
                return await self._one_shots.stop(task_id, cancel_running, why, who)
            now = await self._schedules.now()
            changed = await self._change(task_id, stored, None, now, "schedule.removed", {"why": why, "by": who})
            if changed.done:
                return await self._stopped(task_id, changed, cancel_running, why, who)
        raise ChangedMeanwhile(id=task_id, tries=TRIES)

    async def pause(self, task_id: str, reason: str = "", by: str | None = None) -> ScheduleInfo:
        """Let a schedule rest until ``resume``; runs that exist go on. Pausing twice keeps the first pause."""
        who = by or self._actor()
        event: dict[str, object] = {"by": who, "reason": reason}
        return await self._update(
            task_id, lambda found, now: states.paused(found, now, who, reason), "schedule.paused", event
        )

    async def park(self, task_id: str, reason: str, incarnation: str, generation: int) -> None:
        """Set a schedule aside that cannot be loaded, unless it was changed since or is gone. ``resume`` ends it."""
        try:
            await self._update(
                task_id,
                lambda found, now: states.parked(found, now, reason, incarnation, generation),
                "schedule.changed",
                {"parked": reason},
            )
        except ScheduleNotFound:
            log.info("schedule %s was to be parked, but is gone", task_id)

    async def resume(self, task_id: str, by: str | None = None) -> ScheduleInfo | OneShotInfo:
        """Let what is paused or parked go on: a schedule with its next fire to come, a parked run at once.

        Raises ``NotResumable`` for what neither rests nor has parked runs, ``WaitsForInstance`` for what no running
        instance knows.
        """
        who = by or self._actor()
        resumed = await self._runs.unpark(task_id, self._write_down(Deed("run.unparked", task_id, by=who)))
        stored = await self._schedules.get(task_id)
        if stored is None or (resumed and not stored.state.paused and not stored.state.parked):
            info = await self.get_task_info(task_id)
            if resumed:
                return info
            if isinstance(info, OneShotInfo) and info.run.parked:
                raise WaitsForInstance(id=task_id, why=info.run.parked)
            raise NotResumable(id=task_id)
        return await self._update(task_id, states.resumed, "schedule.resumed", {"by": who})

    async def postpone(self, task_id: str, delay_s: float, by: str) -> ScheduleInfo:
        """Let no fire of a schedule come for ``delay_s`` seconds; 0 takes that back. Its definition and rhythm stay."""
        delay_ms = round(delay_s * 1000)
        event: dict[str, object] = {"by": by, "postponed_s": delay_s}
        return await self._update(
            task_id, lambda found, now: states.postponed(found, now, delay_ms), "schedule.changed", event
        )

    async def run_now(self, task_id: str) -> str:
        """Run a schedule's job once beside its rhythm; return the run's id. Raises ``ScheduleBusy`` as overlap says."""
        return await self._extra_runs.run_now(task_id)

    async def backfill(self, task_id: str, since: datetime, until: datetime) -> list[str]:
        """Make a run for each past due time in [since, until], one after another; return their ids."""
        return await self._extra_runs.backfill(task_id, since, until)

    async def get_task_info(self, task_id: str) -> ScheduleInfo | OneShotInfo:
        """Return a schedule, or a one-shot that waits, executes or is still remembered; raises ``ScheduleNotFound``."""
        stored = await self._schedules.find(task_id)
        if stored is None:
            return await self._one_shots.info(task_id)
        (info,) = await self._infos([(task_id, stored)])
        return info

    async def list_tasks(
        self, *, name: str | None = None, status: str | None = None, limit: int = 50, cursor: str = ""
    ) -> SchedulePage:
        """Return schedules in the order of their ids, those after ``cursor``."""
        found: list[tuple[str, Stored | Unreadable]] = []
        async for schedule_id, stored in self._schedules.scan(cursor):
            if (name and views.name_of(stored) != name) or (status and views.standing(stored) != status):
                continue
            if len(found) == limit:
                return SchedulePage(await self._infos(found, foretell=False), found[-1][0])
            found.append((schedule_id, stored))
        return SchedulePage(await self._infos(found, foretell=False), None)

    async def list_one_shots(self, limit: int = 100) -> list[OneShotInfo]:
        """Return one-shots that are not settled, oldest first."""
        return await self._one_shots.waiting(limit)

    async def runs(self, task_id: str) -> list[RunRecord]:
        """Return the runs of a schedule that are not over and the last that are; raises ``ScheduleNotFound``."""
        if await self._schedules.find(task_id) is None:
            raise ScheduleNotFound(id=task_id)
        return await self._runs.runs_of(task_id)

    async def _put(
        self,
        wish: Callable[[Stored | None], RecurrentTaskDescriptor],
        expected: Stored | None = None,
        *,
        fires_at_once: bool = False,
    ) -> Scheduled:
        """Compare and set until nobody was faster; ``wish`` makes a descriptor of what stands.

        With ``expected`` the schedule must be there.
        """
        before = expected
        wanted = wishes.checked(self._registry, wish(before))
        for _ in range(TRIES):
            if before is not None and before.definition == wanted:
                await self._schedules.confirm()
                return await self._scheduled(PutResult.UNCHANGED, before)
            # Asked after ``before`` was read: a fire between the two would be due once more.
            now = await self._schedules.now()
            after = states.put(wanted, before, now, fires_at_once=fires_at_once)
            after = after.model_copy(update={"traceparent": self._trace.traceparent()})
            topic = "schedule.changed" if before else "schedule.created"
            event: dict[str, object] = {"name": wanted.name, "generation": after.generation, "by": self._actor()}
            changed = await self._change(wanted.id, before, after, now, topic, event, wanted)
            if changed.done:
                stored = Stored(after.dump(), after, wanted)
                return await self._scheduled(PutResult.CHANGED if before else PutResult.CREATED, stored)
            if changed.one_shot:
                raise IdTaken(id=wanted.id, what="a one-shot that is not over")
            if expected is not None and changed.current is None:
                raise ScheduleNotFound(id=wanted.id)
            before = changed.current
            wanted = wishes.checked(self._registry, wish(before))
        raise ChangedMeanwhile(id=wanted.id, tries=TRIES)

    async def _update(
        self, task_id: str, step: Callable[[Stored, int], ScheduleState | None], topic: str, event: dict[str, object]
    ) -> ScheduleInfo:
        """Compare and set until nobody was faster; a ``step`` of None leaves the schedule as it is."""
        for _ in range(TRIES):
            stored = await self._found(task_id)
            now = await self._schedules.now()
            after = step(stored, now)
            if after is not None:
                if not (await self._change(task_id, stored, after, now, topic, event)).done:
                    continue
                stored = Stored(after.dump(), after, stored.definition)
            else:
                await self._schedules.confirm()
            (info,) = await self._infos([(task_id, stored)])
            return info
        raise ChangedMeanwhile(id=task_id, tries=TRIES)

    async def _change(
        self,
        schedule_id: str,
        before: Stored | Unreadable | None,
        after: ScheduleState | None,
        now: int,
        topic: str,
        event: dict[str, object],
        definition: RecurrentTaskDescriptor | None = None,
    ) -> Changed:
        current = definition or (before.definition if isinstance(before, Stored) else None)
        look = states.look(current, after) if current and after else None
        late = states.withdrawn(before, after, now) if isinstance(before, Stored) else 0
        deed = of_change(topic, schedule_id, before, after, definition, event)
        note = self._write_down(deed) if deed else None
        return await self._schedules.change(
            Change(schedule_id, before, after, topic, {"id": schedule_id, **event}, definition, look, late, note)
        )

    async def _stopped(self, task_id: str, changed: Changed, cancel_running: bool, why: str, who: str) -> Stopped:
        running = list(changed.running)
        if not cancel_running:
            return Stopped(id=task_id, running=running)
        note = self._write_down(Deed("run.cancelled", task_id, by=who, reason=why))
        statuses = await self._runs.cancel(running, why, note=note)
        return Stopped(id=task_id, running=running, cancelled=[run for run in running if statuses[run] == "running"])

    async def _found(self, task_id: str) -> Stored:
        stored = await self._schedules.get(task_id)
        if stored is None:
            raise ScheduleNotFound(id=task_id)
        return stored

    async def _scheduled(self, result: PutResult, stored: Stored) -> Scheduled:
        if result is PutResult.CREATED:
            return Scheduled(result, partial(views.schedule, stored.definition.id, stored))
        (info,) = await self._infos([(stored.definition.id, stored)])
        return Scheduled(result, lambda: info)

    async def _infos(
        self, found: Sequence[tuple[str, Stored | Unreadable]], *, foretell: bool = True
    ) -> list[ScheduleInfo]:
        ids = [schedule_id for schedule_id, _ in found]
        statistics = await self._schedules.statistics(ids)
        open_runs = await self._schedules.open_runs(ids)
        return [
            views.schedule(schedule_id, stored, counted, unsettled, foretell=foretell)
            for (schedule_id, stored), counted, unsettled in zip(found, statistics, open_runs, strict=True)
        ]
