"""Instances of the whole monitoring in one process, on one real store, with a provider that says what it is told to."""

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

import pytest
from dependency_injector import providers

import event_facts
from application.monitoring.alert_book import AlertStep, Backlog, Committed, WorkerAlerts
from application.monitoring.channel import Answer, Channel
from application.monitoring.channels import Channels
from application.monitoring.jobs import WorkerMetricsCollectionJob, WorkerSilenceCheckJob
from application.monitoring.providers import MetricsProvider, MetricsProviders
from application.runs.asking import Note
from application.runs.registry import JobRegistry
from application.scheduling import BackgroundTasksBus, BackgroundTaskScheduler
from domain.monitoring.message import Message
from domain.monitoring.notification import Notification
from domain.monitoring.rule import DEFAULT_RULES, AlertRule
from domain.monitoring.sample import MetricSample
from domain.monitoring.worker import Worker, WorkerRequest, WorkerStatus
from infrastructure.events.bus import RedisEventBus
from infrastructure.monitoring.container import MonitoringContainer
from infrastructure.monitoring.local import LocalProvider
from infrastructure.redis.connection import RedisStore
from infrastructure.runs.injection import ContainerInjector
from infrastructure.runs.scripts import Retention
from infrastructure.runs.store import RedisRunStore
from infrastructure.scheduling.claiming import Pace
from infrastructure.scheduling.engine import Engine
from infrastructure.scheduling.store import RedisJobStore
from infrastructure.settings import AlertsSettings, MonitoringSettings
from unit.monitoring.waveforms import sample

CPU_RULE = AlertRule(id="cpu", metric="cpu_utilization", fire=0.9, clear=0.8)


class ScriptedProvider(MetricsProvider):
    """Measures what a test sets: the CPU of each worker, its status, or an error."""

    name = "scripted"

    def __init__(self) -> None:
        self.cpu: dict[str, float] = {}
        self.status: dict[str, WorkerStatus] = {}
        self.errors: dict[str, Exception] = {}
        self.asked: list[str] = []

    async def collect(self, worker: Worker, now: datetime) -> MetricSample:
        self.asked.append(worker.id)
        if worker.id in self.errors:
            raise self.errors[worker.id]
        found = sample(now, self.cpu.get(worker.id, 0.1), worker.id)
        status = self.status.get(worker.id, WorkerStatus.RUNNING)
        return found.model_copy(update={"status": status, "worker_name": worker.name, "provider": self.name})


class ListChannel(Channel):
    """Collects what is sent; fails as often as it is told to."""

    type = "list"

    def __init__(self, name: str = "log") -> None:
        self.name = name
        self.messages: list[Message] = []
        self.failures = 0

    @property
    def sent(self) -> list[Notification]:
        return [one for message in self.messages for one in message.notifications]

    async def send(self, message: Message) -> Answer:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("nobody answers")
        self.messages.append(message)
        return Answer(200, "thanks")

    @property
    def kinds(self) -> list[str]:
        return [f"{notification.kind} {notification.rule_id} {notification.worker_id}" for notification in self.sent]


class Monitor:
    """One program with monitoring; ``executes=False`` runs no jobs."""

    def __init__(self, url: str, namespace: str, instance_id: str, site: "Site", rules: Sequence[AlertRule]) -> None:
        self.id = instance_id
        self.store = RedisStore(url, namespace)
        retention = Retention()
        registry = JobRegistry([WorkerMetricsCollectionJob, WorkerSilenceCheckJob])
        self.events = RedisEventBus(self.store.command, self.store.blocking, self.store.key, instance_id)
        self.schedules = RedisJobStore(self.store, instance_id, retention)
        self.runs = RedisRunStore(self.store, instance_id, retention)
        self.container = MonitoringContainer(
            settings=providers.Object(MonitoringSettings()),
            alert_settings=providers.Object(AlertsSettings(rules=tuple(rules))),
            store=providers.Object(self.store),
            instance_id=providers.Object(instance_id),
            events=providers.Object(self.events),
            schedules=providers.Object(self.schedules),
            is_only_machine=providers.Object(True),
        )
        self.engine = Engine(
            self.store,
            instance_id,
            registry,
            ContainerInjector([self.container]),
            pace=Pace(lease_ms=2_000),
            retention=retention,
            concurrency=50,
            grace_s=5.0,
        )
        self.scheduler = BackgroundTaskScheduler(
            registry, self.schedules, self.runs, engine=self.engine, actor=lambda: instance_id
        )
        self.engine.park = self.scheduler.park
        self.tasks = BackgroundTasksBus(self.scheduler)
        self.container.tasks.override(providers.Object(self.tasks))
        self.container.task_scheduler.override(providers.Object(self.scheduler))
        self.container.metrics_providers.override(
            providers.Object(MetricsProviders([site.provider, LocalProvider(hostname="here")]))
        )
        self.container.channels.override(providers.Object(Channels([site.channel])))
        self.workers = self.container.workers()
        self.samples = self.container.samples()
        self.book = self.container.book()
        self.alerts = self.container.alert_engine()
        self.watch = self.container.alert_watch()
        self.registry = self.container.registry()
        self.monitoring = self.container.monitoring()
        self.sender = self.container.sender()
        self.handler = self.container.handler()
        self.seed = self.container.seed()

    async def start(self, *, executes: bool = True, handles: bool = True, sends: bool = True) -> None:
        """Start the parts that a test wants; the store is always open."""
        await self.store.open()
        await self.events.start()
        if executes:
            await self.scheduler.start()
        if sends:
            await self.sender.start()
        if handles:
            await self.handler.start()

    async def stop(self) -> None:
        """Stop all parts, last first."""
        await self.handler.stop()
        await self.sender.stop()
        await self.scheduler.stop()
        await self.events.stop()
        await self.store.close()

    async def add(self, worker_id: str = "w1", **facts: Any) -> None:
        """Register a worker of the scripted provider."""
        request = {"id": worker_id, "name": worker_id, "provider": "scripted", **facts}
        await self.registry.register(WorkerRequest.model_validate(request))

    async def feed(self, ago_s: float, cpu: float | None, worker_id: str = "w1") -> MetricSample:
        """Append a sample by hand, observed ``ago_s`` seconds ago by the store's clock."""
        one = sample(await self.workers.now() - timedelta(seconds=ago_s), cpu, worker_id)
        one = one.model_copy(update={"provider": "scripted"})
        assert await self.samples.append(one) == "stored"
        return one


def reads_at(monitor: Monitor, clock: Callable[[datetime], datetime]) -> None:
    """Let an instance find alerts as read at another time than the store's, for good."""
    read, backlog = monitor.book.read, monitor.book.backlog

    def moved(alerts: WorkerAlerts) -> WorkerAlerts:
        return replace(alerts, now=clock(alerts.now))

    async def read_moved(worker_id: str) -> WorkerAlerts:
        return moved(await read(worker_id))

    async def backlog_moved(worker_ids: Sequence[str], *more: Any) -> list[Backlog | Exception]:
        found = await backlog(worker_ids, *more)
        return [one if isinstance(one, Exception) else replace(one, alerts=moved(one.alerts)) for one in found]

    for name, made in (("read", read_moved), ("backlog", backlog_moved)):
        setattr(monitor.book, name, made)


def before_commits(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch, act: Callable[[AlertStep], Awaitable[Committed | None]]
) -> None:
    """Let ``act`` come before each step is stored; a verdict of its own is the answer, and nothing is stored."""
    commit = monitor.book.commit

    async def acted_on(step: AlertStep, note: Note | None = None) -> Committed:
        return await act(step) or await commit(step, note)

    async def all_acted_on(steps: Sequence[AlertStep]) -> list[Committed]:
        return [await acted_on(step) for step in steps]

    monkeypatch.setattr(monitor.book, "commit", acted_on)
    monkeypatch.setattr(monitor.book, "commit_all", all_acted_on)


class Site:
    """Make instances that share a store, a provider and a channel, and stop them all at the end."""

    def __init__(self, url: str, namespace: str) -> None:
        self._url = url
        self._namespace = namespace
        self._stack = AsyncExitStack()
        self._made = 0
        self.provider = ScriptedProvider()
        self.channel = ListChannel()
        self.redis = RedisStore(url, namespace)

    async def start(
        self,
        rules: Sequence[AlertRule] = DEFAULT_RULES,
        *,
        executes: bool = True,
        handles: bool = True,
        sends: bool = True,
    ) -> Monitor:
        """Start one more instance."""
        self._made += 1
        monitor = Monitor(self._url, self._namespace, f"m{self._made}", self, rules)
        self._stack.push_async_callback(monitor.stop)
        await monitor.start(executes=executes, handles=handles, sends=sends)
        return monitor

    async def events(self, family: str, topic: str | None = None) -> list[dict[str, Any]]:
        """Return the data of all events of a family so far, oldest first, with their topics as ``topic``."""
        entries = await self.redis.command.xrange(self.redis.key("ev", family))
        found = [{**json.loads(fields["d"]), "topic": fields["t"]} for _, fields in entries or []]
        return [event for event in found if topic in (None, event["topic"])]

    async def topics(self, family: str) -> list[str]:
        """Return the topics of a family's events so far."""
        return [event["topic"] for event in await self.events(family)]

    async def __aenter__(self) -> "Site":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        try:
            await event_facts.hold(self.redis.command, self.redis.prefix)
        finally:
            async for key in self.redis.command.scan_iter(match=f"{self.redis.prefix}:*", count=1000):
                await self.redis.command.unlink(key)
            await self.redis.close()
