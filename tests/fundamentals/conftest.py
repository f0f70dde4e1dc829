"""What the tutorial needs around it: the running program, with the jobs and the container of the file that is read."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from application.events.bus import EventBus
from application.scheduling import BackgroundTasksBus, BackgroundTaskScheduler
from domain.events.event import Event
from domain.runs.run import TERMINAL, RunRecord
from infrastructure.program import Program, Role
from infrastructure.redis.connection import RedisStore
from infrastructure.settings import Settings
from support import wait_until

Process = subprocess.Popen[bytes]


class App:
    """A running program: what a web service would hold on to, and three ways to wait for what it does."""

    def __init__(self, program: Program) -> None:
        services = program.services()
        self.bus: BackgroundTasksBus = services.bus
        self.scheduler: BackgroundTaskScheduler = services.scheduler
        self.events: EventBus = services.events

    async def end_of(self, task_id: str) -> RunRecord:
        """Return a one-shot when it has ended."""

        async def ended() -> RunRecord | None:
            info: Any = await self.scheduler.get_task_info(task_id)
            return info.run if info.run.status in TERMINAL else None

        return await wait_until(ended, f"{task_id} to end")  # type: ignore[return-value]  # the wait ends with one

    async def ended_runs(self, schedule_id: str, count: int) -> list[RunRecord]:
        """Return the runs of a schedule, oldest first, when at least ``count`` have ended."""

        async def enough() -> list[RunRecord]:
            runs = [run for run in await self.scheduler.runs(schedule_id) if run.status in TERMINAL]
            return runs if len(runs) >= count else []

        return (await wait_until(enough, f"{count} runs of {schedule_id} to end"))[::-1]

    async def listen(self, *topics: str) -> list[Event]:
        """Return a list that fills with the events of these topics from now on."""
        heard: list[Event] = []

        async def note(event: Event) -> None:
            heard.append(event)

        await self.events.subscribe(topics, note).ready()
        return heard


@asynccontextmanager
async def running(settings: Settings, role: Role = "all") -> AsyncIterator[App]:
    """Run the program, as ``roundsman run`` does."""
    program = Program(settings, role)
    await program.start()
    try:
        yield App(program)
    finally:
        await program.stop()


@pytest.fixture
def settings(request: pytest.FixtureRequest, redis_url: str, store: RedisStore, namespace: str) -> Settings:
    """What settings.toml would say: a real Redis, and the file that is read as a module of jobs, with its container."""
    module = request.module.__name__
    return Settings.model_validate(
        {
            "store": {"redis_url": redis_url, "namespace": namespace},
            "background_jobs": {
                "modules": [module],
                "containers": [f"{module}:Container"] if hasattr(request.module, "Container") else [],
                "shutdown_grace_s": 0.0,
            },
            "monitoring": {"local_worker": False},
        }
    )


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[App]:
    """The program, running."""
    async with running(settings) as started:
        yield started


@pytest.fixture
def start_process(settings: Settings, tmp_path: Path) -> Iterator[Callable[[], Process]]:
    """Start ``roundsman run`` in a process of its own, with the same settings, without waiting for it."""
    jobs = settings.background_jobs
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ROUNDSMAN_")},
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "ROUNDSMAN_STORE__REDIS_URL": settings.store.redis_url.get_secret_value(),
        "ROUNDSMAN_STORE__NAMESPACE": settings.store.namespace,
        "ROUNDSMAN_BACKGROUND_JOBS__MODULES": json.dumps(jobs.modules),
        "ROUNDSMAN_BACKGROUND_JOBS__CONTAINERS": json.dumps(jobs.containers),
        "ROUNDSMAN_MONITORING__LOCAL_WORKER": "false",
    }
    command = [Path(sys.executable).with_name("roundsman"), "run", "--role", "scheduler"]
    started: list[Process] = []

    def start() -> Process:
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environ))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
