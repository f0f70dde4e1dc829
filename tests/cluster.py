"""Several instances of the framework in one process, on one real store: what two programs would share."""

import json
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any

from application.jobs.service import JobService
from application.runs.registry import JobRegistry
from application.scheduling import BackgroundTasksBus, BackgroundTaskScheduler
from domain.jobs.queue import Queues
from infrastructure.jobs.publisher import InProcessPublisher
from infrastructure.jobs.rules import rules_of
from infrastructure.jobs.store import RedisJobs
from infrastructure.redis.connection import RedisStore
from infrastructure.runs.announcer import Announcer
from infrastructure.runs.injection import ContainerInjector
from infrastructure.runs.scripts import Retention
from infrastructure.runs.store import RedisRunStore
from infrastructure.scheduling.claiming import Pace
from infrastructure.scheduling.engine import Engine
from infrastructure.scheduling.store import RedisJobStore
from sample_jobs import Ledger, LedgerContainer, Note, Once
from support import wait_until


class Instance:
    """One program: its own connections, scheduler, bus and engine; ``executes=False`` is an API-only one.

    An API-only one says that it is there if it ``announces``.
    """

    def __init__(
        self,
        url: str,
        namespace: str,
        instance_id: str,
        ledger: Ledger,
        jobs: Sequence[type] = (Note, Once),
        lease_ms: int = 2_000,
        concurrency: int = 50,
        grace_s: float = 5.0,
        executes: bool = True,
        announces: bool = False,
        confirm_on_disk: bool = False,
        takeover_limit: int = 5,
        queues: Queues | None = None,
    ) -> None:
        retention = Retention()
        registry = JobRegistry(jobs)
        queues = queues or Queues()
        self.id = instance_id
        self.ledger = ledger
        self.store = RedisStore(url, namespace, confirm_on_disk=confirm_on_disk)
        self.schedules = RedisJobStore(self.store, instance_id, retention)
        self.runs = RedisRunStore(self.store, instance_id, retention)
        self.engine = Engine(
            self.store,
            instance_id,
            registry,
            ContainerInjector([LedgerContainer(ledger=ledger)]),
            pace=Pace(lease_ms=lease_ms, takeover_limit=takeover_limit),
            retention=retention,
            concurrency=concurrency,
            grace_s=grace_s,
            rules=rules_of(queues, registry),
        )
        publisher = InProcessPublisher(self.store, instance_id, retention)
        self.jobs = JobService(registry, publisher, RedisJobs(self.store, self.runs), self.runs, queues)
        engine = self.engine if executes else None
        self.scheduler = BackgroundTaskScheduler(
            registry, self.schedules, self.runs, engine=engine, actor=lambda: instance_id
        )
        self.engine.park = self.scheduler.park
        facts = {"role": "api", "version": "1", "host": "h", "pid": 1}
        self.announcer = Announcer(self.store, instance_id, lease_ms, retention, lambda: facts) if announces else None
        self.bus = BackgroundTasksBus(self.scheduler)

    async def start(self) -> None:
        await self.store.open()
        await self.scheduler.start()
        if self.announcer is not None:
            await self.announcer.start()

    async def end_passes(self) -> None:
        """Let the scheduler's thread make no more passes, and return when the last one has ended."""
        silent = threading.Event()

        def no_pass() -> float:
            silent.set()
            return 3600.0

        self.engine._scheduler._tick = no_pass
        self.engine._scheduler.wakeup()
        await wait_until(silent.is_set, "the last pass to end")

    async def stop(self) -> None:
        if self.announcer is not None:
            await self.announcer.stop()
        await self.scheduler.stop()
        await self.store.close()


class Cluster:
    """Make instances on one namespace and stop them all at the end."""

    def __init__(self, url: str, namespace: str) -> None:
        self._url = url
        self._namespace = namespace
        self._stack = AsyncExitStack()
        self.ledger = Ledger()
        self.instances: list[Instance] = []
        self.redis = RedisStore(url, namespace)

    async def start(self, **options: Any) -> Instance:
        """Start one more instance; all share the ledger."""
        instance = self.make(**options)
        await instance.start()
        return instance

    def make(self, **options: Any) -> Instance:
        """Make one without starting it."""
        name = f"i{len(self.instances) + 1}"
        instance = Instance(self._url, self._namespace, name, self.ledger, **options)
        self.instances.append(instance)
        self._stack.push_async_callback(instance.stop)
        return instance

    async def events(self, family: str, topic: str | None = None) -> list[dict[str, Any]]:
        """Return the data of all events of a family so far, oldest first, with their topics as ``topic``."""
        entries = await self.redis.command.xrange(self.redis.key("ev", family))
        found = [{**json.loads(fields["d"]), "topic": fields["t"]} for _, fields in entries]
        return [event for event in found if topic in (None, event["topic"])]

    async def made(self) -> list[dict[str, Any]]:
        """Return the first event of each run: most fires start at once, the others wait to be claimed."""
        first: dict[str, dict[str, Any]] = {}
        for event in await self.events("job"):
            first.setdefault(event["run_id"], event)
        return [event for event in first.values() if event["topic"] in ("job.queued", "job.started")]

    async def __aenter__(self) -> "Cluster":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for gate in self.ledger.gates.values():
            gate.set()
        await self._stack.aclose()
        await self.redis.close()
