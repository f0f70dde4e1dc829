"""Triggers in words that people read."""

from datetime import date

from application.scheduling.cron_words import EVERY_MINUTE, MONTHS, Phrase, describe_line, ordinal
from application.scheduling.moments import at
from application.scheduling.wall import WallClock
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.trigger import CalendarInterval, TriggerPart

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def describe(descriptor: RecurrentTaskDescriptor, anchor: int) -> str:
    """Return a trigger in words, like ``every 2 hours on weekdays, UTC``; ``anchor`` (ms) is that of its state."""
    if descriptor.either is not None:
        return _combined(descriptor.either, descriptor.timezone, anchor, is_both=False)
    if descriptor.both is not None:
        return _combined(descriptor.both, descriptor.timezone, anchor, is_both=True)
    phrase = str(_phrase(descriptor, descriptor.timezone, anchor))
    return phrase if descriptor.interval is not None else f"{phrase}, {descriptor.timezone}"


def describe_interval(seconds: float) -> str:
    """Return ``every 90 minutes``: in the largest unit that leaves nothing over. A day is no unit of elapsed time."""
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds % length == 0:
            return _every(round(seconds) // length, unit)
    return _every(f"{seconds:.10g}", "second") if seconds != 1 else "every second"


def _phrase(trigger: RecurrentTaskDescriptor | TriggerPart, timezone: str, anchor: int) -> Phrase:
    if trigger.interval is not None:
        return Phrase(describe_interval(trigger.interval))
    if trigger.calendar is not None:
        first = trigger.calendar.start_date or WallClock(timezone).shown(at(anchor)).date()
        return Phrase(_calendar(trigger.calendar, first))
    return describe_line(trigger.cron or "")


def _combined(parts: tuple[TriggerPart, ...], timezone: str, anchor: int, *, is_both: bool) -> str:
    zones = [part.timezone or timezone for part in parts]
    phrases = [_phrase(part, zone, anchor) for part, zone in zip(parts, zones, strict=True)]
    named = {zone for part, zone in zip(parts, zones, strict=True) if part.interval is None}
    if len(named) > 1:
        texts = [
            str(phrase) if part.interval is not None else f"{phrase}, {zone}"
            for part, phrase, zone in zip(parts, phrases, zones, strict=True)
        ]
        return f"when all of these meet: {'; '.join(texts)}" if is_both else "; or ".join(texts)
    suffix = f", {named.pop()}" if named else ""
    return f"{_met(phrases) if is_both else ', or '.join(map(str, phrases))}{suffix}"


def _met(phrases: list[Phrase]) -> str:
    """Return ``every 2 hours on weekdays`` where all parts but one name whole windows."""
    windows = [phrase.window for phrase in phrases if phrase.rhythm == EVERY_MINUTE and phrase.window]
    others = [phrase for phrase in phrases if phrase.rhythm != EVERY_MINUTE or not phrase.window]
    if len(others) == 1 and not others[0].window:
        return " ".join([str(others[0]), *windows])
    return f"when all of these meet: {'; '.join(map(str, phrases))}"


def _calendar(calendar: CalendarInterval, first: date) -> str:
    time = f"{calendar.hour:02}:{calendar.minute:02}" + (f":{calendar.second:02}" if calendar.second else "")
    if calendar.step_days:
        if calendar.step_days % 7 == 0:
            return f"{_every(calendar.step_days // 7, 'week')} on {WEEKDAYS[first.weekday()]} at {time}"
        return f"{_every(calendar.step_days, 'day')} at {time}"
    day = calendar.day or first.day
    if calendar.step_months % 12 == 0:
        on = f"{_every(calendar.step_months // 12, 'year')} on {day} {MONTHS[first.month - 1]} at {time}"
        lacking = day > 28 and (first.month == 2 or day > LONGEST_MONTHS[first.month - 1])
    else:
        on = f"{_every(calendar.step_months, 'month')} on the {ordinal(day)} at {time}"
        lacking = day > 28
    otherwise = "left out" if calendar.missing_day == "skip" else "on the last day"
    return f"{on} ({otherwise} where there is none)" if lacking else on


def _every(count: int | str, unit: str) -> str:
    return f"every {unit}" if count == 1 else f"every {count} {unit}s"
