"""What one commit writes, as commit.lua reads it."""

import json
from collections.abc import Iterator

from application.scheduling.moments import iso
from application.scheduling.planning import Plan, PlannedRun, look_at
from application.scheduling.states import given_up
from domain.runs.run import RunReason
from domain.scheduling.schedule import ScheduleState
from infrastructure.scheduling.prepared import Prepared


class Batch:
    """What one commit writes: ``arguments`` as commit.lua reads them, and the runs in the same order."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.arguments: list[str | int] = []
        self.runs: list[tuple[Prepared, PlannedRun]] = []
        self.looks: list[int] = []

    def add(self, schedule: Prepared, planned: Plan) -> None:
        """Add what was planned for one schedule, whole or, when something raises, not at all."""
        taken, due = schedule.text, schedule.due
        after = ""
        look: int | str = ""
        if planned.next_due is not None:
            after = schedule.state_text(planned.next_due)
            look = look_at(schedule.id, planned.next_due, schedule.compiled.descriptor.policy)
        elif planned.gave_up_at is not None:
            after = given_up(ScheduleState.model_validate_json(taken), self.now, planned.gave_up_at).dump()
        head = (schedule.id, taken, after, schedule.lane, look)
        if look and _is_plain(schedule, planned):
            (run,) = planned.runs
            run_id, tag, payload = schedule.run_texts(run)
            rule, order = ("late", _order(run)) if run.missed else ("fire", run.due)
            self.arguments += (*head, rule, run_id, order, tag, payload)
        else:
            dropped = _dropped(schedule.id, due, planned.dropped) if planned.dropped else ""
            self.arguments += (*head, schedule.rule, dropped, len(planned.runs), *_runs(schedule, planned))
        self.runs += [(schedule, run) for run in planned.runs]
        if planned.next_due is not None:
            schedule.text, schedule.due = after, planned.next_due  # as it will be; else it is read again
            self.looks.append(int(look))


def _is_plain(schedule: Prepared, planned: Plan) -> bool:
    """Tell whether it is what most are: one fire, by the usual rule."""
    if schedule.rule or planned.dropped or len(planned.runs) != 1:
        return False
    return planned.runs[0].reason is RunReason.FIRE


def _runs(schedule: Prepared, planned: Plan) -> Iterator[str]:
    for run in planned.runs:
        run_id, tag, payload = schedule.run_texts(run)
        yield from (run_id, _order(run), tag, payload)


def _order(run: PlannedRun) -> str:
    return f"{run.reason.value} {run.due} {run.missed}"


def _dropped(schedule_id: str, due: int, dropped: int) -> str:
    return f"{dropped} {json.dumps({'id': schedule_id, 'why': 'missed', 'count': dropped, 'since': iso(due)})}"
