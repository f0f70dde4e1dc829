"""Triggers made of several: any of them, or only all of them at once; beside plain sets of their times."""

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from application.scheduling import states
from application.scheduling.combined import HASTY, BothTimes, EitherTimes
from application.scheduling.moments import at, milliseconds
from application.scheduling.triggers import CronTimes, IntervalTrigger, Trigger, compile_trigger
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.errors import InvalidTrigger

MADE = datetime(2026, 11, 22, 13, 30, 17, 123_000, tzinfo=UTC)  # a Sunday
WEEKDAYS = {"cron": "* * * * 1-5"}


def descriptor(**fields: Any) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(**{"id": "s", "name": "Job", **fields})


def times(count: int, after: datetime = MADE, **fields: Any) -> list[str]:
    """Return the first due times after a moment, in UTC."""
    trigger = compile_trigger(descriptor(**fields), milliseconds(MADE))
    return [f"{at(due):%a %d %H:%M:%S}" for due in first(trigger, count, milliseconds(after))]


def first(trigger: Trigger, count: int, after: int) -> list[int]:
    found: list[int] = []
    while len(found) < count and (due := trigger.next_after(found[-1] if found else after)) is not None:
        found.append(due)
    return found


class Counted:
    """A trigger of given times that counts how often it was asked."""

    def __init__(self, every: int, most: int = 10**15) -> None:
        self.every, self.most, self.asked = every, most, 0

    def next_after(self, moment: int) -> int | None:
        self.asked += 1
        due = (moment // self.every + 1) * self.every
        return due if due <= self.most else None


def test_either_fires_whenever_one_of_them_does_and_once_when_all_do() -> None:
    parts = [{"cron": "0 9 * * *"}, {"cron": "30 */12 * * *"}, {"cron": "0 9 * * 1"}]
    assert times(4, either=parts) == ["Mon 23 00:30:00", "Mon 23 09:00:00", "Mon 23 12:30:00", "Tue 24 00:30:00"]


def test_both_fires_only_when_all_do() -> None:
    parts = [{"cron": "0 */6 * * *"}, {"cron": "* 0-8 * * *"}, {"cron": "* * * * 2"}]
    assert times(3, both=parts) == ["Tue 24 00:00:00", "Tue 24 06:00:00", "Tue 01 00:00:00"]


def test_an_interval_in_a_window_counts_from_the_full_minute_in_which_it_was_made() -> None:
    assert times(3, both=[{"interval": 36_000}, WEEKDAYS]) == ["Mon 23 09:30:00", "Mon 23 19:30:00", "Tue 24 05:30:00"]
    assert times(2, either=[{"interval": 3600}, WEEKDAYS]) == ["Sun 22 14:30:00", "Sun 22 15:30:00"]


def test_an_interval_in_a_window_counts_from_the_start_where_there_is_one() -> None:
    start = datetime(2026, 11, 23, 8, tzinfo=UTC)
    trigger = compile_trigger(
        descriptor(both=[{"interval": 7200}, WEEKDAYS], policy={"start": start}), milliseconds(start)
    )
    assert [at(due).hour for due in first(trigger, 3, milliseconds(start) - 1)] == [8, 10, 12]


def test_a_calendar_and_a_cron_line_on_the_same_wall() -> None:
    brussels = {"timezone": "Europe/Brussels", "both": [{"calendar": {"months": 1, "day": 1, "hour": 9}}, WEEKDAYS]}
    assert times(3, **brussels) == ["Tue 01 08:00:00", "Fri 01 08:00:00", "Mon 01 08:00:00"]


def test_a_part_may_have_a_timezone_of_its_own() -> None:
    parts = [{"cron": "0 9 * * *"}, {"cron": "0 9 * * *", "timezone": "Asia/Tokyo"}]
    assert times(2, timezone="Europe/Brussels", either=parts) == ["Mon 23 00:00:00", "Mon 23 08:00:00"]


@pytest.mark.parametrize(
    ("day", "wanted"),
    [
        (datetime(2027, 3, 27, 20, tzinfo=UTC), ["00:30", "01:30", "02:30"]),  # 01:30, 03:30, 04:30 on the wall
        (datetime(2027, 10, 30, 20, tzinfo=UTC), ["23:30", "00:30", "01:30"]),  # 01:30, 02:30, 02:30 again
    ],
)
def test_a_window_of_elapsed_hours_goes_through_both_changes_of_the_clock(day: datetime, wanted: list[str]) -> None:
    parts = [{"interval": 3600}, {"cron": "* 1-4 * * *"}]
    trigger = compile_trigger(descriptor(timezone="Europe/Brussels", both=parts), milliseconds(MADE))
    assert [f"{at(due):%H:%M}" for due in first(trigger, 3, milliseconds(day))] == wanted


@pytest.mark.parametrize("chance", range(25))
def test_combinations_agree_with_sets_of_times(chance: int) -> None:
    dice = random.Random(chance)  # noqa: S311 - the same dice each time
    lines = ["*/15 * * * *", "*/10 9-17 * * *", "0 */2 * * *", "* * * * 1-5", "30 2 * * *", "5,35 * * * *"]
    parts: list[dict[str, Any]] = [{"cron": dice.choice(lines)} for _ in range(dice.randint(1, 2))]
    parts += [{"interval": dice.choice([60, 90, 300, 1800, 7200])} for _ in range(dice.randint(1, 2))]
    dice.shuffle(parts)
    until = milliseconds(MADE + timedelta(days=4))
    anchor, sets = milliseconds(MADE.replace(second=0, microsecond=0)), []
    for part in parts:
        single = compile_trigger(descriptor(**part), anchor)
        sets.append(set(itertools.takewhile(lambda due: due <= until, walk(single))))
    for kind, wanted in (("either", set.union(*sets)), ("both", set.intersection(*sets))):
        trigger = compile_trigger(descriptor(**{kind: parts}), milliseconds(MADE))
        assert first(trigger, 50, milliseconds(MADE))[: len(wanted)] == sorted(wanted)[:50]


def walk(trigger: Trigger) -> Any:
    due = trigger.next_after(milliseconds(MADE))
    while due is not None:
        yield due
        due = trigger.next_after(due)


def test_both_of_intervals_alone_is_one_interval() -> None:
    trigger = compile_trigger(descriptor(both=[{"interval": 0.01}, {"interval": 59.99}, {"interval": 61}]), 60_000_000)
    assert isinstance(trigger, IntervalTrigger)
    assert trigger.interval_ms == 61_000 * 5999
    assert trigger.next_after(60_000_001) == 60_000_000 + trigger.interval_ms


def test_intervals_that_hardly_ever_meet_are_refused() -> None:
    with pytest.raises(InvalidTrigger, match="its intervals meet less often than once in a hundred years; round them"):
        compile_trigger(descriptor(both=[{"interval": 86_399.99}, {"interval": 31_535_999.97}]), 0)


def test_a_search_for_a_common_time_ends() -> None:
    every, other = Counted(2), Counted(2 * 10**9)
    assert BothTimes([every, other], looks=100).next_after(0) == 2 * 10**9, "it leaps"
    assert every.asked + other.asked <= 4
    odd = [IntervalTrigger(1000, 1), IntervalTrigger(1000, 0)]
    assert BothTimes(odd, looks=100).next_after(0) is None
    late, ending = Counted(7), Counted(11, most=70)
    assert BothTimes([late, ending], looks=10_000).next_after(0) is None, "a part that ends ends it"
    assert EitherTimes([late, ending]).next_after(70) == 77


def test_a_combination_that_never_fires_is_refused() -> None:
    for parts in (
        [{"cron": "0 9 * * *"}, {"cron": "30 9 * * *"}],
        [{"cron": "0 0 30 2 *"}, WEEKDAYS],
        [{"calendar": {"days": 1, "hour": 9}}, {"cron": "* 10 * * *"}],
    ):
        with pytest.raises(InvalidTrigger, match="it would never fire"):
            states.put(descriptor(both=parts), None, milliseconds(MADE))
    start = MADE.replace(microsecond=5000)
    with pytest.raises(InvalidTrigger, match=r"the parts of 'both' must fire at the very same moment"):
        states.put(descriptor(both=[{"interval": 60}, WEEKDAYS], policy={"start": start}), None, milliseconds(MADE))
    with pytest.raises(InvalidTrigger, match="mend its triggers, its start or its end"):
        states.put(descriptor(either=[{"cron": "0 0 30 2 *"}] * 2), None, milliseconds(MADE))


def test_who_asks_for_a_combination_that_never_fires_does_not_wait_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    look = CronTimes.next_after

    def counted(self: CronTimes, moment: int) -> int | None:
        nonlocal asked
        asked += 1
        return look(self, moment)

    monkeypatch.setattr(CronTimes, "next_after", counted)
    with pytest.raises(InvalidTrigger, match="would never fire"):
        states.put(descriptor(both=[{"cron": f"{n} 9 * * *"} for n in range(5)]), None, milliseconds(MADE))
    assert asked == HASTY


def test_a_changed_combination_begins_anew_and_the_same_one_goes_on() -> None:
    one = descriptor(either=[{"interval": 60}, WEEKDAYS], version=1)
    assert one.rhythm == descriptor(either=[{"interval": 60}, WEEKDAYS], policy={"jitter_s": 5}).rhythm
    assert one.rhythm != descriptor(either=[{"interval": 61}, WEEKDAYS]).rhythm
    assert one.rhythm != descriptor(both=[{"interval": 60}, WEEKDAYS]).rhythm
    assert one.rhythm != descriptor(either=[{"interval": 60}, WEEKDAYS], timezone="Asia/Tokyo").rhythm
    calendar = {"months": 1, "day": 1}
    assert descriptor(calendar=calendar).rhythm != descriptor(calendar={**calendar, "missing_day": "last"}).rhythm
    assert descriptor(calendar=calendar).rhythm != descriptor(calendar=calendar, timezone="Asia/Tokyo").rhythm


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"either": []}, "at least 2 items"),
        ({"both": [WEEKDAYS]}, "at least 2 items"),
        ({"both": [WEEKDAYS] * 6}, "at most 5 items"),
        ({"either": [WEEKDAYS, {}]}, "give one of interval (seconds), cron and calendar; combinations do not nest"),
        ({"either": [WEEKDAYS, {"interval": 5, "cron": "* * * * *"}]}, "give one of interval"),
        ({"either": [WEEKDAYS, {"both": [WEEKDAYS, WEEKDAYS]}]}, "Extra inputs are not permitted"),
        ({"either": [WEEKDAYS, {"interval": 0}]}, "greater than or equal to 0.01"),
        ({"either": [WEEKDAYS, {"interval": 5, "timezone": "UTC"}]}, "a timezone goes with cron or calendar"),
        ({"either": [WEEKDAYS, {"cron": "* * * * *", "timezone": "Mars/Phobos"}]}, "there is no timezone"),
        ({"either": [WEEKDAYS, {"calendar": {}}]}, "give years and months"),
        ({"either": WEEKDAYS}, "valid tuple"),
        ({"either": [WEEKDAYS] * 2, "both": [WEEKDAYS] * 2}, "give one trigger"),
        ({"either": [WEEKDAYS] * 2, "interval": 5}, "give one trigger"),
        ({"calendar": {"days": 1}, "cron": "* * * * *"}, "give one trigger"),
    ],
)
def test_other_combinations_are_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        descriptor(**fields)
    assert why in str(caught.value)


def test_a_combination_survives_json() -> None:
    parts = [{"calendar": {"months": 1, "start_date": "2026-01-31"}}, {"cron": "0 9 * * *", "timezone": "Asia/Tokyo"}]
    wanted = descriptor(either=parts, timezone="Europe/Brussels")
    assert RecurrentTaskDescriptor.model_validate_json(wanted.model_dump_json(exclude_none=True)) == wanted
