"""The alert: a pure, level-triggered machine that one rule drives for one worker.

``docs/state-machines.md`` draws ``TRANSITIONS``. What is told to people is derived from the state, never from an
edge: as long as what was told differs from what is, the next step tells it. So a resolve cannot get lost.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from domain.monitoring.notification import Notification, NotificationKind, Told
from domain.monitoring.observation import (
    GAP_INTERVALS,
    UNDECIDED,
    Closing,
    Judgement,
    Observation,
    Reading,
    Tick,
    Verdict,
    judge_sample,
)
from domain.monitoring.rule import AlertRule


class AlertPhase(StrEnum):
    """Where an alert is."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"


class Signal(StrEnum):
    """What a step says to the machine: the verdict, and whether it has held for as long as the rule wants."""

    BREACH = "breach"
    BREACH_HELD = "breach held"
    CALM = "calm"
    CALM_HELD = "calm held"
    CLOSE = "close"


class Arrow(NamedTuple):
    """One transition: where to, and why."""

    to: AlertPhase
    why: str


TRANSITIONS: dict[AlertPhase, dict[Signal, Arrow]] = {
    AlertPhase.OK: {
        Signal.BREACH: Arrow(AlertPhase.PENDING, "the value passed fire; for_s has begun"),
        Signal.BREACH_HELD: Arrow(AlertPhase.FIRING, "the value passed fire, and for_s is 0"),
    },
    AlertPhase.PENDING: {
        Signal.BREACH_HELD: Arrow(AlertPhase.FIRING, "breached without a break for for_s"),
        Signal.CALM: Arrow(AlertPhase.OK, "calm before for_s was over"),
        Signal.CALM_HELD: Arrow(AlertPhase.OK, "calm before for_s was over"),
        Signal.CLOSE: Arrow(AlertPhase.OK, "the worker, its monitoring or the rule is gone"),
    },
    AlertPhase.FIRING: {
        Signal.CALM: Arrow(AlertPhase.RECOVERING, "the value passed clear; keep_firing_for_s has begun"),
        Signal.CALM_HELD: Arrow(AlertPhase.OK, "the value passed clear, and keep_firing_for_s is 0"),
        Signal.CLOSE: Arrow(AlertPhase.OK, "the worker, its monitoring or the rule is gone"),
    },
    AlertPhase.RECOVERING: {
        Signal.BREACH: Arrow(AlertPhase.FIRING, "breached again: the same episode goes on"),
        Signal.BREACH_HELD: Arrow(AlertPhase.FIRING, "breached again: the same episode goes on"),
        Signal.CALM_HELD: Arrow(AlertPhase.OK, "calm without a break for keep_firing_for_s"),
        Signal.CLOSE: Arrow(AlertPhase.OK, "the worker, its monitoring or the rule is gone"),
    },
}
"""The whole machine. A signal that a phase does not list changes nothing."""

OPEN = frozenset({AlertPhase.FIRING, AlertPhase.RECOVERING})
"""Phases in which people are to know that something is wrong."""


class AlertState(BaseModel):
    """Everything the machine remembers of one rule and one worker; plain JSON.

    ``run`` is the verdict that every observation since ``run_since`` gave, without a gap; None after an undecided
    one. ``heard_at`` is the newest sample, ``ticked_at`` the newest tick: what is not newer changes nothing.
    ``episode`` names what is between leaving ``ok`` and returning to it. ``told`` is the firing that was told and not
    yet taken back.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    rule_id: str
    worker_id: str
    phase: AlertPhase = AlertPhase.OK
    phase_since: datetime | None = None
    run: Verdict | None = None
    run_since: datetime | None = None
    heard_at: datetime | None = None
    ticked_at: datetime | None = None
    episode: str | None = None
    opened_at: datetime | None = None
    fired_at: datetime | None = None
    value: float | None = None
    subject: str | None = None
    told: Told | None = None


def step(state: AlertState, seen: Observation, rule: AlertRule) -> tuple[AlertState, list[Notification]]:
    """Return the state after one observation, and what people are to be told.

    Pure: no clock, no input or output. An observation that is not newer than the last of its kind changes nothing, so
    repeating and reordering are harmless. Missing data changes no phase. After a ``Closing`` the state is ``ok``.
    """
    if isinstance(seen, Closing):
        return _tell(_move(state, Signal.CLOSE, seen.at), seen.at, rule, reason=seen.reason)
    judgement = _judge(state, seen, rule)
    if judgement is None:
        return state, []
    heard = _remember(state, seen, judgement)
    signal = _signal(heard, seen.at, rule)
    return _tell(_move(heard, signal, seen.at), seen.at, rule)


def _judge(state: AlertState, seen: Reading | Tick, rule: AlertRule) -> Judgement | None:
    """Return what the observation means, or None when it is old news."""
    last = state.heard_at if isinstance(seen, Reading) else state.ticked_at
    if last is not None and seen.at <= last:
        return None
    if not rule.is_no_data:
        return judge_sample(seen.sample, rule) if isinstance(seen, Reading) else None
    return _judge_silence(state, seen, rule)


def _judge_silence(state: AlertState, seen: Reading | Tick, rule: AlertRule) -> Judgement:
    """Judge how long nothing was heard. A sample ends a silence, unless it was old when it came."""
    limit = timedelta(seconds=rule.silence_s(seen.interval_s))
    if isinstance(seen, Reading):
        is_old = state.ticked_at is not None and state.ticked_at - seen.sample.collected_at >= limit
        return UNDECIDED if is_old else Judgement(Verdict.CALM, 0.0)
    silence = seen.at - max(seen.quiet_since, state.heard_at or seen.quiet_since)
    return Judgement(Verdict.BREACH, silence.total_seconds()) if silence >= limit else UNDECIDED


def _remember(state: AlertState, seen: Reading | Tick, judgement: Judgement) -> AlertState:
    """Note the observation: when, what, and since when all say the same.

    A tick that finds no silence is no news: the samples say how the worker is.
    """
    changes: dict[str, object] = {"heard_at" if isinstance(seen, Reading) else "ticked_at": seen.at}
    if isinstance(seen, Tick) and judgement.verdict is Verdict.UNDECIDED:
        return state.model_copy(update=changes)
    if judgement.value is not None:
        changes |= {"value": judgement.value, "subject": judgement.subject}
    if judgement.verdict is Verdict.UNDECIDED:
        changes |= {"run": None, "run_since": None}
    elif judgement.verdict is not state.run or _is_gap(state, seen):
        changes |= {"run": judgement.verdict, "run_since": seen.at}
    return state.model_copy(update=changes)


def _is_gap(state: AlertState, seen: Reading | Tick) -> bool:
    """Tell whether so much time is between two samples that nobody knows what was in it."""
    if isinstance(seen, Tick) or state.heard_at is None:
        return False
    return seen.at - state.heard_at > timedelta(seconds=GAP_INTERVALS * seen.interval_s)


def _signal(state: AlertState, at: datetime, rule: AlertRule) -> Signal | None:
    if state.run is None or state.run_since is None:
        return None
    held = at - state.run_since
    if state.run is Verdict.BREACH:
        return Signal.BREACH_HELD if held >= timedelta(seconds=rule.for_s) else Signal.BREACH
    return Signal.CALM_HELD if held >= timedelta(seconds=rule.keep_firing_for_s) else Signal.CALM


def _move(state: AlertState, signal: Signal | None, at: datetime) -> AlertState:
    """Follow the arrow, if there is one."""
    arrow = TRANSITIONS[state.phase].get(signal) if signal else None
    if arrow is None or arrow.to is state.phase:
        return state
    changes: dict[str, object] = {"phase": arrow.to, "phase_since": at}
    if state.phase is AlertPhase.OK:
        changes |= {"episode": _episode(state, at), "opened_at": at}
    if arrow.to is AlertPhase.FIRING and state.fired_at is None:
        changes["fired_at"] = at
    if arrow.to is AlertPhase.OK:
        changes |= {"episode": None, "opened_at": None, "fired_at": None}
    return state.model_copy(update=changes)


def _episode(state: AlertState, at: datetime) -> str:
    """Name an episode: times only grow, so no two of one rule and worker are alike; ``@`` is in no id."""
    return f"{state.rule_id}@{state.worker_id}@{round(at.timestamp() * 1000)}"


def _tell(
    state: AlertState, at: datetime, rule: AlertRule, *, reason: str | None = None
) -> tuple[AlertState, list[Notification]]:
    """Bring what was told in line with what is: take back what is over, tell what is open."""
    current = state.episode if state.phase in OPEN else None
    notifications: list[Notification] = []
    if state.told is not None and state.told.alert_id != current:
        notifications.append(_notification("resolved", state.told, state, at, rule, reason))
        state = state.model_copy(update={"told": None})
    if current is not None and state.told is None and state.fired_at is not None:
        told = Told(alert_id=current, fired_at=state.fired_at, severity=rule.severity)
        notifications.append(_notification("firing", told, state, at, rule, reason))
        state = state.model_copy(update={"told": told})
    return state, notifications


def _notification(
    kind: NotificationKind, told: Told, state: AlertState, at: datetime, rule: AlertRule, reason: str | None
) -> Notification:
    return Notification(
        kind=kind,
        alert_id=told.alert_id,
        rule_id=state.rule_id,
        worker_id=state.worker_id,
        severity=told.severity,
        metric=rule.metric,
        value=state.value,
        subject=state.subject,
        at=at,
        fired_at=told.fired_at,
        reason=reason or _reason(kind, rule),
    )


def _reason(kind: NotificationKind, rule: AlertRule) -> str:
    """Say in the rule's words why it is told."""
    if rule.is_no_data:
        return "nothing is heard of the worker" if kind == "firing" else "the worker is heard again"
    if kind == "firing":
        held = f" for {rule.for_s:g} s" if rule.for_s else ""
        return f"{rule.comparison} {_level(rule.fire)}{held}"
    held = f" for {rule.keep_firing_for_s:g} s" if rule.keep_firing_for_s else ""
    return f"no longer {rule.comparison} {_level(rule.clear_level)}{held}"


def _level(level: float | None) -> str:
    return "?" if level is None else f"{level:g}"
