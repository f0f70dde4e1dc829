"""Clients that never leave a store in peace: they add, change, pause, resume, run and stop, all the time."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from application.tasks import end_task
from distributed.checker_journal import journaling_control
from distributed.scenario_kit import JOBS, Scenario
from domain.errors import StoreUnavailable
from domain.scheduling.errors import ChangedMeanwhile, NotResumable, ScheduleBusy, ScheduleNotFound
from infrastructure.redis.connection import RedisStore

SHARED = [f"rain{n}" for n in range(6)]
"""All clients change the same schedules."""
PAUSE_S = 0.05


class Client:
    """One of them, with connections of its own. Its seed decides what it does."""

    def __init__(self, run: Scenario, seed: int, url: str) -> None:
        self._store = RedisStore(url, run.namespace)
        self._control = journaling_control(self._store, run.journal, JOBS, f"client {seed}")
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._name = f"drop{seed}"
        self.done: Counter[str] = Counter()
        """How often each kind of request was carried out."""
        self.refused: Counter[str] = Counter()
        """How often a request was refused, by the error's name."""

    async def pour(self) -> None:
        """Ask for one thing after another, until cancelled."""
        while True:
            kind = self._random.choice(["put", "put", "modify", "pause", "resume", "resume", "stop", "run_now", "once"])
            try:
                await self._ask(kind, self._random.choice(SHARED))
                self.done[kind] += 1
            except (ScheduleNotFound, NotResumable, ScheduleBusy, ChangedMeanwhile, StoreUnavailable) as error:
                self.refused[type(error).__name__] += 1
            await asyncio.sleep(PAUSE_S)

    async def close(self) -> None:
        """Disconnect."""
        await self._store.close()

    async def _ask(self, kind: str, task_id: str) -> None:
        control, interval = self._control, self._random.choice([0.1, 0.2, 0.3])
        if kind == "put":
            await control.schedule(RecurrentTaskDescriptor(id=task_id, name="Write", interval=interval))
        elif kind == "modify":
            await control.modify(task_id, {"interval": interval, "data": {"hold_s": self._random.choice([0, 0.05])}})
        elif kind == "once":
            name = f"{self._name}-{self.done['once']}"
            await control.schedule(ScheduledTaskDescriptor(id=name, name="WriteOnce"))
        elif kind == "stop":
            await control.stop_task(task_id, cancel_running=self._random.random() < 0.5)
        else:
            await {"pause": control.pause, "resume": control.resume, "run_now": control.run_now}[kind](task_id)


class Rain:
    """Several clients at once."""

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients

    @property
    def done(self) -> Counter[str]:
        """Return what was carried out so far."""
        return sum((client.done for client in self.clients), Counter())

    @property
    def refused(self) -> Counter[str]:
        """Return what was refused so far."""
        return sum((client.refused for client in self.clients), Counter())

    def heavy(self) -> bool:
        """Tell whether all kinds of requests were carried out."""
        return all(self.done[kind] for kind in ("put", "modify", "pause", "resume", "stop", "run_now", "once"))


@asynccontextmanager
async def raining(run: Scenario, *urls: str) -> AsyncIterator[Rain]:
    """Let clients pour, one for each of these ways to the store, until the block ends."""
    async with AsyncExitStack() as stack:
        rain = Rain([Client(run, seed, url) for seed, url in enumerate(urls, 1)])
        tasks = []
        for client in rain.clients:
            stack.push_async_callback(client.close)
            tasks.append(task := asyncio.create_task(client.pour()))
            stack.push_async_callback(end_task, task)
        yield rain
        for task in tasks:
            assert not task.done(), task.exception()
