"""Intervals count elapsed milliseconds from their anchor, exactly."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.scheduling.triggers import CronTimes, IntervalTrigger, compile_trigger
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.errors import InvalidTrigger
from domain.scheduling.policy import SchedulePolicy

ANCHOR = 1_796_000_000_123
YEAR_MS = 366 * 86_400_000


@given(st.integers(10, YEAR_MS), st.integers(-YEAR_MS, 10 * YEAR_MS))
def test_the_next_fire_is_the_first_whole_number_of_intervals_after_the_moment(interval: int, offset: int) -> None:
    due = IntervalTrigger(interval, ANCHOR).next_after(ANCHOR + offset)
    assert (due - ANCHOR) % interval == 0
    assert due > ANCHOR + offset
    assert due - interval <= max(ANCHOR + offset, ANCHOR)


def test_the_anchor_itself_is_no_fire() -> None:
    trigger = IntervalTrigger(1000, ANCHOR)
    assert trigger.next_after(ANCHOR - 5_000_000) == trigger.next_after(ANCHOR) == ANCHOR + 1000
    assert trigger.next_after(ANCHOR + 999) == ANCHOR + 1000
    assert trigger.next_after(ANCHOR + 1000) == ANCHOR + 2000


def test_an_anchor_that_was_asked_for_is_the_first_fire() -> None:
    trigger = IntervalTrigger(1000, ANCHOR, first=0)
    assert trigger.next_after(ANCHOR - 5_000_000) == trigger.next_after(ANCHOR - 1) == ANCHOR
    assert trigger.next_after(ANCHOR) == ANCHOR + 1000
    start = SchedulePolicy(start=datetime(2026, 11, 22, tzinfo=UTC))
    assert compile_trigger(RecurrentTaskDescriptor(name="J", interval=1, policy=start), ANCHOR).next_after(0) == ANCHOR


def test_ten_years_of_a_third_of_a_second_do_not_drift() -> None:
    trigger = compile_trigger(RecurrentTaskDescriptor(name="J", interval=0.333), ANCHOR)
    fires = 10 * YEAR_MS // 333
    assert trigger.next_after(ANCHOR + fires * 333 - 1) == ANCHOR + fires * 333


def test_a_descriptor_compiles_to_its_trigger() -> None:
    interval = compile_trigger(RecurrentTaskDescriptor(name="J", interval=0.01), ANCHOR)
    assert isinstance(interval, IntervalTrigger)
    assert interval.interval_ms == 10
    assert isinstance(compile_trigger(RecurrentTaskDescriptor(name="J", cron="@daily"), ANCHOR), CronTimes)


def test_a_bad_cron_line_names_the_schedule_and_the_part() -> None:
    with pytest.raises(InvalidTrigger, match=r"The trigger of 'nightly' is not usable: '61' is no minute"):
        compile_trigger(RecurrentTaskDescriptor(id="nightly", name="J", cron="61 * * * *"), ANCHOR)
