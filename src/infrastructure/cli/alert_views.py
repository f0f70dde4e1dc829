"""Alerts, rules and silences as tables and sentences."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from infrastructure.cli.output import Column, field, pick, print_table, say, shown
from infrastructure.cli.times import describe_duration, describe_moment

Row = Mapping[str, Any]


def alert_columns(now: datetime) -> list[Column]:
    """Return the columns of a list of alerts."""
    return [
        Column("STATE", field("state")),
        Column("SEVERITY", field("severity")),
        Column("RULE", field("rule_id")),
        Column("WORKER", lambda row: pick(row, "worker_name") or pick(row, "worker_id")),
        Column("OPENED", lambda row: describe_moment(pick(row, "opened_at"), now)),
        Column("RESOLVED", lambda row: describe_moment(pick(row, "resolved_at"), now)),
        Column("QUIET", lambda row: describe_quiet(row, now)),
        Column("SUMMARY", field("summary")),
        Column("ID", field("id")),
    ]


def alert_facts(alert: Row, now: datetime) -> list[tuple[str, object]]:
    """Return what there is to say of one alert."""
    moments = {"Opened": "opened_at", "Fired": "fired_at", "Resolved": "resolved_at", "Last seen": "updated_at"}
    return [
        ("Id", alert.get("id")),
        ("State", alert.get("state")),
        ("Severity", alert.get("severity")),
        ("What", alert.get("summary")),
        ("Rule", alert.get("rule_id")),
        ("Worker", alert.get("worker_id")),
        ("Metric", alert.get("metric")),
        ("Value", alert.get("value")),
        ("About", alert.get("subject")),
        ("Fires at", alert.get("fire")),
        ("Clears at", alert.get("clear")),
        *((name, describe_moment(alert.get(key), now)) for name, key in moments.items()),
        ("Because", alert.get("reason")),
        ("Told last", describe_moment(alert.get("told_at"), now)),
        ("Quiet", describe_quiet(alert, now)),
        ("Note", pick(alert, "ack.note")),
    ]


def describe_quiet(alert: Row, now: datetime) -> str | None:
    """Say what keeps an alert from being told: a silence, what is wrong above it, or that somebody knows."""
    if alert.get("silenced_until"):
        return f"silenced until {describe_moment(alert['silenced_until'], now)}"
    if alert.get("hidden_by"):
        return f"hidden by {alert['hidden_by']}"
    by, until = pick(alert, "ack.by"), pick(alert, "ack.until")
    return f"acknowledged by {by} until {describe_moment(until, now)}" if by else None


def rule_columns() -> list[Column]:
    """Return the columns of a list of rules."""
    return [
        Column("ID", field("id")),
        Column("SEVERITY", _severities),
        Column("WHEN", describe_rule),
        Column("WORKERS", _selection),
        Column("REPEATS", lambda row: _duration(pick(row, "repeat_s"))),
        Column("FROM", field("source")),
        Column("CHANGED BY", field("changed_by")),
    ]


def rule_facts(rule: Row, now: datetime) -> list[tuple[str, object]]:
    """Return what there is to say of one rule."""
    return [
        ("Id", rule.get("id")),
        ("When", describe_rule(rule)),
        ("Severity", rule.get("severity")),
        ("Worse", [_worse(step) for step in rule.get("escalate") or ()]),
        ("Well after", _duration(rule.get("keep_firing_for_s"))),
        ("Repeats", _duration(rule.get("repeat_s"))),
        ("Workers", _selection(rule)),
        ("Says", rule.get("message")),
        ("From", "settings.toml, and changed there" if rule.get("read_only") else rule.get("source")),
        ("Revision", rule.get("revision")),
        ("Changed", describe_moment(rule.get("changed_at"), now)),
        ("By", rule.get("changed_by")),
    ]


def describe_rule(rule: Row) -> str:
    """Say in a line when a rule fires."""
    held = f" for {_duration(rule.get('for_s'))}" if rule.get("for_s") else ""
    match rule.get("metric"):
        case "no_data":
            return f"no sample for {shown(rule.get('silent_intervals'))} intervals"
        case "status":
            named = [*(rule.get("statuses") or ()), *(f"check {name}" for name in rule.get("checks") or ())]
            return f"{' or '.join(map(str, named))}{held}"
        case "provider_down":
            return f"no worker of a region can be looked at{held}"
        case metric:
            clear = f", clear at {shown(rule['clear'])}" if rule.get("clear") is not None else ""
            return f"{shown(metric)} {shown(rule.get('comparison'))} {shown(rule.get('fire'))}{clear}{held}"


def silence_columns(now: datetime) -> list[Column]:
    """Return the columns of a list of silences."""
    return [
        Column("ID", field("id")),
        Column("STATE", field("state")),
        Column("WHAT", lambda row: describe_matchers(pick(row, "matchers"))),
        Column("FROM", lambda row: describe_moment(pick(row, "starts_at"), now)),
        Column("UNTIL", lambda row: describe_moment(pick(row, "ends_at"), now)),
        Column("BY", field("author")),
        Column("REASON", field("reason")),
    ]


def describe_matchers(matchers: object) -> str:
    """Say in a line which alerts a silence is about."""
    parts = []
    for name, key in (("rule", "rule_ids"), ("worker", "worker_ids"), ("severity", "severities")):
        values = pick(matchers, key)
        if values:
            parts.append(f"{name} {' or '.join(map(str, values))}")
    parts += _labels(pick(matchers, "labels"))
    return "; ".join(parts)


def say_played(found: Row, now: datetime) -> None:
    """Say what became of trying a rule."""
    worker = shown(found.get("worker_id"))
    if not found.get("is_about_worker"):
        say(f"The rule is not about {worker}: its labels do not select it.")
        return
    messages = found.get("messages") or []
    print_table(messages, _told_columns(now), "It would have told nothing.")
    since, until = (describe_moment(found.get(name), now) for name in ("since", "until"))
    if found.get("samples"):
        waited = f" It waited for 'for_s' {found['pending']} times." if found.get("pending") else ""
        say(f"Tried on {found['samples']} samples of {worker}, {since} to {until}: {found.get('state')} then.{waited}")
    else:
        say(f"There are no samples of {worker} in that time.")
    if found.get("is_cut"):
        say("It tells too much; the rest was not tried.")


def _told_columns(now: datetime) -> list[Column]:
    return [
        Column("AT", lambda row: describe_moment(pick(row, "at"), now)),
        Column("KIND", field("kind")),
        Column("SEVERITY", field("severity")),
        Column("SAYS", field("text")),
    ]


def _severities(rule: Row) -> str:
    steps = [shown(pick(step, "severity")) for step in rule.get("escalate") or ()]
    return " > ".join([shown(rule.get("severity")), *steps])


def _worse(step: Row) -> str:
    parts = [f"at {shown(step['fire'])}"] if step.get("fire") is not None else []
    parts += [f"after {_duration(step['after_s'])}"] if step.get("after_s") is not None else []
    return f"{shown(step.get('severity'))} {' or '.join(parts)}"


def _selection(rule: Row) -> str:
    wanted = _labels(rule.get("labels"))
    unwanted = [f"not {one}" for one in _labels(rule.get("except_labels"))]
    return "; ".join([*wanted, *unwanted]) or "all"


def _labels(labels: object) -> list[str]:
    if not isinstance(labels, Mapping):
        return []
    return [f"{name}={'|'.join(value) if isinstance(value, list) else value}" for name, value in labels.items()]


def _duration(seconds: object) -> str | None:
    return describe_duration(seconds) if isinstance(seconds, int | float) and seconds else None
