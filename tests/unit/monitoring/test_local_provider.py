"""The provider for this machine: true values from the first sample on, and a reason for each that there is not."""

import asyncio
import platform
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from domain.monitoring.errors import CollectionFailed
from domain.monitoring.sample import METRICS
from domain.monitoring.worker import Worker, WorkerRequest
from infrastructure.monitoring import machine as machine_module
from infrastructure.monitoring.cgroup import Cgroup
from infrastructure.monitoring.counters import Counters, Cpu, Traffic, rates_between
from infrastructure.monitoring.local import LocalProvider
from infrastructure.monitoring.machine import Machine

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
RATES = {
    "cpu_utilization",
    "disk_read_bytes_per_s",
    "disk_write_bytes_per_s",
    "network_rx_bytes_per_s",
    "network_tx_bytes_per_s",
}


def worker(**facts: object) -> Worker:
    request = WorkerRequest.model_validate({"name": "here", "provider": "local", **facts})
    return Worker.register(request, "w1", NOW)


async def test_the_first_sample_has_true_values() -> None:
    """A whole core is burnt meanwhile: a first reading that was thrown together would say 0."""
    stop = threading.Event()
    burner = threading.Thread(target=lambda: [None for _ in iter(stop.is_set, True)])
    burner.start()
    try:
        found = await LocalProvider().collect(worker(), NOW)
    finally:
        stop.set()
        burner.join()
    metrics = found.metrics
    assert metrics.cpu_utilization is not None
    assert metrics.cpu_utilization > 0.1 / (psutil.cpu_count() or 1)
    assert metrics.memory_limit_bytes is not None
    assert metrics.memory_limit_bytes > 2**20
    assert metrics.memory_utilization
    assert metrics.process_count
    assert metrics.uptime_s
    assert metrics.filesystems
    assert {name for name in METRICS if getattr(metrics, name) is None} <= found.missing.keys()
    assert found.observed_at > NOW


async def test_the_two_looks_of_the_first_sample_are_apart() -> None:
    taken: list[float] = []

    class Noting(Machine):
        def counters(self) -> Counters:
            look = super().counters()
            taken.append(look.at)
            return look

    provider = LocalProvider(Noting())
    await provider.collect(worker(), NOW)
    first, second = taken
    assert second - first > 0.49
    await provider.collect(worker(), NOW)
    assert len(taken) == 3
    assert taken[2] - second > 0.49, "two samples in a moment do not measure noise either"


async def test_later_samples_measure_from_the_look_before() -> None:
    provider = LocalProvider(Scripted([counters(0, busy=0, total=0), counters(10, busy=5, total=20)]))
    first = await provider.collect(worker(), NOW)
    assert first.metrics.cpu_utilization == 0.25
    provider = LocalProvider(
        Scripted(
            [
                counters(-20, busy=0, total=0),
                counters(-10, busy=1, total=10),
                counters(0, busy=10, total=20),
            ]
        )
    )
    assert (await provider.collect(worker(), NOW)).metrics.cpu_utilization == 0.1
    assert (await provider.collect(worker(), NOW)).metrics.cpu_utilization == 0.9


async def test_a_look_that_is_too_old_is_not_averaged_over() -> None:
    hour_ago = [counters(-3700, busy=0, total=0), counters(-3600, busy=1, total=2)]
    machine = Scripted([*hour_ago, counters(-20, busy=3000, total=3000), counters(0, busy=3000, total=3020)])
    provider = LocalProvider(machine)
    assert (await provider.collect(worker(), NOW)).metrics.cpu_utilization == 0.5
    assert (await provider.collect(worker(), NOW)).metrics.cpu_utilization == 0.0


async def test_each_worker_has_its_own_looks() -> None:
    times = [counters(-50 + n, busy=n * n, total=100 * n) for n in range(6)]
    provider = LocalProvider(Scripted(times))
    one, two = worker(), worker().model_copy(update={"id": "w2"})
    assert (await provider.collect(one, NOW)).metrics.cpu_utilization == 0.01
    assert (await provider.collect(two, NOW)).metrics.cpu_utilization == 0.05
    assert (await provider.collect(one, NOW)).metrics.cpu_utilization == round(15 / 300, 4)


async def test_another_machine_is_refused_and_not_made_up() -> None:
    provider = LocalProvider(hostname="here")
    with pytest.raises(CollectionFailed, match="it is the machine 'there', and this process runs on 'here'"):
        await provider.collect(worker(instance_id="there"), NOW)
    assert LocalProvider().hostname == platform.node()


async def test_a_region_that_was_given_needs_no_reason() -> None:
    provider = LocalProvider(Scripted([counters(-10), counters(0)]))
    found = await provider.collect(worker(region="cellar"), NOW)
    assert found.region == "cellar"
    assert "region" not in found.missing


class Scripted(Machine):
    """A machine whose counters are written down; the rest is real."""

    def __init__(self, looks: list[Counters]) -> None:
        super().__init__()
        self._looks = iter(looks)

    def counters(self) -> Counters:
        return next(self._looks)


def counters(at: float, busy: float = 0, total: float = 0, disks: dict[str, Traffic] | None = None) -> Counters:
    """Return a look ``at`` seconds from now."""
    now = time.monotonic()
    return Counters(now + at, Cpu(busy, total), "", disks or {}, {"eth0": Traffic(0, 0)})


BEFORE = Counters(100.0, Cpu(10, 100), "", {"sda": Traffic(1000, 50)}, {"eth0": Traffic(0, 0)})
AFTER = Counters(110.0, Cpu(15, 120), "", {"sda": Traffic(3000, 50)}, {"eth0": Traffic(100, 20)})


def test_rates_are_deltas_over_the_time_between() -> None:
    rates = rates_between(BEFORE, AFTER)
    assert rates.values == {
        "cpu_utilization": 0.25,
        "disk_read_bytes_per_s": 200,
        "disk_write_bytes_per_s": 0,
        "network_rx_bytes_per_s": 10,
        "network_tx_bytes_per_s": 2,
    }
    assert rates.missing == {}


@pytest.mark.parametrize(
    ("after", "lost", "why"),
    [
        (replace(AFTER, cpu=Cpu(9, 120)), {"cpu_utilization"}, "went back"),
        (replace(AFTER, cpu=Cpu(10, 100)), {"cpu_utilization"}, "no CPU time was counted"),
        (replace(AFTER, cpu_source="cgroup 2"), {"cpu_utilization"}, "limits of this container changed"),
        (replace(AFTER, cpu=None, missing={"cpu": "no /proc"}), {"cpu_utilization"}, "no /proc"),
        (replace(AFTER, disks={"sda": Traffic(999, 60)}), {"disk_read_bytes_per_s"}, "a disk counter went back"),
        (
            replace(AFTER, disks={"sdb": Traffic(1, 1)}),
            {"disk_read_bytes_per_s", "disk_write_bytes_per_s"},
            "no disk device that was there at the last look",
        ),
        (
            replace(AFTER, networks=None, missing={"network": "not permitted"}),
            {"network_rx_bytes_per_s", "network_tx_bytes_per_s"},
            "not permitted",
        ),
        (replace(AFTER, at=100.0), RATES - {"cpu_utilization"}, "no time passed"),
    ],
)
def test_what_cannot_be_told_is_missing_with_its_reason_and_never_0(after: Counters, lost: set[str], why: str) -> None:
    rates = rates_between(BEFORE, after)
    assert set(rates.missing) == lost
    assert set(rates.values) == RATES - lost
    assert all(why in reason for reason in rates.missing.values())


def test_a_device_that_appears_brings_no_history() -> None:
    after = replace(AFTER, disks={"sda": Traffic(3000, 50), "sdb": Traffic(10**12, 10**12)})
    assert rates_between(BEFORE, after).values["disk_read_bytes_per_s"] == 200


def test_more_cpu_than_there_is_counts_as_all_of_it() -> None:
    assert rates_between(BEFORE, replace(AFTER, cpu=Cpu(35, 120))).values["cpu_utilization"] == 1.0


def test_what_the_machine_does_not_tell_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise psutil.AccessDenied(msg="not permitted")

    for name in ("virtual_memory", "getloadavg", "pids", "disk_io_counters", "net_io_counters", "cpu_times"):
        monkeypatch.setattr(machine_module.psutil, name, refuse)
    gauges, look = Machine().gauges(), Machine().counters()
    assert set(gauges.missing) == {"memory_utilization", "memory_limit_bytes", "load_1m", "process_count"}
    assert set(gauges.values) == {"uptime_s"}
    assert set(look.missing) == {"cpu", "disk", "network"}
    assert "not permitted" in look.missing["cpu"]


def container(root: Path, **files: str) -> Cgroup:
    for name, text in files.items():
        (root / name.replace("_", ".")).write_text(text)
    return Cgroup(root)


async def test_in_a_container_its_limits_count(tmp_path: Path) -> None:
    cgroup = container(
        tmp_path,
        cpu_max="50000 100000\n",
        cpu_stat="usage_usec 2500000\nuser_usec 1\n",
        memory_max="1000000\n",
        memory_current="600000\n",
        memory_stat="anon 1\ninactive_file 100000\n",
    )
    found = await LocalProvider(Machine(cgroup)).collect(worker(), NOW)
    assert found.metrics.memory_utilization == 0.5
    assert found.metrics.memory_limit_bytes == 1_000_000
    assert found.metrics.cpu_utilization == 0.0
    assert found.sources == {
        **dict.fromkeys(("cpu_utilization", "memory_utilization", "memory_limit_bytes"), "cgroup"),
        **dict.fromkeys(("load_1m", "uptime_s"), "host"),
    }
    budget = cgroup.cpu()
    assert budget is not None
    assert (budget.used_s, budget.cpus) == (2.5, 0.5)


def test_without_limits_the_machine_counts(tmp_path: Path) -> None:
    assert (Cgroup(tmp_path).cpu(), Cgroup(tmp_path).memory()) == (None, None)
    unlimited = container(tmp_path, cpu_max="max 100000\n", memory_max="max\n")
    assert (unlimited.cpu(), unlimited.memory()) == (None, None)
    assert Machine(unlimited).gauges().sources == {}


def test_a_broken_cgroup_is_a_reason(tmp_path: Path) -> None:
    broken = Machine(container(tmp_path, memory_max="1000", memory_current="900", cpu_max="500 1000"))
    assert "memory.stat has no inactive_file" in broken.gauges().missing["memory_utilization"]
    assert "cpu.stat has no usage_usec" in broken.counters().missing["cpu"]


async def test_the_event_loop_is_not_blocked_by_a_slow_machine() -> None:
    """The machine answers only once the loop has taken a turn; read on the loop, it never would."""
    gate = threading.Event()

    class Slow(Machine):
        def counters(self) -> Counters:
            assert gate.wait(30)
            return super().counters()

    collecting = asyncio.create_task(LocalProvider(Slow()).collect(worker(), NOW))
    await asyncio.sleep(0.01)
    gate.set()
    assert (await collecting).metrics.process_count
