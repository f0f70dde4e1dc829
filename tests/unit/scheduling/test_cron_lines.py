"""What a cron line names, as crontab(5) has it, and which lines are refused."""

from datetime import datetime

import pytest

from application.scheduling import cron

MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = range(2, 9)  # of November 2026


def wall_clock(*parts: int) -> datetime:
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001 - a wall clock has no timezone


def days_of(weekdays: str) -> list[int]:
    """The days on which a line with these weekdays fires in the week of 2 to 8 November 2026."""
    line = cron.read(f"0 12 * * {weekdays}")
    found, wall = [], wall_clock(2026, 11, 1, 23, 59)
    while (wall := line.next_after(wall) or wall).day <= SUNDAY:  # type: ignore[assignment]
        found.append(wall.day)
    return found


@pytest.mark.parametrize(
    ("weekdays", "days"),
    [
        ("0", [SUNDAY]),
        ("7", [SUNDAY]),
        ("1", [MONDAY]),
        ("sun", [SUNDAY]),
        ("SAT,Sun", [SATURDAY, SUNDAY]),
        ("mon-fri", [MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY]),
        ("1-5", [MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY]),
        ("fri-mon", [MONDAY, FRIDAY, SATURDAY, SUNDAY]),
        ("5-1", [MONDAY, FRIDAY, SATURDAY, SUNDAY]),
        ("6-7", [SATURDAY, SUNDAY]),
        ("7-1", [MONDAY, SUNDAY]),
        ("0-7", [MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY]),
        ("1-5/2", [MONDAY, WEDNESDAY, FRIDAY]),
        ("mon-fri/2", [MONDAY, WEDNESDAY, FRIDAY]),
        ("fri-tue/2", [TUESDAY, FRIDAY, SUNDAY]),
        ("*/2", [TUESDAY, THURSDAY, SATURDAY, SUNDAY]),
        ("*/7", [SUNDAY]),
        ("1/3", [MONDAY, THURSDAY]),
        ("2/2", [TUESDAY, THURSDAY, SATURDAY]),
        ("*", [MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY]),
    ],
)
def test_weekdays_are_those_of_crontab(weekdays: str, days: list[int]) -> None:
    assert days_of(weekdays) == days


@pytest.mark.parametrize(
    ("line", "minutes", "hours"),
    [
        ("* * * * *", tuple(range(60)), tuple(range(24))),
        ("*/15 0-6/3 * * *", (0, 15, 30, 45), (0, 3, 6)),
        ("5,5,07,59 23 * * *", (5, 7, 59), (23,)),
        ("50/3 22/1 * * *", (50, 53, 56, 59), (22, 23)),
        ("*/60 */24 * * *", (0,), (0,)),
        ("  1\t2   3 4 5 ", (1,), (2,)),
    ],
)
def test_minutes_and_hours_take_lists_ranges_and_steps(
    line: str, minutes: tuple[int, ...], hours: tuple[int, ...]
) -> None:
    assert (cron.read(line).minutes, cron.read(line).hours) == (minutes, hours)


def test_months_have_names_too() -> None:
    assert cron.read("0 0 1 jan,MAR-jun/2,12 *").months == {1, 3, 5, 12}


@pytest.mark.parametrize(
    ("macro", "line"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        (" @Midnight ", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ],
)
def test_a_macro_stands_for_its_line(macro: str, line: str) -> None:
    assert cron.read(macro) == cron.read(line)


@pytest.mark.parametrize(
    ("line", "days"),
    [
        ("0 0 13 * fri", [6, 13, 20, 27]),  # both restricted: the 13th, and every Friday
        ("0 0 13 * *", [13]),
        ("0 0 * * fri", [6, 13, 20, 27]),
        ("0 0 */2 * fri", [13, 27]),  # a field that begins with * restricts nothing by itself: both must match
        ("0 0 13 * */5", [13]),
        ("0 0 1,13 * 5,5", [1, 6, 13, 20, 27]),
    ],
)
def test_day_of_month_and_weekday_are_joined_as_cron_does(line: str, days: list[int]) -> None:
    found, wall = [], wall_clock(2026, 10, 31, 23, 59)
    while (wall := cron.read(line).next_after(wall)) and wall.month == 11:  # type: ignore[assignment]
        found.append(wall.day)
    assert found == days


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "five fields"),
        ("   ", "five fields"),
        ("* * * *", "five fields"),
        ("0 * * * * *", "five fields"),
        ("@reboot", "five fields"),
        ("every five minutes", "five fields"),
        ("61 * * * *", "'61' is no minute"),
        ("60 * * * *", "'60' is no minute"),
        ("-1 * * * *", "'-1' is no minute"),
        ("1.5 * * * *", "'1.5' is no minute"),
        ("a * * * *", "'a' is no minute"),
        ("1,,2 * * * *", "'' is no minute"),
        ("*/0 * * * *", "'*/0' is no minute"),
        ("*/61 * * * *", "'*/61' is no minute"),
        ("*-5 * * * *", "'*-5' is no minute"),
        ("** * * * *", "'**' is no minute"),
        ("1-2-3 * * * *", "'1-2-3' is no minute"),
        ("1/2/3 * * * *", "'1/2/3' is no minute"),
        ("50-10 * * * *", "ends before it begins"),
        ("9999999999999 * * * *", "is no minute"),
        ("٣ * * * *", "is no minute"),
        ("0 24 * * *", "'24' is no hour"),
        ("0 jan * * *", "'jan' is no hour"),
        ("0 0 0 * *", "'0' is no day of month"),
        ("0 0 32 * *", "'32' is no day of month"),
        ("0 0 last * *", "'last' is no day of month"),  # APScheduler's, and 1st, xth, #, L, W: not cron's
        ("0 0 1st * *", "'1st' is no day of month"),
        ("0 0 L * *", "'l' is no day of month"),
        ("0 0 ? * *", "'?' is no day of month"),
        ("0 0 * 13 *", "'13' is no month"),
        ("0 0 * janx *", "'janx' is no month"),
        ("0 0 * jan- *", "'jan-' is no month"),
        ("0 0 * jan-mar/x *", "'jan-mar/x' is no month"),
        ("0 0 * * 8", "'8' is no weekday"),
        ("0 0 * * mon#1", "'mon#1' is no weekday"),
        ("0 0 * * monday", "'monday' is no weekday"),
        ("0 0 * * 1-", "'1-' is no weekday"),
        ("0 0 * * *\n0", "five fields"),
        ("0;0 0 * * *", "is no minute"),
    ],
)
def test_a_bad_line_is_refused_by_the_part_that_is_wrong(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"no cron line|is no") as caught:
        cron.read(line)
    assert why in str(caught.value)


def test_the_message_says_what_can_stand_there() -> None:
    with pytest.raises(ValueError, match=r"'tues' is no weekday \(0 to 7 or sun to sat\)"):
        cron.read("0 0 * * tues")


@pytest.mark.parametrize("line", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 30-31 feb *"])
def test_a_line_that_never_fires_is_found_out(line: str) -> None:
    assert cron.read(line).next_after(wall_clock(2026, 11, 1)) is None


def test_a_day_that_comes_once_in_decades_is_found() -> None:
    sundays = cron.read("0 0 29 2 */7")  # a 29 February that is a Sunday
    assert sundays.next_after(wall_clock(2032, 3, 1)) == wall_clock(2060, 2, 29)
    assert sundays.next_after(wall_clock(2088, 3, 1)) == wall_clock(2128, 2, 29)  # 2100 is no leap year


def test_the_end_of_the_calendar_is_no_error() -> None:
    assert cron.read("0 0 1 1 *").next_after(wall_clock(9999, 6, 1)) is None
