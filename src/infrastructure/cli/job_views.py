"""Jobs and queues as tables and sentences."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from infrastructure.cli.answers import Answer
from infrastructure.cli.output import Column, field, percent, pick, say, shown
from infrastructure.cli.times import describe_duration, describe_moment, read_moment

Row = Mapping[str, Any]


def job_columns(now: datetime) -> list[Column]:
    """Return the columns of a list of jobs."""
    return [
        Column("ID", field("id")),
        Column("TASK", field("task")),
        Column("STATUS", describe_status),
        Column("QUEUE", field("queue")),
        Column("PROGRESS", describe_progress, right=True),
        Column("ATTEMPT", field("attempt"), right=True),
        Column("SUBMITTED", lambda row: describe_moment(pick(row, "created_at"), now)),
        Column("ERROR", field("error")),
    ]


def job_facts(job: Row, now: datetime) -> list[tuple[str, object]]:
    """Return what there is to say of one job."""
    moments = (
        ("Submitted", "created_at"),
        ("Not before", "scheduled_at"),
        ("Started", "started_at"),
        ("Ended", "ended_at"),
        ("Expected end", "estimated_completion"),
    )
    people = (("User", "user_id"), ("Team", "team_id"), ("Correlation id", "correlation_id"))
    return [
        ("Id", job.get("id")),
        ("Task", job.get("task")),
        ("Params", job.get("params")),
        ("Status", describe_status(job)),
        ("Parked", job.get("parked")),
        ("Queue", job.get("queue")),
        ("Priority", job.get("priority")),
        ("Progress", describe_progress(job)),
        ("Message", job.get("message")),
        ("Attempt", job.get("attempt")),
        ("Executed by", job.get("instance_id")),
        ("Error", job.get("error")),
        *((title, describe_moment(job.get(name), now)) for title, name in moments if job.get(name)),
        *((title, job.get(name)) for title, name in people if job.get(name)),
        ("Before this", [describe_attempt(one) for one in job.get("attempts") or ()]),
    ]


def describe_status(job: Row) -> str:
    """Return the status, and how long a job that is over took."""
    status = shown(job.get("status"))
    if job.get("parked"):
        return f"{status}, parked"
    began, ended = read_moment(job.get("started_at")), read_moment(job.get("ended_at"))
    if began is None or ended is None:
        return status
    return f"{status} after {describe_duration(max(0.0, (ended - began).total_seconds()))}"


def describe_progress(job: Row) -> str:
    """Return the percentage; ``-`` where the job said nothing."""
    value = job.get("progress")
    return f"{value:.0f} %" if isinstance(value, int | float) else "-"


def describe_attempt(attempt: Any) -> str:
    """Return ``1 on host-1-4711: ValueError: …``."""
    return f"{shown(pick(attempt, 'attempt'))} on {shown(pick(attempt, 'instance'))}: {shown(pick(attempt, 'error'))}"


def say_submitted(answer: Answer) -> None:
    """Say what became of a request."""
    job = answer.body
    job_id = shown(job.get("id"))
    if answer.status == 200:
        say(f"It is there already: {job_id}, {describe_status(job)}.")
    else:
        say(f"Job {job_id} is accepted. Follow it: roundsman jobs watch {job_id}")


def queue_rows(stats: Row) -> Iterator[Row]:
    """Yield what is shown of each queue, and of all together."""
    queues = stats.get("queues")
    for name, queue in queues.items() if isinstance(queues, Mapping) else ():
        if isinstance(queue, Mapping):
            yield {"name": name, **queue}
    yield {"name": "all work", **stats}


def queue_columns() -> list[Column]:
    """Return the columns of the queues."""
    return [
        Column("QUEUE", field("name")),
        Column("READY", field("ready"), right=True),
        Column("RUNNING", field("running"), right=True),
        Column("LATER", field("later"), right=True),
        Column("PARKED", field("parked"), right=True),
        Column("WAITING FOR", _oldest, right=True),
    ]


def stats_rows(stats: Row) -> Iterator[Row]:
    """Yield what is shown of how jobs fared: all, then by task, queue and day."""
    yield {"of": "all jobs", **_figures(stats.get("all"))}
    for kind in ("task", "queue", "team", "day"):
        for row in stats.get(f"by_{kind}") or ():
            yield {"of": f"{kind} {shown(pick(row, 'name'))}", **_figures(row)}


def stats_columns() -> list[Column]:
    """Return the columns of how jobs fared."""
    counts = [Column(name.upper(), field(name), right=True) for name in ("total", "succeeded", "failed")]
    counts += [Column(name.upper(), field(name), right=True) for name in ("cancelled", "expired")]
    times = [
        Column(f"{title} {part.upper()}", _time(f"{name}.{part}"), right=True)
        for title, name in (("WAITED", "waiting_s"), ("RAN", "running_s"))
        for part in ("p50", "p95", "p99")
    ]
    rate = Column("SUCCESS", lambda row: percent(pick(row, "success_rate")), right=True)
    return [Column("OF", field("of")), *counts, rate, *times]


def _figures(found: Any) -> Row:
    return found if isinstance(found, Mapping) else {}


def _time(dotted: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        seconds = pick(row, dotted)
        return describe_duration(seconds) if isinstance(seconds, int | float) else "-"

    return cell


def _oldest(row: Row) -> str:
    waits = row.get("oldest_ready_s")
    return describe_duration(waits) if isinstance(waits, int | float) else "-"
