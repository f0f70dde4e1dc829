"""Runs beside the rhythm: run now, and backfill."""

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from uuid import uuid4

from application.runs.asking import Note
from application.runs.registry import JobRegistry
from application.runs.store import RunStore, Submission
from application.scheduling.compiled import compile_schedule, milliseconds
from application.scheduling.deeds import Deed, WriteDown, unwritten
from application.scheduling.planning import PlannedRun
from application.scheduling.store import ScheduleStore, Stored
from application.scheduling.tracing import UNTRACED, SchedulingTrace
from application.scheduling.triggers import compile_trigger
from domain.runs.run import RunReason, RunSpec
from domain.scheduling.errors import BackfillRefused, ChangedMeanwhile, ScheduleBusy, ScheduleNotFound

BACKFILL_LIMIT = 1000
TRIES = 10
"""How often a run is submitted again because its schedule fired or changed at the same moment."""


class ExtraRuns:
    """Make runs of a schedule that no fire asked for. They have ids of their own and leave the due times alone."""

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

    async def run_now(self, task_id: str) -> str:
        """Make one run and return its id; raises ``ScheduleBusy`` as the overlap policy says."""
        with self._trace.scheduling("run_now", "", task_id):
            return await self._run_now(task_id)

    async def _run_now(self, task_id: str) -> str:
        now = await self._schedules.now()
        token = uuid4().hex[:12]
        note = self._write_down(Deed("schedule.run", task_id))
        spec, answer = await self._submit(task_id, lambda stored: self._spec(stored, "now", token, now), note)
        if answer.verdict == "busy":
            policy = (await self._found(task_id)).definition.policy
            raise ScheduleBusy(id=task_id, running=", ".join(answer.running), overlap=policy.overlap)
        return spec.run_id

    async def backfill(self, task_id: str, since: datetime, until: datetime) -> list[str]:
        """Make a run for each due time in [since, until] that is past, one after another; return their ids.

        Asked twice, it makes nothing twice while the runs are there.
        """
        with self._trace.scheduling("backfill", "", task_id):
            return await self._backfill(task_id, since, until)

    async def _backfill(self, task_id: str, since: datetime, until: datetime) -> list[str]:
        stored = await self._found(task_id)
        made = []
        dues = self._dues(stored, milliseconds(since), min(milliseconds(until), await self._schedules.now()))
        facts = {"since": since.isoformat(), "until": until.isoformat(), "fires": len(dues)}
        note = self._write_down(Deed("schedule.backfilled", task_id, facts=facts))
        for due in dues:
            make = partial(self._spec, kind="backfill", suffix=due, due=due)
            spec, answer = await self._submit(task_id, make, note, confirm=False)
            note = None if answer.verdict == "created" else note  # one wish, one note: with the first run it makes
            made.append(spec.run_id)
        await self._schedules.confirm()
        return made

    def _dues(self, stored: Stored, since: int, until: int) -> list[int]:
        trigger = compile_trigger(stored.definition, stored.state.anchor)
        policy = stored.definition.policy
        since = since if policy.start is None else max(since, milliseconds(policy.start))
        until = until if policy.end is None else min(until, milliseconds(policy.end))
        dues: list[int] = []
        due = trigger.next_after(since - 1)
        while due is not None and due <= until and len(dues) <= BACKFILL_LIMIT:
            dues.append(due)
            due = trigger.next_after(due)
        if dues and len(dues) <= BACKFILL_LIMIT:
            return dues
        why = f"more than {BACKFILL_LIMIT} fires lie in that time" if dues else "no past fire lies in that time"
        raise BackfillRefused(id=stored.definition.id, why=why)

    def _spec(self, stored: Stored, kind: str, suffix: object, due: int) -> RunSpec:
        compiled = compile_schedule(stored.definition, stored.state, self._registry, self._default_timeout_s)
        reason = RunReason.RUN_NOW if kind == "now" else RunReason.BACKFILL
        run_id = f"{stored.definition.id}@{stored.state.incarnation}.{kind}.{suffix}"
        return compiled.spec(PlannedRun(due, 0, reason)).model_copy(
            update={"run_id": run_id, "traceparent": self._trace.traceparent()}
        )

    async def _submit(
        self, task_id: str, make: Callable[[Stored], RunSpec], note: Note | None, confirm: bool = True
    ) -> tuple[RunSpec, Submission]:
        for _ in range(TRIES):
            stored = await self._found(task_id)
            spec = make(stored)
            data = json.dumps(stored.definition.data)
            limit = stored.definition.policy.overlap_limit
            answer = await self._runs.submit(spec, data, limit=limit, state=stored.text, confirm=confirm, note=note)
            if answer.verdict != "stale":
                return spec, answer
        raise ChangedMeanwhile(id=task_id, tries=TRIES)

    async def _found(self, task_id: str) -> Stored:
        stored = await self._schedules.get(task_id)
        if stored is None:
            raise ScheduleNotFound(id=task_id)
        return stored
