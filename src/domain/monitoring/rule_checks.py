"""What can be wrong with an alert rule whose fields are right each by itself."""

from typing import TYPE_CHECKING, Any

from domain.monitoring.sample import METRICS, StatusChecks
from domain.monitoring.severity import rank
from domain.monitoring.wording import MAX_TEMPLATE, template_problems

if TYPE_CHECKING:
    from domain.monitoring.rule import AlertRule

SPECIAL = ("no_data", "status", "provider_down")

OWN_FIELDS: dict[str, set[str]] = {
    "metric": {"comparison", "fire", "clear", "for_s"},
    "status": {"statuses", "checks", "for_s"},
    "no_data": {"silent_intervals", "silent_min_s"},
    "provider_down": {"min_workers", "for_s"},
}
"""Kind → the fields that have a meaning for it, besides those of all kinds."""

KIND_NEEDS: dict[str, str] = {
    "metric": "a rule for a metric has comparison, fire and clear instead",
    "status": "a status rule has statuses and checks instead",
    "no_data": "a no_data rule has silent_intervals and silent_min_s instead",
    "provider_down": "a provider_down rule has min_workers and for_s instead",
}

NOT_FOR_RULES = ("terminated", "unknown")


def problems_of(rule: "AlertRule") -> list[str]:
    """Return all that is wrong, each as ``field: what, and how to mend it``."""
    by_kind = {"metric": _metric, "status": _status, "no_data": _nothing, "provider_down": _provider}
    return [
        *by_kind[rule.kind](rule),
        *_given_in_vain(rule),
        *_escalation(rule),
        *_message(rule),
    ]


def _metric(rule: "AlertRule") -> list[str]:
    problems = _name(rule)
    if rule.fire is None:
        return [*problems, "fire: a rule for a metric needs the level at which it fires"]
    problems += _levels(rule, rule.fire, rule.fire if rule.clear is None else rule.clear)
    levels = [("fire", rule.fire), ("clear", rule.clear)]
    levels += [(f"escalate.{n}.fire", step.fire) for n, step in enumerate(rule.escalate)]
    if rule.is_fraction:
        problems += [
            f"{name}: {level:g} is not between 0 and 1; utilisation is a fraction (90 % is 0.9)"
            for name, level in levels
            if level is not None and not 0 <= level <= 1
        ]
    return problems


def _name(rule: "AlertRule") -> list[str]:
    if rule.metric_name not in METRICS:
        return [f"metric: there is no '{rule.metric}'; use {', '.join(SPECIAL)} or one of {', '.join(METRICS)}"]
    if "." in rule.metric and (rule.metric_name != "filesystems" or not rule.mount):
        return [f"metric: '{rule.metric}' is not understood; only filesystems has parts, such as 'filesystems./data'"]
    return []


def _levels(rule: "AlertRule", fire: float, clear: float) -> list[str]:
    """Refuse a ``clear`` that is not on the calm side of ``fire``: a value could be wrong and well at once."""
    above = rule.comparison in (">", ">=")
    if (clear > fire) if above else (clear < fire):
        side = "above" if above else "below"
        return [f"clear: {clear:g} must not be {side} fire ({fire:g}) when the comparison is '{rule.comparison}'"]
    return []


def _status(rule: "AlertRule") -> list[str]:
    problems = []
    if not rule.statuses and not rule.checks:
        problems.append(
            "statuses: a status rule needs statuses, checks or both; for example statuses = ['unreachable']"
        )
    known = tuple(StatusChecks.model_fields)
    problems += [
        f"checks: there is no check '{name}'; use {', '.join(known)}" for name in rule.checks if name not in known
    ]
    problems += [
        f"statuses: '{status}' cannot be watched for: the alerts of such a worker are closed, or it was not looked at"
        for status in map(str, rule.statuses)
        if status in NOT_FOR_RULES
    ]
    return problems


def _nothing(rule: "AlertRule") -> list[str]:
    return []


def _provider(rule: "AlertRule") -> list[str]:
    why = "a provider_down rule is about a provider's region, which has no labels"
    return [f"{name}: {why}" for name in ("labels", "except_labels") if getattr(rule, name)]


def _given_in_vain(rule: "AlertRule") -> list[str]:
    """Refuse what has no meaning here; a default that was written out is fine, so that a dumped rule loads."""
    every = set().union(*OWN_FIELDS.values())
    fields: dict[str, Any] = type(rule).model_fields
    vain = sorted(name for name in every - OWN_FIELDS[rule.kind] if getattr(rule, name) != fields[name].default)
    return [f"{name}: {_only(name) if rule.kind == 'metric' else KIND_NEEDS[rule.kind]}" for name in vain]


def _only(name: str) -> str:
    """Say which kind a field belongs to."""
    kind = next(kind for kind, own in OWN_FIELDS.items() if name in own and kind != "metric")
    return f"only a {kind} rule has it"


def _escalation(rule: "AlertRule") -> list[str]:
    problems, last = [], rank(rule.severity)
    for n, step in enumerate(rule.escalate):
        where = f"escalate.{n}"
        if rank(step.severity) <= last:
            problems.append(f"{where}.severity: '{step.severity}' must be worse than the one before")
        last = max(last, rank(step.severity))
        if step.fire is None and step.after_s is None:
            problems.append(f"{where}: say from when on it is worse: fire, after_s or both")
        if step.fire is not None and rule.kind != "metric":
            problems.append(f"{where}.fire: only a rule for a metric has levels; use after_s")
        elif step.fire is not None and rule.fire is not None:
            problems += _further(rule, where, step.fire, rule.fire)
    return problems


def _further(rule: "AlertRule", where: str, level: float, fire: float) -> list[str]:
    above = rule.comparison in (">", ">=")
    if (level < fire) if above else (level > fire):
        side = "below" if above else "above"
        return [f"{where}.fire: {level:g} must not be {side} the rule's fire ({fire:g})"]
    return []


def _message(rule: "AlertRule") -> list[str]:
    if rule.message is None:
        return []
    if len(rule.message) > MAX_TEMPLATE:
        return [f"message: {len(rule.message)} characters are too many; at most {MAX_TEMPLATE}"]
    if not rule.message.strip():
        return ["message: it is empty; leave it out for the usual words"]
    return [f"message: {problem}" for problem in template_problems(rule.message)]
