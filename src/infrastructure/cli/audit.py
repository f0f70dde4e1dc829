"""``roundsman audit``: who asked for what, and when."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from infrastructure.cli.options import AsJson, Since, Until, api
from infrastructure.cli.output import Column, field, pick, show_page, shown
from infrastructure.cli.times import describe_moment

Row = Mapping[str, Any]

MOST_SHOWN = 4
"""Differences in one row of the table; ``--json`` has all."""
PAGE_WITHOUT_LIMIT = 100


def audit(
    ctx: typer.Context,
    actor: Annotated[
        str | None, typer.Option(metavar="WHO", help="Only what this key, user@host, job or instance asked for.")
    ] = None,
    action: Annotated[
        str | None, typer.Option(metavar="ACTION", help="Only this, such as schedule.paused, or 'schedule.*'.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what was done to this schedule, one-shot or worker.")
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most N entries.")] = PAGE_WITHOUT_LIMIT,
    as_json: AsJson = False,
) -> None:
    """Show what people and programs asked for, newest first: the last 100, or as many as --limit says.

    Fires, retries and what else the program does by itself are no part of it; see 'schedules runs'.

    \b
    Examples:
      roundsman audit --since 2h
      roundsman audit --target nightly --action 'schedule.*'
      roundsman audit --actor ann@laptop --json | jq -r '.items[] | [.at, .action, .target] | @tsv'
    """
    with api(ctx) as client:
        page = client.pages("/audit", limit, actor=actor, action=action, target=target, since=since, until=until)
        show_page(page, as_json, _columns(client.now), "Nobody asked for anything, as far as is remembered.")


def _columns(now: datetime) -> list[Column]:
    return [
        Column("WHEN", lambda row: describe_moment(pick(row, "at"), now)),
        Column("WHO", _who),
        Column("ACTION", field("action")),
        Column("TARGET", field("target")),
        Column("WHAT", _what),
    ]


def _who(row: Row) -> str:
    actor, client = shown(pick(row, "actor")), pick(row, "client")
    beside = f" ({client})" if client and client != actor else ""
    return f"{actor}{beside}" if pick(row, "via") in ("api", "cli") else f"{pick(row, 'via')} {actor}"


def _what(row: Row) -> str:
    changes = pick(row, "changes") or {}
    parts = [str(pick(row, "reason"))] if pick(row, "reason") else []
    if pick(row, "action") in ("schedule.created", "schedule.removed", "worker.registered", "worker.removed"):
        name = pick(changes, "name.after") or pick(changes, "name.before")
        return "; ".join([*parts, *([str(name)] if name else [])])
    differing = [
        f"{name}: {shown(pick(sides, 'before'))} -> {shown(pick(sides, 'after'))}" for name, sides in changes.items()
    ]
    more = [f"{len(differing) - MOST_SHOWN} more"] if len(differing) > MOST_SHOWN else []
    facts = [f"{name}: {shown(value)}" for name, value in (pick(row, "facts") or {}).items()]
    return "; ".join([*parts, *differing[:MOST_SHOWN], *more, *facts])
