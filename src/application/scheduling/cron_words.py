"""Cron lines in words, in their most common shapes; the line itself for any other."""

from collections.abc import Collection, Sequence
from itertools import product
from typing import NamedTuple

from application.scheduling import cron

DAYS = ("Sundays", "Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays")
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
EVERY_MINUTE = "every minute"
MOST_NAMED = 4
"""Times, days or months beyond these are no longer read, but counted."""


class Phrase(NamedTuple):
    """How often within a day, and when that holds."""

    rhythm: str
    window: str = ""

    def __str__(self) -> str:
        """Return both as one text."""
        return f"{self.rhythm} {self.window}".rstrip()


def describe_line(text: str) -> Phrase:
    """Return a cron line in words; one that cannot be read, or is of a rare shape, as it is."""
    try:
        line = cron.read(text)
    except ValueError:
        return Phrase(f"cron line {text!r}")
    days = None if line.either else _days(line)
    within = _within_a_day(line.minutes, line.hours)
    if days is None or within is None:
        return Phrase(f"cron line {text!r}")
    rhythm, window = within
    if rhythm.startswith("at ") and not _restricted(line):
        rhythm = f"every day {rhythm}"
    return Phrase(rhythm, f"{window} {days}".strip())


def listed(names: Sequence[str]) -> str:
    """Return ``a``, ``a and b``, or ``a, b and c``."""
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), names[-1]])


def ordinal(number: int) -> str:
    """Return ``1st``, ``2nd``, ``11th``, ``31st``."""
    ending = "th" if number // 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _restricted(line: cron.CronLine) -> bool:
    return len(line.days) < 31 or len(line.weekdays) < 7


def _within_a_day(minutes: Sequence[int], hours: Sequence[int]) -> Phrase | None:
    every = _step(minutes, 60)
    if every is not None:
        return _minutes(every, minutes[0], hours)
    times = [f"{hour:02}:{minute:02}" for hour, minute in product(hours, minutes)]
    if len(minutes) == 1 and len(hours) > 1:
        every = _step(hours, 24)
        if every is not None and (every < 12 or hours[0] == 0):
            return Phrase(_hours(every, hours[0], minutes[0]))
        if len(hours) > 2 and _in_a_row(hours):
            return Phrase("every hour", f"from {times[0]} to {times[-1]}")
    return Phrase(f"at {listed(times)}") if len(times) <= MOST_NAMED else None


def _minutes(every: int, first: int, hours: Sequence[int]) -> Phrase | None:
    rhythm = EVERY_MINUTE if every == 1 else f"every {every} minutes"
    if first:
        rhythm += f" from minute {first}"
    if len(hours) == 24:
        return Phrase(rhythm)
    return Phrase(rhythm, f"from {hours[0]:02}:00 to {hours[-1]:02}:59") if _in_a_row(hours) else None


def _hours(every: int, first: int, minute: int) -> str:
    rhythm = "every hour" if every == 1 else f"every {every} hours"
    if first:
        return f"{rhythm} from {first:02}:{minute:02}"
    return f"{rhythm} at minute {minute}" if minute else rhythm


def _days(line: cron.CronLine) -> str | None:
    """Return on which days; '' for all of them, None where there is no short way to say it."""
    months = _months(line.months)
    if months is None:
        return None
    if len(line.days) < 31:
        days = sorted(line.days)
        named = [ordinal(day) for day in days]
        if len(days) > 2 and _in_a_row(days):
            return f"from the {named[0]} to the {named[-1]} of {months or 'every month'}"
        return f"on the {listed(named)} of {months or 'every month'}" if len(days) <= MOST_NAMED else None
    return f"{_weekdays(line.weekdays)} {f'in {months}' if months else ''}".strip()


def _weekdays(weekdays: frozenset[int]) -> str:
    if len(weekdays) == 7:
        return ""
    if weekdays == {1, 2, 3, 4, 5}:
        return "on weekdays"
    if weekdays == {0, 6}:
        return "on weekends"
    return f"on {listed([DAYS[day] for day in sorted(weekdays, key=lambda day: day or 7)])}"


def _months(months: frozenset[int]) -> str | None:
    if len(months) == 12:
        return ""
    named = [MONTHS[month - 1] for month in sorted(months)]
    return listed(named) if len(named) <= MOST_NAMED else None


def _step(values: Sequence[int], cycle: int) -> int | None:
    """Return the step of values that go evenly through a whole cycle."""
    step = cycle // len(values)
    return (
        step if len(values) > 1 and tuple(values) == tuple(range(values[0], cycle, step)) and values[0] < step else None
    )


def _in_a_row(values: Collection[int]) -> bool:
    return max(values) - min(values) == len(values) - 1
