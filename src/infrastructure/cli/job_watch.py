"""``roundsman jobs watch``: one job, live, to its end."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from infrastructure.cli.address import path
from infrastructure.cli.client import ApiClient
from infrastructure.cli.job_views import describe_progress, describe_status
from infrastructure.cli.live import Message, follow, until_interrupted
from infrastructure.cli.output import print_line, say, shown
from infrastructure.cli.texts import printable
from infrastructure.cli.times import read_moment

STATUS_OF = {
    "job.queued": "queued",
    "job.started": "running",
    "job.retrying": "retrying",
    "job.parked": "parked",
    "job.lost": "lost, and taken over",
}
"""What an event says of the status, beside those that end a job."""


class Screen(Protocol):
    """Where a job is shown."""

    def show(self, job: dict[str, Any], message: Message) -> None:
        """Show how a job stands after a message of its stream."""
        ...


def watch_job(client: ApiClient, job_id: str, as_json: bool) -> dict[str, Any]:
    """Show a job until it is over, and return it as it ended. A terminal gets a bar, a pipe a line for each event."""
    job: dict[str, Any] = {"id": job_id}
    with until_interrupted(), _screen(as_json) as screen:
        for message in follow(client, None, where=path("jobs", job_id, "events")):
            if message.topic in ("job", "over"):
                job = message.event
            else:
                _take(job, message)
            screen.show(job, message)
            if message.topic == "over":
                break
    return job


def _take(job: dict[str, Any], message: Message) -> None:
    data = message.event.get("data")
    facts = data if isinstance(data, dict) else {}
    if message.topic == "job.progress":
        job |= {name: facts.get(name) for name in ("progress", "message")}
    elif status := STATUS_OF.get(message.topic):
        job |= {"status": status, "attempt": facts.get("attempt"), "error": facts.get("error") or job.get("error")}


@contextmanager
def _screen(as_json: bool) -> Iterator[Screen]:
    if as_json or not sys.stdout.isatty():
        yield _Lines(as_json)
        return
    with _bar() as bar:
        yield bar


class _Lines:
    """One line for each message."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def show(self, job: dict[str, Any], message: Message) -> None:
        if self._as_json:
            print_line(json.dumps({"event": message.topic, "job": job}))
            return
        moment = read_moment(message.event.get("time"))
        facts = [describe_status(job), describe_progress(job), shown(job.get("message")), shown(job.get("error"))]
        when = f"{moment:%H:%M:%S}Z" if moment else "-" * 9
        print_line("  ".join([when, f"{message.topic:<13}", *(fact for fact in facts if fact != "-")]))


@contextmanager
def _bar() -> Iterator[Screen]:
    """Draw a progress bar; it pulses while the job says nothing of its progress."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[task]}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns) as progress:
        row = progress.add_task("", total=None, task="")

        class Bar:
            def show(self, job: dict[str, Any], message: Message) -> None:
                done = job.get("progress")
                known = float(done) if isinstance(done, int | float) else None
                said = [describe_status(job), *(shown(job[name]) for name in ("message",) if job.get(name))]
                progress.update(
                    row,
                    description=printable(": ".join(said)),
                    task=printable(str(job.get("task") or job.get("id"))),
                    total=None if known is None else 100.0,
                    completed=known or 0.0,
                )

        yield Bar()


def say_ended(job: dict[str, Any]) -> None:
    """Say how a job ended, where the bar was."""
    error = f": {shown(job.get('error'))}" if job.get("error") else ""
    say(f"{shown(job.get('id'))} {describe_status(job)}{error}")
