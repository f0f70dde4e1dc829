"""Runs as the store keeps them: texts that runs.lua reads and writes too (docs/decisions/001)."""

import json
from typing import Any

from domain.runs.run import TERMINAL, RunReason, RunRecord, RunSpec, RunStatus

TAG_FIELDS = ("run_id", "job_id", "name", "reason", "fire_time")
OF_JOBS = ("queue", "priority", "user_id", "team_id", "scheduled_at")
"""The part of a spec that every event of the run carries; the second, where it is there."""

TAG_OF_JOBS = {*TAG_FIELDS, *OF_JOBS}
WRITER = RunSpec.__pydantic_serializer__
ENCODER = json.JSONEncoder(separators=(",", ":"))
LINES = ("status", "attempt", "retries", "token", "owner", "order", "started", "more")
FIXED = ("queued", "job", "lane", "reason", "tag")
"""The lines of a run in the hash ``runs``: what changes, then what does not. ``more`` is JSON, or empty."""


def split_spec(spec: RunSpec) -> tuple[str, str]:
    """Return a spec as two texts of JSON members, without braces: the tag, which events carry, and the rest."""
    if spec.queue is not None:
        return _members(spec, include=TAG_OF_JOBS), _members(spec, exclude=TAG_OF_JOBS)
    whole = spec.model_dump(mode="json", exclude_none=True)
    tag = {name: whole.pop(name) for name in TAG_FIELDS}
    return ENCODER.encode(tag)[1:-1], ENCODER.encode(whole)[1:-1]


def _members(spec: RunSpec, **which: Any) -> str:
    """Return fields that are not as usual: of jobs there are many that wait, each with its own."""
    return WRITER.to_json(spec, exclude_none=True, exclude_defaults=True, **which)[1:-1].decode()


def payload_of(rest: str, data: str) -> str:
    """Return what is kept of a run beside its tag: the rest of its spec, and its data."""
    return f"{rest}\n{data}"


def join_spec(tag: str, payload: str) -> tuple[RunSpec, str]:
    """Return the spec that was split, and the data; raise ``ValueError`` when this version cannot read it."""
    rest, _, data = payload.partition("\n")
    return RunSpec.model_validate_json(f"{{{tag},{rest}}}" if rest else f"{{{tag}}}"), data


def lines_of(text: str) -> dict[str, str]:
    """Return the lines of a run by their names; what is no run has no ``tag``."""
    return dict(zip((*LINES, *FIXED), text.split("\n", len(LINES) + len(FIXED) - 1), strict=False))


def record(text: str, parked: str | None = None) -> RunRecord:
    """Return a run as it is shown."""
    lines = lines_of(text)
    more: dict[str, Any] = json.loads(lines["more"] or "{}")
    ending = json.loads(more.get("ending", "{}"))
    status = RunStatus(lines["status"])
    return RunRecord(
        **json.loads(f"{{{lines['tag']}}}"),
        status=status,
        attempt=int(lines["attempt"]),
        queued_at=_time(lines["queued"]),
        started_at=_time(lines["started"]),
        ended_at=_time(more.get("ended", "")),
        instance=lines["owner"] or more.get("by"),
        error=ending.get("error") or ending.get("why") if status in TERMINAL else more.get("error"),
        result=ending.get("result"),
        progress=float(more["progress"]) if "progress" in more else None,
        message=json.loads(more["message"]) if "message" in more else None,
        correlation_id=more.get("corr"),
        parked=parked,
        attempts=more.get("story", []),
    )


def from_history(text: str) -> RunRecord:
    """Return a settled run from its schedule's history."""
    entry: dict[str, Any] = json.loads(text)
    entry["error"] = entry.get("error") or entry.pop("why", None)
    return RunRecord.model_validate(entry)


def fired_at(run_id: str, incarnation: str | None) -> int | None:
    """Return when a run was due (ms), if a fire of this incarnation of its schedule made it."""
    of, _, due = run_id.rpartition("@")[2].partition(".")
    due = due.removeprefix(f"{RunReason.CATCH_UP.value}.")
    return int(due) if of == incarnation and due.isdecimal() else None


def _time(text: str) -> Any:
    return int(text) if text else None
