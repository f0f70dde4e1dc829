"""Two processes share a store: in calm, under kill -9, frozen, asked to end, and through a restart of the store."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from application.runs.registry import JobRegistry
from application.scheduling import BackgroundTaskScheduler, RecurrentTaskDescriptor, ScheduledTaskDescriptor
from distributed.fleet import Fleet, Line, running_fleet
from distributed.ledger_jobs import Write, WriteOnce
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.runs.scripts import Retention
from infrastructure.runs.store import RedisRunStore
from infrastructure.scheduling.store import RedisJobStore
from support import wait_until

INTERVAL_S = 0.2


@pytest.fixture
def fleet(redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(redis_url, namespace, tmp_path) as running:
        yield running


def control_of(store: RedisStore) -> BackgroundTaskScheduler:
    """A scheduler that only controls: what an API process has."""
    runs, schedules = RedisRunStore(store, "control", Retention()), RedisJobStore(store, "control", Retention())
    return BackgroundTaskScheduler(JobRegistry([Write, WriteOnce]), schedules, runs)


@pytest.fixture
def control(store: RedisStore) -> BackgroundTaskScheduler:
    return control_of(store)


async def events(store: RedisStore, family: str, topic: str) -> list[dict[str, Any]]:
    entries = await store.command.xrange(store.key("ev", family))
    return [json.loads(fields["d"]) for _, fields in entries if fields["t"] == topic]


async def both_joined(store: RedisStore) -> None:
    """Wait until two processes have announced themselves."""

    async def joined() -> bool:
        return int(await store.command.hlen(store.key("instances"))) == 2

    await wait_until(joined, "two instances", 90)


async def until(fleet: Fleet, condition: Callable[[], Any], what: str) -> None:
    await asyncio.to_thread(fleet.wait, condition, what)


def accounted(lines: list[Line], skipped: int) -> bool:
    """Tell whether every nominal time from the first to the last run ran, was announced as skipped, or is counted as
    missed by its follower."""
    ordered = sorted(lines, key=lambda line: line.fire_time)
    times = [datetime.fromisoformat(line.fire_time) for line in ordered]
    steps = round((times[-1] - times[0]) / timedelta(seconds=INTERVAL_S))
    return steps == len(times) - 1 + sum(line.missed for line in ordered[1:]) + skipped


async def test_in_calm_each_fire_runs_once_and_both_processes_work(
    fleet: Fleet, control: BackgroundTaskScheduler, store: RedisStore
) -> None:
    fleet.start()
    fleet.start()
    ids = [f"s{n}" for n in range(10)]
    for schedule_id in ids:
        await control.schedule(RecurrentTaskDescriptor(id=schedule_id, name="Write", interval=INTERVAL_S))

    def enough() -> bool:
        counted = Counter(line.job_id for line in fleet.lines("end"))
        both = len({line.pid for line in fleet.lines("end")}) == 2
        return both and all(counted[schedule_id] >= 15 for schedule_id in ids)

    await until(fleet, enough, "15 runs of each schedule, by both")
    assert [fleet.end(process) for process in fleet.processes] == [0, 0]
    begun = fleet.lines("begin")
    assert set(Counter(line.run_id for line in begun).values()) == {1}
    assert {line.attempt for line in begun} == {1}
    skipped = await events(store, "schedule", "schedule.fire_skipped")  # none, but on a machine that is too busy
    for schedule_id in ids:
        lines = [line for line in begun if line.job_id == schedule_id]
        span = {line.fire_time for line in lines}
        between = [
            event
            for event in skipped
            if event["id"] == schedule_id and min(span) < event["fire_time"].replace("Z", "+00:00") < max(span)
        ]
        assert accounted(lines, sum(event["count"] for event in between))


async def test_runs_of_a_killed_process_run_again_on_the_other_and_none_is_lost(
    fleet: Fleet, control: BackgroundTaskScheduler, store: RedisStore
) -> None:
    victim = fleet.start()
    for n in range(20):
        await control.schedule(ScheduledTaskDescriptor(id=f"o{n}", name="WriteOnce", data={"hold_s": 600}))
    await until(fleet, lambda: len(fleet.lines("begin")) == 20, "all runs to begin")
    survivor = fleet.start()
    await both_joined(store)
    fleet.kill(victim)
    await until(fleet, lambda: len(fleet.lines("end")) == 20, "all runs to end elsewhere")
    again = [line for line in fleet.lines("begin") if line.pid == survivor.pid]
    assert Counter(line.job_id for line in again) == Counter({f"o{n}": 1 for n in range(20)})
    assert {line.attempt for line in again} == {2}
    lost = await events(store, "job", "job.lost")
    assert {event["run_id"] for event in lost} == {f"o{n}" for n in range(20)}


async def test_a_process_that_is_asked_to_end_gives_its_runs_back_at_once(
    fleet: Fleet, control: BackgroundTaskScheduler
) -> None:
    leaving = fleet.start()
    await control.schedule(ScheduledTaskDescriptor(id="o", name="WriteOnce", data={"hold_s": 600}))
    await until(fleet, lambda: fleet.lines("begin"), "the run to begin")
    staying = fleet.start()
    assert fleet.end(leaving) == 0
    await until(fleet, lambda: fleet.lines("end"), "the run to end elsewhere")
    assert [(line.pid, line.attempt) for line in fleet.lines("begin")] == [(leaving.pid, 1), (staying.pid, 2)]
    assert "Traceback" not in fleet.logs()


async def test_a_frozen_process_that_thaws_changes_nothing_any_more(
    fleet: Fleet, control: BackgroundTaskScheduler, store: RedisStore
) -> None:
    frozen = fleet.start()
    await control.schedule(ScheduledTaskDescriptor(id="o", name="WriteOnce", data={"hold_s": 600}))
    await until(fleet, lambda: fleet.lines("begin"), "the run to begin")
    other = fleet.start()
    await both_joined(store)
    frozen.send_signal(signal.SIGSTOP)
    await until(fleet, lambda: fleet.lines("end"), "the run to end elsewhere")
    frozen.send_signal(signal.SIGCONT)
    await until(fleet, lambda: "was lost" in fleet.logs(), "the thawed process to hear of it")
    assert [(line.pid, line.attempt) for line in fleet.lines("end")] == [(other.pid, 2)]
    run = (await control.get_task_info("o")).run  # type: ignore[union-attr]
    assert (run.status, run.attempt) == ("succeeded", 2)
    assert frozen.poll() is None


async def test_the_store_is_killed_and_comes_back_and_nothing_acknowledged_is_lost(
    fresh_valkey: Callable[[], EmbeddedValkey], namespace: str, tmp_path: Path
) -> None:
    server = await asyncio.to_thread(fresh_valkey)
    store = RedisStore(server.url, namespace)
    control = control_of(store)
    with running_fleet(server.url, namespace, tmp_path) as fleet:
        fleet.start()
        await control.schedule(RecurrentTaskDescriptor(id="s", name="Write", interval=INTERVAL_S))
        await until(fleet, lambda: len(fleet.lines("end")) >= 3, "the schedule to run")
        os.kill(server.pid, signal.SIGKILL)
        seen = len(fleet.lines("end"))
        await until(fleet, lambda: len(fleet.lines("end")) >= seen + 5, "the schedule to go on")
        (process,) = fleet.processes
        assert process.poll() is None
        assert fleet.end(process) == 0
        begun = fleet.lines("begin")
        assert {line.attempt for line in begun} <= {1, 2}
    await store.close()
