"""Have this very machine monitored after the first start, and respect what people make of that later."""

import logging

from application.monitoring.jobs import WorkerSilenceCheckJob
from application.monitoring.scheduler import WorkerMonitoringScheduler
from application.monitoring.stores import Workers
from application.monitoring.views import MonitoringRequest
from application.scheduling import BackgroundTasksBus, RecurrentTaskDescriptor
from domain.monitoring.errors import NotMonitored, WorkerExists, WorkerNotFound
from domain.monitoring.worker import Worker, WorkerPatch, WorkerRequest

log = logging.getLogger(__name__)

LOCAL_WORKER = "local"
SILENCE_CHECK = "monitoring-silence-check"


class MonitoringSeed:
    """Hosted service: what the store of a new program should hold.

    The local worker is made once a store: the store remembers it, so that who removes it, stops its monitoring,
    pauses it or changes its interval is not overruled by the next start. An interval that nobody changed follows the
    setting.
    """

    def __init__(
        self,
        workers: Workers,
        monitoring: WorkerMonitoringScheduler,
        bus: BackgroundTasksBus,
        *,
        hostname: str,
        interval_s: float = 5.0,
        local_worker: bool = True,
        is_only_machine: bool = True,
        silence_check_s: float = 5.0,
    ) -> None:
        """``is_only_machine``: no other machine shares the store, so the local worker is always this one."""
        self._workers = workers
        self._monitoring = monitoring
        self._bus = bus
        self._hostname = hostname
        self._interval_s = interval_s
        self._local_worker = local_worker
        self._is_only_machine = is_only_machine
        self._silence_check_s = silence_check_s

    async def start(self) -> None:
        """Put into the store what is missing; what is there stays as it is."""
        await self._bus.schedule_task(
            RecurrentTaskDescriptor(
                id=SILENCE_CHECK, name=WorkerSilenceCheckJob.__definition__.name, interval=self._silence_check_s
            )
        )
        if not self._local_worker:
            return
        facts = await self._workers.facts()
        if "local_worker" not in facts:
            await self._seed()
        else:
            await self._follow_settings(facts.get("local_interval_s"))

    async def stop(self) -> None:
        """Do nothing: what was put into the store stays."""

    async def _seed(self) -> None:
        """Register and monitor this machine. Remembered last: a start that was cut off is made up for by the next."""
        now = await self._workers.now()
        request = WorkerRequest(name=self._hostname, provider="local", instance_id=self._hostname)
        try:
            await self._workers.create(Worker.register(request, LOCAL_WORKER, now))
        except WorkerExists:
            log.info("there is a worker '%s' already", LOCAL_WORKER)
        await self._monitoring.start(LOCAL_WORKER, MonitoringRequest(interval_s=self._interval_s))
        await self._remember()

    async def _follow_settings(self, seeded_interval_s: str | None) -> None:
        try:
            if self._is_only_machine:
                await self._workers.change(LOCAL_WORKER, self._as_this_machine)
            monitoring = await self._monitoring.get(LOCAL_WORKER)
        except (WorkerNotFound, NotMonitored) as error:
            log.info("the local worker is left alone: %s", error)
            return
        is_as_seeded = seeded_interval_s is not None and monitoring.interval_s == float(seeded_interval_s)
        if is_as_seeded and monitoring.interval_s != self._interval_s:
            await self._monitoring.start(LOCAL_WORKER, MonitoringRequest(interval_s=self._interval_s))
            await self._remember()

    async def _remember(self) -> None:
        await self._workers.remember({"local_worker": LOCAL_WORKER, "local_interval_s": str(self._interval_s)})

    def _as_this_machine(self, worker: Worker) -> Worker:
        """Follow a machine that got another name (a container made anew has one); keep a name that people gave."""
        if worker.provider != "local" or worker.instance_id in (None, self._hostname):
            return worker
        name = self._hostname if worker.name == worker.instance_id else worker.name
        return worker.change(WorkerPatch(instance_id=self._hostname, name=name))
