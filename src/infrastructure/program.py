"""One process of the program: what it opens, in which order, and how it ends."""

import os
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, Literal

from dependency_injector import providers

from application.events.bus import EventBus
from application.hosting import Host, HostedService
from application.jobs.service import JobService
from application.runs.registry import JobRegistry
from application.scheduling.answers import Scheduled
from application.scheduling.bus import BackgroundTasksBus, Descriptor
from application.scheduling.scheduler import BackgroundTaskScheduler
from domain.errors import RoundsmanError
from domain.scheduling.errors import NotStarted
from infrastructure.components import Components
from infrastructure.container import OWN_JOB_MODULES, RootContainer
from infrastructure.key_types import KEY_TYPES
from infrastructure.monitoring.user_providers import UserProvider, check_providers, load_providers
from infrastructure.process import explain, is_forked, new_instance_id, refuse_fork
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.redis.errors import DataDirectoryInUse
from infrastructure.redis.patience import open_patiently
from infrastructure.redis.watch import StoreWatch
from infrastructure.runs.injection import ContainerInjector
from infrastructure.runs.layout import check_layout
from infrastructure.settings import Settings
from infrastructure.telemetry.program_metrics import ProgramMetrics
from infrastructure.telemetry.program_telemetry import ProgramTelemetry
from infrastructure.user_containers import Bindings, Resources, given_containers, load_containers
from infrastructure.web.health import Health
from infrastructure.web.services import Services

Role = Literal["all", "api", "scheduler"]


class RoleNeedsRedis(RoundsmanError):
    """The role '{role}' shares its store with other processes, and the embedded server belongs to one process alone.
    Set store.redis_url (ROUNDSMAN_STORE__REDIS_URL)."""

    status = 500


class Program:
    """Own the store and the services of one process. A hosted service: ``open`` takes the data, ``start`` the work.

    It may be made before a fork, and is opened after it.
    """

    def __init__(self, settings: Settings, role: Role = "all", containers: Iterable[Any] = ()) -> None:
        """Prepare, opening nothing. Raises what is wrong with job modules and containers.

        ``containers`` are a host application's own, beside those of the settings; their resources are its own affair.
        """
        if role != "all" and not settings.store.redis_url.get_secret_value():
            raise RoleNeedsRedis(role=role)
        self.settings = settings
        self.role = role
        self.instance_id = ""
        """Names this process to the others, from the moment it opens."""
        self.telemetry = ProgramTelemetry(settings)
        self._metrics: ProgramMetrics | None = None
        self.registry = JobRegistry.from_modules((*OWN_JOB_MODULES, *settings.background_jobs.modules))
        self._providers = load_providers(settings.monitoring.providers)
        own = load_containers(settings.background_jobs.containers)
        self._user_containers = [*own, *given_containers(containers)]
        self._bindings = Bindings(self._user_containers)
        self._resources = Resources(own)
        self._opened_in: int | None = None
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
        refuse_fork(self._opened_in)
        if self._container is not None:
            return
        self._opened_in, self.instance_id = os.getpid(), new_instance_id()
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
            self._inject(self._container)
            self._metrics = self.telemetry.look_at(self._container, self.executes)
        except DataDirectoryInUse as error:
            await self.close()
            raise explain(error) from None
        except BaseException:
            await self.close()
            raise

    async def start(self) -> None:
        """Open, then start the services in order. A second time does nothing."""
        refuse_fork(self._opened_in)
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
        if self._store is not None:
            self._store.expect_end()
        if self.executes and self._container is not None:
            self._container.scheduling.engine().refuse_work()

    def hurry(self) -> None:
        """Let ``stop`` wait no longer for running jobs: they are cancelled, and given to other processes."""
        if self.executes and self._container is not None:
            self._container.scheduling.engine().hurry()

    async def stop(self) -> None:
        """Stop the services, last first, and close; twice is fine. In a forked process it is nothing of its own."""
        if is_forked(self._opened_in):
            return
        host, self._host = self._host, None
        if self._store is not None:
            self._store.expect_end()
        if host is not None:
            await host.stop()
        await self.close()

    async def close(self) -> None:
        """Disconnect and end the embedded server."""
        if is_forked(self._opened_in):
            return
        self._bindings.release()
        if self.executes and self._container is not None:
            self.unsettled = self._container.scheduling.engine().unsettled
        self._container = None
        store, self._store = self._store, None
        is_silent = store is not None and store.is_silent
        if store is not None:
            await store.close()
        embedded, self._embedded = self._embedded, None
        if embedded is not None:
            await embedded.stop(is_silent=is_silent)

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        return self._container is not None

    @property
    def container(self) -> RootContainer:
        """The container of the open program."""
        if self._container is None:
            raise RuntimeError("the program is not open")
        return self._container

    def check_jobs(self) -> None:
        """Check that the containers satisfy every job, and that channels can work as they are set, without a store."""
        try:
            container = self._compose(RedisStore("redis://127.0.0.1", self.settings.store.namespace))
            self._inject(container)
            container.monitoring.channels().check()
        finally:
            self._bindings.release()

    def services(self) -> Services:
        """Return what the routes use."""
        container = self.container
        return Services(
            scheduler=container.scheduling.scheduler(),
            bus=container.scheduling.bus(),
            events=container.events(),
            runs=container.scheduling.runs(),
            jobs=container.jobs.service(),
            instances=container.scheduling.instances(),
            registry=self.registry,
            health=Health(self._components().checks()),
            workers=container.monitoring.registry(),
            monitoring=container.monitoring.monitoring(),
            alerts=container.monitoring.alert_list(),
            acks=container.monitoring.alert_acks(),
            rules=container.monitoring.alert_rules(),
            rehearsals=container.monitoring.rehearsals(),
            silences=container.monitoring.silences(),
            channels=container.monitoring.channel_desk(),
            audit=container.audit.log(),
            metrics=self._metrics,
        )

    def _new_store(self) -> RedisStore:
        url = self._embedded.url if self._embedded else self.settings.store.redis_url.get_secret_value()
        # The embedded server syncs before it answers; any other is asked whether it has.
        confirm_on_disk = self._wants_disk and self._embedded is None
        return RedisStore(
            url, self.settings.store.namespace, confirm_on_disk=confirm_on_disk, access=self.settings.store.access
        )

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
            observer=self.telemetry.observer,
            trace=self.telemetry.scheduling,
        )
        injector = ContainerInjector(self._user_containers, self._resources.all, container)
        container.injector.override(providers.Object(injector))
        theirs = tuple(UserProvider(found, injector) for found in self._providers)
        container.user_providers.override(providers.Object(theirs))
        return container

    def _inject(self, container: RootContainer) -> None:
        """Give the user's containers what they want of this program, and check that jobs get what they want of them."""
        scheduling = container.scheduling
        ours = {BackgroundTasksBus: scheduling.bus, BackgroundTaskScheduler: scheduling.scheduler}
        self._bindings.bind({**ours, EventBus: container.monitoring.bus, JobService: container.jobs.service})
        if self.executes:
            container.injector().check(self.registry.definitions.values())
            check_providers(self._providers, container.injector())

    def _services(self) -> list[HostedService]:
        container = self.container
        assert self._watch is not None  # noqa: S101 - the program is open
        outside = container.monitoring.channels(), container.monitoring.aws_provider()
        services: list[HostedService] = [self.telemetry, self._watch, container.events(), *outside]
        if (beside := self.telemetry.own_server(self.services)) is not None:
            services.append(beside)
        history = container.jobs.history_part()
        if history is not None:
            services.append(history.connection)
        if not self.executes:
            return [*services, container.scheduling.scheduler(), container.scheduling.announcer()]
        monitoring = container.monitoring
        services.append(self._resources)
        if history is not None:
            services.append(history.keeper)  # stopped after what executes, so that it hears the last jobs' ends
        services += [monitoring.intake(), container.scheduling.scheduler()]
        return [*services, monitoring.sender(), monitoring.handler(), monitoring.seed()]

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

    def _components(self) -> Components:
        return Components(self.container, self._watch, self._embedded, self.settings.store.durability, self.executes)
