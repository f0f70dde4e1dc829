"""From a trigger to its due times: elapsed intervals, cron lines as crontab(5) and Debian's cron mean them, and more.

Wall-clock times that do not exist fire at the next instant that does; those that exist twice fire once. A cron line
whose minute or hour begins with ``*`` goes by elapsed time instead, as in Debian's cron(8): it fires whenever the wall
clock shows what it names, so every quarter of an hour stays so through both changes.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from application.scheduling import cron
from application.scheduling.calendar_times import CalendarTimes
from application.scheduling.combined import PATIENT, BothTimes, EitherTimes, Trigger, common_interval
from application.scheduling.moments import MILLISECOND, at, milliseconds
from application.scheduling.wall import WallClock
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.errors import InvalidTrigger
from domain.scheduling.trigger import TriggerPart

__all__ = ["CronTimes", "IntervalTrigger", "Trigger", "compile_trigger"]

DAY = timedelta(days=1)
MINUTE_MS = 60_000


class IntervalTrigger:
    """Every ``interval_ms`` of elapsed time since ``anchor``. Exact: a late fire does not move the next.

    The anchor itself is a due time only where somebody asked for it (``first=0``): a start, and not a creation.
    """

    def __init__(self, interval_ms: int, anchor: int, first: int = 1) -> None:
        self.interval_ms = interval_ms
        self.anchor = anchor
        self.first = first

    def next_after(self, moment: int) -> int:
        """Return the first due time after ``moment``."""
        steps = max((moment - self.anchor) // self.interval_ms + 1, self.first)
        return self.anchor + steps * self.interval_ms


class CronTimes:
    """The due times of one cron line in one timezone."""

    def __init__(self, line: str, timezone: str) -> None:
        self._line = cron.read(line)
        self._wall = WallClock(timezone)

    def next_after(self, moment: int) -> int | None:
        """Return the first due time after ``moment``."""
        after = at(moment)
        found = self._next_elapsed(after + MILLISECOND) if self._line.elapsed else self._next_on_the_wall(after)
        return None if found is None else milliseconds(found)

    def _next_elapsed(self, since: datetime) -> datetime | None:
        """Return the first instant, ``since`` or later, at which the wall clock shows what the line names."""
        while True:
            offset = self._wall.offset(since)
            found = self._line.next_after((since + offset - MILLISECOND).replace(tzinfo=None))
            if found is None:
                return None
            instant = found.replace(tzinfo=UTC) - offset
            near = min(instant, since + DAY)
            if self._wall.offset(near) != offset:
                since = self._wall.change_between(since, near)
            elif self._wall.offset(instant) == offset:
                return instant
            else:  # the wall clock changes in between, and nothing is named until a day before
                since = instant - DAY

    def _next_on_the_wall(self, after: datetime) -> datetime | None:
        wall = self._wall.shown(after)
        while (found := self._line.next_after(wall)) is not None:
            instant = self._wall.instant(found)
            if instant > after:
                return instant
            wall = found  # the second time this hour is passed: it fired the first time
        return None


def compile_trigger(descriptor: RecurrentTaskDescriptor, anchor: int, looks: int = PATIENT) -> Trigger:
    """Return the due times of a descriptor; raise ``InvalidTrigger`` when a cron line cannot be read.

    ``looks`` bounds the search for a time that all parts of ``both`` have in common.
    """
    first = 1 if descriptor.policy.start is None else 0
    if descriptor.interval is not None:
        return IntervalTrigger(round(descriptor.interval * 1000), anchor, first)
    try:
        if descriptor.either is not None:
            return EitherTimes(_parts(descriptor, descriptor.either, anchor))
        if descriptor.both is not None:
            return _both(descriptor, descriptor.both, anchor, looks)
        return _on_the_wall(descriptor, descriptor.timezone, anchor)
    except ValueError as error:
        raise InvalidTrigger(id=descriptor.id, why=str(error)) from error


def _on_the_wall(trigger: RecurrentTaskDescriptor | TriggerPart, timezone: str, anchor: int) -> Trigger:
    if trigger.calendar is not None:
        return CalendarTimes(trigger.calendar, timezone, anchor)
    return CronTimes(trigger.cron or "", timezone)


def _parts(descriptor: RecurrentTaskDescriptor, parts: Iterable[TriggerPart], anchor: int) -> list[Trigger]:
    from_minute, first = _combined_anchor(descriptor, anchor)
    return [
        IntervalTrigger(round(part.interval * 1000), from_minute, first)
        if part.interval is not None
        else _on_the_wall(part, part.timezone or descriptor.timezone, anchor)
        for part in parts
    ]


def _both(descriptor: RecurrentTaskDescriptor, parts: Sequence[TriggerPart], anchor: int, looks: int) -> Trigger:
    """Return the common times. Intervals have one anchor, so that all of them are as cheap as one."""
    intervals = [round(part.interval * 1000) for part in parts if part.interval is not None]
    others = _parts(descriptor, [part for part in parts if part.interval is None], anchor)
    if not intervals:
        return BothTimes(others, looks)
    interval = common_interval(intervals)
    if interval is None:
        raise ValueError("its intervals meet less often than once in a hundred years; round them")
    together = IntervalTrigger(interval, *_combined_anchor(descriptor, anchor))
    return BothTimes([together, *others], looks) if others else together


def _combined_anchor(descriptor: RecurrentTaskDescriptor, anchor: int) -> tuple[int, int]:
    """Return what intervals of a combination count from, and whether that is a due time.

    It is the start, or the full minute in which the schedule was made: cron lines and calendars name full minutes, and
    would never meet any other.
    """
    return (anchor - anchor % MINUTE_MS, 1) if descriptor.policy.start is None else (anchor, 0)
