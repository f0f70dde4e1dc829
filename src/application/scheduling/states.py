"""How a schedule's state follows from a request: pure, so that compare-and-set can try again."""

import secrets

from application.scheduling.combined import HASTY
from application.scheduling.compiled import at, milliseconds
from application.scheduling.moments import iso
from application.scheduling.planning import first_due, late_fires, look_at
from application.scheduling.store import Stored
from application.scheduling.triggers import compile_trigger
from domain.runs.run import lane_of
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.errors import InvalidTrigger, NotResumable, WaitsForInstance
from domain.scheduling.schedule import Parked, Pause, ScheduleState


def put(
    wanted: RecurrentTaskDescriptor, before: Stored | None, now: int, *, fires_at_once: bool = False
) -> ScheduleState:
    """Return the state of a new or changed schedule; ``fires_at_once``: a new one fires now, beside its rhythm.

    A changed one keeps its incarnation and its pause, and its rhythm too while the trigger stays. One that was parked
    goes on with its next fire to come. Raises ``InvalidTrigger``.
    """
    lane = lane_of(wanted.name, wanted.version or 1)
    start = wanted.policy.start
    anchor = now if start is None else milliseconds(start)
    if before is None:
        incarnation = f"{now:x}{secrets.token_hex(2)}"
        due = _due(wanted, anchor, now)
        first = now if fires_at_once else due
        return ScheduleState(generation=1, incarnation=incarnation, lane=lane, anchor=anchor, due=first)
    if before.definition.rhythm == wanted.rhythm:
        anchor = before.state.anchor
        due = before.state.due if _stands(before.state, wanted) else _due(wanted, anchor, now)
    else:
        due = _due(wanted, anchor, now)
    changes = {
        "generation": before.state.generation + 1,
        "lane": lane,
        "anchor": anchor,
        "due": due,
        "parked": None,
    }
    return before.state.model_copy(update=changes)


def paused(stored: Stored, now: int, by: str, reason: str) -> ScheduleState | None:
    """Return the paused state; None for a schedule that is paused already."""
    if stored.state.paused:
        return None
    return stored.state.model_copy(update={"paused": Pause(at=at(now), by=by, reason=reason)})


def parked(stored: Stored, now: int, reason: str, incarnation: str, generation: int) -> ScheduleState | None:
    """Return the parked state; None for a schedule that was parked, changed or made anew since."""
    state = stored.state
    if state.parked or (state.incarnation, state.generation) != (incarnation, generation):
        return None
    return stored.state.model_copy(update={"parked": Parked(at=at(now), reason=reason)})


def given_up(state: ScheduleState, now: int, gave_up_at: int) -> ScheduleState:
    """Return the parked state of a schedule whose next fire was looked for up to ``gave_up_at``, and not found."""
    reason = (
        f"the parts of its trigger 'both' have no moment in common up to {iso(gave_up_at)}, and the search was given "
        "up there; give it another trigger, or stop it"
    )
    return state.model_copy(update={"parked": Parked(at=at(now), reason=reason)})


def resumed(stored: Stored, now: int) -> ScheduleState:
    """Return the state that goes on with the next fire to come; raises ``NotResumable`` or ``WaitsForInstance``."""
    if not stored.state.paused and not stored.state.parked:
        if stored.waits is not None:
            raise WaitsForInstance(id=stored.definition.id, why=stored.waits.reason)
        raise NotResumable(id=stored.definition.id)
    due = _due(stored.definition, stored.state.anchor, now)
    return stored.state.model_copy(update={"paused": None, "parked": None, "due": due})


def postponed(stored: Stored, now: int, delay_ms: int) -> ScheduleState | None:
    """Return the state whose next fire is the first after a delay; 0 takes a postponement back.

    None where nothing is to be changed: it rests, or has no fire then, or one that is late already, or later anyway.
    """
    state = stored.state
    if state.paused or state.parked:
        return None
    trigger = compile_trigger(stored.definition, state.anchor, looks=HASTY)
    due = first_due(trigger, stored.definition.policy, now + max(delay_ms - 1, 0))
    if due is None or (due <= state.due if delay_ms else due >= state.due):
        return None
    return state.model_copy(update={"due": due})


def withdrawn(before: Stored, after: ScheduleState | None, now: int) -> int:
    """Return how many fires were late when a change came that starts anew after them: nobody will take them."""
    state = before.state
    rests = after is not None and (after.paused or after.parked)
    if state.paused or state.parked or (after is not None and not rests and after.due == state.due):
        return 0
    trigger = compile_trigger(before.definition, state.anchor)
    return late_fires(before.definition.id, trigger, before.definition.policy, state.due, now)


def look(descriptor: RecurrentTaskDescriptor, state: ScheduleState) -> int | None:
    """Return when (ms) a schedule is to be taken next; None while it rests."""
    if state.paused or state.parked:
        return None
    return look_at(descriptor.id, state.due, descriptor.policy)


def _due(wanted: RecurrentTaskDescriptor, anchor: int, now: int) -> int:
    due = first_due(compile_trigger(wanted, anchor, looks=HASTY), wanted.policy, now)
    if due is None:
        raise InvalidTrigger(id=wanted.id, why=f"it would never fire (again){_never(wanted)}")
    return due


def _never(wanted: RecurrentTaskDescriptor) -> str:
    if wanted.both is not None:
        return (
            f": the parts of 'both' must fire at the very same moment, and among the first {HASTY} of their times "
            "there is none, or none before its end. A cron line such as '* 9-17 * * 1-5' names a whole window"
        )
    kind = "calendar" if wanted.calendar else "triggers" if wanted.either else "cron line"
    return f"; mend its {kind}, its start or its end"


def _stands(state: ScheduleState, wanted: RecurrentTaskDescriptor) -> bool:
    """Tell whether the next due time stays: not after the end, nor when fires passed while the schedule was parked."""
    end = wanted.policy.end
    return not state.parked and (end is None or state.due <= milliseconds(end))
