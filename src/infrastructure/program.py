"""One process of the program: what it opens, in which order, and how it ends."""

import os
import platform
import secrets
import time
from importlib.metadata import version
from typing import Literal

from dependency_injector import providers

from application.hosting import Host, HostedService
from application.runs.registry import JobRegistry
from application.scheduling.bus import Descriptor
from application.scheduling.scheduler import BackgroundTaskScheduler, Scheduled
from domain.errors import RoundsmanError
from domain.scheduling.errors import NotStarted
from infrastructure.container import OWN_JOB_MODULES, RootContainer, load_containers
from infrastructure.key_types import KEY_TYPES
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.redis.patience import open_patiently
from infrastructure.redis.watch import StoreCondition, StoreWatch
from infrastructure.runs.injection import ContainerInjector
from infrastructure.runs.layout import check_layout
from infrastructure.runs.presence import ClockOffset, Stopwatch
from infrastructure.settings import Settings
from infrastructure.web.health import Check, Finding, Health, HealthStatus
from infrastructure.web.services import Services

Role = Literal["all", "api", "scheduler"]

CLOCK_WRONG_S = 5.0
"""A host whose clock is further off says so in health; due times go by the store's clock and are right all the same."""
BLOCKAGE_SHOWN_S = 300.0
"""A blocked loop cannot answer for itself: it is told for so long after it began."""
TICK_LATE_S = 5.0
"""A scheduler whose last pass is this old does not keep up, or its store is away."""


class RoleNeedsRedis(RoundsmanError):
    """The role '{role}' shares its store with other processes: set store.redis_url. The embedded server belongs to one
    process alone."""

    status = 500


class Program:
    """Own the store and the services of one process. A hosted service: ``open`` takes the data, ``start`` the work."""

    def __init__(self, settings: Settings, role: Role = "all") -> None:
        """Prepare, opening nothing. Raises what is wrong with job modules and containers."""
        if role != "all" and not settings.store.redis_url.get_secret_value():
            raise RoleNeedsRedis(role=role)
        self.settings = settings
        self.role = role
        self.instance_id = f"{platform.node() or 'host'}-{os.getpid()}-{secrets.token_hex(3)}"
        self.registry = JobRegistry.from_modules((*OWN_JOB_MODULES, *settings.background_jobs.modules))
        self._user_containers = load_containers(settings.background_jobs.containers)
        self._embedded: EmbeddedValkey | None = None
        self._store: RedisStore | None = None
        self._watch: StoreWatch | None = None
        self._container: RootContainer | None = None
        self._host: Host | None = None
        self.unsettled = 0
        """Runs of which the store did not hear the end when the program stopped."""

    @property
    def executes(self) -> bool:
        """Whether this process runs jobs."""
        return self.role != "api"

    async def open(self) -> None:
        """Start the embedded server where it is ours, and connect. A second time does nothing."""
        if self._container is not None:
            return
        try:
            if not self.settings.store.redis_url.get_secret_value():
                self._embedded = EmbeddedValkey(
                    self.settings.data_dir, durability="always" if self._wants_disk else "everysec"
                )
                await self._embedded.start()
            self._store = self._new_store()
            await open_patiently(self._store, self.settings.store.start_timeout_s)
            await check_layout(self._store)
            self._watch = StoreWatch(self._store, KEY_TYPES, self._begin_anew)
            self._container = self._compose(self._store)
        except BaseException:
            await self.close()
            raise

    async def start(self) -> None:
        """Open, then start the services in order. A second time does nothing."""
        if self._host is not None:
            return
        await self.open()
        host = Host(self._services())
        try:
            await host.start()
        except BaseException:
            await self.close()
            raise
        self._host = host

    def refuse_work(self) -> None:
        """Claim nothing from now on; to be followed by ``stop``."""
        if self.executes and self._container is not None:
            self._container.scheduling.engine().refuse_work()

    def hurry(self) -> None:
        """Let ``stop`` wait no longer for running jobs: they are cancelled, and given to other processes."""
        if self.executes and self._container is not None:
            self._container.scheduling.engine().hurry()

    async def stop(self) -> None:
        """Stop the services, last first, and close; twice is fine."""
        host, self._host = self._host, None
        if host is not None:
            await host.stop()
        await self.close()

    async def close(self) -> None:
        """Disconnect and end the embedded server."""
        if self.executes and self._container is not None:
            self.unsettled = self._container.scheduling.engine().unsettled
        self._container = None
        store, self._store = self._store, None
        if store is not None:
            await store.close()
        embedded, self._embedded = self._embedded, None
        if embedded is not None:
            await embedded.stop()

    @property
    def container(self) -> RootContainer:
        """The container of the open program."""
        if self._container is None:
            raise RuntimeError("the program is not open")
        return self._container

    def check_jobs(self) -> None:
        """Check that the containers satisfy every job, without a store."""
        self._compose(RedisStore("redis://127.0.0.1", self.settings.store.namespace))

    def services(self) -> Services:
        """Return what the routes use."""
        container = self.container
        return Services(
            scheduler=container.scheduling.scheduler(),
            bus=container.scheduling.bus(),
            events=container.events(),
            runs=container.scheduling.runs(),
            instances=container.scheduling.instances(),
            registry=self.registry,
            health=Health(self._checks()),
            workers=container.monitoring.registry(),
            monitoring=container.monitoring.monitoring(),
            alerts=container.monitoring.alert_list(),
        )

    def _new_store(self) -> RedisStore:
        url = self._embedded.url if self._embedded else self.settings.store.redis_url.get_secret_value()
        # The embedded server syncs before it answers; any other is asked whether it has.
        confirm_on_disk = self._wants_disk and self._embedded is None
        return RedisStore(url, self.settings.store.namespace, confirm_on_disk=confirm_on_disk)

    @property
    def _wants_disk(self) -> bool:
        return self.settings.store.durability == "disk"

    def _compose(self, store: RedisStore) -> RootContainer:
        container = RootContainer(
            settings=self.settings,
            store=store,
            instance_id=self.instance_id,
            facts={"role": self.role, "version": version("roundsman")},
            executes=self.executes,
            registry=self.registry,
            is_only_machine=self._embedded is not None,
            schedule_alone=providers.Object(self._schedule_alone),
        )
        injector = ContainerInjector([container, *self._user_containers])
        if self.executes:
            injector.check(self.registry.definitions.values())
        container.injector.override(providers.Object(injector))
        return container

    def _services(self) -> list[HostedService]:
        container = self.container
        assert self._watch is not None  # noqa: S101 - the program is open
        services: list[HostedService] = [self._watch, container.events(), container.scheduling.scheduler()]
        if self.executes:
            monitoring = container.monitoring
            services += [monitoring.sender(), monitoring.handler(), monitoring.seed()]
        else:
            services.append(container.scheduling.announcer())
        return services

    async def _begin_anew(self) -> None:
        """Write into a store that has lost its data what the program itself needs there."""
        container = self.container
        await check_layout(container.store())
        if self.executes:
            await container.monitoring.seed().start()

    async def _schedule_alone(self, descriptor: Descriptor) -> Scheduled:
        """Schedule on an event loop of the caller's, with connections that live as long as this call."""
        if self._embedded is None and not self.settings.store.redis_url.get_secret_value():
            raise NotStarted(why="its embedded store is not running")
        store = self._new_store()
        try:
            await check_layout(store)
            scheduler: BackgroundTaskScheduler = self._compose(store).scheduling.scheduler()
            return await scheduler.schedule(descriptor)
        finally:
            await store.close()

    def _checks(self) -> list[Check]:
        checks = [Check("store", self._check_store), Check("events", self._check_events, HealthStatus.DEGRADED)]
        if self._embedded is not None:
            checks.append(Check("embedded_valkey", self._check_embedded))
        if self.executes:
            checks.append(Check("scheduler", self._check_scheduler))
        return checks

    async def _check_store(self) -> Finding:
        clock, watch = ClockOffset(), Stopwatch()
        with store_errors():
            now = await self.container.store().command.time()
        took_s, ended = watch.read()
        clock.note(took_s, ended, now)
        ahead_s = clock.seconds or 0.0
        wrong = f"this host's clock is {ahead_s:+.1f} s off the store's" if abs(ahead_s) > CLOCK_WRONG_S else ""
        known = self._watch.condition if self._watch else StoreCondition()
        return Finding(
            HealthStatus.DEGRADED if known.troubles else HealthStatus.OK,
            "; ".join(filter(None, [*known.troubles, wrong])),
            {
                "answered_in_s": round(took_s, 4),
                "clock_offset_s": ahead_s,
                "durability": self.settings.store.durability,
                **known.facts,
            },
        )

    async def _check_events(self) -> Finding:
        troubles = self.container.events().troubles
        if troubles:
            detail = "; ".join(f"{reader}: {what}" for reader, what in troubles.items())
            return Finding(HealthStatus.DEGRADED, detail)
        return Finding()

    async def _check_embedded(self) -> Finding:
        state = self._embedded.state if self._embedded else "stopped"
        return Finding(
            HealthStatus.OK if state == "running" else HealthStatus.DOWN, "" if state == "running" else state
        )

    async def _check_scheduler(self) -> Finding:
        condition = self.container.scheduling.engine().condition()
        facts = {
            "executing": condition.executing,
            "free_slots": condition.free_slots,
            "abandoned_bodies": condition.abandoned_bodies,
            "ticked_s_ago": condition.ticked_s_ago,
        }
        if not condition.running:
            return Finding(HealthStatus.DOWN, "it is not started, or it is stopping", facts)
        if condition.blocked is not None:
            detail = f"{condition.blocked.by} blocks the event loop for {condition.blocked.lasted_s:.1f} s now"
            return Finding(HealthStatus.DEGRADED, detail, facts)
        if (past := condition.was_blocked) is not None and time.time() - past.began < BLOCKAGE_SHOWN_S:
            detail = f"{past.by} blocked the event loop for {past.lasted_s:.1f} s; make it async, or a plain def"
            return Finding(HealthStatus.DEGRADED, detail, facts)
        if condition.ticked_s_ago is not None and condition.ticked_s_ago > TICK_LATE_S:
            return Finding(HealthStatus.DOWN, f"its last pass was {condition.ticked_s_ago:.0f} s ago", facts)
        return Finding(facts=facts)
