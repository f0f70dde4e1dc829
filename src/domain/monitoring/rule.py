"""The alert rule: which value of which workers is wrong, from when on, and when it is well again."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from domain.monitoring.errors import InvalidRules
from domain.monitoring.sample import FRACTIONS, METRICS
from domain.monitoring.worker import Labels

NO_DATA = "no_data"
WEEK_S = 7 * 86_400.0

RuleId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}$")]
Seconds = Annotated[float, Field(ge=0, le=WEEK_S, allow_inf_nan=False)]
Level = Annotated[float, Field(allow_inf_nan=False)]
Comparison = Literal[">", ">=", "<", "<="]
Severity = Literal["info", "warning", "critical"]


class AlertRule(BaseModel):
    """Say when one alert a worker opens and when it closes.

    A metric rule breaches while ``value <comparison> fire`` and is calm when ``value <comparison> clear`` no longer
    holds; between the two levels nothing begins and nothing ends. ``clear`` is ``fire`` when left out. It fires after
    an unbroken breach of ``for_s`` seconds and resolves after an unbroken calm of ``keep_firing_for_s``. ``metric``
    is a name from ``worker.metrics.collected``; ``filesystems`` is the worst mount point, ``filesystems./data`` that
    one.

    A ``no_data`` rule fires when nothing was heard for ``silent_intervals`` collection intervals, at least
    ``silent_min_s`` seconds. ``labels`` selects the workers that have them all.
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
    labels: Labels = {}
    silent_intervals: Annotated[float, Field(ge=1, le=1000, allow_inf_nan=False)] = 3.0
    silent_min_s: Seconds = 30.0

    @model_validator(mode="after")
    def _whole(self) -> "AlertRule":
        problems = self._no_data_problems() if self.is_no_data else self._metric_problems()
        if problems:
            raise ValueError("; ".join(problems))
        return self

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

    def _metric_problems(self) -> list[str]:
        problems = self._name_problems()
        if self.fire is None:
            return [*problems, "fire: a rule for a metric needs the level at which it fires"]
        problems += _level_problems(self.comparison, self.fire, self.fire if self.clear is None else self.clear)
        if self.is_fraction:
            problems += [
                f"{name}: {level:g} is not between 0 and 1; utilisation is a fraction (90 % is 0.9)"
                for name, level in (("fire", self.fire), ("clear", self.clear))
                if level is not None and not 0 <= level <= 1
            ]
        return problems + self._given_in_vain({"silent_intervals", "silent_min_s"}, "only a no_data rule has it")

    def _name_problems(self) -> list[str]:
        if self.metric_name not in METRICS:
            return [f"metric: there is no '{self.metric}'; use {NO_DATA} or one of {', '.join(METRICS)}"]
        if "." in self.metric and (self.metric_name != "filesystems" or not self.mount):
            return [
                f"metric: '{self.metric}' is not understood; only filesystems has parts, such as 'filesystems./data'"
            ]
        return []

    def _no_data_problems(self) -> list[str]:
        why = "a no_data rule has silent_intervals and silent_min_s instead"
        return self._given_in_vain({"fire", "clear", "comparison", "for_s"}, why)

    def _given_in_vain(self, fields: set[str], why: str) -> list[str]:
        """Refuse what has no meaning here; a default that was written out is fine, so that a dumped rule loads."""
        defaults = AlertRule.model_fields
        return [f"{field}: {why}" for field in sorted(fields) if getattr(self, field) != defaults[field].default]


def check_rules(rules: Iterable[AlertRule]) -> tuple[AlertRule, ...]:
    """Return the rules as a whole; raise ``InvalidRules`` when two have one id."""
    found = tuple(rules)
    twice = sorted(name for name, count in Counter(rule.id for rule in found).items() if count > 1)
    if twice:
        raise InvalidRules(why=f"more than one rule has the id {', '.join(map(repr, twice))}")
    return found


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


def _level_problems(comparison: Comparison, fire: float, clear: float) -> list[str]:
    """Refuse a ``clear`` that is not on the calm side of ``fire``: a value could be wrong and well at once."""
    above = comparison in (">", ">=")
    if (clear > fire) if above else (clear < fire):
        side = "above" if above else "below"
        return [f"clear: {clear:g} must not be {side} fire ({fire:g}) when the comparison is '{comparison}'"]
    return []


DEFAULT_RULES = (
    AlertRule(id="high-cpu", metric="cpu_utilization", fire=0.9, clear=0.8, for_s=60, severity="warning"),
    AlertRule(id="high-memory", metric="memory_utilization", fire=0.9, clear=0.85, severity="warning"),
    AlertRule(id="filesystem-full", metric="filesystems", fire=0.9, clear=0.88, severity="critical"),
    AlertRule(id="no-data", metric=NO_DATA, severity="critical"),
)
"""What is watched when settings say nothing."""
