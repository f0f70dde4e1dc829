"""The alert rule: what of which workers is wrong, from when on, how bad it is, and when it is well again."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)

from domain.monitoring.errors import InvalidRules
from domain.monitoring.rule_checks import problems_of
from domain.monitoring.sample import FRACTIONS
from domain.monitoring.selector import Selector, has_all, has_any
from domain.monitoring.severity import Severity as Severity
from domain.monitoring.severity import rank
from domain.monitoring.worker import Worker, WorkerStatus
from domain.problems import Problems, placed
from domain.runs.payload import places

NO_DATA = "no_data"
STATUS = "status"
PROVIDER_DOWN = "provider_down"
WEEK_S = 7 * 86_400.0

RuleId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}$")]
Seconds = Annotated[float, Field(ge=0, le=WEEK_S, allow_inf_nan=False)]
Level = Annotated[float, Field(allow_inf_nan=False)]
Comparison = Literal[">", ">=", "<", "<="]
Kind = Literal["metric", "status", "no_data", "provider_down"]
KINDS: dict[str, Kind] = {NO_DATA: "no_data", STATUS: "status", PROVIDER_DOWN: "provider_down"}
"""What a rule watches that is no metric."""


class Escalation(BaseModel):
    """Make an alert that fires worse: when its value passes ``fire``, or ``after_s`` seconds after it fired.

    With both, whatever comes first. What became worse stays so until the episode ends.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Severity
    fire: Level | None = None
    after_s: Annotated[Seconds, Field(gt=0)] | None = None


class AlertRule(BaseModel):
    """Say when one alert a worker opens and when it closes.

    A metric rule breaches while ``value <comparison> fire`` and is calm when ``value <comparison> clear`` no longer
    holds; between the two levels nothing begins and nothing ends. ``clear`` is ``fire`` when left out. It fires after
    an unbroken breach of ``for_s`` seconds and resolves after an unbroken calm of ``keep_firing_for_s``. ``metric``
    is a name from ``worker.metrics.collected``; ``filesystems`` is the worst mount point, ``filesystems./data`` that
    one.

    A ``status`` rule breaches while the worker has one of ``statuses``, or one of its ``checks`` is impaired; a look
    that failed counts as status ``unreachable``. A ``no_data`` rule fires when nothing was heard for
    ``silent_intervals`` collection intervals, at least ``silent_min_s`` seconds. A ``provider_down`` rule is about a
    provider's region: it breaches while no worker of it can be looked at, and ``min_workers`` or more fail.

    ``labels`` selects the workers that have them all, ``except_labels`` leaves out those that have one of them.
    ``repeat_s`` tells it again as long as it fires, ``escalate`` makes it worse, ``message`` says it in own words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: RuleId
    metric: Annotated[str, StringConstraints(max_length=300)]
    comparison: Comparison = ">"
    fire: Level | None = None
    clear: Level | None = None
    for_s: Seconds = 0.0
    keep_firing_for_s: Seconds = 0.0
    severity: Severity = "warning"
    escalate: Annotated[tuple[Escalation, ...], Field(max_length=2)] = ()
    repeat_s: Annotated[Seconds, Field(ge=1)] | None = None
    labels: Selector = {}
    except_labels: Selector = {}
    message: str | None = None
    statuses: tuple[WorkerStatus, ...] = ()
    checks: tuple[str, ...] = ()
    silent_intervals: Annotated[float, Field(ge=1, le=1000, allow_inf_nan=False)] = 3.0
    silent_min_s: Seconds = 30.0
    min_workers: Annotated[int, Field(ge=1, le=10_000)] = 2

    @model_validator(mode="wrap")
    @classmethod
    def _whole(cls, given: Any, handler: ModelWrapValidatorHandler["AlertRule"]) -> "AlertRule":
        """Name all that is wrong at once: also what does not go together, beside a field that is wrong by itself."""
        try:
            rule = handler(given)
        except ValidationError as error:
            more = _problems_beside(error, given)
            if not more:
                raise
            raise Problems([*places(error), *map(placed, more)]) from None
        problems = problems_of(rule) if isinstance(given, dict) else []
        if problems:
            raise Problems(map(placed, problems))
        return rule

    @property
    def kind(self) -> Kind:
        """Return what it watches: a value, a status, silence, or a provider."""
        return KINDS.get(self.metric, "metric")

    @property
    def is_no_data(self) -> bool:
        """Tell whether it watches for silence, not for a value."""
        return self.metric == NO_DATA

    @property
    def metric_name(self) -> str:
        """Return the name of the metric without a mount point."""
        return self.metric.partition(".")[0]

    @property
    def mount(self) -> str | None:
        """Return the one mount point it watches, or None for the worst."""
        return self.metric.partition(".")[2] or None

    @property
    def is_fraction(self) -> bool:
        """Tell whether its levels are fractions 0..1."""
        return self.metric_name in FRACTIONS

    @property
    def clear_level(self) -> float | None:
        """Return the level at which it is calm again."""
        return self.fire if self.clear is None else self.clear

    def breaches(self, value: float) -> bool:
        """Tell whether ``value`` is wrong."""
        return self.fire is not None and _holds(value, self.comparison, self.fire)

    def is_calm(self, value: float) -> bool:
        """Tell whether ``value`` is well; neither wrong nor well lies between the levels."""
        level = self.clear_level
        return level is not None and not _holds(value, self.comparison, level)

    def silence_s(self, interval_s: float) -> float:
        """Return after how many seconds without a sample a ``no_data`` rule fires."""
        return max(self.silent_min_s, self.silent_intervals * interval_s)

    def selects(self, worker: Worker) -> bool:
        """Tell whether it is about this worker; a ``provider_down`` rule is about none."""
        return (
            self.kind != PROVIDER_DOWN
            and has_all(worker.labels, self.labels)
            and not has_any(worker.labels, self.except_labels)
        )

    def severity_at(self, value: float | None, firing_s: float) -> Severity:
        """Return how bad it is with this value, after so many seconds of firing."""
        reached = [step.severity for step in self.escalate if self._is_reached(step, value, firing_s)]
        return max([self.severity, *reached], key=rank)

    def _is_reached(self, step: Escalation, value: float | None, firing_s: float) -> bool:
        by_time = step.after_s is not None and firing_s >= step.after_s
        return by_time or (step.fire is not None and value is not None and _holds(value, self.comparison, step.fire))


def check_rules(rules: Iterable[AlertRule]) -> tuple[AlertRule, ...]:
    """Return the rules as a whole; raise ``InvalidRules`` when two have one id."""
    found = tuple(rules)
    twice = sorted(name for name, count in Counter(rule.id for rule in found).items() if count > 1)
    if twice:
        raise InvalidRules(why=f"more than one rule has the id {', '.join(map(repr, twice))}")
    return found


def _problems_beside(error: ValidationError, given: Any) -> list[str]:
    """Return what is wrong with the fields that are right each by itself."""
    if not isinstance(given, dict):
        return []
    bad = {str(one["loc"][0]) for one in error.errors() if one["loc"]}
    rest = {name: value for name, value in given.items() if name in AlertRule.model_fields and name not in bad}
    if "metric" not in rest:
        return []
    try:
        loose = AlertRule.model_construct(None, **_typed(rest))
        found = problems_of(loose)
    except (TypeError, ValueError, AttributeError):
        return []  # one field's mistake has consequences in others; they are named once it is mended
    return [problem for problem in found if problem.partition(":")[0] not in bad]


def _typed(rest: dict[str, Any]) -> dict[str, Any]:
    steps = rest.get("escalate", ())
    made = tuple(Escalation.model_validate(step) for step in steps) if isinstance(steps, list | tuple) else ()
    return {**rest, "escalate": made}


def _holds(value: float, comparison: Comparison, level: float) -> bool:
    match comparison:
        case ">":
            return value > level
        case ">=":
            return value >= level
        case "<":
            return value < level
        case "<=":
            return value <= level


DEFAULT_RULES = (
    AlertRule(id="high-cpu", metric="cpu_utilization", fire=0.9, clear=0.8, for_s=60, severity="warning"),
    AlertRule(id="high-memory", metric="memory_utilization", fire=0.9, clear=0.85, severity="warning"),
    AlertRule(id="filesystem-full", metric="filesystems", fire=0.9, clear=0.88, severity="critical"),
    AlertRule(id="failed-check", metric=STATUS, checks=("system", "instance"), severity="critical"),
    AlertRule(id="no-data", metric=NO_DATA, severity="critical"),
    AlertRule(id="provider-down", metric=PROVIDER_DOWN, severity="critical"),
)
"""What is watched when settings say nothing."""
