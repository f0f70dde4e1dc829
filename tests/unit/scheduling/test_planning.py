"""Planning: which fires become runs, which are counted as missed, and when to look again."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from application.scheduling.moments import at, milliseconds
from application.scheduling.planning import COUNT_LIMIT, Plan, PlannedRun, first_due, jitter_ms, look_at, plan
from application.scheduling.triggers import CronTimes, IntervalTrigger, Trigger
from domain.runs.run import RunReason
from domain.scheduling.policy import SchedulePolicy
from support import examples

NOW = milliseconds(datetime(2026, 3, 28, 12, tzinfo=UTC))  # the day before the clocks change in Berlin
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
FIRE, CATCH_UP = RunReason.FIRE, RunReason.CATCH_UP
ON_TIME_MS = 10_000


def planned(due: int, missed: int = 0, reason: RunReason = FIRE) -> PlannedRun:
    return PlannedRun(due, missed, reason)


def minutely(due: int, now: int, **policy: Any) -> Plan:
    """Plan a schedule that fires at every full minute."""
    return plan("s", CronTimes("* * * * *", "UTC"), SchedulePolicy(**policy), due, now, ON_TIME_MS)


def test_a_fire_in_time_is_one_run() -> None:
    assert minutely(NOW, NOW) == Plan((planned(NOW),), 0, NOW + MINUTE)
    assert minutely(NOW, NOW + MINUTE - 1) == Plan((planned(NOW),), 0, NOW + MINUTE)


def test_a_fire_to_come_is_none() -> None:
    assert minutely(NOW, NOW - 1) == Plan((), 0, NOW)


def test_one_run_stands_for_all_that_were_missed() -> None:
    assert minutely(NOW, NOW + 5 * MINUTE) == Plan((planned(NOW + 5 * MINUTE, missed=5),), 0, NOW + 6 * MINUTE)


def test_all_catches_up_the_latest_in_order_and_drops_the_rest() -> None:
    caught_up = [planned(NOW + n * MINUTE, reason=CATCH_UP) for n in (3, 4)]
    runs = (*caught_up, planned(NOW + 5 * MINUTE))
    assert minutely(NOW, NOW + 5 * MINUTE, catch_up="all(3)") == Plan(runs, 3, NOW + 6 * MINUTE)
    assert minutely(NOW, NOW, catch_up="all(3)") == Plan((planned(NOW),), 0, NOW + MINUTE)
    assert minutely(NOW, NOW + MINUTE, catch_up="all(1)") == Plan((planned(NOW + MINUTE),), 1, NOW + 2 * MINUTE)


def test_none_runs_only_what_is_in_time() -> None:
    assert minutely(NOW, NOW + ON_TIME_MS, catch_up="none") == Plan((planned(NOW),), 0, NOW + MINUTE)
    assert minutely(NOW, NOW + ON_TIME_MS + 1, catch_up="none") == Plan((), 1, NOW + MINUTE)
    assert minutely(NOW, NOW + MINUTE + 1, catch_up="none") == Plan((planned(NOW + MINUTE),), 1, NOW + 2 * MINUTE)


def test_what_jitter_held_back_is_in_time_when_its_time_has_come() -> None:
    look = look_at("s", NOW, SchedulePolicy(jitter_s=50))
    assert look > NOW + ON_TIME_MS
    assert minutely(NOW, look + ON_TIME_MS, catch_up="none", jitter_s=50).runs == (planned(NOW),)
    assert minutely(NOW, look + ON_TIME_MS + 1, catch_up="none", jitter_s=50) == Plan((), 1, NOW + MINUTE)


def test_the_end_is_the_last_moment_that_may_fire() -> None:
    end = at(NOW + 2 * MINUTE)
    assert minutely(NOW + MINUTE, NOW + MINUTE, end=end).next_due == NOW + 2 * MINUTE
    assert minutely(NOW + 2 * MINUTE, NOW + 2 * MINUTE, end=end) == Plan((planned(NOW + 2 * MINUTE),), 0, None)
    late = minutely(NOW + MINUTE, NOW + DAY, end=end)
    assert late == Plan((planned(NOW + 2 * MINUTE, missed=1),), 0, None)
    assert minutely(NOW, NOW, end=end - timedelta(milliseconds=1)).next_due == NOW + MINUTE
    assert minutely(NOW + MINUTE, NOW + MINUTE, end=end - timedelta(milliseconds=1)).next_due is None


def test_the_first_fire_is_after_now_and_not_before_the_start() -> None:
    times = CronTimes("* * * * *", "UTC")
    assert first_due(times, SchedulePolicy(), NOW) == NOW + MINUTE
    assert first_due(times, SchedulePolicy(start=at(NOW + HOUR)), NOW) == NOW + HOUR
    assert first_due(times, SchedulePolicy(start=at(NOW + HOUR + 1)), NOW) == NOW + HOUR + MINUTE
    assert first_due(times, SchedulePolicy(start=at(NOW - HOUR)), NOW) == NOW + MINUTE
    assert first_due(times, SchedulePolicy(end=at(NOW + MINUTE)), NOW) == NOW + MINUTE
    assert first_due(times, SchedulePolicy(end=at(NOW + MINUTE - 1)), NOW) is None
    assert first_due(CronTimes("0 0 30 2 *", "UTC"), SchedulePolicy(), NOW) is None


def test_a_trigger_with_no_further_fire_ends_the_schedule() -> None:
    class Once:
        def next_after(self, moment: int) -> int | None:
            return NOW if moment < NOW else None

    assert plan("s", Once(), SchedulePolicy(), NOW, NOW + DAY, ON_TIME_MS) == Plan((planned(NOW),), 0, None)


@given(st.text(min_size=1, max_size=20), st.integers(0, 2**42), st.floats(0.001, 86_400))
def test_jitter_is_the_same_for_ever_and_stays_below_its_bound(schedule_id: str, due: int, jitter_s: float) -> None:
    policy = SchedulePolicy(jitter_s=jitter_s)
    jitter = jitter_ms(schedule_id, due, policy)
    assert 0 <= jitter < jitter_s * 1000
    assert jitter == jitter_ms(schedule_id, due, SchedulePolicy(jitter_s=jitter_s))
    assert look_at(schedule_id, due, policy) == due + jitter


def test_jitter_never_changes_between_releases() -> None:
    """Two releases that run side by side must agree on when to look."""
    policy = SchedulePolicy(jitter_s=60)
    assert [jitter_ms("s", NOW + n, policy) for n in range(3)] == [18786, 31886, 43462]
    assert jitter_ms("s", NOW, SchedulePolicy()) == 0


def test_jitter_spreads_schedules_evenly() -> None:
    policy = SchedulePolicy(jitter_s=10)
    tenths = [0] * 10
    for n in range(2000):
        tenths[jitter_ms(f"s{n}", NOW, policy) // 1000] += 1
    assert min(tenths) > 140
    assert max(tenths) < 260


def test_what_jitter_holds_back_holds_back_what_follows_it() -> None:
    policy = SchedulePolicy(jitter_s=60)
    trigger = IntervalTrigger(1000, NOW)
    held = look_at("s", NOW + 1000, policy)
    found = plan("s", trigger, policy, NOW + 1000, held - 1, ON_TIME_MS)
    assert found == Plan((), 0, NOW + 1000)
    found = plan("s", trigger, policy, NOW + 1000, held, ON_TIME_MS)
    assert found.runs[0].due - 1000 * found.runs[0].missed == NOW + 1000
    assert found.next_due is not None
    assert look_at("s", found.next_due, policy) > held


intervals = st.integers(10, 3 * HOUR).map(lambda every: IntervalTrigger(every, NOW - 7 * HOUR - 123))
crons = st.sampled_from(
    ["*/10 * * * *", "30 2 * * *", "0,20,40 1-3 * * *", "*/15 2 * * *", "7 * * * 0", "0 0 29 3 *", "30 2 1 1 1"]
).flatmap(
    lambda line: st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]).map(
        lambda zone: CronTimes(line, zone)
    )
)
triggers: st.SearchStrategy[Trigger] = st.one_of(intervals, crons)
catch_ups = st.one_of(st.sampled_from(["one", "none"]), st.integers(1, 9).map(lambda n: f"all({n})"))
jitters = st.one_of(st.just(0.0), st.floats(0, 7200))
bounds = st.one_of(st.none(), st.integers(-DAY, 2 * DAY))
steps = st.lists(
    st.one_of(st.integers(0, 2 * MINUTE), st.integers(0, 5 * HOUR), st.integers(0, DAY)), min_size=1, max_size=12
)


def nominal(trigger: Trigger, after: int, until: int) -> Iterator[int]:
    """All fires in (after, until], one by one."""
    fire = trigger.next_after(after)
    while fire is not None and fire <= until:
        yield fire
        fire = trigger.next_after(fire)


def policy_of(catch_up: str, jitter_s: float, start: int | None, length: int | None) -> SchedulePolicy:
    begin = None if start is None else at(NOW + start)
    end = None if length is None else at(NOW + (start or 0) + abs(length) + 1)
    return SchedulePolicy(catch_up=catch_up, jitter_s=jitter_s, start=begin, end=end)


def check(done: Plan, policy: SchedulePolicy, due: int, now: int, due_now: list[int]) -> None:
    """One plan against the fires that were due and that jitter no longer held back."""
    dues = [run.due for run in done.runs]
    limit = policy.catch_up_limit
    expected = due_now[-max(limit, 1) :] if due_now else []
    if limit == 0 and expected and now - look_at("s", expected[-1], policy) > ON_TIME_MS:
        expected = []
    assert dues == expected
    assert done.dropped + sum(1 + run.missed for run in done.runs) == len(due_now), "each fire is accounted for once"
    assert all(look_at("s", fire, policy) <= now for fire in dues)
    assert [run.reason for run in done.runs] == [CATCH_UP] * (len(dues) - 1) + [FIRE] * bool(dues)
    assert due_now or (done.next_due == due)


@given(triggers, st.builds(policy_of, catch_ups, jitters, bounds, bounds), steps)
@settings(deadline=None, max_examples=examples(200))
def test_every_fire_is_accounted_for_exactly_once_and_none_too_early(
    trigger: Trigger, policy: SchedulePolicy, moves: list[int]
) -> None:
    due, now = first_due(trigger, policy, NOW), NOW
    for move in moves:
        if due is None:
            return
        now += move
        end = now if policy.end is None else min(now, milliseconds(policy.end))
        due_now: list[int] = []
        for fire in nominal(trigger, due - 1, end):
            if look_at("s", fire, policy) > now or len(due_now) >= COUNT_LIMIT:
                break
            due_now.append(fire)
        if len(due_now) >= COUNT_LIMIT:
            return  # counted otherwise, see below
        assert policy.start is None or due >= milliseconds(policy.start)
        done = plan("s", trigger, policy, due, now, ON_TIME_MS)
        check(done, policy, due, now, due_now)
        following = trigger.next_after(due_now[-1]) if due_now else due
        if following is not None and policy.end is not None and following > milliseconds(policy.end):
            following = None
        assert done.next_due == following
        due = done.next_due


class Counted:
    """A trigger that counts how often it is asked."""

    def __init__(self, trigger: Trigger) -> None:
        self.trigger = trigger
        self.asked = 0

    def next_after(self, moment: int) -> int | None:
        self.asked += 1
        return self.trigger.next_after(moment)


BOUND = 12 * COUNT_LIMIT


@pytest.mark.parametrize(("catch_up", "jitter_s"), [("one", 0.0), ("all(10)", 3600.0), ("all(999)", 0.0)])
@pytest.mark.parametrize(
    ("line", "days"),  # and how many days hold its last thousand fires
    [("* * * * *", 1), ("0 0 * * *", 1001), ("* 0 * * *", 18), ("* * 1 1 *", 90), ("* * * 1 *", 60)],
)
def test_years_of_missed_fires_are_planned_in_bounded_steps(
    line: str, days: int, catch_up: str, jitter_s: float
) -> None:
    times = CronTimes(line, "Europe/Berlin")
    policy = SchedulePolicy(catch_up=catch_up, jitter_s=jitter_s)
    due = times.next_after(NOW - 3650 * DAY)
    assert due is not None
    counted = Counted(times)
    done = plan("s", counted, policy, due, NOW, ON_TIME_MS)
    assert counted.asked <= BOUND
    fires = list(nominal(times, NOW - days * DAY, NOW))
    held = next(
        (n for n, fire in enumerate(fires) if fire > NOW - jitter_s * 1000 and look_at("s", fire, policy) > NOW), None
    )
    assert [run.due for run in done.runs] == fires[:held][-policy.catch_up_limit :]
    assert done.next_due == (times.next_after(NOW) if held is None else fires[held])
    assert done.dropped + sum(1 + run.missed for run in done.runs) >= COUNT_LIMIT, "at least so many"


@pytest.mark.parametrize("catch_up", ["one", "none", "all(999)"])
def test_an_interval_counts_years_of_missed_fires_exactly_and_at_once(catch_up: str) -> None:
    counted = Counted(IntervalTrigger(10, NOW))
    interval = IntervalTrigger(10, NOW)
    done = plan("s", interval, SchedulePolicy(catch_up=catch_up), NOW + 10, NOW + 3650 * DAY + 3, ON_TIME_MS)
    assert done.dropped + sum(1 + run.missed for run in done.runs) == 365 * DAY
    assert done.runs[-1].due == NOW + 3650 * DAY
    assert done.next_due == NOW + 3650 * DAY + 10
    assert counted.asked == 0


def test_heavy_jitter_over_a_fast_interval_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    next_after = IntervalTrigger.next_after

    def count(self: IntervalTrigger, moment: int) -> int:
        nonlocal asked
        asked += 1
        return next_after(self, moment)

    monkeypatch.setattr(IntervalTrigger, "next_after", count)
    policy = SchedulePolicy(jitter_s=86_400, catch_up="all(5)")
    done = plan("s", IntervalTrigger(10, NOW), policy, NOW + 10, NOW + 30 * DAY, ON_TIME_MS)
    assert asked <= COUNT_LIMIT + 5
    assert len(done.runs) == 5
    assert all(look_at("s", run.due, policy) <= NOW + 30 * DAY for run in done.runs)
