"""The due times of calendars, beside a plain walk over the days and beside APScheduler's own trigger."""

import random
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from pydantic import ValidationError

from application.scheduling.calendar_times import CalendarTimes
from application.scheduling.moments import at, milliseconds
from application.scheduling.triggers import compile_trigger
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.errors import InvalidTrigger
from domain.scheduling.trigger import CalendarInterval

MADE = datetime(2026, 11, 22, 13, 30, tzinfo=UTC)


def times(
    count: int, timezone: str = "UTC", after: datetime = MADE, anchor: datetime = MADE, **calendar: Any
) -> list[str]:
    """Return the first due times after a moment, as the wall clock shows them, with the UTC offset."""
    trigger = CalendarTimes(CalendarInterval(**calendar), timezone, milliseconds(anchor))
    found, moment = [], milliseconds(after)
    for _ in range(count):
        due = trigger.next_after(moment)
        if due is None:
            break
        assert due > moment
        moment = due
        found.append(at(due).astimezone(ZoneInfo(timezone)).strftime("%Y-%m-%d %H:%M%z"))
    return found


def days(count: int, **calendar: Any) -> list[str]:
    return [text.partition(" ")[0] for text in times(count, **calendar)]


def test_every_month_on_the_31st_skips_shorter_months_unless_told_otherwise() -> None:
    assert days(4, months=1, day=31) == ["2026-12-31", "2027-01-31", "2027-03-31", "2027-05-31"]
    assert days(5, months=1, day=31, missing_day="last") == [
        *("2026-11-30", "2026-12-31", "2027-01-31", "2027-02-28", "2027-03-31"),
    ]


def test_the_last_day_of_february_in_a_leap_year() -> None:
    february = {"after": datetime(2028, 2, 1, tzinfo=UTC), "months": 1, "missing_day": "last"}
    assert days(2, **february, day=31) == ["2028-02-29", "2028-03-31"]
    assert days(2, **{**february, "missing_day": "skip"}, day=30) == ["2028-03-30", "2028-04-30"]


def test_every_quarter_counts_from_its_first_date() -> None:
    assert days(3, months=3, start_date=date(2026, 1, 31)) == ["2027-01-31", "2027-07-31", "2027-10-31"]
    last = days(3, months=3, start_date=date(2026, 1, 31), missing_day="last")
    assert last == ["2027-01-31", "2027-04-30", "2027-07-31"]


def test_every_year_on_29_february() -> None:
    leap = {"years": 1, "start_date": date(2024, 2, 29)}
    assert days(2, **leap) == ["2028-02-29", "2032-02-29"]
    assert days(3, **leap, missing_day="last") == ["2027-02-28", "2028-02-29", "2029-02-28"]
    assert days(2, **leap, after=datetime(2097, 1, 1, tzinfo=UTC)) == ["2104-02-29", "2108-02-29"]


def test_days_and_weeks_count_from_the_day_it_was_made() -> None:
    assert times(2, days=2, hour=9) == ["2026-11-24 09:00+0000", "2026-11-26 09:00+0000"], "today at nine is past"
    assert times(2, days=2, hour=14) == ["2026-11-22 14:00+0000", "2026-11-24 14:00+0000"]
    assert days(3, weeks=2, days=1, hour=23) == ["2026-11-22", "2026-12-07", "2026-12-22"]


def test_the_day_on_which_it_was_made_is_that_of_its_timezone() -> None:
    late = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
    tokyo = times(1, "Asia/Tokyo", after=late, anchor=late, days=1, hour=9)
    assert tokyo == ["2026-11-23 09:00+0900"]
    assert times(1, "Asia/Tokyo", after=late, anchor=late, months=1, hour=9) == ["2026-11-23 09:00+0900"]


def test_a_first_date_to_come_is_the_first_due_time() -> None:
    assert days(2, months=1, start_date=date(2030, 1, 31)) == ["2030-01-31", "2030-03-31"]


def test_a_time_that_spring_swallows_fires_at_the_next_instant_that_exists() -> None:
    before = datetime(2027, 3, 26, tzinfo=UTC)
    assert times(3, "Europe/Brussels", after=before, days=1, hour=2, minute=30, start_date=date(2027, 3, 27)) == [
        *("2027-03-27 02:30+0100", "2027-03-28 03:00+0200", "2027-03-29 02:30+0200"),
    ]


@pytest.mark.parametrize("minute", range(0, 60, 7))
def test_whatever_time_spring_swallows_fires_once(minute: int) -> None:
    before = datetime(2027, 3, 26, tzinfo=UTC)
    swallowed = {"hour": 2, "minute": minute, "second": 41, "start_date": date(2027, 3, 27)}
    found = times(3, "Europe/Brussels", after=before, days=1, **swallowed)
    assert found[1:] == ["2027-03-28 03:00+0200", f"2027-03-29 02:{minute:02}+0200"]


def test_a_time_that_autumn_shows_twice_fires_the_first_time() -> None:
    before = datetime(2027, 10, 29, 12, tzinfo=UTC)
    assert times(3, "Europe/Brussels", after=before, days=1, hour=2, minute=30, start_date=date(2027, 10, 1)) == [
        *("2027-10-30 02:30+0200", "2027-10-31 02:30+0200", "2027-11-01 02:30+0100"),
    ]


def test_a_day_that_never_was_and_the_day_after_it_fire_once() -> None:
    before = datetime(2011, 12, 28, tzinfo=UTC)  # Samoa had no 30 December 2011
    found = times(3, "Pacific/Apia", after=before, days=1, hour=0, start_date=date(2011, 12, 28))
    assert found == ["2011-12-28 00:00-1000", "2011-12-29 00:00-1000", "2011-12-31 00:00+1400"]


@pytest.mark.parametrize("chance", range(25))
def test_calendars_agree_with_a_walk_over_the_days(chance: int) -> None:
    dice = random.Random(chance)  # noqa: S311 - the same dice each time
    first = date(2024, 1, 1) + timedelta(dice.randrange(1000))
    unit = dice.choice(["days", "weeks", "months", "years"])
    step, missing = dice.randint(1, 5), dice.choice(["skip", "last"])
    zone = dice.choice(["UTC", "Europe/Brussels", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"])
    calendar = {unit: step, "start_date": first, "missing_day": missing, "hour": dice.randrange(24)}
    after = datetime.combine(first, time(0), UTC) + timedelta(
        days=dice.randrange(-50, 900), minutes=dice.randrange(999)
    )
    wanted = []
    for n in range(5000):
        on = first + timedelta(n)
        if is_named(on, first, unit, step, missing):
            instant = datetime.combine(on, time(calendar["hour"]), ZoneInfo(zone)).astimezone(UTC)
            if instant > after:
                wanted.append(instant.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M%z"))
    assert times(len(wanted), zone, after=after, **calendar)[:5] == wanted[:5]


def is_named(on: date, first: date, unit: str, step: int, missing: str) -> bool:
    """Tell whether a calendar names a day; whole hours exist on each day of the zones above, but for the gap at 2."""
    if unit in ("days", "weeks"):
        return (on - first).days % (step * (7 if unit == "weeks" else 1)) == 0
    months = (on.year - first.year) * 12 + on.month - first.month
    last = monthrange(on.year, on.month)[1]
    day = min(first.day, last) if missing == "last" else first.day
    return months % (step * (12 if unit == "years" else 1)) == 0 and on.day == day


@pytest.mark.parametrize("chance", range(12))
def test_calendars_agree_with_apscheduler_where_no_wall_time_is_missing(chance: int) -> None:
    dice = random.Random(chance)  # noqa: S311 - the same dice each time
    first = date(2024, 1, 1) + timedelta(dice.randrange(1000))
    step = {dice.choice(["days", "weeks", "months", "years"]): dice.randint(1, 5)}
    zone = dice.choice(["UTC", "Europe/Brussels", "Asia/Kolkata"])
    theirs = CalendarIntervalTrigger(**step, start_date=first, hour=12, timezone=zone)
    wanted, last = [], None
    for _ in range(5):
        last = theirs.get_next_fire_time(last, datetime.combine(first, time(0), UTC))
        wanted.append(last.strftime("%Y-%m-%d %H:%M%z"))
    before = datetime.combine(first, time(0), UTC) - timedelta(days=1)
    assert times(5, zone, after=before, **step, start_date=first, hour=12) == wanted


def descriptor(**calendar: Any) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(id="s", name="Job", calendar=calendar)


@pytest.mark.parametrize(
    ("calendar", "why"),
    [
        ({}, "give years and months, or weeks and days"),
        ({"months": 0}, "give years and months, or weeks and days"),
        ({"months": 1, "days": 1}, "give years and months, or weeks and days"),
        ({"months": -1}, "greater than or equal to 0"),
        ({"months": 1201}, "less than or equal to 1200"),
        ({"years": 101}, "less than or equal to 100"),
        ({"months": True}, "valid integer"),
        ({"months": "1"}, "valid integer"),
        ({"months": 10**30}, "less than or equal to"),
        ({"months": 1, "day": 0}, "greater than or equal to 1"),
        ({"months": 1, "day": 32}, "less than or equal to 31"),
        ({"days": 1, "day": 3}, "day goes with months or years"),
        ({"months": 1, "day": 3, "start_date": "2026-01-31"}, "and without a start_date, which has a day of its own"),
        ({"months": 1, "start_date": "2026-02-30"}, "start_date"),
        ({"months": 1, "start_date": "1969-12-31"}, "start_date lies before 1970"),
        ({"months": 1, "start_date": "9001-01-01"}, "or after 9000"),
        ({"days": 1, "hour": 24}, "less than or equal to 23"),
        ({"days": 1, "minute": 60}, "less than or equal to 59"),
        ({"days": 1, "second": -1}, "greater than or equal to 0"),
        ({"months": 1, "missing_day": "first"}, "'skip' or 'last'"),
        ({"month": 1}, "Extra inputs are not permitted"),
        ("monthly", "valid dictionary"),
    ],
)
def test_other_calendars_are_refused(calendar: Any, why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RecurrentTaskDescriptor(id="s", name="Job", calendar=calendar)
    assert why in str(caught.value)


def test_a_calendar_is_stored_with_what_was_said() -> None:
    dumped = descriptor(months=1, day=31, hour=9).model_dump(mode="json", exclude_none=True)["calendar"]
    assert dumped == {"months": 1, "day": 31, "hour": 9, "minute": 0, "missing_day": "skip"}
    assert descriptor(**dumped) == descriptor(months=1, day=31, hour=9)


def test_a_calendar_without_any_date_is_searched_for_no_longer_than_the_calendar_repeats() -> None:
    never = compile_trigger(descriptor(years=1, day=30), milliseconds(datetime(2026, 2, 1, tzinfo=UTC)))
    assert never.next_after(milliseconds(MADE)) is None
    rare = compile_trigger(descriptor(years=100, start_date="1996-02-29"), 0)
    due = rare.next_after(milliseconds(datetime(1997, 1, 1, tzinfo=UTC)))
    assert due == milliseconds(datetime(2096, 2, 29, tzinfo=UTC))


def test_a_calendar_ends_with_the_years_that_can_be_told() -> None:
    assert days(2, years=50, after=datetime(9980, 1, 1, tzinfo=UTC), start_date=date(2000, 1, 1)) == []
    assert days(2, days=36_500, after=datetime(9995, 1, 1, tzinfo=UTC), start_date=date(2000, 1, 1)) == []


def test_a_cron_line_of_a_combination_that_cannot_be_read_is_named() -> None:
    parts = [{"cron": "0 9 * * *"}, {"cron": "0 25 * * *"}]
    with pytest.raises(InvalidTrigger, match="'25' is no hour"):
        compile_trigger(RecurrentTaskDescriptor(id="s", name="Job", either=parts), 0)
