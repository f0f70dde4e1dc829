"""``roundsman instances``: the processes that share the store."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from infrastructure.cli.options import AsJson, Limit, api
from infrastructure.cli.output import Column, field, note, pick, show_page
from infrastructure.cli.times import describe_duration, describe_moment

CLOCK_TOLERANCE_S = 1.0
"""A host whose clock is further off says so on stderr: its logs and its jobs' own times are wrong by this much."""

Row = Mapping[str, Any]


def instances(
    ctx: typer.Context,
    gone: Annotated[
        bool, typer.Option("--gone", help="Show those too that have left: they are remembered for a day.")
    ] = False,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List the processes that share the store: what each does, and when it was last heard of.

    One that is silent was not heard of for more than a lease; after ten leases it is gone. Silent ones and clocks that
    are wrong are pointed out on stderr.

    \b
    Examples:
      roundsman instances
      roundsman instances --gone
      roundsman instances --json | jq -r '.items[] | select(.status == "silent") | .host'
    """
    with api(ctx) as client:
        page = client.pages("/instances", limit, gone=gone)
        show_page(page, as_json, _columns(client.now, gone), "No instances.")
        if not as_json:
            for warning in _warnings(page["items"], client.now):
                note(warning)


def _columns(now: datetime, gone: bool) -> list[Column]:
    columns = [
        Column("ID", field("id")),
        Column("ROLE", field("role")),
        Column("VERSION", field("version")),
        Column("STATUS", _status),
        Column("LAST SEEN", lambda row: describe_moment(pick(row, "last_seen_at"), now)),
        Column("STARTED", lambda row: describe_moment(pick(row, "started_at"), now)),
        Column("CLAIMED", field("claimed"), right=True),
        Column("CLOCK", lambda row: _offset(pick(row, "clock_offset_s")), right=True),
    ]
    return [*columns, Column("GONE", lambda row: describe_moment(pick(row, "gone_at"), now))] if gone else columns


def _status(row: Row) -> object:
    if pick(row, "why"):
        return pick(row, "why")
    if pick(row, "loop_blocked") and pick(row, "status") == "alive":
        return "blocked"
    return pick(row, "status")


def _offset(seconds: object) -> str | None:
    """Return ``+2.5 s`` for a clock that is ahead; what is less than ten milliseconds is shown as none."""
    if not isinstance(seconds, int | float):
        return None
    if abs(seconds) < 0.01:
        return "0 s"
    return f"{'-' if seconds < 0 else '+'}{describe_duration(abs(seconds))}"


def _warnings(rows: Sequence[Any], now: datetime) -> Iterator[str]:
    for row in rows:
        name, offset, status = pick(row, "id"), pick(row, "clock_offset_s"), pick(row, "status")
        if status == "gone":
            continue
        if status == "silent":
            seen = describe_moment(pick(row, "last_seen_at"), now)
            yield f"Warning: {name} is silent: nothing was heard of it since {seen}."
        if pick(row, "loop_blocked"):
            yield f"Warning: a job of {name} blocks its event loop; it claims nothing until that ends."
        if isinstance(offset, int | float) and abs(offset) > CLOCK_TOLERANCE_S:
            where = "ahead of" if offset > 0 else "behind"
            yield f"Warning: the clock of {pick(row, 'host')} is {describe_duration(abs(offset))} {where} the store's."
