"""What must hold of an alert whatever happens: silences, outages above it, acknowledgements, restarts, old samples."""

import re
from datetime import timedelta
from itertools import groupby

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.monitoring.alert import OPEN, AlertPhase, step
from domain.monitoring.notification import Notification
from domain.monitoring.observation import GAP_INTERVALS, Closing, Glance
from domain.monitoring.severity import rank
from domain.monitoring.telling import next_look
from unit.monitoring.plays import LONGEST_S, Act, Moment, Play, at, perform, plays, tail, through_json
from unit.monitoring.waveforms import INTERVAL_S, reading

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A slow machine must not fail a property."""

GRAMMAR = re.compile(r"(firing (repeat |escalated )*resolved )*(firing (repeat |escalated )*)?")


def check_stream(told: list[Notification]) -> None:
    """Hold what was told of one alert against the grammar; each message is of the episode of its firing."""
    assert GRAMMAR.fullmatch("".join(f"{one.kind} " for one in told)), [one.kind for one in told]
    keys = [one.key for one in told]
    assert len(set(keys)) == len(keys)
    episode = ""
    for one in told:
        episode = one.alert_id if one.kind == "firing" else episode
        assert one.alert_id == episode


def held(moments: list[Moment], kinds: tuple[str, ...]) -> float:
    """Return for how long the samples up to the last have all been of ``kinds``, without a gap; -1 if it is not."""
    samples = [moment.act for moment in moments if moment.act.is_sample]
    since: float | None = None
    for act in reversed(samples):
        if act.what not in kinds or (since is not None and since - act.at_s > GAP_INTERVALS * INTERVAL_S):
            break
        since = act.at_s
    return -1 if since is None else samples[-1].at_s - since


@given(plays())
@patient
def test_late_or_repeated_samples_change_nothing(play: Play) -> None:
    for moment in perform(play).moments:
        if moment.act.what == "old":
            assert (moment.after, moment.told) == (moment.before, [])


@given(plays())
@patient
def test_firing_needs_an_unbroken_breach_of_for_with_no_gap(play: Play) -> None:
    """Whatever is silenced, hidden or acknowledged: the state follows the samples alone."""
    record = perform(play)
    for index, moment in enumerate(record.moments):
        was_open, is_open = moment.before.phase in OPEN, moment.after.phase in OPEN
        if not was_open:
            so_far = record.moments[: index + 1]
            is_due = moment.act.is_sample and held(so_far, ("breach", "worse")) >= play.rule.for_s
            assert is_open == is_due, moment.act
            assert not is_open or moment.after.phase is AlertPhase.FIRING


@given(plays())
@patient
def test_a_value_between_clear_and_fire_neither_starts_nor_ends(play: Play) -> None:
    for moment in perform(play).moments:
        if moment.act.what == "between":
            assert moment.before.phase is moment.after.phase
            assert moment.before.episode == moment.after.episode


@given(plays())
@patient
def test_missing_data_changes_no_condition(play: Play) -> None:
    for moment in perform(play).moments:
        if moment.act.what in ("missing", "glance", "ack", "restart"):
            assert moment.before.phase is moment.after.phase
            assert moment.before.episode == moment.after.episode


@given(plays(), st.booleans())
@patient
def test_the_stream_of_an_alert_is_firing_then_repeats_and_escalations_then_resolved(play: Play, closes: bool) -> None:
    if closes:
        play = Play(play.rule, (*play.acts, Act(play.end_s + 5, "close")), play.silences, play.outages)
    check_stream(perform(play).told)


@given(plays(), st.booleans())
@patient
def test_nothing_is_told_while_silenced(play: Play, closes: bool) -> None:
    """A resolve of what is closed in a silence is handed out, not to be sent before its end."""
    if closes:
        play = Play(play.rule, (*play.acts, Act(play.end_s + 5, "close")), play.silences, play.outages)
    for moment in perform(play).moments:
        for one in moment.told:
            until = play.outlook(moment.act.at_s).silenced.get(one.severity)
            assert one.not_before == until
            assert until is None or (moment.act.what == "close" and one.kind == "resolved")


@given(plays())
@patient
def test_while_it_is_hidden_nothing_is_told_but_a_resolve(play: Play) -> None:
    for moment in perform(play).moments:
        if play.outlook(moment.act.at_s).hidden_by:
            assert {one.kind for one in moment.told} <= {"resolved"}


@given(plays())
@patient
def test_constant_calm_ends_resolved_and_told(play: Play) -> None:
    record = perform(tail(play, "calm"))
    assert record.state.phase is AlertPhase.OK
    assert record.state.is_at_rest
    assert not record.told or record.told[-1].kind == "resolved"


@given(plays(), st.sampled_from(["breach", "worse"]))
@patient
def test_constant_breach_ends_firing_and_told(play: Play, kind: str) -> None:
    record = perform(tail(play, kind))
    assert record.state.phase is AlertPhase.FIRING
    assert record.state.told is not None
    assert record.state.told.alert_id == record.state.episode
    assert record.told[-1].kind != "resolved"


@given(plays())
@patient
def test_what_is_told_is_bounded_by_episodes_repeats_and_escalations(play: Play) -> None:
    record = perform(play)
    for episode, told in groupby(record.told, key=lambda one: one.alert_id):
        kinds = [one.kind for one in told]
        assert kinds.count("firing") <= 1
        assert kinds.count("resolved") <= 1
        assert kinds.count("escalated") <= len(play.rule.escalate)
        fired = [moment.act.at_s for moment in record.moments if moment.after.episode == episode]
        longest_s = (fired[-1] - fired[0]) if fired else 0.0
        assert kinds.count("repeat") <= (longest_s / play.rule.repeat_s if play.rule.repeat_s else 0)
    episodes = {moment.after.episode for moment in record.moments if moment.after.fired_at}
    assert {one.alert_id for one in record.told} <= episodes


@given(plays())
@patient
def test_repeats_are_as_far_apart_as_the_rule_says(play: Play) -> None:
    last: Moment | None = None
    for moment in perform(play).moments:
        for one in moment.told:
            if one.kind == "repeat":
                assert last is not None
                assert play.rule.repeat_s is not None
                assert moment.act.at_s - last.act.at_s >= play.rule.repeat_s
            last = moment


@given(plays())
@patient
def test_severity_only_rises_and_every_rise_is_told_once(play: Play) -> None:
    record = perform(play)
    for moment in record.moments:
        before, after = moment.before, moment.after
        if before.episode == after.episode and before.severity and after.severity:
            assert rank(after.severity) >= rank(before.severity)
    told: list[Notification] = []
    for one in record.told:
        if one.kind == "escalated":
            assert rank(one.severity) > rank(told[-1].severity)
        told.append(one)


@given(plays())
@patient
def test_an_acknowledgement_holds_back_repeats_and_escalations_up_to_its_severity(play: Play) -> None:
    for moment in perform(play).moments:
        ack = moment.after.ack
        for one in moment.told:
            if ack is not None and one.kind in ("repeat", "escalated") and at(moment.act.at_s) < ack.until:
                assert rank(one.severity) > rank(ack.severity)


@given(plays())
@patient
def test_an_acknowledgement_ends_with_its_episode(play: Play) -> None:
    for moment in perform(play).moments:
        if moment.after.episode != moment.before.episode:
            assert moment.after.ack is None
            assert moment.after.episode is None or moment.after.severity in (None, *_reachable(play))


def _reachable(play: Play) -> tuple[str, ...]:
    return (play.rule.severity, *(step.severity for step in play.rule.escalate))


@given(plays())
@patient
def test_dump_and_load_change_nothing(play: Play) -> None:
    plain, reloaded = perform(play), perform(play, keep=through_json)
    assert [moment.after for moment in plain.moments] == [moment.after for moment in reloaded.moments]
    assert plain.told == reloaded.told


@given(plays(), st.integers(1, 10**6))
@patient
def test_shifted_time_shifts_what_is_told(play: Play, by_s: int) -> None:
    plain, later = perform(play), perform(play.shifted(by_s))
    by = timedelta(seconds=by_s)
    assert [(one.kind, one.severity, one.at + by, one.fired_at + by, one.number) for one in plain.told] == [
        (one.kind, one.severity, one.at, one.fired_at, one.number) for one in later.told
    ]


@given(plays())
@patient
def test_what_was_hidden_or_silenced_reconciles_without_a_sample(play: Play) -> None:
    """After everything that muted is over, one glance tells what is, and a second finds nothing to tell."""
    record = perform(play)
    end_s = LONGEST_S + 400
    state, _ = step(record.state, Glance(at(end_s)), play.rule, play.outlook(end_s))
    assert (state.phase in OPEN) == (state.told is not None)
    assert state.told is None or state.told.alert_id == state.episode
    assert (
        state.told is None
        or state.ack is not None
        or state.phase is not AlertPhase.FIRING
        or (state.told.severity == state.severity)
    )
    assert (state.silenced_until, state.hidden_by) == (None, None)
    assert step(state, Glance(at(end_s)), play.rule, play.outlook(end_s)) == (state, [])


@given(plays(), st.floats(0, 1))
@patient
def test_before_it_is_due_a_look_changes_nothing(play: Play, part: float) -> None:
    """So it is enough to look at alerts when they are due: what the store keeps as the next look misses nothing."""
    record = perform(play)
    now_s = play.end_s + 1
    calm = Play(play.rule, (), play.silences)
    state, _ = step(record.state, Glance(at(now_s)), play.rule, calm.outlook(now_s))
    due = next_look(state, play.rule, calm.outlook(now_s))
    due_s = LONGEST_S * 2 if due is None else (due - at(0)).total_seconds()
    assert due_s > now_s or state.ack is not None
    before_s = now_s + (due_s - now_s) * part * 0.999
    early, told = step(state, Glance(at(before_s)), play.rule, calm.outlook(before_s))
    assert told == []
    assert early.severity == state.severity
    if due is not None and not state.is_at_rest:
        assert state.phase is AlertPhase.FIRING or state.silenced_until is not None


@given(plays(), st.integers(0, 300))
@patient
def test_nothing_changes_and_nothing_is_told_after_a_close(play: Play, ago_s: int) -> None:
    record = perform(play)
    end_s = max(play.end_s, float(ago_s)) + 5
    closed, told = step(record.state, Closing(at(end_s), "removed"), play.rule, play.outlook(end_s))
    assert closed.is_at_rest
    check_stream(record.told + told)
    assert not (record.told + told) or (record.told + told)[-1].kind == "resolved"
    late = reading(end_s - ago_s, 0.99)
    for seen in (late, Closing(at(end_s), "removed"), Glance(at(end_s + 1))):
        after, told = step(closed, seen, play.rule, play.outlook(end_s))
        assert told == []
        assert after.phase is AlertPhase.OK
        assert after.is_at_rest
