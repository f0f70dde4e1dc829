"""Arguments and options that commands share, and how they open the API."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from infrastructure.cli.client import ApiClient, Connection
from infrastructure.cli.completion import schedule_ids, worker_ids
from infrastructure.cli.times import parse_duration, parse_moment, parse_time

CONTEXT = {"help_option_names": ["-h", "--help"]}


def parse_id(text: str) -> str:
    """Return an id as it can be part of a path."""
    if text.strip() in ("", ".", ".."):  # these would name another path of the API
        raise ValueError(f"'{text}' is no id")
    return text


def _parse_object(text: str) -> dict[str, Any]:
    """Read a JSON object: as it stands, from ``@file``, or from stdin with ``-``."""
    try:
        source = sys.stdin.read() if text == "-" else Path(text[1:]).read_text() if text.startswith("@") else text
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read it: {error}") from None
    try:
        found = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError('it must be a JSON object, such as {"label": "a"}')  # noqa: TRY004 - typer shows ValueError
    return found


def _parse_label(text: str) -> str:
    name, separator, _ = text.partition("=")
    if not separator or not name.strip():
        raise ValueError(f"'{text}' is not NAME=VALUE")
    return text


WorkerId = Annotated[
    str, typer.Argument(metavar="ID", parser=parse_id, autocompletion=worker_ids, help="The worker's id.")
]
WorkerIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", parser=parse_id, autocompletion=worker_ids, help="The workers' ids."),
]
ScheduleId = Annotated[
    str, typer.Argument(metavar="ID", parser=parse_id, autocompletion=schedule_ids, help="The schedule's id.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="At most N rows. All of them without it.")]
CancelRunning = Annotated[
    bool, typer.Option("--cancel-running", help="Cancel what is executing too. Without it, that runs to its end.")
]
Interval = Annotated[
    float | None,
    typer.Option(metavar="DURATION", parser=parse_duration, help="Time between two fires: 5, 5s, 2m, 1h, 1h30m."),
]
Cron = Annotated[
    str | None,
    typer.Option(metavar="LINE", help="A crontab line of five fields, such as '*/5 * * * *'. 0 and 7 are Sunday."),
]
Timezone = Annotated[
    str | None,
    typer.Option(metavar="ZONE", help="Of the cron line or calendar: an IANA name, UTC without it."),
]
Calendar = Annotated[
    dict[str, Any] | None,
    typer.Option(
        metavar="JSON",
        parser=_parse_object,
        help='Every so many months or days: {"months": 1, "day": 31, "hour": 9, "missing_day": "last"}.',
    ),
]
Trigger = Annotated[
    dict[str, Any] | None,
    typer.Option(
        metavar="JSON",
        parser=_parse_object,
        help="The whole trigger as the API has it: either, both, or what 'show --json' shows; @FILE, or - for stdin.",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", parser=parse_moment, help="From: 2026-11-22T08:00:00Z, or 15m for 15 minutes ago."),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", parser=parse_moment, help="To: as --since. Now without it.")]
Tag = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="NAME=VALUE", parser=_parse_label, help="Those with this tag. Repeat it for more."),
]
Label = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME=VALUE", parser=_parse_label, help="A label. Repeat it for more."),
]
Data = Annotated[
    dict[str, Any] | None,
    typer.Option(metavar="JSON", parser=_parse_object, help="The job's data: a JSON object, @FILE, or - for stdin."),
]
NewId = Annotated[str | None, typer.Option("--id", metavar="ID", help="Its id. Without it, one is made.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; others will read it.")]
Overlap = Annotated[
    str | None, typer.Option(metavar="POLICY", help="If the last run is not over: skip, queue_one or allow(N).")
]
CatchUp = Annotated[
    str | None, typer.Option(metavar="POLICY", help="Of fires that were missed, run: one, none or all(N).")
]
Jitter = Annotated[
    float | None,
    typer.Option(metavar="DURATION", parser=parse_duration, help="Each fire is late by a part of this."),
]
RunTimeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="DURATION", parser=parse_duration, help="A run that takes longer is ended."),
]
MaxRetries = Annotated[int | None, typer.Option(metavar="N", help="How often a failed run is tried again.")]
Start = Annotated[str | None, typer.Option(metavar="TIME", parser=parse_time, help="It does not fire before.")]
End = Annotated[str | None, typer.Option(metavar="TIME", parser=parse_time, help="It does not fire after.")]


def api(ctx: typer.Context) -> ApiClient:
    """Return a client for the address that the root command was given."""
    connection: Connection = ctx.find_root().obj
    return connection.open()


def given(**values: Any) -> dict[str, Any]:
    """Return what has a value: the API has its own defaults for the rest."""
    return {name: value for name, value in values.items() if value is not None}
