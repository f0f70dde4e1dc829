"""Cron lines: five fields with the meaning of crontab(5), and the wall-clock minutes that they name."""

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import MAXYEAR, date, datetime, time, timedelta
from functools import lru_cache

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
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

PART = re.compile(r"(\*|[0-9a-z]{1,9})(?:-([0-9a-z]{1,9}))?(?:/([0-9]{1,9}))?")


@dataclass(frozen=True)
class Field:
    """One of the five: its name, its bounds, and the words that stand for the numbers from ``low`` on.

    With a ``cycle`` the last number is the first once more (Sunday is 0 and 7), and a range may run past it
    (``fri-mon``).
    """

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()
    cycle: int = 0

    def values(self, text: str) -> frozenset[int]:
        """Return the numbers that ``text`` names; raise ``ValueError`` that says what can stand here."""
        numbers = (number for part in text.split(",") for number in self._part(part))
        return frozenset(number % self.cycle if self.cycle else number for number in numbers)

    def _part(self, part: str) -> range:
        found = PART.fullmatch(part)
        if found is None or (found[1] == "*" and found[2]):
            raise self._wrong(part, "a number, a range or '*' stands here, with /step behind a range or '*'")
        first, last = self._bounds(found, part)
        step = int(found[3] or 1)
        if not 1 <= step <= self.high - self.low + 1:
            raise self._wrong(part, f"its step is not 1 to {self.high - self.low + 1}")
        if last < first and not self.cycle:
            raise self._wrong(part, "its range ends before it begins")
        return range(first, (last if last >= first else last + self.cycle) + 1, step)

    def _bounds(self, found: re.Match[str], part: str) -> tuple[int, int]:
        if found[1] == "*":
            return self.low, self.high
        first = self._number(found[1], part)
        if found[2]:
            return first, self._number(found[2], part)
        end = self.cycle - 1 if self.cycle else self.high
        return first, max(first, end) if found[3] else first

    def _number(self, text: str, part: str) -> int:
        if text in self.words:
            return self.low + self.words.index(text)
        if not text.isdigit() or not self.low <= int(text) <= self.high:
            raise self._wrong(part, f"'{text}' is not known")
        return int(text)

    def _wrong(self, part: str, why: str) -> ValueError:
        words = f" or {self.words[0]} to {self.words[-1]}" if self.words else ""
        return ValueError(f"'{part}' is no {self.name} ({self.low} to {self.high}{words}): {why}")


FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of month", 1, 31),
    Field("month", 1, 12, MONTHS),
    Field("weekday", 0, 7, WEEKDAYS, cycle=7),
)


@dataclass(frozen=True)
class CronLine:
    """The minutes that a cron line names, on a wall clock without a timezone."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool
    """Day of month and weekday are both restricted: either matches."""
    elapsed: bool
    """Minute or hour begins with ``*``: it goes by elapsed time through changes of the wall clock."""

    def next_after(self, wall: datetime) -> datetime | None:
        """Return the first minute named after the naive time ``wall``; None when there is none within the horizon."""
        if self._on(wall.date()) and (later := self._time_after(wall.hour, wall.minute)) is not None:
            return datetime.combine(wall.date(), later)
        day = self._day_after(wall.date())
        return None if day is None else datetime.combine(day, time(self.hours[0], self.minutes[0]))

    def _time_after(self, hour: int, minute: int) -> time | None:
        if hour in self.hours and (at := bisect_right(self.minutes, minute)) < len(self.minutes):
            return time(hour, self.minutes[at])
        at = bisect_right(self.hours, hour)
        return time(self.hours[at], self.minutes[0]) if at < len(self.hours) else None

    def _day_after(self, day: date) -> date | None:
        last = min(day.year + HORIZON_YEARS, MAXYEAR - 1)
        while day.year <= last:
            if day.month in self.months:
                day += timedelta(days=1)
            else:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            if self._on(day):
                return day
        return None

    def _on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_day or by_weekday if self.either else by_day and by_weekday


@lru_cache(maxsize=1024)
def read(line: str) -> CronLine:
    """Return what a cron line, or a macro like ``@daily``, names; raise ``ValueError`` for the part that is wrong."""
    lowered = line.strip().lower()
    texts = MACROS.get(lowered, lowered).split()
    if len(texts) != len(FIELDS):
        raise ValueError(f"'{line}' is no cron line of five fields: minute hour day-of-month month day-of-week")
    minutes, hours, days, months, weekdays = (field.values(text) for field, text in zip(FIELDS, texts, strict=True))
    starred = [text.startswith("*") for text in texts]
    return CronLine(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=days,
        months=months,
        weekdays=weekdays,
        either=not starred[2] and not starred[4],
        elapsed=starred[0] or starred[1],
    )
