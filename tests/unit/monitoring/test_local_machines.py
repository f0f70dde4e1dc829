"""Machines that this one is not: real trees of files, as containers and other kernels show them."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from domain.monitoring.sample import METRICS
from domain.monitoring.worker import Worker, WorkerRequest
from infrastructure.monitoring.cgroup import Cgroup
from infrastructure.monitoring.counters import Counters, Traffic, rates_between
from infrastructure.monitoring.filesystems import FilesystemProbe
from infrastructure.monitoring.local import LocalProvider
from infrastructure.monitoring.machine import Machine

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
WORKER = Worker.register(WorkerRequest(name="here", provider="local"), "w1", NOW)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V1 = {
    "memory/memory.limit_in_bytes": "1000000\n",
    "memory/memory.usage_in_bytes": "700000\n",
    "memory/memory.stat": "cache 300000\ninactive_file 1\ntotal_inactive_file 200000\n",
    "cpu/cpu.cfs_quota_us": "50000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
    "cpuacct/cpuacct.usage": "2500000000\n",
}


async def test_a_container_on_a_host_with_cgroup_v1_has_its_limits(tmp_path: Path) -> None:
    found = await LocalProvider(Machine(Cgroup(tree(tmp_path, V1)))).collect(WORKER, NOW)
    assert (found.metrics.memory_utilization, found.metrics.memory_limit_bytes) == (0.5, 1_000_000)
    assert found.metrics.cpu_utilization == 0.0
    assert found.sources["memory_utilization"] == found.sources["cpu_utilization"] == "cgroup_v1"
    budget = Cgroup(tmp_path).cpu()
    assert budget is not None
    assert (budget.used_s, budget.cpus) == (2.5, 0.5)


def test_a_host_with_cgroup_v1_has_none(tmp_path: Path) -> None:
    unlimited = {"memory/memory.limit_in_bytes": "9223372036854771712\n", "cpu/cpu.cfs_quota_us": "-1\n"}
    group = Cgroup(tree(tmp_path, V1 | unlimited))
    assert (group.cpu(2), group.memory()) == (None, None)
    assert Machine(group).gauges().sources == {}


def test_a_host_with_both_versions_goes_by_where_the_controllers_are(tmp_path: Path) -> None:
    both = V1 | {"unified/cgroup.procs": "1\n", "unified/cpu.stat": "usage_usec 1\n"}
    budget = Cgroup(tree(tmp_path, both)).memory()
    assert budget is not None
    assert budget.source == "cgroup_v1"


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "200000 100000\n"}, 2.0),
        ({"cpu.max": "200000\n"}, 2.0),
        ({"cpu.max": "400000 100000\n"}, None),
        ({"cpu.max": "900000 100000\n"}, None),
        ({"cpu.max": "max 100000\n", "cpuset.cpus.effective": "0-3\n"}, None),
        ({"cpu.max": "max 100000\n", "cpuset.cpus.effective": "1,3\n"}, 2.0),
        ({"cpu.max": "300000 100000\n", "cpuset.cpus.effective": "0-1\n"}, 2.0),
        ({"cpu.max": "50000 100000\n", "cpuset.cpus.effective": "0-1,3\n"}, 0.5),
        ({"cpuset.cpus.effective": "\n"}, None),
        ({"cpuset/cpuset.effective_cpus": "2\n"}, 1.0),
        ({}, None),
    ],
)
def test_a_container_may_use_what_its_quota_and_its_set_of_cpus_leave(
    tmp_path: Path, files: dict[str, str], cpus: float | None
) -> None:
    """On a machine of four CPUs: a quota of more is none, and 2 of 4 CPUs in full use are 100 %."""
    budget = Cgroup(tree(tmp_path, {"cpu.stat": "usage_usec 1000000\n", **files})).cpu(4)
    assert (budget and budget.cpus) == cpus


def test_a_limit_above_the_machines_memory_is_none(tmp_path: Path) -> None:
    total = psutil.virtual_memory().total
    files = {"memory.max": str(total * 2), "memory.current": "1", "memory.stat": "inactive_file 0\n"}
    assert Machine(Cgroup(tree(tmp_path, files))).gauges().values["memory_limit_bytes"] == total


def test_page_cache_that_is_idle_counts_as_free_and_nothing_is_below_0(tmp_path: Path) -> None:
    files = {"memory.max": "1000", "memory.current": "900", "memory.stat": "file 800\ninactive_file 950\n"}
    budget = Cgroup(tree(tmp_path, files)).memory()
    assert budget is not None
    assert (budget.used, budget.limit) == (0, 1000)


@pytest.mark.parametrize("spoil", ["", "many", "1 2 3"])
def test_a_file_that_makes_no_sense_is_a_reason(tmp_path: Path, spoil: str) -> None:
    files = {"memory.max": "1000", "memory.current": spoil, "memory.stat": "inactive_file 0\n", "cpu.max": "x 1"}
    machine = Machine(Cgroup(tree(tmp_path, files)))
    gauges = machine.gauges()
    assert {"memory_utilization", "memory_limit_bytes"} <= gauges.missing.keys()
    assert "memory_utilization" not in gauges.values
    assert "invalid literal" in machine.counters().missing["cpu"]


def test_without_sys_fs_cgroup_the_machine_counts(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    for root in (tmp_path / "nothing", tmp_path / "a file"):
        assert (Cgroup(root).cpu(2), Cgroup(root).memory()) == (None, None)


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another /proc, to be written by the test; what is not written there is not there."""
    made = tmp_path / "proc"
    made.mkdir()
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(made))
    yield made
    shutil.rmtree(made)


async def test_without_proc_all_that_is_left_is_told_and_the_rest_has_a_reason(proc: Path, tmp_path: Path) -> None:
    found = await LocalProvider(Machine(Cgroup(tmp_path))).collect(WORKER, NOW)
    known = {name for name in METRICS if getattr(found.metrics, name) is not None}
    assert known <= {"load_1m", "uptime_s", "process_count", "disk_read_bytes_per_s", "disk_write_bytes_per_s"}
    assert "this machine does not list them" in found.missing["filesystems"]
    assert "this machine does not tell" in found.missing["cpu_utilization"]
    assert "this machine does not tell" in found.missing["memory_utilization"]


@pytest.mark.filterwarnings("ignore:.*memory stats couldn't be determined:RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "text", "metric"),
    [
        ("meminfo", "MemTotal:  1000 kB\n", "memory_utilization"),
        ("meminfo", "MemFree:  1000 kB\n", "memory_utilization"),
        ("meminfo", "rubbish\n", "memory_utilization"),
        ("meminfo", "MemTotal: 0 kB\nMemFree: 0 kB\nBuffers: 0 kB\nCached: 0 kB\n", "memory_utilization"),
    ],
)
def test_a_strange_proc_is_a_reason_and_no_value(proc: Path, tmp_path: Path, name: str, text: str, metric: str) -> None:
    (proc / name).write_text(text)
    gauges = Machine(Cgroup(tmp_path / "none")).gauges()
    assert metric in gauges.missing
    assert metric not in gauges.values


def test_a_strange_stat_is_a_reason(proc: Path, tmp_path: Path) -> None:
    (proc / "stat").write_text("cpu  one two three four five six seven eight nine ten\n")
    assert "cpu" in Machine(Cgroup(tmp_path / "none")).counters().missing


def test_processes_are_counted_as_proc_shows_them(proc: Path) -> None:
    for pid in ("1", "27", "4242", "self", "net"):
        (proc / pid).mkdir()
    assert Machine().gauges().values["process_count"] == 3


def looks(before: dict[str, Traffic], after: dict[str, Traffic]) -> tuple[Counters, Counters]:
    return Counters(100.0, networks=before, disks={}), Counters(110.0, networks=after, disks={})


def test_a_card_that_is_taken_out_leaves_the_others() -> None:
    rates = rates_between(
        *looks(
            {"eth0": Traffic(0, 0), "eth1": Traffic(10**9, 10**9)},
            {"eth0": Traffic(1000, 500)},
        )
    )
    assert (rates.values["network_rx_bytes_per_s"], rates.values["network_tx_bytes_per_s"]) == (100, 50)


def test_a_counter_of_32_bits_that_wraps_gives_no_rate_and_no_negative_one() -> None:
    rates = rates_between(*looks({"eth0": Traffic(2**32 - 10, 5)}, {"eth0": Traffic(90, 105)}))
    assert "network_rx_bytes_per_s" in rates.missing
    assert rates.values["network_tx_bytes_per_s"] == 10


def test_a_card_that_was_replaced_by_one_of_its_name_gives_no_rate() -> None:
    rates = rates_between(*looks({"wlan0": Traffic(10**6, 10**6)}, {"wlan0": Traffic(0, 0)}))
    assert rates.missing.keys() >= {"network_rx_bytes_per_s", "network_tx_bytes_per_s"}


async def test_a_machine_that_does_not_list_its_file_systems_says_so() -> None:
    def refuse() -> list[str]:
        raise PermissionError("/proc/self/mounts")

    use = await FilesystemProbe(refuse, lambda mount: 0.5).read()
    assert (use.utilization, use.error) == ({}, "this machine does not list them: /proc/self/mounts")


async def test_file_systems_beyond_the_bound_are_told() -> None:
    found = await LocalProvider(
        filesystems=FilesystemProbe(lambda: [f"/{n}" for n in range(70)], lambda mount: 0.5)
    ).collect(WORKER, NOW)
    assert found.metrics.filesystems is not None
    assert len(found.metrics.filesystems) == 64
    assert found.missing["filesystems.others"] == "there are 70, and 64 are looked at"


async def test_a_mount_point_of_any_bytes_can_be_told() -> None:
    name = os.fsdecode(b"/mnt/caf\xe9")
    found = await LocalProvider(filesystems=FilesystemProbe(lambda: [name, "/"], lambda mount: 0.5)).collect(
        WORKER, NOW
    )
    assert "/mnt/caf\ufffd" in (found.metrics.filesystems or {})
    assert found.model_dump_json()
