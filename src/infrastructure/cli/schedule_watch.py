"""``roundsman schedules list --watch``: the list, looked at again and again."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from infrastructure.cli.client import ApiClient
from infrastructure.cli.live import until_interrupted, watch
from infrastructure.cli.output import pick, print_line, print_table, say, shown
from infrastructure.cli.schedule_views import schedule_columns

Row = Mapping[str, Any]

EVERY_S = 2.0
SEEN = ("status", "trigger", "last_fire", "last_outcome", "last_error", "running", "paused", "parked", "parked_runs")
"""What must differ for a line in a pipe; due times follow from these."""


def watch_schedules(client: ApiClient, as_json: bool, limit: int | None, **query: Any) -> None:
    """Show the list until Ctrl-C: a terminal is drawn anew, a pipe gets a line for each schedule that changed."""
    rows: dict[str, Row] = {}

    def look() -> dict[str, Row]:
        page = client.pages("/schedules", limit, **query)
        rows.clear()
        rows.update({str(row["id"]): row for row in page["items"]})
        return {row_id: {name: row.get(name) for name in (*SEEN, "generation")} for row_id, row in rows.items()}

    def draw(_: Mapping[str, Row]) -> None:
        say(f"{len(rows)} schedules at {client.now:%H:%M:%S}Z, every {EVERY_S:g} s. Ctrl-C ends.")
        print_table(list(rows.values()), schedule_columns(client.now), "No schedules.")

    def tell(what: str, row_id: str, seen: Row) -> None:
        row = rows.get(row_id, seen)
        print_line(
            json.dumps({"change": what, "schedule": {"id": row_id, **row}}) if as_json else _line(what, row_id, row)
        )

    with until_interrupted():
        watch(look, draw, tell, EVERY_S)


def _line(what: str, row_id: str, row: Row) -> str:
    """Return ``08:00:05Z  changed  nightly  active, last outcome: succeeded``."""
    now = datetime.now(UTC)
    facts = [shown(pick(row, "status"))]
    facts += [
        f"{name.replace('_', ' ')}: {shown(pick(row, name))}"
        for name in ("last_outcome", "last_error", "running")
        if pick(row, name)
    ]
    if by := pick(row, "paused.by"):
        facts.append(f"paused by {by}")
    if parked := pick(row, "parked.reason"):
        facts.append(f"parked: {parked}")
    return f"{now:%H:%M:%S}Z  {what:<7}  {row_id}  {', '.join(facts) if what != 'removed' else ''}".rstrip()
