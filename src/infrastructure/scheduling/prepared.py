"""A schedule as the tick keeps it between its fires: what does not change is written once."""

import json
from dataclasses import dataclass

from application.scheduling.compiled import CompiledSchedule
from application.scheduling.moments import at, iso
from application.scheduling.planning import PlannedRun
from domain.runs.run import Claim, RunReason
from domain.scheduling.schedule import ScheduleState
from infrastructure.runs.records import payload_of, split_spec

DUE = '"due":'
NONE_MISSED = '"missed":0'
PLAIN_RULE = "skip 1 1"
"""Overlap, how many at once, and how many caught up fires may wait: what commit.lua assumes when it is told nothing."""


@dataclass(slots=True)
class Prepared:
    """One generation of a schedule with the texts that commit.lua reads of it.

    ``text`` is the state that was taken or written last and ``due`` the due time in it: as long as the store has that
    very text nobody else touched the schedule, and it need not be read again.
    """

    compiled: CompiledSchedule
    lane: str
    rule: str
    text: str
    due: int
    before_due: str
    after_due: str
    before_id: str
    after_id: str
    payload: str

    @property
    def id(self) -> str:
        """Return the schedule's id."""
        return self.compiled.descriptor.id

    def is_of(self, state: ScheduleState) -> bool:
        """Tell whether this is the generation that the state names."""
        return (self.compiled.incarnation, self.compiled.generation) == (state.incarnation, state.generation)

    def take(self, text: str, state: ScheduleState) -> None:
        """Note the state that was taken."""
        if self.text != text:
            self.text, self.due = text, state.due
            self.before_due, self.after_due = _around_due(state, text)

    def state_text(self, due: int) -> str:
        """Return the state's JSON with another due time."""
        return f"{self.before_due}{due}{self.after_due}"

    def run_texts(self, run: PlannedRun) -> tuple[str, str, str]:
        """Return the id of a run, its tag and its payload, as ``split_spec`` and ``payload_of`` would write them."""
        run_id = self.compiled.run_id(run)
        if run.reason is not RunReason.FIRE:
            tag, rest = split_spec(self.compiled.spec(run))
            return run_id, tag, payload_of(rest, self.compiled.data)
        payload = self.payload.replace(NONE_MISSED, f'"missed":{run.missed}', 1) if run.missed else self.payload
        return run_id, f'"run_id":"{run_id}{self.before_id}{iso(run.due)}{self.after_id}', payload

    def claim(self, run: PlannedRun, token: str) -> Claim:
        """Return the first claim of a run that was this instance's from its beginning."""
        return Claim(self.compiled.spec(run), self.compiled.data, self.lane, 1, 0, token)


def prepare(compiled: CompiledSchedule, state: ScheduleState, text: str) -> Prepared:
    """Write what does not change from fire to fire."""
    policy = compiled.descriptor.policy
    rule = f"{policy.overlap_mode} {policy.overlap_limit} {policy.catch_up_limit}"
    before_due, after_due = _around_due(state, text)
    tag, rest = split_spec(compiled.template.model_copy(update={"run_id": "-", "fire_time": at(0)}))
    before_id, after_id = tag.removeprefix('"run_id":"-').split(json.dumps(iso(0))[1:-1])
    return Prepared(
        compiled=compiled,
        lane=state.lane,
        rule="" if rule == PLAIN_RULE else rule,
        text=text,
        due=state.due,
        before_due=before_due,
        after_due=after_due,
        before_id=before_id,
        after_id=after_id,
        payload=payload_of(rest, compiled.data),
    )


def _around_due(state: ScheduleState, text: str) -> tuple[str, str]:
    """Return the text of a state before and after its due time; what a newer version added to it stays.

    The space at its end does not: with it change.lua asked fires to wait for a change, once.
    """
    before, found, after = text.rstrip().partition(f"{DUE}{state.due}")
    if not found:  # another hand wrote it, with other spaces
        before, _, after = state.dump().partition(f"{DUE}{state.due}")
    return f"{before}{DUE}", after
