"""What every scenario needs: processes, a hand on the controls, and a look into the store that the processes share."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

from application.runs.registry import JobRegistry
from application.scheduling import BackgroundTaskScheduler, RecurrentTaskDescriptor, ScheduledTaskDescriptor
from distributed.fleet import PATIENCE_S, Fleet, Line, running_fleet
from distributed.ledger_jobs import Write, WriteOnce
from infrastructure.redis.connection import RedisStore
from infrastructure.runs.scripts import Retention
from infrastructure.runs.store import RedisRunStore
from infrastructure.scheduling.store import RedisJobStore
from support import wait_until


def control_of(store: RedisStore, name: str = "control") -> BackgroundTaskScheduler:
    """A scheduler that only controls: what an API process has."""
    runs, schedules = RedisRunStore(store, name, Retention()), RedisJobStore(store, name, Retention())
    return BackgroundTaskScheduler(JobRegistry([Write, WriteOnce]), schedules, runs, actor=lambda: name)


class Scenario:
    """A fleet on one namespace, seen and controlled from the test."""

    def __init__(self, url: str, namespace: str, fleet: Fleet) -> None:
        self.url = url
        self.namespace = namespace
        self.fleet = fleet
        self.store = RedisStore(url, namespace)
        self.control = control_of(self.store)

    async def recurrent(self, *ids: str, interval_s: float = 0.2, **data: float) -> None:
        """Schedule ``Write`` under each of these ids."""
        for schedule_id in ids:
            await self.control.schedule(
                RecurrentTaskDescriptor(id=schedule_id, name="Write", interval=interval_s, data=data)
            )

    async def one_shots(self, *ids: str, **data: float) -> None:
        """Schedule ``WriteOnce`` under each of these ids, for now."""
        for task_id in ids:
            await self.control.schedule(ScheduledTaskDescriptor(id=task_id, name="WriteOnce", data=data))

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for a condition, plain or async; show what the processes said if it does not come."""
        try:
            return await wait_until(condition, what, PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.fleet.logs()}") from error

    async def joined(self, count: int) -> None:
        """Wait until so many processes execute."""

        async def here() -> bool:
            return int(await self.store.command.hlen(self.store.key("instances"))) == count

        await self.until(here, f"{count} instances")

    async def ended(self, count: int, *job_ids: str, by: int | None = None) -> None:
        """Wait until each of these jobs has so many more ends than now; ``by`` counts one process's only."""

        def counted(job_id: str) -> int:
            lines = self.fleet.lines("end")
            return sum(line.job_id == job_id and by in (None, line.pid) for line in lines)

        goals = {job_id: counted(job_id) + count for job_id in job_ids}
        await self.until(
            lambda: all(counted(job_id) >= goal for job_id, goal in goals.items()), f"{count} more runs of {job_ids}"
        )

    async def events(self, family: str, topic: str) -> list[dict[str, Any]]:
        """Return the data of all events of a topic so far."""
        entries = await self.store.command.xrange(self.store.key("ev", family))
        return [json.loads(fields["d"]) for _, fields in entries if fields["t"] == topic]

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
    assert statuses == [0] * len(living), fleet.logs()
