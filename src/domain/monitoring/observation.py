"""What an alert is told: a sample was read, time passed, or it is to be closed."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.monitoring.rule import AlertRule
from domain.monitoring.sample import MetricSample

GAP_INTERVALS = 3.0
"""Readings further apart than this many collection intervals do not prove what was between them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A sample of a worker that is collected every ``interval_s`` seconds."""

    sample: MetricSample
    interval_s: float

    @property
    def at(self) -> datetime:
        """When it was observed."""
        return self.sample.observed_at


@dataclass(frozen=True, slots=True)
class Tick:
    """The worker was watched until ``at``, and nothing was heard since ``quiet_since``, as far as the ticker knows.

    ``quiet_since`` is the last sample, or the moment from which one was expected again: after a pause, or after nobody
    watched at all.
    """

    at: datetime
    quiet_since: datetime
    interval_s: float


@dataclass(frozen=True, slots=True)
class Closing:
    """The worker, its monitoring or the rule is gone: nothing will be observed any more."""

    at: datetime
    reason: str


Observation = Reading | Tick | Closing


class Verdict(StrEnum):
    """What one observation says of one rule."""

    BREACH = "breach"
    CALM = "calm"
    UNDECIDED = "undecided"
    """Between the levels, or not known: nothing begins and nothing ends."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, with the value that led to it and, for file systems, the mount point."""

    verdict: Verdict
    value: float | None = None
    subject: str | None = None


UNDECIDED = Judgement(Verdict.UNDECIDED)


def judge_sample(sample: MetricSample, rule: AlertRule) -> Judgement:
    """Say what a sample means to a metric rule. A value that is missing means nothing."""
    values = _values(sample, rule)
    if not values:
        return UNDECIDED
    subject, value = _worst(values, rule)
    if rule.breaches(value):
        return Judgement(Verdict.BREACH, value, subject)
    if rule.is_calm(value) and not _hides_a_mount(sample, rule):
        return Judgement(Verdict.CALM, value, subject)
    return Judgement(Verdict.UNDECIDED, value, subject)


def _values(sample: MetricSample, rule: AlertRule) -> dict[str | None, float]:
    found = getattr(sample.metrics, rule.metric_name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        return {None: float(found)}
    return {mount: value for mount, value in found.items() if rule.mount in (None, mount)}


def _worst(values: dict[str | None, float], rule: AlertRule) -> tuple[str | None, float]:
    worst = max if rule.comparison in (">", ">=") else min
    subject = worst(values, key=lambda name: values[name])
    return subject, values[subject]


def _hides_a_mount(sample: MetricSample, rule: AlertRule) -> bool:
    """Tell whether a mount point that the rule watches did not answer: the others being well is then no proof."""
    return (
        rule.mount is None
        and any(field.startswith("filesystems.") for field in sample.missing)
        and (rule.metric_name == "filesystems")
    )
