"""When cron lines fire in their timezone, above all through both changes of the wall clock."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from application.scheduling.triggers import CronTimes
from support import examples
from unit.scheduling.minute_scan import BOUNDS, MinuteScan, ms, utc

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
CHANGES = {
    BERLIN: (utc(2026, 3, 29, 1), utc(2026, 10, 25, 1)),  # 02:00 -> 03:00, 03:00 -> 02:00
    NEW_YORK: (utc(2026, 3, 8, 7), utc(2026, 11, 1, 6)),  # 02:00 -> 03:00, 02:00 -> 01:00
    LORD_HOWE: (utc(2026, 10, 3, 15, 30), utc(2026, 4, 4, 15)),  # 02:00 -> 02:30, 02:00 -> 01:30
}
ZONES = ["UTC", BERLIN, NEW_YORK, LORD_HOWE, "Africa/Casablanca", "Asia/Kathmandu"]


def fires(line: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """The fires in [start, end)."""
    times, found, moment = CronTimes(line, zone), [], ms(start) - 1
    while (following := times.next_after(moment)) is not None and following < ms(end):
        assert following > moment, "time stands still"
        moment = following
        found.append(datetime.fromtimestamp(moment / 1000, UTC))
    return found


def shown(line: str, zone: str, change: datetime) -> list[str]:
    """What the wall clock shows at the fires of the day around a change."""
    there = [fire.astimezone(ZoneInfo(zone)) for fire in fires(line, zone, change - DAY / 2, change + DAY / 2)]
    return [fire.isoformat()[11:16] + fire.isoformat()[-6:] for fire in there]


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("zone", "spring", "autumn"),
    [
        (BERLIN, ["03:00+02:00"], ["02:30+02:00"]),
        (NEW_YORK, ["03:00-04:00"], ["02:30-05:00"]),
        (LORD_HOWE, ["02:30+11:00"], ["02:30+10:30"]),
    ],
)
def test_half_past_two_is_made_up_in_spring_and_fires_once_in_autumn(
    zone: str, spring: list[str], autumn: list[str]
) -> None:
    assert shown("30 2 * * *", zone, CHANGES[zone][0]) == spring
    assert shown("30 2 * * *", zone, CHANGES[zone][1]) == autumn


def test_times_that_exist_twice_fire_the_first_time() -> None:
    assert shown("30 1 * * *", NEW_YORK, CHANGES[NEW_YORK][1]) == ["01:30-04:00"]
    assert shown("45 1 * * *", LORD_HOWE, CHANGES[LORD_HOWE][1]) == ["01:45+11:00"]


def test_in_the_second_hour_what_fired_in_the_first_is_over() -> None:
    second_quarter_past_two = CHANGES[BERLIN][1] + timedelta(minutes=15)
    found = CronTimes("30 2 * * *", BERLIN).next_after(ms(second_quarter_past_two))
    assert found == ms(utc(2026, 10, 26, 1, 30))


def test_times_that_one_gap_swallows_fire_once_together() -> None:
    assert shown("0,15,30 2 * * *", BERLIN, CHANGES[BERLIN][0]) == ["03:00+02:00"]
    assert shown("30 2,3 * * *", BERLIN, CHANGES[BERLIN][0]) == ["03:00+02:00", "03:30+02:00"]


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE])
@pytest.mark.parametrize("line", ["0 0 * * *", "59 1 * * *", "0 2 * * *", "15 2 * * *", "0 3 * * *", "59 23 * * *"])
def test_a_fixed_time_fires_exactly_once_on_every_day_of_the_year(zone: str, line: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    days = [fire.astimezone(ZoneInfo(zone)).date() for fire in fires(line, zone, start, start + 365 * DAY)]
    assert days == [datetime(2026, 1, 1, tzinfo=UTC).date() + n * DAY for n in range(365)]


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE])
@pytest.mark.parametrize(("line", "minutes"), [("*/15 * * * *", 15), ("* * * * *", 1), ("*/10 */1 * * *", 10)])
def test_a_wildcard_line_goes_by_elapsed_time_through_both_changes(zone: str, line: str, minutes: int) -> None:
    for change in CHANGES[zone]:
        steps = {b - a for a, b in pairwise(fires(line, zone, change - DAY / 8, change + DAY / 8))}
        assert steps == {timedelta(minutes=minutes)}


def test_an_hourly_line_fires_in_both_hours_of_autumn_and_in_none_that_spring_left_out() -> None:
    before, after = CHANGES[BERLIN]
    assert shown("0 */2 * * *", BERLIN, before)[5:8] == ["00:00+01:00", "04:00+02:00", "06:00+02:00"]
    assert shown("0 */2 * * *", BERLIN, after)[5:8] == ["02:00+02:00", "02:00+01:00", "04:00+01:00"]


def test_a_day_that_a_zone_left_out_is_made_up_at_its_end() -> None:
    """Samoa went from the 29th to the 31st of December 2011."""
    found = fires("0 12 * * *", "Pacific/Apia", utc(2011, 12, 29), utc(2011, 12, 31))
    local = [fire.astimezone(ZoneInfo("Pacific/Apia")).strftime("%d %H:%M") for fire in found]
    assert local == ["29 12:00", "31 00:00", "31 12:00"]


def test_a_far_wildcard_line_is_found_across_many_changes() -> None:
    found = CronTimes("* 2 29 2 *", BERLIN).next_after(ms(utc(2026, 7, 1)))
    assert found == ms(utc(2028, 2, 29, 1))


def test_fires_are_whole_minutes_whatever_the_moment_asked_from() -> None:
    times = CronTimes("*/5 * * * *", BERLIN)
    for offset in (0, 1, 59_999, 299_999):
        assert times.next_after(ms(utc(2026, 6, 1)) + offset) == ms(utc(2026, 6, 1, 0, 5))
    assert times.next_after(ms(utc(2026, 6, 1)) - 1) == ms(utc(2026, 6, 1))


def fields(low: int, high: int, starred: int) -> st.SearchStrategy[str]:
    """The text of one field; ``*`` in ``starred`` of ten cases."""
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    part = st.one_of(
        number.map(str),
        span,
        st.tuples(span, st.integers(1, 7)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
        st.integers(2, 7).map(lambda step: f"*/{step}"),
    )
    plain = st.lists(part, min_size=1, max_size=3).map(",".join)
    return st.integers(1, 10).flatmap(lambda roll: st.just("*") if roll <= starred else plain)


lines = st.tuples(
    *(fields(low, high, starred) for (low, high), starred in zip(BOUNDS, (2, 4, 7, 9, 7), strict=True))
).map(" ".join)

moments = st.one_of(
    st.sampled_from([change for pair in CHANGES.values() for change in pair]).flatmap(
        lambda change: st.integers(-1500, 600).map(lambda minutes: change + timedelta(minutes=minutes))
    ),
    st.datetimes(datetime(2026, 1, 1), datetime(2036, 1, 1)).map(  # noqa: DTZ001 - made aware below
        lambda moment: moment.replace(tzinfo=UTC, second=0, microsecond=0)
    ),
)


@given(lines, st.sampled_from(ZONES), moments)
@example("*/30 1-2 * * 0", BERLIN, CHANGES[BERLIN][1] - timedelta(hours=2))
@example("15,45 1,2 * * *", LORD_HOWE, CHANGES[LORD_HOWE][1] - timedelta(hours=2))
@settings(deadline=None, max_examples=examples(100))
def test_every_line_fires_as_a_scan_of_all_minutes_says(line: str, zone: str, start: datetime) -> None:
    end = start + timedelta(hours=26)
    assert fires(line, zone, start, end) == MinuteScan(line, zone).fires(start, end)
