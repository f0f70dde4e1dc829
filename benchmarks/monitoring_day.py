"""What the samples of a day take in the store, by worker."""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import redis

from application.monitoring.stores import Arrival
from benchmarks.server import Server
from domain.monitoring.sample import Metrics, MetricSample, StatusChecks
from domain.monitoring.worker import Worker, WorkerRequest, WorkerStatus
from infrastructure.monitoring.aws.picture import NEVER
from infrastructure.monitoring.samples import RedisSamples
from infrastructure.monitoring.scripts import MonitoringRetention, MonitoringScripts
from infrastructure.monitoring.workers import RedisWorkers
from infrastructure.redis.connection import RedisStore

DAY_S = 86_400
MARGIN_S = 600
"""So much longer is kept than a day, so that the oldest samples stay until all are written."""


class Day:
    """Values of one worker that wander as those of machines do: no two are alike, none jumps."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - made-up values
        self._levels = {"cpu": 0.3, "memory": 0.5, "disk": 0.4, "traffic": 0.2, "processes": 0.4}

    def at(self, moment: datetime) -> dict[str, Any]:
        """Return the next values of what every provider has."""
        for name, level in self._levels.items():
            self._levels[name] = min(max(level + self._random.gauss(0, 0.03), 0.01), 0.99)
        traffic = self._levels["traffic"] * 5e7
        return {
            "cpu_utilization": self._levels["cpu"],
            "memory_utilization": self._levels["memory"],
            "network_rx_bytes_per_s": traffic * self._random.random(),
            "network_tx_bytes_per_s": traffic * self._random.random(),
            "uptime_s": moment.timestamp() % 10_000_000,
            "filesystems": {"/": self._levels["disk"], "/data": self._levels["disk"] / 2},
        }

    def whole(self, moment: datetime) -> dict[str, Any]:
        """Return the next values of everything there is."""
        return {
            **self.at(moment),
            "memory_limit_bytes": 16 * 2**30,
            "load_1m": self._levels["cpu"] * 8,
            "disk_read_bytes_per_s": self._levels["traffic"] * 1e8 * self._random.random(),
            "disk_write_bytes_per_s": self._levels["traffic"] * 1e8 * self._random.random(),
            "process_count": self._levels["processes"] * 500,
        }


def ec2_sample(worker: Worker, day: Day, moment: datetime) -> MetricSample:
    """Return what EC2 and CloudWatch with its agent say: the other metrics are null, with reasons."""
    return MetricSample(
        **_head(worker, moment, delay_s=121.3 + moment.minute / 100),
        status_checks=StatusChecks.model_validate(dict.fromkeys(StatusChecks.model_fields, "ok")),
        metrics=Metrics.model_validate(day.at(moment)),
        missing=NEVER,
        sources={"memory_utilization": "cwagent", "filesystems": "cwagent", "uptime_s": "launch time"},
        period_s=60.0,
    )


def whole_sample(worker: Worker, day: Day, moment: datetime) -> MetricSample:
    """Return a sample that has every metric."""
    checks = StatusChecks.model_validate({"system": "ok", "instance": "ok"})
    metrics = Metrics.model_validate(day.whole(moment))
    return MetricSample(**_head(worker, moment, delay_s=0.0), status_checks=checks, metrics=metrics)


def _head(worker: Worker, moment: datetime, delay_s: float) -> dict[str, Any]:
    named = {"worker_id": worker.id, "worker_name": worker.name, "provider": worker.provider, "region": worker.region}
    times = {"observed_at": moment, "collected_at": moment + timedelta(seconds=delay_s)}
    return {**named, **times, "status": WorkerStatus.RUNNING}


KINDS: dict[str, Callable[[Worker, Day, datetime], MetricSample]] = {"ec2": ec2_sample, "whole": whole_sample}


class Filling:
    """Write the samples of some workers, a moment at a time."""

    def __init__(
        self, samples: RedisSamples, workers: list[Worker], make: Callable[[Worker, Day, datetime], MetricSample]
    ) -> None:
        self._samples = samples
        self._days = [(worker, Day(number)) for number, worker in enumerate(workers)]
        self._make = make

    async def append(self, seconds: range) -> int:
        """Append a sample of each worker for so many seconds after it was registered; return how many were stored."""
        first = self._days[0][0].created_at.replace(second=0, microsecond=0)
        stored = 0
        for second in seconds:
            moment = first + timedelta(seconds=second)
            told = await self._samples.append_all(
                [Arrival(self._make(worker, day, moment)) for worker, day in self._days]
            )
            stored += told.count("stored")
        return stored


async def filled_day(server: Server, kind: str, workers: int, interval_s: int) -> dict[str, Any]:
    """Append a day's samples of some workers through the store's own append, and weigh what is kept of them."""
    await asyncio.to_thread(server.reset)
    store = RedisStore(server.url)
    await store.open()
    try:
        scripts = MonitoringScripts(store, "benchmark", MonitoringRetention(samples_kept_s=DAY_S + MARGIN_S))
        filling = Filling(RedisSamples(scripts), await _registered(RedisWorkers(scripts), workers), KINDS[kind])
        stored = await filling.append(range(0, DAY_S, interval_s)[:1])
        begun = await asyncio.to_thread(_weighed, server)
        held = await asyncio.to_thread(server.held) - begun["events"]  # the scripts are loaded by now
        stored += await filling.append(range(0, DAY_S, interval_s)[1:])
    finally:
        await store.close()
    found = await asyncio.to_thread(_weighed, server)
    return {
        "kind": kind,
        "workers": workers,
        "samples_each": stored / workers,
        "bytes_each": found["monitoring"] / workers,
        "held_each": (await asyncio.to_thread(server.held) - found["events"] - held) / workers,
        "bytes_an_event": found["events"] / found["told"],
    }


async def _registered(book: RedisWorkers, count: int) -> list[Worker]:
    since = await book.now() - timedelta(seconds=DAY_S)
    made = []
    for number in range(count):
        said = {"name": f"w-{number:06d}", "provider": "aws", "region": "eu-west-1", "instance_id": f"i-{number:017x}"}
        worker = Worker.register(WorkerRequest.model_validate(said), f"aws-eu-west-1-i-{number:017x}", since)
        await book.create(worker)
        made.append(worker)
    return made


def _weighed(server: Server) -> dict[str, int]:
    """Return the bytes of all keys of monitoring (series, shapes, workers, looks), and of how many events."""
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        found = {"monitoring": 0, "events": 0, "told": 0}
        for key in client.scan_iter(count=1000):
            taken = int(client.memory_usage(key, samples=0) or 0)
            if ":mon:" in key:
                found["monitoring"] += taken
            elif client.type(key) == "stream":
                found["events"] += taken
                found["told"] += client.xlen(key)
        return found
