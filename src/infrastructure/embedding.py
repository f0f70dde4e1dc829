"""The program inside somebody else's application: its lifespan, its container, its prefix."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from fastapi import FastAPI

from application.events.bus import EventBus
from application.jobs.service import JobService
from application.scheduling import BackgroundTasksBus, BackgroundTaskScheduler
from domain.errors import RoundsmanError
from infrastructure.process import is_forked, refuse_fork
from infrastructure.program import Program, Role
from infrastructure.settings import InvalidSettings, Settings, load_settings
from infrastructure.web.access import Caller
from infrastructure.web.app import create_web_app
from infrastructure.web.health import HealthReport
from infrastructure.web.services import Services

__all__ = ["Caller", "NotRunning", "OnAnotherLoop", "Roundsman"]


class NotRunning(RoundsmanError):
    """Roundsman is not running here: {why}. Enter it in the lifespan of the application, around its yield: 'async with
    roundsman: yield'."""

    status = 503


class OnAnotherLoop(RoundsmanError):
    """This Roundsman runs on another event loop, {what}. {mend}."""

    status = 500


STILL_TURNS = {
    "what": "which still turns",
    "mend": "Stop it there first, or give each application a Roundsman of its own",
}
LEFT_BEHIND = {
    "what": "which has ended without stopping it: what it began goes on until the process ends",
    "mend": "Stop it before its loop ends, as 'async with' does; here, make a new one",
}


class _Life:
    """One life of a ``Roundsman``: where it was started, and a lock for its start and its stop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.pid = os.getpid()
        self.lock = asyncio.Lock()
        self.users = 0
        """How many calls of ``start`` and ``stop`` are under way."""

    def check_loop(self) -> None:
        """Raise ``OnAnotherLoop`` when the caller's is another one."""
        if self.loop is not asyncio.get_running_loop():
            raise OnAnotherLoop(**(LEFT_BEHIND if self.loop.is_closed() else STILL_TURNS))


class Roundsman:
    """The framework as a part of an ASGI application. Nothing happens until it is started.

    It takes neither the logging, nor signals, nor a port of the application that it is in. Make it where the
    application is made, enter it in the lifespan (``async with roundsman:``), and mount ``roundsman.api`` where its
    routes shall be, or nowhere. What was stopped can start again. It may be made before a fork, and is started after.
    """

    def __init__(
        self,
        *,
        modules: Iterable[str] = (),
        containers: Iterable[Any] = (),
        settings: Mapping[str, Any] | Settings | None = None,
        role: Role = "all",
        caller: Callable[..., Any] | None = None,
    ) -> None:
        """Import the job modules and prepare; raise what is wrong with them, the containers or the settings.

        ``modules`` hold job classes. ``containers`` are dependency-injector containers (instances, or classes to make
        one of): jobs get their dependencies from them, and each ``Dependency(instance_of=BackgroundTasksBus)`` in
        them, for which nothing was given, gets the bus; so do ``BackgroundTaskScheduler`` and ``EventBus``. What is
        opened in them is the application's affair.

        ``settings`` are those of settings.toml, as tables: ``{"store": {"redis_url": "redis://…"}}``. The file that
        ``ROUNDSMAN_CONFIG`` names and ``ROUNDSMAN_SECTION__KEY`` variables win over them; a settings.toml that lies
        around is not read. A ``Settings`` is taken as it is. ``local_worker`` is off unless it is set.

        ``role``: ``all`` schedules and executes jobs; ``api`` schedules, and leaves execution to other processes.

        ``caller`` guards the routes instead of API keys: a dependency of FastAPI, with all that one may have, that
        returns a ``Caller``, whose role decides what they may do and whose name stands in the audit log. It returns
        None, or raises ``HTTPException``, for whoever may not call at all.
        """
        self._program = Program(_settings(settings, tuple(modules)), role, containers)
        self._life: _Life | None = None
        self._guard = threading.Lock()
        server = self._program.settings.server
        if caller is not None and server.api_keys:
            why = "- server.api_keys: the application says by 'caller' who calls; leave out the one or the other"
            raise InvalidSettings(problems=why)
        tracing = self._program.telemetry.of_requests()
        self.api: FastAPI = create_web_app(self._services, server, tracing=tracing, caller=caller)
        """The routes, for ``app.mount("/roundsman", roundsman.api)``; they answer 503 while it is stopped."""

    async def start(self) -> None:
        """Start everything; raise what prevents it, with all that was started stopped again.

        A second start does nothing. Raises ``OnAnotherLoop`` while another loop has it, ``StartedBeforeFork`` in a
        process that was forked from one that has.
        """
        with self._guard:
            life = self._life = self._life or _Life()
            refuse_fork(life.pid)
        async with self._turn(life):
            await self._program.start()

    async def stop(self) -> None:
        """End the event streams, drain, stop everything; before a start, or a second time, it does nothing."""
        life = self._life
        if life is None or is_forked(life.pid):
            return
        async with self._turn(life):
            self.api.state.streams.end()
            await self._program.stop()

    @asynccontextmanager
    async def _turn(self, life: _Life) -> AsyncIterator[None]:
        """Let one call at a time begin or end it; whoever leaves it closed last ends this life."""
        life.check_loop()
        life.users += 1
        try:
            async with life.lock:
                yield
        finally:
            life.users -= 1
            if not life.users and not self._program.is_open:
                self._life = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def bus(self) -> BackgroundTasksBus:
        """Return the front door for work; as a dependency of an endpoint: ``Depends(roundsman.bus)``."""
        return self._services().bus

    def jobs(self) -> JobService:
        """Return what submits one-shot jobs, follows, cancels and retries them."""
        return self._services().jobs

    def scheduler(self) -> BackgroundTaskScheduler:
        """Return what stops, pauses, lists and shows."""
        return self._services().scheduler

    def events(self) -> EventBus:
        """Return the event bus."""
        return self._services().events

    async def health(self) -> HealthReport:
        """Ask all components how they are, for a probe of the application's own. Raises ``NotRunning``."""
        return await self._services().health.look()

    def _services(self) -> Services:
        life = self._life
        if life is None:
            raise NotRunning(why="it was not started, or it was stopped")
        refuse_fork(life.pid)
        if not self._program.is_open:
            raise NotRunning(why="it is just starting or stopping")
        return self._program.services()


def _settings(given: Mapping[str, Any] | Settings | None, modules: tuple[str, ...]) -> Settings:
    """Return the settings with the modules of the application added; raise ``InvalidSettings``."""
    settings = given if isinstance(given, Settings) else load_settings(inline=given or {})
    if settings.server.base_path:
        why = "- server.base_path: the routes are where the application mounts them; mount them there, and leave it out"
        raise InvalidSettings(problems=why)
    changed: dict[str, Any] = {}
    if "local_worker" not in settings.monitoring.model_fields_set:
        changed["monitoring"] = settings.monitoring.model_copy(update={"local_worker": False})
    names = tuple(dict.fromkeys((*settings.background_jobs.modules, *modules)))
    changed["background_jobs"] = settings.background_jobs.model_copy(update={"modules": names})
    return settings.model_copy(update=changed)
