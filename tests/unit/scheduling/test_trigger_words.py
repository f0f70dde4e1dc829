"""Triggers in words that people read."""

from datetime import UTC, datetime
from typing import Any

import pytest

from application.scheduling.moments import milliseconds
from application.scheduling.words import describe
from domain.scheduling.descriptor import RecurrentTaskDescriptor

MADE = milliseconds(datetime(2026, 11, 22, 23, 30, tzinfo=UTC))  # a Sunday; a Monday in Brussels
BRUSSELS = {"timezone": "Europe/Brussels"}


def words(**fields: Any) -> str:
    return describe(RecurrentTaskDescriptor(id="s", name="Job", **fields), MADE)


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (0.01, "every 0.01 seconds"),
        (1, "every second"),
        (1.5, "every 1.5 seconds"),
        (30, "every 30 seconds"),
        (60, "every minute"),
        (90, "every 90 seconds"),
        (5400, "every 90 minutes"),
        (3600, "every hour"),
        (7200, "every 2 hours"),
        (86_400, "every 24 hours"),
        (3600.5, "every 3600.5 seconds"),
    ],
)
def test_intervals(interval: float, said: str) -> None:
    assert words(interval=interval) == said
    assert words(interval=interval, **BRUSSELS) == said, "elapsed time is the same everywhere"


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("0-59/5 * * * *", "every 5 minutes"),
        ("0,30 * * * *", "every 30 minutes"),
        ("5-59/15 * * * *", "every 15 minutes from minute 5"),
        ("*/15 9-17 * * 1-5", "every 15 minutes from 09:00 to 17:59 on weekdays"),
        ("* 9 * * *", "every minute from 09:00 to 09:59"),
        ("0 * * * *", "every hour"),
        ("@hourly", "every hour"),
        ("17 * * * *", "every hour at minute 17"),
        ("0 */2 * * 1-5", "every 2 hours on weekdays"),
        ("30 */6 * * *", "every 6 hours at minute 30"),
        ("30 1-23/6 * * *", "every 6 hours from 01:30"),
        ("0 */12 * * *", "every 12 hours"),
        ("0 6,18 * * *", "every day at 06:00 and 18:00"),
        ("0 9-17 * * mon-fri", "every hour from 09:00 to 17:00 on weekdays"),
        ("0 6 * * *", "every day at 06:00"),
        ("@daily", "every day at 00:00"),
        ("0 6,12,18 * * *", "every day at 06:00, 12:00 and 18:00"),
        ("0,10 6 * * *", "every day at 06:00 and 06:10"),
        ("0 6 * * 1-5", "at 06:00 on weekdays"),
        ("0 6 * * 6,0", "at 06:00 on weekends"),
        ("0 6 * * sat-sun", "at 06:00 on weekends"),
        ("@weekly", "at 00:00 on Sundays"),
        ("0 6 * * 0,1,3", "at 06:00 on Mondays, Wednesdays and Sundays"),
        ("0 6 1 * *", "at 06:00 on the 1st of every month"),
        ("0 6 1,15 * *", "at 06:00 on the 1st and 15th of every month"),
        ("0 6 1-7 * *", "at 06:00 from the 1st to the 7th of every month"),
        ("0 6 22,23,31 1,7 *", "at 06:00 on the 22nd, 23rd and 31st of January and July"),
        ("0 6 11,12,13,21 * *", "at 06:00 on the 11th, 12th, 13th and 21st of every month"),
        ("@yearly", "at 00:00 on the 1st of January"),
        ("0 6 * 6 *", "every day at 06:00 in June"),
        ("0 6 * 6-8 1", "at 06:00 on Mondays in June, July and August"),
        ("30 2 29 2 *", "at 02:30 on the 29th of February"),
    ],
)
def test_cron_lines(cron: str, said: str) -> None:
    assert words(cron=cron) == f"{said}, UTC"
    assert words(cron=cron, **BRUSSELS) == f"{said}, Europe/Brussels"


@pytest.mark.parametrize(
    "cron",
    [
        "0 6 1 * 1",  # either the first or a Monday
        "*/7 * * * *",  # 56 is followed by 0
        "0 */5 * * *",
        "1,2,3 * * * *",
        "* 9,17 * * *",
        "0,5,10 6,18 * * *",
        "0 6 */2 * *",
        "0 6 1,2,5,9,12 * *",
        "0 6 * 1-5 *",
        "not a line",
        "",
    ],
)
def test_other_lines_are_shown_as_they_are(cron: str) -> None:
    assert words(cron=cron) == f"cron line {cron!r}, UTC"


@pytest.mark.parametrize(
    ("calendar", "said"),
    [
        ({"months": 1, "day": 1, "hour": 9}, "every month on the 1st at 09:00"),
        ({"months": 1, "day": 31}, "every month on the 31st at 00:00 (left out where there is none)"),
        (
            {"months": 1, "day": 29, "missing_day": "last"},
            "every month on the 29th at 00:00 (on the last day where there is none)",
        ),
        ({"months": 3, "start_date": "2026-01-28"}, "every 3 months on the 28th at 00:00"),
        ({"months": 1}, "every month on the 23rd at 00:00"),
        ({"years": 1, "months": 6}, "every 18 months on the 23rd at 00:00"),
        ({"years": 1, "hour": 8, "minute": 5, "second": 7}, "every year on 23 November at 08:05:07"),
        (
            {"months": 24, "start_date": "2024-02-29"},
            "every 2 years on 29 February at 00:00 (left out where there is none)",
        ),
        ({"years": 1, "start_date": "2026-01-31"}, "every year on 31 January at 00:00"),
        ({"days": 1, "hour": 9}, "every day at 09:00"),
        ({"days": 10}, "every 10 days at 00:00"),
        ({"weeks": 1}, "every week on Monday at 00:00"),
        ({"days": 14, "start_date": "2026-11-27"}, "every 2 weeks on Friday at 00:00"),
    ],
)
def test_calendars(calendar: dict[str, Any], said: str) -> None:
    assert words(calendar=calendar, **BRUSSELS) == f"{said}, Europe/Brussels"


EVERY_TWO, WEEKDAYS, NINE = {"interval": 7200}, {"cron": "* * * * 1-5"}, {"cron": "0 9 * * *"}
TOKYO = {"timezone": "Asia/Tokyo"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"both": [EVERY_TWO, WEEKDAYS]}, "every 2 hours on weekdays, Europe/Brussels"),
        (
            {"both": [WEEKDAYS, {"cron": "* 9-17 * * *"}, EVERY_TWO]},
            "every 2 hours on weekdays from 09:00 to 17:59, Europe/Brussels",
        ),
        ({"both": [NINE, EVERY_TWO]}, "when all of these meet: every day at 09:00; every 2 hours, Europe/Brussels"),
        ({"both": [EVERY_TWO, {"interval": 60}]}, "when all of these meet: every 2 hours; every minute"),
        (
            {"both": [NINE, {**WEEKDAYS, **TOKYO}]},
            "when all of these meet: every day at 09:00, Europe/Brussels; every minute on weekdays, Asia/Tokyo",
        ),
        ({"either": [NINE, EVERY_TWO]}, "every day at 09:00, or every 2 hours, Europe/Brussels"),
        ({"either": [EVERY_TWO, {"interval": 60}]}, "every 2 hours, or every minute"),
        (
            {"either": [NINE, {**NINE, **TOKYO}]},
            "every day at 09:00, Europe/Brussels; or every day at 09:00, Asia/Tokyo",
        ),
        (
            {"either": [{**NINE, **TOKYO}, {**WEEKDAYS, **TOKYO}]},
            "every day at 09:00, or every minute on weekdays, Asia/Tokyo",
        ),
        ({"either": [NINE, {"cron": "x"}]}, "every day at 09:00, or cron line 'x', Europe/Brussels"),
    ],
)
def test_combinations(fields: dict[str, Any], said: str) -> None:
    assert words(**fields, **BRUSSELS) == said
