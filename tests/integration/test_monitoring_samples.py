"""Samples in the store: packed without loss, in order, each told once, kept for a day."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.monitoring.sample import METRICS, CheckStatus, Metrics, MetricSample, StatusChecks
from domain.monitoring.worker import Worker, WorkerRequest, WorkerStatus
from infrastructure.monitoring.packing import pack, shape_of, unpack
from infrastructure.monitoring.samples import RedisSamples
from infrastructure.monitoring.scripts import MonitoringRetention, MonitoringScripts
from infrastructure.monitoring.workers import RedisWorkers
from infrastructure.redis.connection import RedisStore
from support import examples
from unit.monitoring.waveforms import START, sample


class Series:
    """One worker and its samples; times count back from the store's now."""

    def __init__(self, store: RedisStore, retention: MonitoringRetention | None = None) -> None:
        self.store = store
        scripts = MonitoringScripts(store, "i1", retention)
        self.workers = RedisWorkers(scripts)
        self.samples = RedisSamples(scripts)
        self.now = START

    async def register(self) -> "Series":
        self.now = (await self.workers.now()).replace(microsecond=0)
        await self.workers.create(Worker.register(WorkerRequest(name="w1", provider="local"), "w1", self.now))
        return self

    def ago(self, seconds: float, **facts: Any) -> MetricSample:
        return sample(self.now - timedelta(seconds=seconds), **facts)

    async def times(self, since: float | None = None, until: float | None = None, limit: int = 100) -> list[float]:
        def moment(ago: float | None) -> datetime | None:
            return None if ago is None else self.now - timedelta(seconds=ago)

        found = await self.samples.between("w1", moment(since), moment(until), limit)
        return [(self.now - one.observed_at).total_seconds() for one in found]

    async def told(self) -> list[dict[str, Any]]:
        entries = await self.store.command.xrange(self.store.key("ev", "worker"))
        return [json.loads(f["d"]) for _, f in entries or [] if f["t"] == "worker.metrics.collected"]


@pytest.fixture
async def series(store: RedisStore) -> Series:
    return await Series(store).register()


async def test_a_sample_is_stored_and_told_once(series: Series) -> None:
    one = series.ago(5, cpu=0.1234, load_1m=1.5, filesystems={"/": 0.25, "/data, old": 0.5}, uptime_s=86_400)
    assert await series.samples.append(one) == "stored"
    assert await series.samples.append(one) == "late"
    assert await series.samples.last(["w1", "w2"]) == [one, None]
    assert await series.told() == [one.model_dump(mode="json")]


async def test_older_samples_are_refused(series: Series) -> None:
    assert await series.samples.append(series.ago(5)) == "stored"
    assert await series.samples.append(series.ago(6)) == "late"
    assert await series.samples.append(series.ago(4)) == "stored"
    assert await series.times() == [5, 4]
    assert len(await series.told()) == 2


async def test_a_sample_beyond_retention_or_far_ahead_is_refused(series: Series) -> None:
    assert await series.samples.append(series.ago(86_401)) == "late"
    assert await series.samples.append(series.ago(-600)) == "ahead"
    assert await series.samples.append(series.ago(-30)) == "stored"
    assert len(await series.told()) == 1


async def test_a_worker_that_is_gone_gets_no_samples(series: Series) -> None:
    await series.workers.remove("w1", "test")
    assert await series.samples.append(series.ago(5)) == "gone"
    assert await series.samples.last(["w1"]) == [None]


async def test_ranges(series: Series) -> None:
    for ago in (50, 40, 30, 20, 10):
        await series.samples.append(series.ago(ago))
    assert await series.times() == [50, 40, 30, 20, 10]
    assert await series.times(limit=2) == [20, 10]
    assert await series.times(since=40, limit=2) == [40, 30]
    assert await series.times(since=40, until=20) == [40, 30, 20]
    assert await series.times(until=20, limit=2) == [30, 20]
    assert await series.times(since=10, until=20) == []
    after = await series.samples.after("w1", series.ago(40).time_ms, 2)
    assert [one.time_ms for one in after] == [series.ago(30).time_ms, series.ago(20).time_ms]


async def test_what_is_beyond_retention_is_trimmed_and_not_shown(series: Series, store: RedisStore) -> None:
    for n in range(250):
        await series.samples.append(series.ago(1000 - n))
    short = Series(store, MonitoringRetention(samples_kept_s=60))
    assert await short.samples.append(series.ago(1)) == "stored"
    stream = store.key("mon", "samples", "w1")
    assert await store.command.xlen(stream) < 100, "whole nodes of a hundred entries go"
    assert [one.time_ms for one in await short.samples.between("w1", None, None, 1000)] == [series.ago(1).time_ms]
    since = series.now - timedelta(hours=1)
    assert len(await short.samples.between("w1", since, None, 1000)) == 1
    for kind in ("samples", "shapes"):
        assert 0 < await store.command.pttl(store.key("mon", kind, "w1")) <= 60_000


async def test_shapes_go_with_the_entries_that_need_them(store: RedisStore) -> None:
    series = await Series(store, MonitoringRetention(samples_kept=200)).register()
    for n in range(600):
        one = series.ago(1000 - n)
        reasons = {**one.missing, "region": f"reason {n // 2}"}
        assert await series.samples.append(one.model_copy(update={"missing": reasons})) == "stored"
    entries = await series.samples.between("w1", None, None, 10_000)
    assert 200 <= len(entries) < 400
    assert [one.missing["region"] for one in entries[-2:]] == ["reason 299", "reason 299"]
    kept = await store.command.hlen(store.key("mon", "shapes", "w1"))
    needed = len({one.missing["region"] for one in entries})
    assert kept <= needed + 2 + 50, "a shape a reason, 'first' and 'last', and what one trimmed node leaves behind"


async def test_a_day_of_samples_takes_less_than_110_kb(store: RedisStore) -> None:
    """The budget a worker, with every metric that this machine has, once a minute."""
    series = await Series(store).register()
    full = sample(
        series.now,
        cpu=0.5,
        memory_utilization=0.5,
        memory_limit_bytes=2**36,
        load_1m=1.0,
        filesystems={"/": 0.215},
        disk_read_bytes_per_s=0,
        disk_write_bytes_per_s=0,
        network_rx_bytes_per_s=0,
        network_tx_bytes_per_s=0,
        uptime_s=0,
        process_count=100,
    )
    for n in range(1440):
        changing = full.metrics.model_copy(
            update={
                "cpu_utilization": n * 7 % 997 / 1000,
                "memory_utilization": round(0.4 + n % 500 / 2000, 4),
                "load_1m": n % 311 / 100,
                "disk_write_bytes_per_s": n * 7919 % 10_000_000,
                "network_rx_bytes_per_s": n * 104_729 % 1_000_000,
                "network_tx_bytes_per_s": n * 1_299_709 % 1_000_000,
                "uptime_s": 1_000_000 + n * 60,
            }
        )
        at = series.now - timedelta(minutes=1439 - n, milliseconds=-(n * 37 % 900))
        one = full.model_copy(update={"metrics": changing, "observed_at": at, "collected_at": at})
        assert await series.samples.append(one) == "stored"
    keys = [store.key("mon", kind, "w1") for kind in ("samples", "shapes")]
    used = sum([await store.command.memory_usage(key, samples=0) or 0 for key in keys])
    assert used < 110_000, used


async def test_silence_counts_from_the_last_sample(series: Series) -> None:
    await series.samples.append(series.ago(50))
    found = await series.samples.silence(longest_pause_s=60, quiet_s=40, limit=10)
    assert found.quiet_since == {"w1": series.now - timedelta(seconds=50)}
    await series.samples.append(series.ago(20))
    assert not (await series.samples.silence(60, 40, 10)).quiet_since


async def test_a_worker_is_expected_from_when_its_monitoring_began(series: Series) -> None:
    since = series.now - timedelta(seconds=50)
    await series.samples.expect("w1", since)
    assert (await series.samples.silence(60, 40, 10)).quiet_since == {"w1": since}
    await series.samples.append(series.ago(10))
    await series.samples.expect("w1", since)
    assert not (await series.samples.silence(60, 40, 10)).quiet_since
    await series.samples.ignore(["w1"])
    await series.samples.ignore([])
    assert not (await series.samples.silence(60, 0, 10)).quiet_since


async def test_the_watch_begins_anew_after_a_pause_of_its_own(series: Series) -> None:
    first = await series.samples.silence(60, 40, 10)
    assert first.watching_since == first.now
    second = await series.samples.silence(60, 40, 10)
    assert second.watching_since == first.watching_since
    hour_ago = round((first.now - timedelta(hours=1)).timestamp() * 1000)
    await series.workers.remember({"watched_at": str(hour_ago)})
    third = await series.samples.silence(60, 40, 10)
    assert third.watching_since == third.now


fractions = st.floats(0, 1)
bytes_ = st.integers(0, 2**50)
metrics = st.builds(
    Metrics,
    cpu_utilization=st.none() | fractions,
    memory_utilization=st.none() | fractions,
    memory_limit_bytes=st.none() | bytes_,
    load_1m=st.none() | st.floats(0, 10_000),
    filesystems=st.none() | st.dictionaries(st.text(max_size=10), fractions, max_size=4),
    disk_read_bytes_per_s=st.none() | bytes_,
    disk_write_bytes_per_s=st.none() | bytes_,
    network_rx_bytes_per_s=st.none() | bytes_,
    network_tx_bytes_per_s=st.none() | bytes_,
    uptime_s=st.none() | bytes_,
    process_count=st.none() | st.integers(0, 10**6),
)
reasons = st.text(min_size=1, max_size=20).filter(str.strip)


@given(metrics, st.integers(0, 10**6), reasons, st.sampled_from(CheckStatus) | st.none(), st.sampled_from(WorkerStatus))
@settings(deadline=None, max_examples=examples(50), suppress_health_check=[HealthCheck.too_slow])
def test_packing_loses_nothing(
    values: Metrics, delay_ms: int, reason: str, check: CheckStatus | None, status: WorkerStatus
) -> None:
    missing = {name: reason for name in METRICS if getattr(values, name) is None}
    if check is None:
        missing["status_checks.system"] = reason
    one = MetricSample(
        worker_id="w1",
        worker_name=reason,
        provider="local",
        observed_at=START,
        collected_at=START + timedelta(milliseconds=delay_ms),
        status=status,
        status_checks=StatusChecks(system=check, instance=CheckStatus.OK),
        metrics=values,
        missing={**missing, "region": reason},
        sources={"cpu_utilization": "cgroup"},
    )
    words = [str(word) for word in pack(one)]
    fields = dict(zip(words[::2], words[1::2], strict=True))
    assert unpack("w1", f"{one.time_ms}-0", fields, shape_of(one)) == one
