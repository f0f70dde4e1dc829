"""``roundsman events``: what happens, as it happens."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from infrastructure.cli.completion import complete_topic
from infrastructure.cli.live import Message, follow, until_interrupted
from infrastructure.cli.options import AsJson, api
from infrastructure.cli.output import print_line, shown
from infrastructure.cli.times import read_moment

SUBJECTS = ("run_id", "worker_id", "alert_id", "instance_id", "id")
"""What an event is about: the first of these that it has."""
BESIDE = ("attempt", "why", "reason", "error", "status", "count", "by", "name", "severity", "percent", "message")
LONGEST_VALUE = 120

Json = Mapping[str, Any]


def events(
    ctx: typer.Context,
    topics: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TOPIC]...",
            help="Topics, such as job.failed or 'job.*'. All without.",
            autocompletion=complete_topic,
        ),
    ] = None,
    job: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what concerns this schedule or one-shot, or a run of it.")
    ] = None,
    worker: Annotated[str | None, typer.Option(metavar="ID", help="Only what concerns this worker.")] = None,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Begin behind this place: the 'cursor' of a line of --json.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="End after N events.")] = None,
    as_json: AsJson = False,
) -> None:
    """Follow what happens, until Ctrl-C. With --json one object a line, with its 'cursor'.

    After a cut it goes on where it was, by itself. A line 'gap' says that events were lost in between: the store had
    trimmed them. What it says about the connection goes to stderr.

    \b
    Examples:
      roundsman events 'alert.*' job.failed job.dead
      roundsman events --job nightly
      roundsman events 'job.*' --json | jq -r 'select(.topic == "job.failed") | .data.error'
    """
    wanted = ",".join(topics or ["*"])
    with until_interrupted(), api(ctx) as client:
        shown_so_far = 0
        for message in follow(client, wanted, after):
            if message.topic != "gap" and not _concerns(message.event.get("data"), job, worker):
                continue
            print_line(_json_line(message) if as_json else _line(message))
            shown_so_far += message.topic != "gap"
            if limit is not None and shown_so_far >= limit:
                return


def _concerns(data: object, job: str | None, worker: str | None) -> bool:
    facts = data if isinstance(data, Mapping) else {}
    if job is not None and job not in (facts.get("job_id"), facts.get("id"), facts.get("run_id")):
        return False
    return worker is None or worker == facts.get("worker_id")


def _json_line(message: Message) -> str:
    if message.topic == "gap":
        return json.dumps({"topic": "gap", **message.event, "cursor": message.cursor})
    return json.dumps({**message.event, "cursor": message.cursor})


def _line(message: Message) -> str:
    """Return ``08:00:05Z  job.failed  nightly@1.5  attempt: 2, error: ValueError: …``."""
    if message.topic == "gap":
        return f"{'-' * 9}  gap  {message.event.get('reason', 'events were lost')}"
    event, data = message.event, message.event.get("data")
    facts = data if isinstance(data, Mapping) else {}
    moment = read_moment(event.get("time"))
    subject = next((str(facts[name]) for name in SUBJECTS if facts.get(name)), "")
    beside = [f"{name}: {_cut(facts[name])}" for name in BESIDE if facts.get(name) not in (None, "", subject)]
    when = f"{moment:%H:%M:%S}Z" if moment else "-" * 9
    return "  ".join(part for part in (when, shown(event.get("topic")), shown(subject), ", ".join(beside)) if part)


def _cut(value: object) -> str:
    text = shown(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
