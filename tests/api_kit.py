"""The real API on a real server, on a loopback port of its own, over a real store."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any

import httpx2
from dependency_injector import providers
from fastapi import FastAPI
from starlette.routing import BaseRoute

from application.audit.writing import AuditRetention, AuditWriter
from application.jobs.service import JobService
from application.monitoring.channels import Channels
from application.monitoring.jobs import WorkerMetricsCollectionJob
from application.monitoring.providers import MetricsProviders
from application.runs.registry import JobRegistry
from application.scheduling import (
    BackgroundTasksBus,
    BackgroundTaskScheduler,
    RecurrentBackgroundJob,
    backgroundjob,
)
from domain.jobs.queue import QueueRules, Queues
from infrastructure.audit.log import RedisAuditLog
from infrastructure.events.bus import RedisEventBus
from infrastructure.events.options import EventBusOptions
from infrastructure.jobs.publisher import InProcessPublisher
from infrastructure.jobs.rules import rules_of
from infrastructure.jobs.store import RedisJobs
from infrastructure.monitoring.container import MonitoringContainer
from infrastructure.redis.connection import RedisStore
from infrastructure.runs.injection import ContainerInjector
from infrastructure.runs.instances import RedisInstances
from infrastructure.runs.scripts import Retention
from infrastructure.runs.store import RedisRunStore
from infrastructure.scheduling.claiming import Pace
from infrastructure.scheduling.engine import Engine
from infrastructure.scheduling.store import RedisJobStore
from infrastructure.settings import AlertsSettings, ApiKey, MonitoringSettings, ServerSettings
from infrastructure.telemetry.following import FollowedTrace
from infrastructure.web.access import actor
from infrastructure.web.app import create_web_app
from infrastructure.web.health import Check, Finding, Health
from infrastructure.web.server import listen, make_server
from infrastructure.web.services import Services
from integration.monitoring_kit import ScriptedProvider
from openapi_check import Document
from sample_jobs import Ledger, LedgerContainer, Note, Once
from support import NO_AUTHORITIES

KEYS = {role: f"{role}-key-0123456789" for role in ("viewer", "operator", "admin")}
API_KEYS = tuple(ApiKey.model_validate({"name": f"the-{role}", "role": role, "key": key}) for role, key in KEYS.items())


@backgroundjob(task_type="recurrent")
class Report(RecurrentBackgroundJob):
    """A job with data that can be wrong."""

    team: str
    rows: int = 0

    async def run_every(self) -> dict[str, str]:
        return {"team": self.team}


QUEUES = Queues({"free": QueueRules(max_waiting=3), "pro": QueueRules(weight=2)}, default="pro")

_made: list[Document] = []
_routes: list[BaseRoute] = []


def document(app: FastAPI) -> Document:
    """Return the OpenAPI document, made once: it is the same for all settings."""
    if not _made:
        _made.append(Document(app.openapi()))
    return _made[0]


def with_routes_of_the_first(app: FastAPI) -> FastAPI:
    """Give an application the routes of the first, which are the same: FastAPI makes them ready at first requests."""
    if not _routes:
        _routes.extend(app.router.routes)
    app.router.routes[:] = _routes
    return app


class Instance:
    """The parts of one program that the API shows, put together as the program does."""

    def __init__(self, url: str, namespace: str, executes: bool, options: EventBusOptions | None) -> None:
        retention = Retention()
        self.ledger = Ledger()
        self.provider = ScriptedProvider()
        self.registry = JobRegistry([Note, Once, Report, WorkerMetricsCollectionJob])
        self.store = RedisStore(url, namespace)
        self.schedules = RedisJobStore(self.store, "i1", retention)
        self.runs = RedisRunStore(self.store, "i1", retention)
        self.write_down = AuditWriter("i1", AuditRetention())
        self.events = RedisEventBus(self.store.command, self.store.blocking, self.store.key, "i1", options)
        self.container = self._monitoring()
        injector = ContainerInjector([self.container, LedgerContainer(ledger=self.ledger)])
        self.engine = Engine(
            self.store,
            "i1",
            self.registry,
            injector,
            pace=Pace(lease_ms=2_000),
            retention=retention,
            grace_s=5.0,
            rules=rules_of(QUEUES, self.registry),
        )
        jobs, publisher = RedisJobs(self.store, self.runs), InProcessPublisher(self.store, "i1", retention)
        self.jobs = JobService(
            self.registry, publisher, jobs, self.runs, QUEUES, write_down=self.write_down, trace=FollowedTrace()
        )
        self.scheduler = BackgroundTaskScheduler(
            self.registry,
            self.schedules,
            self.runs,
            engine=self.engine if executes else None,
            actor=actor,
            write_down=self.write_down,
        )
        self.engine.park = self.scheduler.park
        self.bus = BackgroundTasksBus(self.scheduler)
        self.container.tasks.override(providers.Object(self.bus))
        self.container.task_scheduler.override(providers.Object(self.scheduler))

    def _monitoring(self) -> MonitoringContainer:
        container = MonitoringContainer(
            settings=providers.Object(MonitoringSettings()),
            alert_settings=providers.Object(AlertsSettings()),
            store=providers.Object(self.store),
            instance_id=providers.Object("i1"),
            events=providers.Object(self.events),
            schedules=providers.Object(self.schedules),
            write_down=providers.Object(self.write_down),
        )
        container.metrics_providers.override(providers.Object(MetricsProviders([self.provider])))
        return container

    async def start(self) -> None:
        await self.store.open()
        await self.events.start()
        await self.scheduler.start()

    async def stop(self) -> None:
        await self.scheduler.stop()
        await self.events.stop()
        await self.store.close()

    def services(self, health: Health) -> Services:
        return Services(
            scheduler=self.scheduler,
            bus=self.bus,
            events=self.events,
            runs=self.runs,
            jobs=self.jobs,
            instances=RedisInstances(self.store),
            registry=self.registry,
            health=health,
            workers=self.container.registry(),
            monitoring=self.container.monitoring(),
            alerts=self.container.alert_list(),
            acks=self.container.alert_acks(),
            rules=self.container.alert_rules(),
            rehearsals=self.container.rehearsals(),
            silences=self.container.silences(),
            channels=self.container.channel_desk(),
            audit=RedisAuditLog(self.store),
        )


class Api:
    """One instance with its API. ``await api.get(...)`` and so on; each answer is held against the OpenAPI document."""

    def __init__(
        self,
        url: str,
        namespace: str,
        *,
        executes: bool = False,
        events: EventBusOptions | None = None,
        checks: Sequence[Check] | None = None,
        **settings: Any,
    ) -> None:
        self.instance = Instance(url, namespace, executes, events)
        self.ledger = self.instance.ledger
        self.bus = self.instance.events
        self.settings = ServerSettings(**{"port": 0, **settings})
        self.services = self.instance.services(Health([Check("store", self._ping)] if checks is None else checks))
        self.app = with_routes_of_the_first(create_web_app(lambda: self.services, self.settings, self._lifespan))
        self.document = document(self.app)
        self.server = make_server(self.app)
        self.stopped = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Api":
        sockets = listen(self.settings)
        self.port = sockets[0].getsockname()[1]
        self.base = f"http://{self.settings.host}:{self.port}"
        self._serving = asyncio.create_task(self.server.serve(sockets))
        self._stack.push_async_callback(self.stop)
        while not self.server.started:
            if self._serving.done():
                await self._serving
            await asyncio.sleep(0.005)
        self.http = await self._stack.enter_async_context(
            httpx2.AsyncClient(base_url=self.base, timeout=20, verify=NO_AUTHORITIES)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for gate in self.ledger.gates.values():
            gate.set()
        await self._stack.aclose()

    def use_channels(self, channels: Channels) -> None:
        """Send alerts through these. Before the server starts."""
        self.instance.container.channels.override(providers.Object(channels))
        self.instance.container.channel_desk.reset()
        self.services = self.instance.services(self.services.health)

    async def stop(self) -> None:
        """Stop the server as a signal would."""
        self.server.should_exit = True
        await self._serving

    async def call(self, method: str, path: str, key: str | None = None, **options: Any) -> httpx2.Response:
        """Call the API; fail when the answer is not what the document says."""
        headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {KEYS[key]}"} if key else {})}
        where = path if path.startswith(("/health", "/docs", "/openapi")) else f"/api/v1{path}"
        response = await self.http.request(method, where, headers=headers, **options)
        self.check(response)
        return response

    async def get(self, path: str, **options: Any) -> httpx2.Response:
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        return await self.call("POST", path, **({} if body is None else {"json": body}), **options)

    async def patch(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        return await self.call("PATCH", path, json=body, **options)

    async def put(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        return await self.call("PUT", path, json=body, **options)

    async def delete(self, path: str, **options: Any) -> httpx2.Response:
        return await self.call("DELETE", path, **options)

    def check(self, response: httpx2.Response) -> None:
        """Fail when an answer is not one that the document describes."""
        status, kind = response.status_code, response.headers.get("content-type", "").partition(";")[0]
        if kind == "application/problem+json":
            check_problem(response)
        path = response.request.url.path
        operation = self.document.operation(response.request.method, path)
        if operation is None or status in (400, 408, 413, 415):
            assert status >= 400 or path.startswith(("/docs", "/openapi"))
            return
        described = operation["responses"].get(str(status))
        assert described, f"{response.request.method} {path}: {status} is not described"
        if kind.endswith("json"):
            errors = self.document.errors(response.json(), described["content"][kind]["schema"])
            assert errors == []

    async def _ping(self) -> Finding:
        await self.instance.schedules.now()
        return Finding(facts={"server": "valkey"})

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        await self.instance.start()
        yield
        await self.instance.stop()
        self.stopped = True


def check_problem(response: httpx2.Response) -> None:
    """Fail when an error is not told as RFC 9457 and this program want it."""
    problem = response.json()
    assert problem["type"].startswith("urn:roundsman:problem:")
    assert problem["status"] == response.status_code
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"].startswith("/")
    assert "Traceback" not in response.text
    for error in problem.get("errors", ()):
        assert error["loc"][0] in ("body", "query", "path", "header")


def problem_type(response: httpx2.Response) -> str:
    """Return the last word of a problem's type."""
    assert response.headers["content-type"] == "application/problem+json"
    kind: str = response.json()["type"]
    return kind.rpartition(":")[2]


class Follower:
    """A client of the event stream, or of another one at ``path``."""

    def __init__(
        self, api: Api, query: str = "", after: str | None = None, key: str | None = None, path: str = "/events"
    ) -> None:
        self._api = api
        self._path = path
        self._query = query
        self._headers = {"Last-Event-ID": after} if after else {}
        if key:
            self._headers["Authorization"] = f"Bearer {KEYS[key]}"
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Follower":
        url = f"/api/v1{self._path}{self._query}"
        self.response = await self._stack.enter_async_context(
            self._api.http.stream("GET", url, headers=self._headers, timeout=httpx2.Timeout(30))
        )
        assert self.response.status_code == 200, await self.response.aread()
        self._messages = aiter(httpx2.EventSource(self.response))
        self.first = await self.message()
        self.place = self.first[0]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def message(self) -> tuple[str, str, Any]:
        """Return the next message: id, event and data."""
        async with asyncio.timeout(30):
            message = await anext(self._messages)
        return message.id, message.event, json.loads(message.data) if message.data else None

    async def rest(self) -> list[Any]:
        """Return what comes until the stream ends."""
        async with asyncio.timeout(30):
            return [message async for message in self._messages]
