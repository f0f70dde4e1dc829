"""The alert machine in single steps."""

from datetime import timedelta

import pytest

from domain.monitoring.alert import TRANSITIONS, AlertPhase, Signal, step
from domain.monitoring.observation import Closing, Reading
from domain.monitoring.rule import AlertRule
from unit.monitoring.waveforms import NO_DATA_RULE, START, cpu_rule, drive, new_state, reading, sample, tick


def phases(rule: AlertRule, *cpu: float | None) -> list[str]:
    run = drive(rule, [reading(10.0 * n, value) for n, value in enumerate(cpu)])
    return [state.phase.value for state in run.states[1:]]


def test_the_table_has_every_phase_and_only_known_signals() -> None:
    assert set(TRANSITIONS) == set(AlertPhase)
    assert {signal for arrows in TRANSITIONS.values() for signal in arrows} == set(Signal)
    assert all(Signal.CLOSE in arrows for phase, arrows in TRANSITIONS.items() if phase is not AlertPhase.OK)


def test_without_for_it_fires_at_once_and_resolves_at_once() -> None:
    assert phases(cpu_rule(), 0.5, 0.91, 0.81, 0.8) == ["ok", "firing", "firing", "ok"]


def test_for_counts_from_the_first_wrong_value() -> None:
    assert phases(cpu_rule(for_s=20), 0.95, 0.95, 0.95) == ["pending", "pending", "firing"]


def test_calm_ends_pending_without_a_word() -> None:
    run = drive(cpu_rule(for_s=20), [reading(0, 0.95), reading(10, 0.5), reading(20, 0.95), reading(30, 0.95)])
    assert [state.phase.value for state in run.states[1:]] == ["pending", "ok", "pending", "pending"]
    assert run.told == []


def test_between_the_levels_for_starts_anew() -> None:
    rule = cpu_rule(for_s=20)
    assert phases(rule, 0.95, 0.95, 0.85, 0.95, 0.95, 0.95) == ["pending"] * 5 + ["firing"]


def test_a_gap_starts_for_anew() -> None:
    rule = cpu_rule(for_s=20)
    run = drive(rule, [reading(0, 0.95), reading(31, 0.95), reading(41, 0.95), reading(51, 0.95)])
    assert [state.phase.value for state in run.states[1:]] == ["pending", "pending", "pending", "firing"]


def test_keep_firing_for_waits_and_a_relapse_is_the_same_episode() -> None:
    rule = cpu_rule(keep_firing_for_s=20)
    run = drive(rule, [reading(10.0 * n, cpu) for n, cpu in enumerate([0.95, 0.5, 0.95, 0.5, 0.5, 0.5])])
    shown = [state.phase.value for state in run.states[1:]]
    assert shown == ["firing", "recovering", "firing", "recovering", "recovering", "ok"]
    assert [notification.kind for notification in run.told] == ["firing", "resolved"]


def test_a_relapse_does_not_wait_for_for() -> None:
    rule = cpu_rule(for_s=10, keep_firing_for_s=30)
    assert phases(rule, 0.95, 0.95, 0.5, 0.95, 0.95) == ["pending", "firing", "recovering", "firing", "firing"]


def test_what_is_told_says_what_and_why() -> None:
    run = drive(cpu_rule(), [reading(0, 0.973), reading(10, 0.2)])
    firing, resolved = run.told
    assert firing.summary == "cpu on w1 firing: cpu_utilization 97.3 % (> 0.9)"
    assert resolved.summary == "cpu on w1 resolved: cpu_utilization 20.0 % (no longer > 0.8)"
    assert firing.alert_id == f"cpu@w1@{round(START.timestamp() * 1000)}"
    assert resolved.fired_at == START


def test_a_worker_that_is_gone_resolves_with_the_reason() -> None:
    run = drive(cpu_rule(), [reading(0, 0.95), Closing(START + timedelta(seconds=1), "the worker was removed")])
    assert run.told[-1].kind == "resolved"
    assert run.told[-1].reason == "the worker was removed"


def test_silence_fires_and_a_sample_resolves() -> None:
    run = drive(NO_DATA_RULE, [reading(0), tick(29, 0), tick(31, 0), tick(33, 0), reading(34)])
    assert [state.phase.value for state in run.states[1:]] == ["ok", "ok", "firing", "firing", "ok"]
    assert run.told[0].summary == "silent on w1 firing: no sample for 31 s (nothing is heard of the worker)"
    assert run.told[1].summary == "silent on w1 resolved: samples again (the worker is heard again)"


def test_silence_counts_in_intervals_of_a_slow_worker() -> None:
    slow = [Reading(sample(START), 60), tick(100, 0)]
    assert NO_DATA_RULE.silence_s(60) == 180
    state = drive(NO_DATA_RULE, slow).states[-1]
    assert state.phase is AlertPhase.FIRING  # the tick's own interval of 10 s decides
    patient = NO_DATA_RULE.model_copy(update={"silent_min_s": 101.0})
    assert drive(patient, slow).states[-1].phase is AlertPhase.OK


def test_a_sample_that_was_old_when_it_came_is_no_sign_of_life() -> None:
    run = drive(NO_DATA_RULE, [tick(100, 0), reading(60), reading(71)])
    assert [state.phase.value for state in run.states[1:]] == ["firing", "firing", "ok"]


def test_the_no_data_lane_can_recover_slowly_between_ticks() -> None:
    rule = NO_DATA_RULE.model_copy(update={"keep_firing_for_s": 15.0})
    run = drive(rule, [tick(31, 0), reading(32), tick(34, 32), reading(42), tick(44, 42), reading(52)])
    shown = [state.phase.value for state in run.states[1:]]
    assert shown == ["firing", "recovering", "recovering", "recovering", "recovering", "ok"]


def test_a_sample_that_a_tick_did_not_know_of_counts() -> None:
    run = drive(NO_DATA_RULE, [reading(50), tick(60, 0)])
    assert run.states[-1].phase is AlertPhase.OK


@pytest.mark.parametrize(("comparison", "wrong", "calm"), [(">=", 0.9, 0.89), ("<", 0.09, 0.1), ("<=", 0.1, 0.11)])
def test_other_comparisons(comparison: str, wrong: float, calm: float) -> None:
    level = 0.9 if comparison == ">=" else 0.1
    rule = AlertRule.model_validate({"id": "r", "metric": "cpu_utilization", "comparison": comparison, "fire": level})
    assert phases(rule, calm, wrong, calm) == ["ok", "firing", "ok"]


DISKS = AlertRule(id="disk", metric="filesystems", fire=0.9)


def _disks(at_s: float, disks: dict[str, float] | None, hidden: str | None = None) -> Reading:
    found = sample(START + timedelta(seconds=at_s), filesystems=disks)
    missing = {**found.missing, **({f"filesystems.{hidden}": "it hangs"} if hidden else {})}
    return Reading(found.model_copy(update={"missing": missing}), 10)


def test_the_worst_file_system_counts_and_is_named() -> None:
    state, told = step(new_state(DISKS), _disks(0, {"/": 0.2, "/data": 0.95}), DISKS)
    assert state.subject == "/data"
    assert told[0].summary == "disk on w1 firing: filesystems /data 95.0 % (> 0.9)"


def test_a_mount_that_does_not_answer_is_not_calm() -> None:
    run = drive(
        DISKS,
        [_disks(0, {"/": 0.2, "/data": 0.95}), _disks(10, {"/": 0.2}, hidden="/data"), _disks(20, {"/": 0.2})],
    )
    assert [state.phase.value for state in run.states[1:]] == ["firing", "firing", "ok"]


def test_one_mount_of_many() -> None:
    rule = AlertRule(id="disk", metric="filesystems./data", fire=0.9)
    run = drive(rule, [_disks(0, {"/": 0.99, "/data": 0.1}), _disks(10, {"/": 0.1, "/data": 0.99}), _disks(20, None)])
    assert [state.phase.value for state in run.states[1:]] == ["ok", "firing", "firing"]
