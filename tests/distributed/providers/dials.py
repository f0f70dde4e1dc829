"""Two providers of a user's own: one shows what a test writes into a file, one the true CPU time of a process."""

import asyncio
import json
import os
import time
from datetime import datetime
from pathlib import Path

import psutil

from application.monitoring.providers import MetricsProvider
from domain.monitoring.sample import MetricSample
from domain.monitoring.seen import sample_of
from domain.monitoring.worker import Worker


class DialProvider(MetricsProvider):
    """Each worker's metrics stand in one JSON file, under its id."""

    name = "dial"

    async def collect(self, worker: Worker, now: datetime) -> MetricSample:
        metrics = json.loads(Path(os.environ["DIALS"]).read_text())[worker.id]
        return sample_of(worker, now, metrics)


class BurnerProvider(MetricsProvider):
    """CPU of the process whose id stands in a file, in parts of one core; a process that is not there uses none."""

    name = "burner"

    async def collect(self, worker: Worker, now: datetime) -> MetricSample:
        pid = int(Path(os.environ["BURNER"]).read_text())
        began, before = time.monotonic(), _busy_s(pid)
        await asyncio.sleep(0.3)
        used = max(_busy_s(pid) - before, 0.0) / (time.monotonic() - began)
        return sample_of(worker, now, {"cpu_utilization": min(used, 1.0)})


def _busy_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system
