"""The alert: a pure, level-triggered machine that one rule drives for one worker.

``docs/state-machines.md`` draws ``TRANSITIONS``. What is told to people is derived from the state, never from an
edge: as long as what was told differs from what is, the next step tells it. So a resolve cannot get lost.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from domain.monitoring.notification import Notification
from domain.monitoring.observation import (
    GAP_INTERVALS,
    UNDECIDED,
    Closing,
    Failure,
    Judgement,
    Observation,
    Reach,
    Reading,
    Tick,
    Verdict,
    judge_reach,
    judge_sample,
    judge_status,
)
from domain.monitoring.rule import AlertRule
from domain.monitoring.state import OPEN, AlertPhase, AlertState
from domain.monitoring.telling import Outlook, tell, worsen
from domain.monitoring.worker import WorkerStatus

__all__ = ["OPEN", "TRANSITIONS", "AlertPhase", "AlertState", "Arrow", "Signal", "step"]

LOOKS = (Reading, Failure)
"""What hears of a worker; the others only see time pass."""
HEARD: dict[str, tuple[type, ...]] = {
    "metric": (Reading,),
    "status": LOOKS,
    "no_data": (Reading, Tick),
    "provider_down": (Reach,),
}
"""What says something to a rule of a kind, but that time passed."""


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


def step(
    state: AlertState, seen: Observation, rule: AlertRule, outlook: Outlook | None = None
) -> tuple[AlertState, list[Notification]]:
    """Return the state after one observation, and what people are to be told.

    Pure: no clock, no input or output; the time is that of the ``outlook``, or else of the observation. One that is
    not newer than the last of its kind changes nothing, so repeating and reordering are harmless. Missing data changes
    no phase. After a ``Closing`` the state is ``ok``, and what was seen before it changes nothing any more.
    """
    outlook = outlook or Outlook(seen.at)
    if isinstance(seen, Closing):
        return tell(_close(state, seen.at), seen.at, rule, outlook, seen.reason)
    well = stay_well(state, seen, rule)
    if well is not None:
        return well, []
    if not _concerns(seen, rule):
        return tell(worsen(state, rule, outlook.now), seen.at, rule, outlook)
    at = _time(seen, rule)
    judgement = _judge(state, seen, rule, at)
    if judgement is None:
        return state, []
    heard = _remember(state, seen, judgement, at)
    moved = _move(heard, _signal(heard, at, rule), at, rule.metric)
    return tell(worsen(moved, rule, outlook.now), seen.at, rule, outlook)


def stay_well(state: AlertState, seen: Observation, rule: AlertRule) -> AlertState | None:
    """Return the state after an observation that finds well what is well, and of which nothing is owed; else None.

    It is what most samples do, and tells nothing, whatever the outlook: no arrow leads out of ``ok`` but a breach.
    """
    if not state.is_at_rest or state.silenced_until or state.hidden_by or not _concerns(seen, rule):
        return None
    at = _time(seen, rule)
    judgement = _judge(state, seen, rule, at)
    if judgement is None:
        return state
    heard = _remember(state, seen, judgement, at)
    return None if heard.run is Verdict.BREACH else heard


def _concerns(seen: Observation, rule: AlertRule) -> bool:
    """Tell whether an observation says something to a rule of this kind, but that time passed."""
    if isinstance(seen, Failure) and WorkerStatus.UNREACHABLE not in rule.statuses:
        return False
    return isinstance(seen, HEARD[rule.kind])


def _time(seen: Observation, rule: AlertRule) -> datetime:
    """Return when it was so. A status is of the moment of the look; values may be of a period before."""
    return seen.sample.collected_at if isinstance(seen, Reading) and rule.kind == "status" else seen.at


def _judge(state: AlertState, seen: Observation, rule: AlertRule, at: datetime) -> Judgement | None:
    """Return what the observation means, or None when it is old news."""
    last = state.heard_at if isinstance(seen, LOOKS) else state.ticked_at
    if last is not None and at <= last:
        return None
    if isinstance(seen, Reach):
        return judge_reach(seen, rule)
    if isinstance(seen, Reading | Failure) and rule.kind == "status":
        return judge_status(seen, rule)
    if isinstance(seen, Reading | Tick) and rule.is_no_data:
        return _judge_silence(state, seen, rule)
    return judge_sample(seen.sample, rule) if isinstance(seen, Reading) else None


def _judge_silence(state: AlertState, seen: Reading | Tick, rule: AlertRule) -> Judgement:
    """Judge how long nothing was heard. A sample ends a silence, unless it was old when it came."""
    limit = timedelta(seconds=rule.silence_s(seen.interval_s))
    if isinstance(seen, Reading):
        is_old = state.ticked_at is not None and state.ticked_at - seen.sample.collected_at >= limit
        return UNDECIDED if is_old else Judgement(Verdict.CALM, 0.0)
    silence = seen.at - max(seen.quiet_since, state.heard_at or seen.quiet_since)
    return Judgement(Verdict.BREACH, silence.total_seconds()) if silence >= limit else UNDECIDED


def _remember(state: AlertState, seen: Observation, judgement: Judgement, at: datetime) -> AlertState:
    """Note the observation: when, what, and since when all say the same.

    A tick that finds no silence is no news: the samples say how the worker is.
    """
    changes: dict[str, object] = {"heard_at" if isinstance(seen, LOOKS) else "ticked_at": at}
    if isinstance(seen, Tick) and judgement.verdict is Verdict.UNDECIDED:
        return state.model_copy(update=changes)
    if judgement.value is not None or judgement.subject is not None:
        changes |= {"value": judgement.value, "subject": judgement.subject}
    if judgement.verdict is Verdict.UNDECIDED:
        changes |= {"run": None, "run_since": None}
    elif judgement.verdict is not state.run or _is_gap(state, seen, at):
        changes |= {"run": judgement.verdict, "run_since": at}
    return state.model_copy(update=changes)


def _is_gap(state: AlertState, seen: Observation, at: datetime) -> bool:
    """Tell whether so much time is between two looks that nobody knows what was in it.

    Between two failed looks no other succeeded, however long the wait for the second was.
    """
    if not isinstance(seen, Reading | Failure) or state.heard_at is None:
        return False
    if isinstance(seen, Failure) and state.subject == WorkerStatus.UNREACHABLE:
        return False
    return at - state.heard_at > timedelta(seconds=GAP_INTERVALS * seen.interval_s)


def _signal(state: AlertState, at: datetime, rule: AlertRule) -> Signal | None:
    if state.run is None or state.run_since is None:
        return None
    held = at - state.run_since
    if state.run is Verdict.BREACH:
        return Signal.BREACH_HELD if held >= timedelta(seconds=rule.for_s) else Signal.BREACH
    return Signal.CALM_HELD if held >= timedelta(seconds=rule.keep_firing_for_s) else Signal.CALM


def _close(state: AlertState, at: datetime) -> AlertState:
    """End the episode, and hear nothing any more of the time before."""
    forgotten: dict[str, object] = {
        "run": None,
        "run_since": None,
        "heard_at": max(state.heard_at or at, at),
        "ticked_at": max(state.ticked_at or at, at),
    }
    return _move(state, Signal.CLOSE, at, None).model_copy(update=forgotten)


def _move(state: AlertState, signal: Signal | None, at: datetime, metric: str | None) -> AlertState:
    """Follow the arrow, if there is one."""
    arrow = TRANSITIONS[state.phase].get(signal) if signal else None
    if arrow is None or arrow.to is state.phase:
        return state
    changes: dict[str, object] = {"phase": arrow.to, "phase_since": at}
    if state.phase is AlertPhase.OK:
        changes |= {"episode": _episode(state, at), "opened_at": at, "metric": metric}
    if arrow.to is AlertPhase.FIRING and state.fired_at is None:
        changes["fired_at"] = at
    if arrow.to is AlertPhase.OK:
        over = ("episode", "opened_at", "fired_at", "metric", "severity", "ack")
        changes |= dict.fromkeys(over)
    return state.model_copy(update=changes)


def _episode(state: AlertState, at: datetime) -> str:
    """Name an episode: times only grow, so no two of one rule and worker are alike; ``@`` is in no id."""
    return f"{state.rule_id}@{state.worker_id}@{round(at.timestamp() * 1000)}"
