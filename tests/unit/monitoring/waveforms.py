"""Make waveforms: segments of a level, as long as drawn, seen through samples, ticks, gaps and missing values.

Independent random samples rarely stay wrong for long enough to matter; machines that are ill stay ill for a while.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from hypothesis import strategies as st

from domain.monitoring.alert import AlertState, step
from domain.monitoring.notification import Notification
from domain.monitoring.observation import Observation, Reading, Tick
from domain.monitoring.rule import AlertRule
from domain.monitoring.sample import METRICS, Metrics, MetricSample, StatusChecks
from domain.monitoring.worker import WorkerStatus

START = datetime(2026, 11, 22, 8, tzinfo=UTC)
INTERVAL_S = 10.0
LEVELS = {"calm": 0.5, "between": 0.85, "breach": 0.95, "missing": None}

Kind = Literal["calm", "between", "breach", "missing", "gap"]


def sample(at: datetime, cpu: float | None = 0.5, worker_id: str = "w1", **metrics: object) -> MetricSample:
    """Return a sample in which only the given metrics are known."""
    known = Metrics.model_validate({"cpu_utilization": cpu, **metrics})
    missing = {name: "not in this test" for name in METRICS if getattr(known, name) is None}
    return MetricSample(
        worker_id=worker_id,
        worker_name=worker_id,
        provider="local",
        observed_at=at,
        collected_at=at,
        status=WorkerStatus.RUNNING,
        status_checks=StatusChecks(system="ok", instance="ok"),
        metrics=known,
        missing={**missing, "region": "none"},
    )


def reading(at_s: float, cpu: float | None = 0.5, interval_s: float = INTERVAL_S) -> Reading:
    """Return a reading ``at_s`` seconds after the start."""
    return Reading(sample(START + timedelta(seconds=at_s), cpu), interval_s)


def tick(at_s: float, quiet_since_s: float) -> Tick:
    """Return a tick ``at_s`` seconds after the start."""
    moment = START + timedelta(seconds=at_s)
    return Tick(moment, START + timedelta(seconds=quiet_since_s), INTERVAL_S)


def cpu_rule(for_s: float = 0, keep_firing_for_s: float = 0) -> AlertRule:
    """Return a rule that fires above 0.9 and is calm from 0.8 down."""
    return AlertRule(
        id="cpu", metric="cpu_utilization", fire=0.9, clear=0.8, for_s=for_s, keep_firing_for_s=keep_firing_for_s
    )


NO_DATA_RULE = AlertRule(id="silent", metric="no_data")
"""Fires after max(30 s, 3 intervals of 10 s)."""

cpu_rules = st.builds(
    cpu_rule,
    for_s=st.sampled_from([0, 10, 25, 40, 60]),
    keep_firing_for_s=st.sampled_from([0, 0, 10, 35]),
)


@dataclass(frozen=True)
class Seen:
    """One sample of a waveform, with what it is."""

    at_s: float
    kind: Kind
    cpu: float | None

    @property
    def reading(self) -> Reading:
        """Return it as the machine is told."""
        return reading(self.at_s, self.cpu)


_segments = st.lists(
    st.tuples(st.sampled_from(["calm", "between", "breach", "breach", "missing", "gap"]), st.integers(1, 9)),
    min_size=1,
    max_size=10,
)


@st.composite
def waveforms(draw: st.DrawFn) -> list[Seen]:
    """Draw segments and sample them about every ten seconds; a gap is time without samples."""
    at_s, seen = 0.0, list[Seen]()
    for kind, length in draw(_segments):
        for _ in range(length):
            at_s += draw(st.sampled_from([10.0, 10.0, 9.0, 11.5]))
            if kind != "gap":
                seen.append(Seen(at_s, kind, LEVELS[kind]))
    return seen


@dataclass
class Run:
    """What a machine went through."""

    states: list[AlertState]
    told: list[Notification]


def new_state(rule: AlertRule) -> AlertState:
    """Return the state of a rule that nothing was told yet."""
    return AlertState(rule_id=rule.id, worker_id="w1")


def drive(rule: AlertRule, observations: list[Observation], state: AlertState | None = None) -> Run:
    """Tell a machine everything, in order; the first of the states is the one before."""
    run = Run([state or new_state(rule)], [])
    for seen in observations:
        after, notifications = step(run.states[-1], seen, rule)
        run.states.append(after)
        run.told += notifications
    return run
