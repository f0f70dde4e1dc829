"""From a trigger's text to its due times: elapsed intervals, and cron lines as crontab(5) and Debian's cron mean them.

Wall-clock times that do not exist fire at the next instant that does; those that exist twice fire once. A cron line
whose minute or hour begins with ``*`` goes by elapsed time instead, as in Debian's cron(8): every quarter of an hour
stays so through both changes.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.errors import InvalidTrigger

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
HORIZON_YEARS = 41
"""A 29 February on a given weekday comes back within 40 years; what does not fire until then never does."""

FIELD = re.compile(r"[0-9A-Za-z*/,\-]+")


class Trigger(Protocol):
    """Due times, in whole milliseconds since the epoch."""

    def next_after(self, moment: int) -> int | None:
        """Return the first due time after ``moment``, or None when there is none."""
        ...


class IntervalTrigger:
    """Every ``interval_ms`` of elapsed time since ``anchor``. Exact: a late fire does not move the next."""

    def __init__(self, interval_ms: int, anchor: int) -> None:
        self.interval_ms = interval_ms
        self.anchor = anchor

    def next_after(self, moment: int) -> int:
        """Return the first due time after ``moment``; the anchor itself is none."""
        steps = max((moment - self.anchor) // self.interval_ms + 1, 1)
        return self.anchor + steps * self.interval_ms


class CronTimes:
    """The due times of one cron line in one timezone."""

    def __init__(self, line: str, timezone: str) -> None:
        fields = MACROS.get(line.strip().lower(), line).split()
        if len(fields) != 5 or not all(FIELD.fullmatch(field) for field in fields):
            raise ValueError(f"'{line}' is no cron line of five fields: minute hour day-of-month month day-of-week")
        self._zone = ZoneInfo(timezone)
        self._elapsed = fields[0].startswith("*") or fields[1].startswith("*")
        clock = self._zone if self._elapsed else UTC
        self._triggers = [CronTrigger(timezone=clock, **times) for times in _alternatives(fields)]

    def next_after(self, moment: int) -> int | None:
        """Return the first due time after ``moment``."""
        after = _datetime(moment)
        return self._next_elapsed(after) if self._elapsed else self._next_on_the_wall(after)

    def _next_elapsed(self, after: datetime) -> int | None:
        local = (after + timedelta(milliseconds=1)).astimezone(self._zone)
        found = self._earliest(local)
        return None if found is None else _milliseconds(found)

    def _next_on_the_wall(self, after: datetime) -> int | None:
        wall = after.astimezone(self._zone).replace(tzinfo=UTC, fold=0)
        while (found := self._earliest(wall + timedelta(milliseconds=1))) is not None:
            instant = self._instant(found.replace(tzinfo=None))
            if instant > after:
                return _milliseconds(instant)
            wall = found  # the second time this hour is passed: it fired the first time
        return None

    def _earliest(self, moment: datetime) -> datetime | None:
        limit = moment + timedelta(days=HORIZON_YEARS * 366)
        times = [_next_fire(trigger, moment, limit) for trigger in self._triggers]
        return min((time for time in times if time is not None), default=None)

    def _instant(self, wall: datetime) -> datetime:
        """Return when the wall clock shows ``wall``: the first time, or the end of the gap that swallows it."""
        instant = wall.replace(tzinfo=self._zone, fold=0).astimezone(UTC)
        if instant.astimezone(self._zone).replace(tzinfo=None) == wall:
            return instant
        before = wall.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
        return self._change_between(before, instant)

    def _change_between(self, low: datetime, high: datetime) -> datetime:
        """Return the instant at which the UTC offset changes."""
        old = low.astimezone(self._zone).utcoffset()
        while high - low > timedelta(milliseconds=1):
            middle = low + (high - low) / 2
            if middle.astimezone(self._zone).utcoffset() == old:
                low = middle
            else:
                high = middle
        return high.replace(microsecond=0)  # offsets change on whole seconds


def _next_fire(trigger: CronTrigger, moment: datetime, limit: datetime) -> datetime | None:
    found: datetime | None = trigger.get_next_fire_time(None, moment)
    return None if found is None or found > limit else found


def _alternatives(fields: list[str]) -> list[dict[str, str]]:
    """Return the AND-ed field sets whose union is the line: cron joins day of month and weekday with OR."""
    minute, hour, day, month, weekday = fields
    years = f"1970-{datetime.now(UTC).year + HORIZON_YEARS}"
    common = {"year": years, "month": month.lower(), "hour": hour, "minute": minute, "second": "0"}
    by_day, by_weekday = {**common, "day": day}, {**common, "day_of_week": _weekdays(weekday)}
    if day.startswith("*") or weekday.startswith("*"):
        return [{**by_day, **by_weekday}]
    return [by_day, by_weekday]


def _weekdays(field: str) -> str:
    """Translate crontab's weekdays (0 and 7 are Sunday) to names, which APScheduler numbers in its own way."""
    days: list[int] = []
    for part in field.lower().split(","):
        found = re.fullmatch(r"(\*|[0-7]|[a-z]{3})(?:-([0-7]|[a-z]{3}))?(?:/([1-9]\d*))?", part)
        if not found:
            raise ValueError(f"'{part}' is no weekday: use 0 to 7 (Sunday is 0 and 7) or sun to sat")
        first, last, step = found.groups()
        if first == "*":
            start, end = 0, 6
        else:
            start = _weekday(first)
            end = _weekday(last) if last else (6 if step else start)
        if end < start:
            end += 7
        days.extend(day % 7 for day in range(start, end + 1, int(step or 1)))
    return ",".join(WEEKDAYS[day] for day in sorted(set(days)))


def _weekday(text: str) -> int:
    if text.isdigit():
        return int(text)
    if text not in WEEKDAYS:
        raise ValueError(f"'{text}' is no weekday: use 0 to 7 (Sunday is 0 and 7) or sun to sat")
    return WEEKDAYS.index(text)


def compile_trigger(descriptor: RecurrentTaskDescriptor, anchor: int) -> Trigger:
    """Return the due times of a descriptor; raise ``InvalidTrigger`` when its cron line cannot be read."""
    if descriptor.interval is not None:
        return IntervalTrigger(round(descriptor.interval * 1000), anchor)
    try:
        return CronTimes(descriptor.cron or "", descriptor.timezone)
    except ValueError as error:
        raise InvalidTrigger(id=descriptor.id, why=str(error)) from error


def _datetime(moment: int) -> datetime:
    return datetime.fromtimestamp(moment // 1000, UTC) + timedelta(milliseconds=moment % 1000)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
