"""From events and journal: which fires each schedule must have had, and which a change took away."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from application.scheduling.planning import first_due, look_at
from application.scheduling.triggers import compile_trigger
from distributed.checker_evidence import ChangeAsked, Event, Evidence, Kept
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.schedule import ScheduleState


@dataclass
class Segment:
    """A stretch of a schedule's life between two changes.

    Due times from ``first`` up to and without ``stop`` were planned: the store's own state says so. ``stop`` is None
    where the program itself ended the stretch, at ``ended_at`` (ms), and no state of that moment is known.
    """

    definition: RecurrentTaskDescriptor | None
    anchor: int
    first: int
    began_at: int
    resting: bool = False
    stop: int | None = None
    ended_at: int | None = None
    whole: bool = False
    """Whether it went on until there was no further fire."""
    at_least: int = 0
    """Due times before this one were planned, also where ``stop`` is not known."""

    def dues(self) -> Iterator[int]:
        """Yield due times from ``first`` on; an interval is reckoned here, not by the program."""
        assert self.definition is not None
        due: int | None = self.first
        end = self.definition.policy.end
        trigger = compile_trigger(self.definition, self.anchor)
        step = None if self.definition.interval is None else round(self.definition.interval * 1000)
        while due is not None and (end is None or due <= end.timestamp() * 1000):
            yield due
            due = due + step if step else trigger.next_after(due)

    def look(self, due: int) -> int:
        """Return when a fire may be taken at the earliest: its jitter after it is due."""
        assert self.definition is not None
        return look_at(self.definition.id, due, self.definition.policy)

    def planned(self) -> list[int]:
        """Return the due times that were planned, or may have been where ``stop`` is not known."""
        if self.resting or self.definition is None:
            return []
        if self.stop is not None:
            stop = self.stop
            return list(takewhile(lambda due: due < stop, self.dues()))
        ended_at = self.ended_at or 0
        return list(takewhile(lambda due: self.look(due) <= ended_at, self.dues()))

    def cut_short(self) -> bool:
        """Tell whether it was ended for want of further fires although there was one."""
        ended_at = self.ended_at or 0
        return self.whole and self.definition is not None and any(self.look(due) > ended_at for due in self.dues())

    def overdue(self, moment: int) -> list[int]:
        """Return what was due at ``moment`` but not planned."""
        if self.resting or self.stop is None or self.definition is None:
            return []
        stop = self.stop
        late = takewhile(lambda due: self.look(due) <= moment, self.dues())
        return [due for due in late if due >= stop]


@dataclass
class Life:
    """One incarnation of a schedule, from its creation to its end. ``faults`` are contradictions in what is told."""

    id: str
    incarnation: str
    segments: list[Segment] = field(default_factory=list)
    removed_at: int | None = None
    faults: list[tuple[str, str]] = field(default_factory=list)

    def withdrawn(self) -> dict[int, int]:
        """Return fires that were late when a change came that starts anew after them, and by how many ms."""
        found: dict[int, int] = {}
        for segment, after in zip(self.segments, [*self.segments[1:], None], strict=True):
            kept_from = after.first if after and not after.resting else None
            if segment.ended_at is not None:
                late = segment.overdue(segment.ended_at)
                gone = [due for due in late if kept_from is None or due < kept_from]
                found.update((due, segment.ended_at - segment.look(due)) for due in gone)
        return found


class Book:
    """Follow the changes of one schedule id."""

    def __init__(self, schedule_id: str) -> None:
        self._id = schedule_id
        self.lives: list[Life] = []
        self._open = False

    def read(self, event: Event, change: ChangeAsked | None) -> None:
        """Follow one ``schedule.*`` event, with the change in the journal that it tells of, if there is one."""
        if change is None:
            self._read_own(event)
            return
        if change.before is None:
            if self._open:
                self._fault("wrong", f"{event.topic} tells of a new schedule while there is one")
            assert change.after is not None
            self._begin(change.after.incarnation)
        elif not self._open or change.before.incarnation != self.lives[-1].incarnation:
            self._fault("wrong", f"{event.topic} changed an incarnation that is not there")
            return
        else:
            # A removal asks for the incarnation alone: fires may have come after the state that it had seen.
            self.lives[-1].segments[-1].at_least = change.before.due
            self._end_segment(event.at, change.before.due if change.after else None)
        if change.after is None:
            self._end(event.at)
        else:
            definition = change.definition or self._definition()
            self._add(definition, change.after, event.at)

    def close(self, kept: Kept | None) -> None:
        """Compare with what is in the store at the end."""
        if not self._open:
            if kept is not None:
                self._fault("wrong", "it was removed, but is in the store")
            return
        life = self.lives[-1]
        last = life.segments[-1]
        if kept is None or (life.incarnation and kept.state.incarnation != life.incarnation):
            self._fault("lost", "it is not in the store any more, and nobody removed it")
            last.ended_at = last.began_at
            return
        if last.definition is None:
            life.incarnation = kept.state.incarnation
            last.definition, last.anchor = kept.definition, kept.state.anchor
            trigger = compile_trigger(kept.definition, last.anchor)
            last.first = first_due(trigger, kept.definition.policy, last.anchor) or last.anchor
        last.stop = kept.state.due

    def _read_own(self, event: Event) -> None:
        """Follow what the program did by itself, or what somebody without a journal asked for."""
        if event.topic == "schedule.created":
            self._begin("")
            self.lives[-1].segments.append(Segment(None, 0, 0, event.at))
        elif event.topic == "schedule.removed" and self._open:
            self.lives[-1].segments[-1].whole = "no further fire" in str(event.data.get("why", ""))
            self._end_segment(event.at, None)
            self._end(event.at)
        elif not event.data.get("unchanged"):
            self._fault("wrong", f"no journal knows who asked for this {event.topic}: {event.data}")

    def _begin(self, incarnation: str) -> None:
        self.lives.append(Life(self._id, incarnation))
        self._open = True

    def _end(self, at: int) -> None:
        self.lives[-1].removed_at = at
        self._open = False

    def _end_segment(self, at: int, stop: int | None) -> None:
        segment = self.lives[-1].segments[-1]
        segment.ended_at, segment.stop = at, stop
        if segment.resting and stop not in (None, segment.first):
            self._fault("wrong", f"it rested, but its due time went from {segment.first} to {stop}")

    def _add(self, definition: RecurrentTaskDescriptor | None, state: ScheduleState, at: int) -> None:
        resting = bool(state.paused or state.parked)
        segment = Segment(definition, state.anchor, state.due, at, resting)
        self.lives[-1].segments.append(segment)
        if definition is not None and definition.interval is not None:
            self._check_first(segment, definition)

    def _check_first(self, segment: Segment, definition: RecurrentTaskDescriptor) -> None:
        step = round((definition.interval or 0) * 1000)
        start = definition.policy.start
        latest = max(segment.began_at, round(start.timestamp() * 1000) if start else 0) + step
        if (segment.first - segment.anchor) % step or segment.first > latest:
            self._fault("wrong", f"its first fire is at {segment.first}: anchor {segment.anchor}, every {step} ms")

    def _definition(self) -> RecurrentTaskDescriptor | None:
        return self.lives[-1].segments[-1].definition

    def _fault(self, kind: str, why: str) -> None:
        if not self.lives:
            self.lives.append(Life(self._id, ""))
        self.lives[-1].faults.append((kind, why))


def lives_of(evidence: Evidence) -> list[Life]:
    """Return all incarnations of all schedules that the events tell of, or that the store keeps."""
    asked = {change.op: change for change in evidence.changes}
    books: dict[str, Book] = {}
    for event in evidence.events:
        if event.topic.startswith("schedule.") and event.topic != "schedule.fire_skipped":
            book = books.setdefault(event.data["id"], Book(event.data["id"]))
            book.read(event, asked.get(event.data.get("op", "")))
    for schedule_id, book in books.items():
        book.close(evidence.schedules.get(schedule_id))
    for schedule_id in evidence.schedules.keys() - books.keys():
        stranger = Life(schedule_id, "", faults=[("wrong", "it is in the store, but no event tells of it")])
        books[schedule_id] = Book(schedule_id)
        books[schedule_id].lives.append(stranger)
    return [life for book in books.values() for life in book.lives]


def unanswered(evidence: Evidence) -> Sequence[ChangeAsked]:
    """Return the changes that were acknowledged, though no event tells of them."""
    told = {event.data.get("op") for event in evidence.events if event.topic.startswith("schedule.")}
    return [change for change in evidence.changes if change.answer == "ok" and change.op not in told]
