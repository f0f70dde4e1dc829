"""From a trigger's text to its due times: elapsed intervals, and cron lines as crontab(5) and Debian's cron mean them.

Wall-clock times that do not exist fire at the next instant that does; those that exist twice fire once. A cron line
whose minute or hour begins with ``*`` goes by elapsed time instead, as in Debian's cron(8): it fires whenever the wall
clock shows what it names, so every quarter of an hour stays so through both changes.
"""

from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from application.scheduling import cron
from application.scheduling.moments import MILLISECOND, at, milliseconds
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.errors import InvalidTrigger

DAY = timedelta(days=1)


class Trigger(Protocol):
    """Due times, in whole milliseconds since the epoch."""

    def next_after(self, moment: int) -> int | None:
        """Return the first due time after ``moment``, or None when there is none."""
        ...


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
        self._zone = ZoneInfo(timezone)

    def next_after(self, moment: int) -> int | None:
        """Return the first due time after ``moment``."""
        after = at(moment)
        found = self._next_elapsed(after + MILLISECOND) if self._line.elapsed else self._next_on_the_wall(after)
        return None if found is None else milliseconds(found)

    def _next_elapsed(self, since: datetime) -> datetime | None:
        """Return the first instant, ``since`` or later, at which the wall clock shows what the line names."""
        while True:
            offset = self._offset(since)
            found = self._line.next_after((since + offset - MILLISECOND).replace(tzinfo=None))
            if found is None:
                return None
            instant = found.replace(tzinfo=UTC) - offset
            near = min(instant, since + DAY)
            if self._offset(near) != offset:
                since = self._change_between(since, near)
            elif self._offset(instant) == offset:
                return instant
            else:  # the wall clock changes in between, and nothing is named until a day before
                since = instant - DAY

    def _next_on_the_wall(self, after: datetime) -> datetime | None:
        wall = (after + self._offset(after)).replace(tzinfo=None)
        while (found := self._line.next_after(wall)) is not None:
            instant = self._instant(found)
            if instant > after:
                return instant
            wall = found  # the second time this hour is passed: it fired the first time
        return None

    def _offset(self, instant: datetime) -> timedelta:
        return instant.astimezone(self._zone).utcoffset() or timedelta()

    def _instant(self, wall: datetime) -> datetime:
        """Return when the wall clock shows ``wall``: the first time, or the end of the gap that swallows it."""
        instant = wall.replace(tzinfo=self._zone, fold=0).astimezone(UTC)
        if instant.astimezone(self._zone).replace(tzinfo=None) == wall:
            return instant
        before = wall.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
        return self._change_between(before, instant)

    def _change_between(self, low: datetime, high: datetime) -> datetime:
        """Return the instant in (low, high] from which another UTC offset holds, at most a millisecond late."""
        old = self._offset(low)
        while high - low > MILLISECOND:
            middle = low + (high - low) / 2
            if self._offset(middle) == old:
                low = middle
            else:
                high = middle
        return high


def compile_trigger(descriptor: RecurrentTaskDescriptor, anchor: int) -> Trigger:
    """Return the due times of a descriptor; raise ``InvalidTrigger`` when its cron line cannot be read."""
    if descriptor.interval is not None:
        first = 1 if descriptor.policy.start is None else 0
        return IntervalTrigger(round(descriptor.interval * 1000), anchor, first)
    try:
        return CronTimes(descriptor.cron or "", descriptor.timezone)
    except ValueError as error:
        raise InvalidTrigger(id=descriptor.id, why=str(error)) from error
