"""A process that is asked to end: it claims nothing more, gives running jobs their time, and says how it went."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from application.scheduling import ScheduledTaskDescriptor
from distributed.fleet import running_fleet
from distributed.scenario_kit import control_of
from domain.runs.run import RunStatus
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey

LONG = {"ROUNDSMAN_BACKGROUND_JOBS__SHUTDOWN_GRACE_S": "600", "ROUNDSMAN_SERVER__PORT": "0"}
RUNS_LEFT = 6
FROZEN_S = 20.0
"""Far more than the three seconds that it takes, and less than the thirty that Kubernetes gives."""


@pytest.mark.parametrize("role", ["scheduler", "all"])
async def test_draining_claims_nothing_waits_for_what_runs_and_a_second_signal_hurries(
    role: str, redis_url: str, namespace: str, store: RedisStore, tmp_path: Path
) -> None:
    control = control_of(store)

    async def status_of(task_id: str) -> tuple[RunStatus, int]:
        run = (await control.get_task_info(task_id)).run  # type: ignore[union-attr]
        return run.status, run.attempt

    with running_fleet(redis_url, namespace, tmp_path) as fleet:
        process = fleet.start(role, **LONG)
        for task_id, hold_s in (("long", 600), ("short", 2)):
            await control.schedule(ScheduledTaskDescriptor(id=task_id, name="WriteOnce", data={"hold_s": hold_s}))
        await asyncio.to_thread(fleet.wait, lambda: len(fleet.lines("begin")) == 2, "both to begin")
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(fleet.wait, lambda: fleet.lines("end"), "the short one to end within the grace")
        await control.schedule(ScheduledTaskDescriptor(id="late", name="WriteOnce"))
        assert process.poll() is None
        assert await status_of("long") == (RunStatus.RUNNING, 1)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 60) == 0
        assert await status_of("short") == (RunStatus.SUCCEEDED, 1)
        assert await status_of("long") == (RunStatus.QUEUED, 1), "given back"
        assert await status_of("late") == (RunStatus.QUEUED, 0), "never claimed"
        assert "Traceback" not in fleet.logs()


async def test_the_exit_status_tells_that_the_store_did_not_hear_of_everything(
    fresh_valkey: Callable[[], EmbeddedValkey], namespace: str, tmp_path: Path
) -> None:
    server = await asyncio.to_thread(fresh_valkey)
    store = RedisStore(server.url, namespace)
    control = control_of(store)
    with running_fleet(server.url, namespace, tmp_path) as fleet:
        process = fleet.start()
        await control.schedule(ScheduledTaskDescriptor(id="o", name="WriteOnce", data={"hold_s": 600}))
        await asyncio.to_thread(fleet.wait, lambda: fleet.lines("begin"), "the run to begin")
        os.kill(server.pid, signal.SIGSTOP)
        try:
            assert await asyncio.to_thread(fleet.end, process) == RUNS_LEFT
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert "will run again" in fleet.logs()
        other = fleet.start()
        await asyncio.to_thread(fleet.wait, lambda: fleet.lines("end"), "the run to end elsewhere")
        assert [(line.pid, line.attempt) for line in fleet.lines("begin")] == [(process.pid, 1), (other.pid, 2)]
    await store.close()


@pytest.mark.parametrize("whose", ["another's", "its own"])
async def test_a_frozen_store_holds_up_the_end_of_a_process_once_and_not_in_each_of_its_parts(
    whose: str, fresh_valkey: Callable[[], EmbeddedValkey], namespace: str, tmp_path: Path
) -> None:
    server = await asyncio.to_thread(fresh_valkey) if whose == "another's" else None
    with running_fleet(server.url if server else "", namespace, tmp_path) as fleet:
        process = fleet.start("all", ROUNDSMAN_DATA_DIR=str(tmp_path / "own"))
        await asyncio.to_thread(fleet.wait, lambda: process.address, "the program to serve")
        pid = server.pid if server else next(child.pid for child in psutil.Process(process.pid).children())
        os.kill(pid, signal.SIGSTOP)
        try:
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, FROZEN_S) == 0, "nothing was left to settle"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        assert "the store has not answered for 3 s" in fleet.logs()
        assert "Traceback" not in fleet.logs()
        assert server or not psutil.pid_exists(pid), "its own server has ended with it"
