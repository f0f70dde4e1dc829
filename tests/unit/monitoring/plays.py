"""Make plays: waveforms and what happens around them: silences, outages above, acknowledgements, ticks, restarts."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hypothesis import strategies as st

from domain.monitoring.alert import AlertState, step
from domain.monitoring.notification import Notification
from domain.monitoring.observation import Closing, Glance, Observation
from domain.monitoring.rule import AlertRule, Escalation
from domain.monitoring.severity import SEVERITIES, Severity
from domain.monitoring.silence import Ack
from domain.monitoring.telling import Outlook
from unit.monitoring.waveforms import START, reading

LEVELS = {"calm": 0.5, "between": 0.85, "breach": 0.92, "worse": 0.97, "missing": None}
STEP_S = 10.0
LONGEST_S = 1_200.0
"""Longer than the longest play: 10 segments of 9 samples, 11.5 s apart."""


@dataclass(frozen=True)
class Span:
    """A time from ``start`` to before ``end``, in seconds after the start; ``severities`` are those it mutes."""

    start: float
    end: float
    severities: tuple[Severity, ...] = SEVERITIES

    def holds(self, at_s: float) -> bool:
        """Tell whether it is now."""
        return self.start <= at_s < self.end


@dataclass(frozen=True)
class Act:
    """What happens at a moment: a sample, by what it shows; or a glance, an ack, a restart, an old sample, a close."""

    at_s: float
    what: str
    cpu: float | None = None
    ack: tuple[float, Severity] = (0.0, "info")

    @property
    def is_sample(self) -> bool:
        """Tell whether it is a sample that is seen for the first time."""
        return self.what in LEVELS


@dataclass(frozen=True)
class Play:
    """One rule, and what happens to it."""

    rule: AlertRule
    acts: tuple[Act, ...]
    silences: tuple[Span, ...] = ()
    outages: tuple[Span, ...] = ()

    def outlook(self, at_s: float) -> Outlook:
        """Return what else decides at a moment."""
        ends = {
            severity: [at(span.end) for span in self.silences if span.holds(at_s) and severity in span.severities]
            for severity in SEVERITIES
        }
        hidden = any(span.holds(at_s) for span in self.outages)
        return Outlook(at(at_s), {name: max(found) for name, found in ends.items() if found}, "x" if hidden else None)

    def shifted(self, by_s: float) -> "Play":
        """Return the same play, so much later."""
        later = [replace(act, at_s=act.at_s + by_s) for act in self.acts]
        silences, outages = (
            tuple(replace(span, start=span.start + by_s, end=span.end + by_s) for span in spans)
            for spans in (self.silences, self.outages)
        )
        return Play(self.rule, tuple(later), silences, outages)

    @property
    def end_s(self) -> float:
        """When the last thing happens."""
        return self.acts[-1].at_s if self.acts else 0.0


@dataclass
class Moment:
    """One act, with the state before and after it, and what was told."""

    act: Act
    before: AlertState
    after: AlertState
    told: list[Notification]


@dataclass
class Record:
    """What a play did."""

    state: AlertState
    moments: list[Moment] = field(default_factory=list)

    @property
    def told(self) -> list[Notification]:
        """Return all messages in their order."""
        return [one for moment in self.moments for one in moment.told]


def at(at_s: float) -> datetime:
    """Return a moment of a play."""
    return START + timedelta(seconds=at_s)


def through_json(state: AlertState) -> AlertState:
    """Return a state as the next process finds it."""
    return AlertState.model_validate_json(state.model_dump_json(exclude_defaults=True))


def perform(
    play: Play, state: AlertState | None = None, keep: Callable[[AlertState], AlertState] = lambda state: state
) -> Record:
    """Let everything happen, in order; ``keep`` is what becomes of a state between two acts."""
    record = Record(state or AlertState(rule_id=play.rule.id, worker_id="w1"))
    last: Act | None = None
    for act in play.acts:
        before = keep(record.state)
        outlook = play.outlook(act.at_s)
        if act.what == "ack":
            found = acknowledge(before, act)
            after, told = step(found, Glance(at(act.at_s)), play.rule, outlook)
        elif act.what == "restart":
            after, told = through_json(before), []
        else:
            seen = observation(act, last)
            after, told = (before, []) if seen is None else step(before, seen, play.rule, outlook)
        last = act if act.is_sample else last
        record.moments.append(Moment(act, before, after, told))
        record.state = after
    return record


def acknowledge(state: AlertState, act: Act) -> AlertState:
    """Return the state as somebody knows of it, if it is open."""
    if state.episode is None:
        return state
    for_s, severity = act.ack
    ack = Ack(by="ann", at=at(act.at_s), until=at(act.at_s + for_s), severity=severity)
    return state.model_copy(update={"ack": ack})


def observation(act: Act, last: Act | None) -> Observation | None:
    """Return what the machine is told; an old sample is one before the last, with another value."""
    if act.what == "glance":
        return Glance(at(act.at_s))
    if act.what == "close":
        return Closing(at(act.at_s), "the worker was removed")
    if act.what == "old":
        return None if last is None else reading(last.at_s - act.cpu if act.cpu else last.at_s, 0.99)
    return reading(act.at_s, act.cpu)


rules = st.builds(
    lambda for_s, keep_s, repeat_s, escalate: AlertRule(
        id="cpu",
        metric="cpu_utilization",
        fire=0.9,
        clear=0.8,
        for_s=for_s,
        keep_firing_for_s=keep_s,
        severity="info",
        repeat_s=repeat_s,
        escalate=escalate,
    ),
    st.sampled_from([0, 0, 10, 25, 60]),
    st.sampled_from([0, 0, 10, 35]),
    st.sampled_from([None, None, 15, 40, 120]),
    st.sampled_from(
        [
            (),
            (Escalation(severity="critical", fire=0.95),),
            (Escalation(severity="warning", after_s=30),),
            (Escalation(severity="warning", fire=0.95, after_s=90), Escalation(severity="critical", after_s=150)),
        ]
    ),
)

_kinds = st.sampled_from(["calm", "between", "breach", "breach", "worse", "missing", "gap"])
_others = st.sampled_from(["", "glance", "glance", "ack", "restart", "old"])
_acks = st.tuples(st.sampled_from([20.0, 100.0, 400.0]), st.sampled_from(SEVERITIES))
_segments = st.lists(
    st.tuples(_kinds, st.integers(1, 9), st.sampled_from([STEP_S, STEP_S, 9.0, 11.5])), min_size=1, max_size=10
)
_interludes = st.lists(st.tuples(_others, _acks, st.sampled_from([0.0, 4.0, 25.0])), min_size=1, max_size=12)
_severities = st.sampled_from([SEVERITIES, SEVERITIES, ("info",), ("info", "warning"), ("critical",)])


def _span(start: float, length: float, severities: tuple[Severity, ...]) -> Span:
    return Span(start, start + length, severities)


_starts = st.floats(0, 600).map(lambda start: round(start, 3))  # a moment of the calendar has microseconds
_spans = st.builds(_span, _starts, st.sampled_from([5.0, 30.0, 95.0, 300.0]), _severities)
_outages = st.builds(_span, _starts, st.sampled_from([5.0, 30.0, 95.0]), st.just(SEVERITIES))


@st.composite
def plays(draw: st.DrawFn) -> Play:
    """Draw a play: segments of samples, and after every third or so something else."""
    at_s, acts, interludes = 0.0, list[Act](), draw(_interludes)
    for kind, length, apart_s in draw(_segments):
        for n in range(length):
            at_s += apart_s
            if kind != "gap":
                acts.append(Act(at_s, kind, LEVELS[kind]))
            what, ack, ago_s = interludes[(len(acts) + n) % len(interludes)]
            if what and (len(acts) + n) % 3 == 0:
                acts.append(Act(at_s + 1.0, what, ago_s, ack))
    silences, outages = (tuple(draw(st.lists(spans, max_size=most))) for spans, most in ((_spans, 3), (_outages, 2)))
    return Play(draw(rules), tuple(acts), silences, outages)


def tail(play: Play, kind: str, length: int = 12) -> Play:
    """Return the play with an end at which all is of one kind, after all silences and outages."""
    start = max([play.end_s, *(span.end for span in (*play.silences, *play.outages))])
    more = tuple(Act(start + STEP_S * n, kind, LEVELS[kind]) for n in range(1, length + 1))
    return replace(play, acts=(*play.acts, *more))
