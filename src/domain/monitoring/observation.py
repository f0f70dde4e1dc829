"""What an alert is told: a sample was read, a look failed, time passed, or it is to be closed."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.monitoring.rule import AlertRule
from domain.monitoring.sample import CheckStatus, MetricSample
from domain.monitoring.worker import WorkerStatus

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
class Failure:
    """A look at a worker failed: it cannot be reached. It says nothing of its metrics."""

    at: datetime
    interval_s: float


@dataclass(frozen=True, slots=True)
class Reach:
    """How the workers of a provider's region can be looked at: how many fail, and how many do not."""

    at: datetime
    failing: int
    reached: int


@dataclass(frozen=True, slots=True)
class Glance:
    """Time passed and nothing was observed: what time alone changes is told, such as repeats."""

    at: datetime


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


Observation = Reading | Failure | Tick | Reach | Glance | Closing


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

CHECK = "check "
"""Begins the subject of a status alert that a check raised; otherwise it is the status itself."""

_WELL = (CheckStatus.OK, CheckStatus.NOT_APPLICABLE)


def judge_status(seen: Reading | Failure, rule: AlertRule) -> Judgement:
    """Say what a look means to a status rule; what is not known, or still being found out, means nothing."""
    status = seen.sample.status if isinstance(seen, Reading) else WorkerStatus.UNREACHABLE
    if status in rule.statuses:
        return Judgement(Verdict.BREACH, subject=status.value)
    if isinstance(seen, Failure):
        return UNDECIDED
    found = {name: getattr(seen.sample.status_checks, name, None) for name in rule.checks}
    for name, check in found.items():
        if check is CheckStatus.IMPAIRED:
            return Judgement(Verdict.BREACH, subject=f"{CHECK}{name}")
    is_known = status is not WorkerStatus.UNKNOWN and all(check in _WELL for check in found.values())
    return Judgement(Verdict.CALM, subject=status.value) if is_known else UNDECIDED


def judge_reach(seen: Reach, rule: AlertRule) -> Judgement:
    """Say whether a provider's region is down: nobody is reached, and enough fail for that to mean something."""
    if seen.reached or not seen.failing:
        return Judgement(Verdict.CALM, 0.0)
    return Judgement(Verdict.BREACH if seen.failing >= rule.min_workers else Verdict.UNDECIDED, float(seen.failing))


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
        rule.metric_name == "filesystems"
        and rule.mount is None
        and any(field.startswith("filesystems.") for field in sample.missing)
    )
