"""What the checker judges by: plain data from ledger, event streams, store, and the control side's journal."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from domain.runs.run import TERMINAL, RunStatus
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.schedule import ScheduleState
from infrastructure.redis.connection import RedisStore
from infrastructure.runs.scripts import Retention
from infrastructure.runs.store import RedisRunStore
from infrastructure.scheduling.store import RedisJobStore


@dataclass(frozen=True)
class Step:
    """One line of the ledger: what a body did. ``at`` is in ms, 0 where the ledger does not say."""

    phase: str
    run_id: str
    attempt: int
    pid: int = 0
    job_id: str = ""
    at: int = 0


@dataclass(frozen=True)
class Event:
    """One entry of an event stream; ``at`` is the store's clock in ms, ``n`` its place among all events."""

    topic: str
    at: int
    data: dict[str, Any]
    n: int = 0


@dataclass(frozen=True)
class ChangeAsked:
    """A compare-and-set of a schedule that the control side asked for, and the answer: '' when none was heard."""

    op: str
    id: str
    topic: str
    before: ScheduleState | None
    after: ScheduleState | None
    definition: RecurrentTaskDescriptor | None = None
    answer: str = ""
    at: int = 0


@dataclass(frozen=True)
class RunAsked:
    """A run that the control side submitted or cancelled; ``answer``: the verdict, or the status it had."""

    kind: str
    run_id: str
    reason: str = ""
    answer: str = ""
    at: int = 0


@dataclass(frozen=True)
class Kept:
    """A schedule that is in the store at the end."""

    state: ScheduleState
    definition: RecurrentTaskDescriptor


@dataclass(frozen=True)
class Evidence:
    """All of it.

    ``until`` (ms): what was due, or queued, by then should be settled by now; later things may still wait. ``threaded``
    names jobs whose bodies run in threads: nobody can stop them, so they may come to an end that no longer counts.
    ``store_kills`` (ms) and ``store_loses_ms``: what may have gone with the store itself. ``trimmed``: events that are
    missing.
    """

    events: Sequence[Event]
    ledger: Sequence[Step]
    until: int
    changes: Sequence[ChangeAsked] = ()
    asked: Sequence[RunAsked] = ()
    schedules: dict[str, Kept] = field(default_factory=dict)
    open_runs: dict[str, str] = field(default_factory=dict)
    threaded: frozenset[str] = frozenset()
    store_kills: Sequence[int] = ()
    store_loses_ms: int = 0
    trimmed: int = 0


def changes_of(lines: Iterable[dict[str, Any]]) -> list[ChangeAsked]:
    """Return the changes of schedules that a journal tells of."""
    asked: dict[str, dict[str, Any]] = {}
    for line in lines:
        if line["kind"] == "change":
            asked[line["op"]] = line
        elif line["kind"] == "changed":
            asked[line["op"]] |= {"answer": line["answer"], "at": line["at"]}
    return [
        ChangeAsked(
            line["op"],
            line["id"],
            line["topic"],
            ScheduleState.model_validate(line["before"]) if line["before"] else None,
            ScheduleState.model_validate(line["after"]) if line["after"] else None,
            RecurrentTaskDescriptor.model_validate(line["definition"]) if line["definition"] else None,
            line.get("answer", ""),
            line["at"],
        )
        for line in asked.values()
    ]


def runs_asked_of(lines: Iterable[dict[str, Any]]) -> list[RunAsked]:
    """Return the runs that a journal tells of: an answer that was never heard is ''."""
    asked: dict[str, RunAsked] = {}
    for line in lines:
        if line["kind"] in ("submit", "cancel"):
            asked[line["op"]] = RunAsked(
                line["kind"], line["run_id"], line.get("reason", ""), line.get("answer", ""), line["at"]
            )
    return list(asked.values())


def steps_of(path: Path) -> list[Step]:
    """Return a ledger; its ``at`` is in seconds."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [
        Step(
            line["phase"], line["run_id"], line["attempt"], line["pid"], line["job_id"], round(line.get("at", 0) * 1000)
        )
        for line in lines
    ]


async def collect(
    store: RedisStore,
    ledger: Sequence[Step],
    until: int,
    journal: Iterable[dict[str, Any]] = (),
    jobs: Collection[str] = (),
    **facts: Any,
) -> Evidence:
    """Read the store and its streams whole; ``facts`` are further fields of the evidence.

    ``jobs`` names those that write the ledger: what the program schedules for itself is left out then.
    """
    events, trimmed = await _events(store)
    lines = list(journal)
    kept = {}
    async for schedule_id, stored in RedisJobStore(store, "checker", Retention()).scan():
        kept[schedule_id] = Kept(stored.state, stored.definition)
    if jobs:
        named = [event for event in events if "name" in event.data]
        own = {event.data.get("job_id", event.data.get("id")) for event in named if event.data["name"] not in jobs}
        own |= {schedule_id for schedule_id, one in kept.items() if one.definition.name not in jobs}
        kept = {schedule_id: one for schedule_id, one in kept.items() if schedule_id not in own}
        events = [event for event in events if event.data.get("job_id", event.data.get("id")) not in own]
    runs = RedisRunStore(store, "checker", Retention())
    settled = {event.data["run_id"] for event in events if event.topic in SETTLED}
    known = {event.data["run_id"] for event in events if event.topic in ("job.queued", "job.started")}
    found = [record for run_id in sorted(known - settled) if (record := await runs.get(run_id)) is not None]
    for schedule_id in kept:
        found.extend(record for record in await runs.runs_of(schedule_id) if record.status not in TERMINAL)
    found.extend(await runs.one_shots(1_000_000))
    found = [record for record in found if not jobs or record.name in jobs]
    return Evidence(
        events=events,
        ledger=ledger,
        until=until,
        changes=changes_of(lines),
        asked=runs_asked_of(lines),
        schedules=kept,
        open_runs={record.run_id: "parked" if record.parked else str(RunStatus(record.status)) for record in found},
        trimmed=trimmed,
        **facts,
    )


SETTLED = frozenset({"job.succeeded", "job.failed", "job.cancelled", "job.terminated", "job.expired"})


async def _events(store: RedisStore) -> tuple[list[Event], int]:
    found, trimmed = [], 0
    for family in ("job", "schedule"):
        entries = await store.command.xrange(store.key("ev", family))
        if entries:
            info = await store.command.xinfo_stream(store.key("ev", family))
            trimmed += info["entries-added"] - info["length"]
        for entry_id, fields in entries:
            ms, _, sequence = entry_id.partition("-")
            found.append((int(ms), int(sequence), fields["t"], json.loads(fields["d"])))
    found.sort(key=lambda entry: entry[:2])  # each stream keeps its own order; between them milliseconds must do
    return [Event(topic, ms, data, n) for n, (ms, _, topic, data) in enumerate(found)], trimmed
