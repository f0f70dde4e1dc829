"""Jobs as the history keeps them: made of what the store has, and shown as jobs again."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from domain.jobs.job import Job
from domain.runs.run import TERMINAL
from infrastructure.runs.records import ENCODER, lines_of

Row = dict[str, Any]

LONGEST_WORD = 600
"""What is searched for is cut beyond it: an index of PostgreSQL takes no more than 2.7 kB."""
WORDS = ("task", "queue", "user_id", "team_id", "correlation_id", "instance")
TIMES = ("created", "scheduled", "started", "ended")


def row_of(text: str, payload: str | None = None) -> Row | None:
    """Return a run of the store as a row, with the params where its payload is given; None when it is not over.

    Raises ``ValueError``, ``KeyError`` or ``TypeError`` for what is no run.
    """
    lines = lines_of(text)
    more: dict[str, Any] = json.loads(lines["more"] or "{}")
    if lines["status"] not in TERMINAL or "ended" not in more:
        return None
    tag: dict[str, Any] = json.loads(f"{{{lines['tag']}}}")
    ending: dict[str, Any] = json.loads(more.get("ending", "{}"))
    story: list[dict[str, Any]] = more.get("story") or []
    row: Row = {
        "id": tag["job_id"],
        "task": tag["name"],
        "status": lines["status"],
        "queue": tag.get("queue"),
        "priority": tag.get("priority") or 0,
        "user_id": tag.get("user_id"),
        "team_id": tag.get("team_id"),
        "correlation_id": more.get("corr"),
        "created_ms": int(lines["queued"]),
        "scheduled_ms": _ms_of(tag.get("scheduled_at")),
        "started_ms": int(lines["started"]) if lines["started"] else None,
        "ended_ms": int(more["ended"]),
        "attempt": int(lines["attempt"]),
        "instance": more.get("by"),
        "error": ending.get("error") or ending.get("why"),
        "message": json.loads(more["message"]) if "message" in more else None,
        "attempts": ENCODER.encode(story) if story else None,
        "params": payload.partition("\n")[2] if payload else None,
        "result": ENCODER.encode(ending["result"]) if ending.get("result") is not None else None,
    }
    _add_durations(row, story)
    return _storable(row)


def _add_durations(row: Row, story: list[dict[str, Any]]) -> None:
    """Add how long it waited, from when it could begin to its first start, and how long its last attempt ran."""
    first = story[0].get("started_at") if story and story[0].get("attempt") == 1 else row["started_ms"]
    begin = max(row["created_ms"], row["scheduled_ms"] or 0)
    row["waiting_ms"] = max(0, int(first) - begin) if first is not None else None
    row["running_ms"] = max(0, row["ended_ms"] - row["started_ms"]) if row["started_ms"] is not None else None


def _storable(row: Row) -> Row:
    """Replace what a database cannot store, and cut words that it cannot search for."""
    for name in WORDS:
        if row[name] is not None:
            row[name] = row[name][:LONGEST_WORD]
    for name, value in row.items():
        if isinstance(value, str) and ("\0" in value or not value.isascii()):
            row[name] = value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return row


def _ms_of(moment: str | None) -> int | None:
    return None if moment is None else math.floor(datetime.fromisoformat(moment).timestamp() * 1000)


def job_of(row: Mapping[str, Any]) -> Job:
    """Return a row as a job."""
    same = ("id", "task", "status", "queue", "priority", "attempt", "error", "message", "user_id", "team_id")
    return Job(
        **{name: row[name] for name in same},
        **{f"{name}_at": moment_of(row[f"{name}_ms"]) for name in TIMES},
        correlation_id=row["correlation_id"],
        instance_id=row["instance"],
        result=json.loads(row["result"]) if row["result"] else None,
        attempts=tuple(json.loads(row["attempts"])) if row["attempts"] else (),
    )


def moment_of(ms: int | None) -> datetime | None:
    """Return a time of the store as a datetime."""
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
