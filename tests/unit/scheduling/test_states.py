"""How a schedule's state follows from what is asked: made, changed, paused, parked, resumed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from application.scheduling import states, views
from application.scheduling.moments import at, milliseconds
from application.scheduling.planning import look_at, plan
from application.scheduling.store import OpenRuns, Statistics, Stored
from application.scheduling.triggers import compile_trigger
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.errors import InvalidTrigger, NotResumable
from domain.scheduling.policy import SchedulePolicy
from domain.scheduling.schedule import ScheduleCounts, ScheduleState, ScheduleStatus

NOW = milliseconds(datetime(2026, 11, 22, 12, 0, 0, 500_000, tzinfo=UTC))
LATER = NOW + 95_000
S = 1000


def every_30_s(**fields: Any) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(**{"id": "s", "name": "Job", "interval": 30, "version": 1, **fields})


def daily(**fields: Any) -> RecurrentTaskDescriptor:
    return every_30_s(**{"interval": None, "cron": "0 2 * * *", **fields})


def stored(descriptor: RecurrentTaskDescriptor, now: int = NOW, **changes: Any) -> Stored:
    state = states.put(descriptor, None, now).model_copy(update=changes)
    return Stored(state.dump(), state, descriptor)


def paused(found: Stored) -> Stored:
    state = states.paused(found, NOW, "ops", "deploy")
    assert state is not None
    return Stored(state.dump(), state, found.definition)


def parked(found: Stored) -> Stored:
    state = states.parked(found, NOW, "does not load", found.state.incarnation, found.state.generation)
    assert state is not None
    return Stored(state.dump(), state, found.definition)


def test_a_new_interval_counts_from_now() -> None:
    state = states.put(every_30_s(), None, NOW)
    assert (state.generation, state.lane, state.anchor, state.due) == (1, "Job@1", NOW, NOW + 30 * S)
    assert state.paused is None
    assert state.parked is None


def test_a_schedule_made_again_is_another_incarnation_and_tells_when_it_was_made() -> None:
    first, second = (states.put(every_30_s(), None, NOW) for _ in range(2))
    assert first.incarnation != second.incarnation
    assert first.incarnation.isalnum()
    assert views.schedule("s", Stored("", first, every_30_s())).created_at == at(NOW)


def test_a_start_to_come_is_the_first_fire_of_an_interval() -> None:
    start = at(NOW + 3600 * S)
    state = states.put(every_30_s(policy=SchedulePolicy(start=start)), None, NOW)
    assert (state.anchor, state.due) == (NOW + 3600 * S, NOW + 3600 * S)


def test_a_start_in_the_past_gives_the_rhythm() -> None:
    state = states.put(every_30_s(policy=SchedulePolicy(start=at(NOW - 100 * S))), None, NOW)
    assert (state.anchor, state.due) == (NOW - 100 * S, NOW + 20 * S)


def test_a_cron_schedule_is_due_at_its_next_time_within_its_bounds() -> None:
    assert at(states.put(daily(), None, NOW).due) == datetime(2026, 11, 23, 2, tzinfo=UTC)
    start = SchedulePolicy(start=datetime(2026, 12, 1, tzinfo=UTC))
    assert at(states.put(daily(policy=start), None, NOW).due) == datetime(2026, 12, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "wanted",
    [
        daily(cron="0 0 30 2 *"),
        daily(policy=SchedulePolicy(end=at(NOW + 3600 * S))),
        daily(policy=SchedulePolicy(end=at(NOW - 1))),
        every_30_s(policy=SchedulePolicy(end=at(NOW + 29 * S))),
        every_30_s(policy=SchedulePolicy(start=at(NOW - 100 * S), end=at(NOW - 1 * S))),
    ],
)
def test_a_schedule_that_would_never_fire_is_refused(wanted: RecurrentTaskDescriptor) -> None:
    with pytest.raises(InvalidTrigger, match=r"The trigger of 's' is not usable: it would never fire"):
        states.put(wanted, None, NOW)


def test_a_start_and_end_that_leave_one_fire_are_fine() -> None:
    policy = SchedulePolicy(start=at(NOW + 10 * S), end=at(NOW + 20 * S))
    assert states.put(every_30_s(policy=policy), None, NOW).due == NOW + 10 * S


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"a": 1}},
        {"timezone": "Europe/Berlin"},  # an interval has none
        {"policy": SchedulePolicy(overlap="queue_one", catch_up="none", jitter_s=5, timeout_s=9)},
        {"policy": SchedulePolicy(end=at(NOW + 3600 * S))},
        {"name": "Other", "version": 2},
    ],
)
def test_a_change_beside_the_trigger_keeps_the_rhythm(changes: dict[str, Any]) -> None:
    before = stored(every_30_s(), due=NOW + 60 * S)
    after = states.put(every_30_s(**changes), before, LATER)
    assert (after.anchor, after.due) == (NOW, NOW + 60 * S), "also a fire that is late is kept"
    assert (after.generation, after.incarnation) == (2, before.state.incarnation)
    assert after.lane == f"{changes.get('name', 'Job')}@{changes.get('version', 1)}"


@pytest.mark.parametrize(
    ("changes", "anchor", "due"),
    [
        ({"interval": 31}, LATER, LATER + 31 * S),
        ({"policy": SchedulePolicy(start=at(LATER + 7 * S))}, LATER + 7 * S, LATER + 7 * S),
    ],
)
def test_a_changed_interval_or_start_begins_anew(changes: dict[str, Any], anchor: int, due: int) -> None:
    after = states.put(every_30_s(**changes), stored(every_30_s()), LATER)
    assert (after.anchor, after.due) == (anchor, due)


def test_a_change_of_kind_or_timezone_begins_anew() -> None:
    assert at(states.put(daily(), stored(every_30_s()), LATER).due) == datetime(2026, 11, 23, 2, tzinfo=UTC)
    berlin = states.put(daily(timezone="Europe/Berlin"), stored(daily()), LATER)
    assert at(berlin.due) == datetime(2026, 11, 23, 1, tzinfo=UTC)
    assert states.put(every_30_s(), stored(daily()), LATER).due == LATER + 30 * S


def test_an_end_before_the_next_fire_is_refused() -> None:
    with pytest.raises(InvalidTrigger):
        states.put(every_30_s(policy=SchedulePolicy(end=at(NOW + 29 * S))), stored(every_30_s()), NOW + S)


def test_a_change_keeps_the_pause() -> None:
    before = paused(stored(every_30_s()))
    after = states.put(every_30_s(data={"a": 1}), before, LATER)
    assert after.paused == before.state.paused
    assert states.look(every_30_s(), after) is None


def test_a_change_ends_parking_and_what_passed_meanwhile_is_not_caught_up() -> None:
    before = parked(stored(every_30_s()))
    after = states.put(every_30_s(data={"a": 1}), before, LATER)
    assert after.parked is None
    assert (after.anchor, after.due) == (NOW, NOW + 120 * S)


def test_pausing_says_who_when_and_why_and_the_first_pause_stands() -> None:
    found = paused(stored(every_30_s()))
    assert found.state.paused is not None
    assert found.state.paused.model_dump() == {"at": at(NOW), "by": "ops", "reason": "deploy"}
    assert states.paused(found, LATER, "another", "") is None
    assert found.state.generation == 1


def test_parking_is_for_the_very_definition_that_failed() -> None:
    found = stored(every_30_s())
    incarnation, generation = found.state.incarnation, found.state.generation
    assert states.parked(found, NOW, "why", incarnation, generation + 1) is None
    assert states.parked(found, NOW, "why", "of a schedule before", generation) is None
    assert states.parked(parked(found), LATER, "again", incarnation, generation) is None
    state = parked(found).state
    assert state.parked is not None
    assert (state.parked.at, state.parked.reason) == (at(NOW), "does not load")


@pytest.mark.parametrize("rest", [paused, parked, lambda found: parked(paused(found))])
def test_resuming_ends_every_rest_and_goes_on_with_the_next_fire_to_come(rest: Any) -> None:
    found = rest(stored(every_30_s()))
    state = states.resumed(found, LATER)
    assert (state.paused, state.parked) == (None, None)
    assert (state.anchor, state.due) == (NOW, NOW + 120 * S), "in its old rhythm"
    assert (state.generation, state.incarnation) == (1, found.state.incarnation)


def test_a_postponed_schedule_fires_in_its_rhythm_after_the_delay() -> None:
    found = stored(every_30_s())
    state = states.postponed(found, NOW, 95 * S)
    assert state is not None
    assert state.due == NOW + 120 * S
    assert state.model_copy(update={"due": found.state.due}) == found.state, "nothing else changes"
    exact = states.postponed(found, NOW, 90 * S)
    assert exact is not None
    assert exact.due == NOW + 90 * S
    back = states.postponed(Stored(state.dump(), state, found.definition), NOW + 31 * S, 0)
    assert back is not None
    assert back.due == NOW + 60 * S


def test_a_postponement_never_brings_a_fire_forward_nor_passes_over_one_that_is_late() -> None:
    found = stored(every_30_s())
    assert states.postponed(found, NOW, 10 * S) is None, "it fires later anyway"
    assert states.postponed(found, NOW, 0) is None
    late = stored(every_30_s(), due=NOW - 60 * S)
    assert states.postponed(late, NOW, 0) is None, "a fire that is late is taken, and not passed over"


@pytest.mark.parametrize("rest", [paused, parked])
def test_what_rests_is_not_postponed(rest: Any) -> None:
    assert states.postponed(rest(stored(every_30_s())), NOW, 95 * S) is None


def test_what_ends_before_is_not_postponed() -> None:
    found = stored(every_30_s(policy=SchedulePolicy(end=at(NOW + 60 * S))))
    assert states.postponed(found, NOW, 95 * S) is None


def test_a_cron_schedule_is_postponed_to_one_of_its_times() -> None:
    found = stored(every_30_s(interval=None, cron="*/5 * * * *"))
    state = states.postponed(found, NOW, 600 * S)
    assert state is not None
    assert at(state.due) == datetime(2026, 11, 22, 12, 15, tzinfo=UTC)


def test_resuming_what_does_not_rest_or_has_ended_is_refused() -> None:
    with pytest.raises(NotResumable, match="'s' is neither paused nor parked"):
        states.resumed(stored(every_30_s()), LATER)
    ended = paused(stored(every_30_s(policy=SchedulePolicy(end=at(NOW + 60 * S)))))
    with pytest.raises(InvalidTrigger, match="never fire"):
        states.resumed(ended, LATER)


def test_a_schedule_is_looked_at_when_jitter_lets_it_and_never_while_it_rests() -> None:
    descriptor = every_30_s(policy=SchedulePolicy(jitter_s=20))
    found = stored(descriptor)
    assert states.look(descriptor, found.state) == look_at("s", NOW + 30 * S, descriptor.policy)
    for rest in (paused, parked):
        assert states.look(descriptor, rest(found).state) is None


@pytest.mark.parametrize("rest", [lambda found: found, paused, parked])
def test_a_state_comes_back_from_json_as_it_was(rest: Any) -> None:
    state = rest(stored(every_30_s())).state
    assert ScheduleState.model_validate_json(state.dump()) == state
    assert "null" not in state.dump()


def test_a_new_schedule_may_fire_at_once_beside_its_rhythm_and_a_changed_one_does_not() -> None:
    wanted = every_30_s()
    made = states.put(wanted, None, NOW, fires_at_once=True)
    assert (made.due, made.anchor) == (NOW, NOW)
    planned = plan("s", compile_trigger(wanted, made.anchor), wanted.policy, made.due, NOW, 1000)
    assert ([run.due for run in planned.runs], planned.next_due) == ([NOW], NOW + 30 * S)
    assert states.put(wanted, stored(wanted), NOW + 1, fires_at_once=True).due == NOW + 30 * S


@pytest.mark.parametrize(
    ("rest", "status", "fires"),
    [
        (lambda found: found, ScheduleStatus.ACTIVE, True),
        (paused, ScheduleStatus.PAUSED, False),
        (parked, ScheduleStatus.PARKED, False),
        (lambda found: parked(paused(found)), ScheduleStatus.PARKED, False),
    ],
)
def test_a_view_says_how_a_schedule_stands(rest: Any, status: ScheduleStatus, fires: bool) -> None:
    found = rest(stored(every_30_s()))
    info = views.schedule("s", found)
    assert (info.status, info.next_fire) == (status, at(NOW + 30 * S) if fires else None)
    assert (info.paused, info.parked) == (found.state.paused, found.state.parked)
    assert (info.id, info.name, info.generation, info.descriptor) == ("s", "Job", 1, found.definition)
    assert (info.last_fire, info.last_ended_at, info.running) == (None, None, [])


def test_a_view_shows_what_is_counted() -> None:
    counted = Statistics(ScheduleCounts(fired=3, failed=1), NOW, "failed", "boom", NOW + 5)
    info = views.schedule("s", stored(every_30_s()), counted, OpenRuns(["r1"], {"r2": "it ended its owners"}))
    assert (info.last_fire, info.last_outcome, info.last_error, info.last_ended_at) == (
        at(NOW),
        "failed",
        "boom",
        at(NOW) + timedelta(milliseconds=5),
    )
    assert info.counts.fired == 3
    assert (info.running, info.parked_runs) == (["r1"], {"r2": "it ended its owners"})
