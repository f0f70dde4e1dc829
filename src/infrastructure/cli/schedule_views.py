"""Schedules and runs as tables and sentences."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from infrastructure.cli.answers import Answer
from infrastructure.cli.output import Column, field, pick, say, shown
from infrastructure.cli.times import describe_duration, describe_moment, read_moment

Row = Mapping[str, Any]


def schedule_columns(now: datetime) -> list[Column]:
    """Return the columns of a list of schedules."""
    return [
        Column("ID", field("id")),
        Column("JOB", field("name")),
        Column("WHEN", lambda row: pick(row, "when") or describe_trigger(pick(row, "trigger"))),
        Column("STATUS", field("status")),
        Column("NEXT FIRE", lambda row: describe_moment(pick(row, "next_run_time"), now)),
        Column("LAST FIRE", lambda row: describe_moment(pick(row, "last_fire"), now)),
        Column("LAST OUTCOME", field("last_outcome")),
    ]


def schedule_facts(schedule: Row, now: datetime) -> list[tuple[str, object]]:
    """Return what there is to say of one schedule."""
    return [
        ("Id", schedule.get("id")),
        ("Job", schedule.get("name")),
        ("Data", schedule.get("data")),
        ("Data version", schedule.get("version")),
        ("When", schedule.get("when") or describe_trigger(schedule.get("trigger"))),
        ("Trigger", _pairs(schedule.get("trigger"))),
        ("Policy", _pairs(schedule.get("policy"))),
        ("Status", schedule.get("status")),
        ("Paused", describe_rest(schedule.get("paused"), now)),
        ("Parked", describe_rest(schedule.get("parked"), now)),
        ("Created", describe_moment(schedule.get("created_at"), now)),
        ("Next due", describe_moment(schedule.get("next_fire"), now)),
        ("Next fire", describe_moment(schedule.get("next_run_time"), now)),
        ("Next five", [describe_moment(moment, now) for moment in schedule.get("next_fires") or ()]),
        ("Last fire", describe_moment(schedule.get("last_fire"), now)),
        ("Last outcome", schedule.get("last_outcome")),
        ("Last error", schedule.get("last_error")),
        ("Running now", schedule.get("running")),
        ("Parked runs", _pairs(schedule.get("parked_runs"))),
        ("Counts", _pairs(schedule.get("counts"))),
    ]


def run_columns(now: datetime) -> list[Column]:
    """Return the columns of a list of runs."""
    return [
        Column("RUN", field("run_id")),
        Column("REASON", field("reason")),
        Column("STATUS", field("status")),
        Column("ATTEMPT", field("attempt"), right=True),
        Column("DUE", lambda row: describe_moment(pick(row, "fire_time"), now)),
        Column("TOOK", lambda row: _took(row, now), right=True),
        Column("INSTANCE", field("instance")),
        Column("ERROR", field("error")),
    ]


def describe_trigger(trigger: object) -> str | None:
    """Return ``every 30 s``, ``0 2 * * * (Europe/Brussels)``, or the trigger as it is."""
    interval, cron, timezone = (pick(trigger, name) for name in ("interval_s", "cron", "timezone"))
    if isinstance(interval, int | float):
        return f"every {describe_duration(interval)}"
    if cron is not None:
        return f"{cron} ({timezone or 'UTC'})"
    return None if trigger is None else shown(trigger)


def describe_put(answer: Answer, now: datetime) -> str:
    """Say what ``schedules add`` did. The API does not tell a changed schedule from one that was like this already."""
    done = "is new" if answer.status == 201 else "was there, and is now as you said"
    coming = describe_moment(answer.body.get("next_run_time"), now)
    return f"{shown(answer.body.get('id'))} {done}. Next fire: {coming}"


def say_stopped(first: str, answer: Row) -> None:
    """Say what was stopped, what was told to end, and what still runs."""
    running, cancelled = _names(answer.get("running")), _names(answer.get("cancelled"))
    left = [run for run in running if run not in cancelled]
    say(first)
    if cancelled:
        say(f"Told to end: {', '.join(cancelled)}")
    if left:
        say(f"Still runs, to its end: {', '.join(left)}")
    if not running:
        say("Nothing of it was running.")


def say_queued(answer: Row) -> None:
    """Say which runs a backfill made."""
    made = _names(answer.get("run_ids"))
    say(f"{len(made)} {'run is' if len(made) == 1 else 'runs are'} queued:")
    for run_id in made:
        say(f"  {run_id}")


def _names(values: object) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list) else []


def _took(run: Row, now: datetime) -> str | None:
    started = read_moment(run.get("started_at"))
    if started is None:
        return None
    ended = read_moment(run.get("ended_at"))
    took = describe_duration(max(0.0, ((ended or now) - started).total_seconds()))
    return took if ended else f"{took} so far"


def _pairs(values: object) -> list[str]:
    if not isinstance(values, Mapping):
        return []
    return [f"{name}: {shown(value)}" for name, value in values.items() if value is not None]


def describe_rest(note: object, now: datetime) -> str | None:
    """Return when, by whom and why a schedule rests."""
    if not isinstance(note, Mapping):
        return shown(note) if note else None
    parts = [describe_moment(note["at"], now)] if note.get("at") else []
    if note.get("by"):
        parts.append(f"by {note['by']}")
    if note.get("reason"):
        parts.append(str(note["reason"]))
    return ", ".join(parts)
