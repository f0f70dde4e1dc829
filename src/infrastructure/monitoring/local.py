"""The provider ``local``: this very machine."""

import asyncio
import platform
import time
from datetime import datetime, timedelta

from application.monitoring.providers import MetricsProvider
from domain.monitoring.errors import CollectionFailed
from domain.monitoring.sample import CheckStatus, Metrics, MetricSample, StatusChecks
from domain.monitoring.worker import Worker, WorkerStatus
from infrastructure.monitoring.counters import Counters, rates_between
from infrastructure.monitoring.filesystems import FilesystemProbe, FilesystemUse
from infrastructure.monitoring.machine import Gauges, Machine

SHORTEST_SPAN_S = 0.5
"""CPU time is counted in ticks of 10 ms: a rate over less than this is noise."""
LONGEST_SPAN_S = 300.0
"""An average over more than this says little of now."""


class LocalProvider(MetricsProvider):
    """Measure this machine.

    Rates need an earlier look. It is kept for each worker, in this process: where another instance looked last, the
    rate is true for the longer time since this one did. Where there is none, or it is too old, the machine is looked
    at twice, half a second apart; so already the first sample has true values, and no counter is shared with
    anybody's ``psutil.cpu_percent``.
    """

    name = "local"

    def __init__(
        self,
        machine: Machine | None = None,
        filesystems: FilesystemProbe | None = None,
        hostname: str | None = None,
    ) -> None:
        self.hostname = hostname or platform.node() or "localhost"
        self._machine = machine or Machine()
        self._filesystems = filesystems or FilesystemProbe()
        self._looks: dict[str, Counters] = {}

    async def collect(self, worker: Worker, now: datetime) -> MetricSample:
        """Return a sample observed at ``now``; raises ``CollectionFailed`` when the worker is another machine."""
        self._check_machine(worker)
        started = time.monotonic()
        before = await self._earlier_look(worker.id)
        (after, gauges), disks = await asyncio.gather(asyncio.to_thread(self._look), self._filesystems.read())
        self._looks[worker.id] = after
        observed_at = now + timedelta(seconds=time.monotonic() - started)
        return _sample(worker, observed_at, _with_rates(gauges, before, after), disks)

    def _check_machine(self, worker: Worker) -> None:
        if worker.instance_id not in (None, self.hostname):
            raise CollectionFailed(
                worker_id=worker.id,
                why=f"it is the machine '{worker.instance_id}', and this process runs on '{self.hostname}'",
            )

    async def _earlier_look(self, worker_id: str) -> Counters:
        """Return a look that is neither too young nor too old; make one when there is none."""
        self._forget_old_looks()
        before = self._looks.get(worker_id)
        if before is None:
            before = await asyncio.to_thread(self._machine.counters)
        age = time.monotonic() - before.at
        if age < SHORTEST_SPAN_S:
            await asyncio.sleep(SHORTEST_SPAN_S - age)
        return before

    def _forget_old_looks(self) -> None:
        oldest = time.monotonic() - LONGEST_SPAN_S
        self._looks = {worker_id: look for worker_id, look in self._looks.items() if look.at >= oldest}

    def _look(self) -> tuple[Counters, Gauges]:
        return self._machine.counters(), self._machine.gauges()


def _with_rates(gauges: Gauges, before: Counters, after: Counters) -> Gauges:
    rates = rates_between(before, after)
    sources = dict(gauges.sources)
    if after.cpu_source and "cpu_utilization" in rates.values:
        sources["cpu_utilization"] = after.cpu_source.partition(" ")[0]
    return Gauges({**gauges.values, **rates.values}, {**gauges.missing, **rates.missing}, sources)


def _sample(worker: Worker, observed_at: datetime, found: Gauges, disks: FilesystemUse) -> MetricSample:
    missing = {**found.missing, **{f"filesystems.{mount}": why for mount, why in disks.missing.items()}}
    if worker.region is None:
        missing["region"] = "a machine of one's own is in no region"
    if not disks.utilization:
        missing["filesystems"] = disks.error or "no file system with data was found, or none answered"
    return MetricSample(
        worker_id=worker.id,
        worker_name=worker.name,
        provider=worker.provider,
        region=worker.region,
        observed_at=observed_at,
        collected_at=observed_at,
        status=WorkerStatus.RUNNING,
        status_checks=StatusChecks(system=CheckStatus.NOT_APPLICABLE, instance=CheckStatus.NOT_APPLICABLE),
        metrics=Metrics.model_validate({**found.values, "filesystems": disks.utilization or None}),
        missing=missing,
        sources=found.sources,
    )
