"""What somebody asked for, as it is about to be done: told to who writes it down."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from application.runs.asking import Note
from application.scheduling.store import Stored, Unreadable
from domain.scheduling.descriptor import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from domain.scheduling.schedule import ScheduleState

Facts = Mapping[str, Any]
"""What can be seen of something, as JSON values by name."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One change that was asked for. ``before`` is None for what is new, ``after`` for what goes away.

    ``by`` is who the caller said it is, if it did; ``of_job`` tells one-shots, of which there may be many, from others.
    """

    action: str
    target: str
    before: Facts | None = None
    after: Facts | None = None
    by: str | None = None
    reason: str = ""
    facts: Facts = field(default_factory=dict)
    of_job: bool = False


WriteDown = Callable[[Deed], Note | None]
"""Returns the note that the store adds to its log in the same step as the change; None for none."""


def unwritten(deed: Deed) -> None:
    """Write nothing down."""


def of_change(
    topic: str,
    schedule_id: str,
    before: Stored | Unreadable | None,
    after: ScheduleState | None,
    definition: RecurrentTaskDescriptor | None,
    event: Facts,
) -> Deed | None:
    """Return a change of a schedule as a deed; None for parking and postponing, which nobody asks for."""
    if "parked" in event or "postponed_s" in event:
        return None
    old = before.definition if isinstance(before, Stored) else None
    is_whole = before is None or after is None
    return Deed(
        topic,
        schedule_id,
        before=None if before is None else _shown(old, before.state if isinstance(before, Stored) else None, is_whole),
        after=None if after is None else _shown(definition or old, after, is_whole),
        by=event.get("by"),
        reason=event.get("reason") or "",
    )


def of_one_shot(wanted: ScheduledTaskDescriptor) -> Deed:
    """Return the submission of a one-shot as a deed."""
    after = wanted.model_dump(mode="json", exclude={"id", "type"}, exclude_defaults=True)
    return Deed("job.scheduled", wanted.id, after=after, of_job=True)


def _shown(definition: RecurrentTaskDescriptor | None, state: ScheduleState | None, is_whole: bool) -> Facts:
    """Return what people say of a schedule. One that came or went whole is told without what nobody chose."""
    facts: dict[str, Any] = {}
    if definition is not None:
        facts = definition.model_dump(
            mode="json", exclude={"id", "type"}, exclude_none=not is_whole, exclude_defaults=is_whole
        )
    if state is not None and state.paused is not None:
        facts["paused"] = {"by": state.paused.by, "reason": state.paused.reason}
    if state is not None and state.parked is not None:
        facts["parked"] = state.parked.reason
    return facts
