"""What must hold of the alert machine for every waveform."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.monitoring.alert import OPEN, TRANSITIONS, AlertPhase, AlertState, step
from domain.monitoring.observation import GAP_INTERVALS, Closing, Observation, Reading, Tick
from domain.monitoring.record import compare
from domain.monitoring.rule import AlertRule
from unit.monitoring.waveforms import (
    INTERVAL_S,
    NO_DATA_RULE,
    START,
    Run,
    Seen,
    cpu_rules,
    drive,
    new_state,
    reading,
    tick,
    waveforms,
)

GAP_S = GAP_INTERVALS * INTERVAL_S

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A slow machine must not fail a property."""


def drive_wave(rule: AlertRule, wave: list[Seen]) -> Run:
    return drive(rule, [seen.reading for seen in wave])


@given(cpu_rules, waveforms())
@patient
def test_every_phase_change_is_an_arrow_of_the_table(rule: AlertRule, wave: list[Seen]) -> None:
    run = drive_wave(rule, wave)
    for before, after in zip(run.states, run.states[1:], strict=False):
        assert before.phase is after.phase or after.phase in {arrow.to for arrow in TRANSITIONS[before.phase].values()}


@given(cpu_rules, waveforms())
@patient
def test_firing_needs_an_unbroken_breach(rule: AlertRule, wave: list[Seen]) -> None:
    """Whenever it begins to fire, go back over the samples: all wrong, none far apart, for ``for_s``."""
    run = drive_wave(rule, wave)
    for index, seen in enumerate(wave):
        began = run.states[index + 1].phase is AlertPhase.FIRING and run.states[index].phase not in OPEN
        assert began == (run.states[index].phase not in OPEN and _held_s(wave[: index + 1], "breach") >= rule.for_s), (
            seen
        )


@given(cpu_rules, waveforms())
@patient
def test_resolving_needs_an_unbroken_calm(rule: AlertRule, wave: list[Seen]) -> None:
    run = drive_wave(rule, wave)
    for index, seen in enumerate(wave):
        if run.states[index].phase in OPEN:
            ended = run.states[index + 1].phase is AlertPhase.OK
            assert ended == (_held_s(wave[: index + 1], "calm") >= rule.keep_firing_for_s), seen


def _held_s(wave: list[Seen], kind: str) -> float:
    """Return for how long the samples up to the last have all been ``kind``, without a gap; -1 if the last is not."""
    since: float | None = None
    for index in range(len(wave) - 1, -1, -1):
        if wave[index].kind != kind or (since is not None and since - wave[index].at_s > GAP_S):
            break
        since = wave[index].at_s
    return -1 if since is None else wave[-1].at_s - since


@given(cpu_rules, waveforms())
@patient
def test_between_the_levels_and_missing_values_change_no_phase(rule: AlertRule, wave: list[Seen]) -> None:
    run = drive_wave(rule, wave)
    for index, seen in enumerate(wave):
        if seen.kind in ("between", "missing"):
            assert run.states[index].phase is run.states[index + 1].phase


@given(cpu_rules, waveforms())
@patient
def test_a_relapse_is_firing_at_once(rule: AlertRule, wave: list[Seen]) -> None:
    run = drive_wave(rule, wave)
    for index, seen in enumerate(wave):
        if seen.kind == "breach" and run.states[index].phase in OPEN:
            assert run.states[index + 1].phase is AlertPhase.FIRING
            assert run.states[index + 1].episode == run.states[index].episode


@given(cpu_rules, waveforms(), st.data())
@patient
def test_late_and_repeated_samples_change_nothing(rule: AlertRule, wave: list[Seen], data: st.DataObject) -> None:
    run = drive_wave(rule, wave)
    if wave:
        index = data.draw(st.integers(0, len(wave) - 1))
        old = replace(wave[data.draw(st.integers(0, index))], cpu=data.draw(st.sampled_from([0.1, 0.99])))
        assert step(run.states[index + 1], old.reading, rule) == (run.states[index + 1], [])


@given(cpu_rules, waveforms())
@patient
def test_what_is_told_is_firing_and_resolved_in_turn(rule: AlertRule, wave: list[Seen]) -> None:
    run = drive_wave(rule, wave)
    _check_stream(run)
    assert (run.states[-1].phase in OPEN) == (len(run.told) % 2 == 1)


def _check_stream(run: Run) -> None:
    kinds = [notification.kind for notification in run.told]
    assert kinds == (["firing", "resolved"] * len(kinds))[: len(kinds)]
    pairs = list(zip(run.told[::2], run.told[1::2], strict=False))
    assert all(firing.alert_id == resolved.alert_id for firing, resolved in pairs)
    assert len({notification.key for notification in run.told}) == len(run.told)
    assert all(firing.at == firing.fired_at for firing in run.told[::2])
    assert all(firing.fired_at == resolved.fired_at for firing, resolved in pairs)
    for state in run.states:
        assert (state.fired_at is not None) == (state.phase in OPEN)
        assert state.told is None or state.told.fired_at == state.fired_at


@given(cpu_rules, waveforms(), st.sampled_from(["calm", "breach"]))
@patient
def test_a_constant_end_is_told(rule: AlertRule, wave: list[Seen], kind: str) -> None:
    """Whatever was before: constant calm ends well and told, constant breach ends firing and told."""
    end = wave[-1].at_s if wave else 0.0
    cpu = 0.1 if kind == "calm" else 0.99
    tail = [reading(end + 10 * n, cpu) for n in range(1, 12)]
    run = drive(rule, [*(seen.reading for seen in wave), *tail])
    last = run.told[-1].kind if run.told else "resolved"
    assert (run.states[-1].phase, last) == ((AlertPhase.OK, "resolved") if kind == "calm" else ("firing", "firing"))


@given(cpu_rules, waveforms())
@patient
def test_dumping_and_loading_changes_nothing(rule: AlertRule, wave: list[Seen]) -> None:
    plain, loaded = new_state(rule), new_state(rule)
    for seen in wave:
        plain, told = step(plain, seen.reading, rule)
        loaded = AlertState.model_validate_json(loaded.model_dump_json())
        loaded, told_again = step(loaded, seen.reading, rule)
        assert (loaded, told_again) == (plain, told)


@given(cpu_rules, waveforms(), st.integers(1, 10**6))
@patient
def test_shifted_time_shifts_what_is_told(rule: AlertRule, wave: list[Seen], shift_s: int) -> None:
    plain = drive_wave(rule, wave)
    shifted = drive_wave(rule, [replace(seen, at_s=seen.at_s + shift_s) for seen in wave])
    by = timedelta(seconds=shift_s)
    assert [(n.kind, n.at + by, n.fired_at + by) for n in plain.told] == [
        (n.kind, n.at, n.fired_at) for n in shifted.told
    ]


@given(cpu_rules, waveforms())
@patient
def test_closing_takes_back_what_was_told(rule: AlertRule, wave: list[Seen]) -> None:
    run = drive_wave(rule, wave)
    closing = Closing(START + timedelta(days=1), "the worker was removed")
    closed, told = step(run.states[-1], closing, rule)
    assert closed.phase is AlertPhase.OK
    assert closed.told is None
    run.told += told
    _check_stream(run)
    assert len(run.told) % 2 == 0
    assert step(closed, closing, rule) == (closed, [])


@given(cpu_rules, waveforms())
@patient
def test_events_and_messages_agree(rule: AlertRule, wave: list[Seen]) -> None:
    """Each firing that is told has its event with the same id, and so has each resolve."""
    state, events, told = new_state(rule), [], []
    for seen in wave:
        after, notifications = step(state, seen.reading, rule)
        change = compare(state, after, rule, "w1", seen.reading.at)
        if change.topic in ("alert.firing", "alert.resolved"):
            events.append((change.topic, change.record.id if change.record else None))
        assert (change.record is not None and not change.is_over) == (after.phase is not AlertPhase.OK)
        told += [(f"alert.{n.kind}", n.alert_id) for n in notifications]
        state = after
    assert events == told


@given(cpu_rules, waveforms(), st.integers(0, 500), st.integers(0, 500))
@patient
def test_silence_changes_no_metric_alert(rule: AlertRule, wave: list[Seen], at_s: int, since_s: int) -> None:
    state = drive_wave(rule, wave).states[-1]
    assert step(state, tick(at_s + since_s, since_s), rule) == (state, [])


LIMIT_S = 30.0
lanes = st.lists(
    st.tuples(st.sampled_from(["sample", "tick"]), st.sampled_from([1.0, 5.0, 9.0, 25.0, 31.0])),
    max_size=40,
)


@given(lanes)
@patient
def test_the_no_data_lane_follows_silence(steps: list[tuple[str, float]]) -> None:
    """A tick that finds 30 s of silence fires, a sample resolves, nothing else does either."""
    at_s, heard_s, silent, observations, expected = 0.0, 0.0, False, list[Observation](), list[bool]()
    for kind, wait_s in steps:
        at_s += wait_s
        if kind == "sample":
            heard_s, silent = at_s, False
            observations.append(reading(at_s, None))
        else:
            silent = silent or at_s - heard_s >= LIMIT_S
            observations.append(tick(at_s, 0.0))
        expected.append(silent)
    run = drive(NO_DATA_RULE, observations)
    assert [state.phase is AlertPhase.FIRING for state in run.states[1:]] == expected
    _check_stream(run)


@given(st.permutations([*(reading(n * 7.0) for n in range(5)), *(tick(n * 13.0, 0) for n in range(5))]))
def test_reordered_observations_never_go_back_in_time(shuffled: list[Reading | Tick]) -> None:
    run = drive(NO_DATA_RULE, list(shuffled))
    for before, after in zip(run.states, run.states[1:], strict=False):
        assert (before.heard_at or START) <= (after.heard_at or START)
        assert (before.ticked_at or START) <= (after.ticked_at or START)
    _check_stream(run)
