"""What every scenario needs: processes, a hand on the controls, and a look into the store that the processes share."""

import asyncio
import contextlib
import dataclasses
import inspect
import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from application.runs.registry import JobRegistry
from application.scheduling import BackgroundTaskScheduler, RecurrentTaskDescriptor, ScheduledTaskDescriptor
from distributed.checker import Report, check
from distributed.checker_evidence import Evidence, collect, steps_of
from distributed.checker_journal import Journal, journaling_control
from distributed.fleet import PATIENCE_S, Fleet, Line, Member, running_fleet
from distributed.ledger_jobs import Write, WriteOnce
from domain.runs.run import TERMINAL
from domain.scheduling.policy import SchedulePolicy
from infrastructure.redis.connection import RedisStore
from infrastructure.runs.scripts import Retention
from infrastructure.runs.store import RedisRunStore
from infrastructure.scheduling.store import RedisJobStore
from support import wait_until

JOBS = (Write, WriteOnce)


def control_of(store: RedisStore) -> BackgroundTaskScheduler:
    """A scheduler that only controls: what an API process has."""
    runs, schedules = RedisRunStore(store, "control", Retention()), RedisJobStore(store, "control", Retention())
    return BackgroundTaskScheduler(JobRegistry(JOBS), schedules, runs)


class Scenario:
    """A fleet on one namespace, seen and controlled from the test."""

    def __init__(self, url: str, namespace: str, fleet: Fleet) -> None:
        self.url = url
        self.namespace = namespace
        self.fleet = fleet
        self.store = RedisStore(url, namespace)
        self.journal = Journal(fleet.ledger.with_name("journal.jsonl"))
        self.control = journaling_control(self.store, self.journal, JOBS)

    async def recurrent(self, *ids: str, interval_s: float = 0.2, **data: float) -> None:
        """Schedule ``Write`` under each of these ids."""
        for schedule_id in ids:
            await self.control.schedule(
                RecurrentTaskDescriptor(id=schedule_id, name="Write", interval=interval_s, data=data)
            )

    async def at_once(self, *ids: str, **data: float) -> None:
        """Schedule ``Write`` under each of these ids: one fire at once, the next in an hour."""
        for schedule_id in ids:
            policy = SchedulePolicy(start=datetime.now(UTC) + timedelta(milliseconds=100))
            await self.control.schedule(
                RecurrentTaskDescriptor(id=schedule_id, name="Write", interval=3600, data=data, policy=policy)
            )

    async def one_shots(self, *ids: str, **data: float) -> None:
        """Schedule ``WriteOnce`` under each of these ids, for now."""
        for task_id in ids:
            await self.control.schedule(ScheduledTaskDescriptor(id=task_id, name="WriteOnce", data=data))

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for a condition, plain or async; show what the processes said if it does not come, or if one falls."""

        async def met() -> Any:
            assert not self.fleet.fallen(), "a process ended by itself"
            value = condition()
            return await value if inspect.isawaitable(value) else value

        try:
            return await wait_until(met, what, PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.fleet.logs()}") from error

    async def joined(self, count: int) -> None:
        """Wait until so many processes execute."""

        async def here() -> bool:
            return int(await self.store.command.hlen(self.store.key("instances"))) == count

        await self.until(here, f"{count} instances")

    async def set_up(self) -> None:
        """Wait until the first process has scheduled what is its own: the last thing that it does at its start."""

        async def there() -> bool:
            return any(_is_own(info.id) for info in (await self.control.list_tasks()).items)

        await self.until(there, "the program's own schedule")

    async def ready(self, *members: Member) -> None:
        """Wait until these, which have an API, have started whole: one that loses its store before that ends."""
        await self.until(lambda: all(member.address for member in members), "each process to say where it is")

    async def reached(self, phase: str, *job_ids: str) -> None:
        """Wait until each of these jobs is in the ledger with this phase."""
        await self.until(
            lambda: {*job_ids} <= {line.job_id for line in self.fleet.lines(phase)}, f"all of {job_ids} to {phase}"
        )

    async def ended(self, count: int, *job_ids: str) -> None:
        """Wait until each of these jobs has so many more ends than now."""

        before = self._ends()
        await self.until(
            lambda: (now := self._ends()) and all(now[job_id] >= before[job_id] + count for job_id in job_ids),
            f"{count} more runs of {job_ids}",
        )

    def _ends(self) -> Counter[str]:
        return Counter(line.job_id for line in self.fleet.lines("end"))

    async def work(self, *members: Member) -> None:
        """Wait until each of these processes has ended a run from now on."""
        known = len(self.fleet.lines("end"))
        pids = {member.pid for member in members}
        await self.until(
            lambda: pids <= {line.pid for line in self.fleet.lines("end")[known:]}, f"processes {pids} to work"
        )

    async def events(self, family: str, topic: str) -> list[dict[str, Any]]:
        """Return the data of all events of a topic so far."""
        entries = await self.store.command.xrange(self.store.key("ev", family))
        return [json.loads(fields["d"]) for _, fields in entries if fields["t"] == topic]

    async def verdict(self, **facts: Any) -> Report:
        """End all processes when what is due by now is over, and return what the checker says, which must be good.

        Nothing moves any more when it looks: ledger, streams and store then belong to one moment.
        """
        seconds, microseconds = await self.store.command.time()
        until = seconds * 1000 + microseconds // 1000
        await self.until(lambda: self._is_over(until), "what was due to be over")
        await all_end(self.fleet)
        evidence = await collect(self.store, steps_of(self.fleet.ledger), until, self.journal.lines(), **facts)
        report = check(_ours(evidence))
        assert report.ok, f"{report.text()}\n{self.fleet.logs()}"
        return report

    async def _is_over(self, until: int) -> bool:
        if await self.control.list_one_shots(1):
            return False
        schedules = [info for info in (await self.control.list_tasks(limit=1000)).items if not _is_own(info.id)]
        if any(info.status == "active" and _ms(info.next_fire) <= until for info in schedules):
            return False
        records = [record for info in schedules for record in await self.control.runs(info.id)]
        return not any(
            record.status not in TERMINAL and (record.reason != "fire" or _ms(record.fire_time) <= until)
            for record in records
        )

    async def settled(self, *task_ids: str) -> None:
        """Wait until these one-shots are settled."""

        async def over() -> bool:
            waiting = {info.id for info in await self.control.list_one_shots(10_000)}
            return not waiting & set(task_ids)

        await self.until(over, "all one-shots to be settled")


@contextlib.asynccontextmanager
async def scenario(url: str, namespace: str, directory: Path, **options: Any) -> AsyncIterator[Scenario]:
    """Yield a scenario and end it."""
    with running_fleet(url, namespace, directory, **options) as fleet:
        made = Scenario(url, namespace, fleet)
        try:
            yield made
        finally:
            await made.store.close()


def attempts(lines: Iterable[Line]) -> dict[str, list[int]]:
    """Return the attempts of each run, in the order in which they stand."""
    found: dict[str, list[int]] = {}
    for line in lines:
        found.setdefault(line.run_id, []).append(line.attempt)
    return found


async def all_end(fleet: Fleet) -> None:
    """Ask all living processes to end, at once; all must say that they did so cleanly."""
    living = [member for member in fleet.processes if member.poll() is None]
    statuses = await asyncio.gather(*(asyncio.to_thread(fleet.end, member) for member in living))
    assert statuses == [0] * len(living), f"exit statuses {statuses}\n{fleet.logs()}"


def _ours(evidence: Evidence) -> Evidence:
    """Leave out what the program schedules for itself: its bodies write no ledger."""
    events = [event for event in evidence.events if not _is_own(event.data.get("job_id", event.data.get("id", "")))]
    schedules = {task_id: kept for task_id, kept in evidence.schedules.items() if not _is_own(task_id)}
    open_runs = {run_id: status for run_id, status in evidence.open_runs.items() if not _is_own(run_id)}
    return dataclasses.replace(evidence, events=events, schedules=schedules, open_runs=open_runs)


def _ms(moment: datetime | None) -> float:
    return moment.timestamp() * 1000 if moment else math.inf


def _is_own(subject: str) -> bool:
    return subject.startswith("monitoring-")
