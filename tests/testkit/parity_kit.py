"""Two stages for one play: the kit, and the real scheduler on a real Valkey whose scripts read a clock that we set."""

import contextlib
import difflib
import json
import pprint
import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import pytest

from application.scheduling import BackgroundTasksBus, BackgroundTaskScheduler, RecurrentTaskDescriptor
from cluster import Cluster, Instance
from domain.events.event import Event
from domain.scheduling.errors import ScheduleNotFound
from domain.scheduling.schedule import ScheduleInfo
from infrastructure.runs import scripts
from infrastructure.runs.scripts import Retention
from sample_jobs import Ledger, Note, Once
from support import wait_until
from testing import JobKit
from testkit.fragile_job import Fragile

JOBS = (Note, Once, Fragile)
REAL_TIME = "redis.call('TIME')"
SET_TIME = "redis.call('HMGET', PREFIX .. 'clock', 'seconds', 'microseconds')"
KEPT = Retention(events_kept=99_999)
"""A retention that nobody else asks scripts for, as they are cached by it."""
OURS = {"instance_id", "token", "by", "instance", "why"}
"""What an event tells of who did it."""


class Stage(Protocol):
    """Where a play is given: each step of it is done here and there."""

    bus: BackgroundTasksBus
    scheduler: BackgroundTaskScheduler
    ledger: Ledger

    async def to(self, moment_ms: int) -> None:
        """Let it be that moment, at once: what lies between happens late."""
        ...

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what was told so far, in order."""
        ...


Step = Callable[[Stage], Awaitable[None]]


class OnKit:
    """The kit."""

    def __init__(self, kit: JobKit, ledger: Ledger) -> None:
        self.kit = kit
        self.bus, self.scheduler, self.ledger = kit.bus, kit.scheduler, ledger

    async def to(self, moment_ms: int) -> None:
        await self.kit.outage(seconds=moment_ms / 1000 - self.kit.now.timestamp())

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        return [told(event.topic, event.data) for event in self.kit.published if is_told(event)]


class OnValkey:
    """One instance of the program on a real server. Its time stands still until ``to`` sets it."""

    def __init__(self, cluster: Cluster, instance: Instance) -> None:
        self._cluster, self._instance = cluster, instance
        self.bus, self.scheduler, self.ledger = instance.bus, instance.scheduler, instance.ledger

    async def to(self, moment_ms: int) -> None:
        await set_clock(self._cluster, moment_ms)

    async def nudge(self) -> None:
        """Let the tick look at once."""
        redis = self._cluster.redis
        await redis.command.publish(redis.key("wake"), "ready")

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        families = [await self._cluster.events(family) for family in ("schedule", "job")]
        return [told(found.pop("topic"), found) for family in families for found in family]


def is_told(event: Event) -> bool:
    return event.topic.startswith(("schedule.", "job."))


def told(topic: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return an event without what differs from process to process."""
    return topic, {name: plain(value) for name, value in data.items() if name not in OURS}


def plain(value: Any) -> Any:
    """Return a value without the incarnations of schedules and the names of runs now, which are random."""
    return re.sub(r"@[0-9a-f]+\.(now\.[0-9a-f]+)?", "@", value) if isinstance(value, str) else value


async def snapshot(stage: Stage) -> dict[str, Any]:
    """Return all that the scheduler says of schedules, runs and one-shots."""
    found: dict[str, Any] = {}
    for info in (await stage.scheduler.list_tasks()).items:
        found[info.id] = _of_schedule(info)
        with contextlib.suppress(ScheduleNotFound):  # it has just ended
            runs = await stage.scheduler.runs(info.id)
            found[f"runs of {info.id}"] = [_of_run(json.loads(run.model_dump_json())) for run in runs]
    for one in await stage.scheduler.list_one_shots():
        found[one.id] = _of_run(json.loads(one.run.model_dump_json()))
    found["bodies"] = [
        (plain(entry.run_id), entry.attempt, entry.missed, entry.fire_time.isoformat())
        for entry in stage.ledger.entries
    ]
    return found


def _of_schedule(info: ScheduleInfo) -> dict[str, Any]:
    known = json.loads(info.model_dump_json(exclude={"descriptor", "running", "parked_runs", "paused"}))
    known["running"] = sorted(plain(run) for run in info.running)
    known["is_paused"] = info.paused is not None
    return known


def _of_run(record: dict[str, Any]) -> dict[str, Any]:
    """Return a run; of a settled fire the real store keeps less than the kit, which shows it all."""
    story = [attempt["error"] for attempt in record.pop("attempts")]
    record |= {"progress": None, "message": None}
    if record["reason"] != "one_shot" and record["ended_at"]:
        story, record = [], {**record, "queued_at": None}
    record = {name: plain(value) for name, value in record.items() if name != "instance"}
    return {**record, "attempts": story}


async def set_clock(cluster: Cluster, moment_ms: int) -> None:
    clock = {"seconds": moment_ms // 1000, "microseconds": moment_ms % 1000 * 1000}
    await cluster.redis.command.hset(cluster.redis.key("clock"), mapping=clock)


async def real_instance(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, start_ms: int) -> OnValkey:
    """Start an instance whose scripts and store tell the time that was set, and which nothing else is told apart by."""
    read = scripts._text
    assert REAL_TIME in read("infrastructure.runs", "prelude")
    monkeypatch.setattr(scripts, "_text", lambda package, name: read(package, name).replace(REAL_TIME, SET_TIME))
    monkeypatch.setattr("cluster.Retention", lambda: KEPT)
    await set_clock(cluster, start_ms)
    instance = cluster.make(jobs=JOBS, lease_ms=5_000)

    async def now() -> int:
        seconds, microseconds = await cluster.redis.command.hmget(
            cluster.redis.key("clock"), ["seconds", "microseconds"]
        )
        return int(seconds) * 1000 + int(microseconds) // 1000

    monkeypatch.setattr(instance.store, "now", now)
    await instance.start()
    return OnValkey(cluster, instance)


async def play(kit: OnKit, real: OnValkey, steps: list[Step]) -> None:
    """Do each step on both stages; wait until the real one comes to what the kit says, and at last to its events."""
    for number, step in enumerate(steps):
        await step(kit)
        await kit.kit.run_due()
        expected = await snapshot(kit)
        await step(real)
        seen: dict[str, Any] = {}

        async def agree(expected: dict[str, Any] = expected, seen: dict[str, Any] = seen) -> bool:
            await real.nudge()
            seen.clear()
            seen.update(await snapshot(real))
            return seen == expected

        try:
            await wait_until(agree, "both to agree")
        except AssertionError:
            raise AssertionError(f"after step {number} {differences(seen, expected)}") from None
    ours, theirs = by_subject(await kit.events()), by_subject(await real.events())

    async def tell_the_same() -> bool:
        theirs.clear()  # what was stopped while it ran is in no snapshot any more, and settles when it settles
        theirs.update(by_subject(await real.events()))
        return theirs == ours

    try:
        await wait_until(tell_the_same, "both to tell the same")
    except AssertionError:
        raise AssertionError(differences(theirs, ours)) from None


def by_subject(events: list[tuple[str, dict[str, Any]]]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Return what was told of each schedule and of each run, in order; how far a body came is told now and then only.

    A real instance starts the first run of a batch before it makes the next: so there is no order between runs.
    """
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for topic, data in events:
        subject = f"run {data['run_id']}" if topic.startswith("job.") else f"schedule {data['id']}"
        if topic != "job.progress":
            found.setdefault(subject, []).append((topic, data))
    return found


def differences(real: dict[str, Any], kit: dict[str, Any]) -> str:
    """Say what is different, with both values."""
    names = [name for name in real.keys() | kit.keys() if real.get(name) != kit.get(name)]
    return "\n".join(_difference(name, real.get(name), kit.get(name)) for name in names)


def _difference(name: str, real: Any, kit: Any) -> str:
    lines = [pprint.pformat(value, width=200).splitlines() for value in (real, kit)]
    return "\n".join([name, *difflib.unified_diff(*lines, "real", "kit", n=1, lineterm="")])


def repeating(**fields: Any) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor.model_validate({"id": "s", "name": "Note", **fields})
