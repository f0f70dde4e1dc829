"""The control side of a chaos run: people and programs that ask for things, each in a thread of its own."""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from application.jobs.service import JobService
from application.scheduling import (
    BackgroundTaskScheduler,
    RecurrentTaskDescriptor,
    ScheduledTaskDescriptor,
    SchedulePolicy,
)
from distributed.chaos_jobs import JOBS
from distributed.chaos_plan import Action
from distributed.checker_journal import Journal, journaling_control, journaling_jobs
from domain.errors import RoundsmanError, StoreUnavailable
from domain.jobs.errors import JobIsOver
from domain.jobs.request import JobRequest
from infrastructure.redis.connection import RedisStore


class Hand:
    """One control side: carries out its part of the plan through connections of its own, on a loop of its own.

    ``answers`` counts what it heard: done, refused (with the error's name), unavailable (nobody knows whether it was
    done), or an error of the program's own, which must not be.
    """

    def __init__(self, name: str, url: str, namespace: str, journal: Journal, actions: Sequence[Action]) -> None:
        self._name = name
        self._url = url
        self._namespace = namespace
        self._journal = journal
        self._actions = actions
        self._began = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), name=name)
        self.answers: Counter[str] = Counter()
        self.errors: list[str] = []

    def start(self, began: float) -> None:
        """Begin; ``began`` is the start of the run on the monotonic clock."""
        self._began = began
        self._thread.start()

    def stop(self) -> None:
        """Ask for nothing more, and return when what was asked for is answered; before the start it does nothing."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    async def _work(self) -> None:
        store = RedisStore(self._url, self._namespace)
        control = journaling_control(store, self._journal, JOBS, self._name)
        jobs = journaling_jobs(store, self._journal, JOBS, self._name)
        asked = []
        for action in self._actions:
            while (wait := action.at - (time.monotonic() - self._began)) > 0 and not self._stopping.is_set():
                await asyncio.sleep(min(wait, 0.1))
            if self._stopping.is_set():
                break
            asked.append(asyncio.create_task(self._ask(control, jobs, action)))
        await asyncio.gather(*asked)
        await store.close()

    async def _ask(self, control: BackgroundTaskScheduler, jobs: JobService, action: Action) -> None:
        try:
            if action.kind == "job":
                await submit(jobs, action.facts)
            else:
                await ask(control, action)
            self.answers["done"] += 1
        except StoreUnavailable:
            self.answers["unavailable"] += 1
        except (RoundsmanError, ValidationError) as error:
            self.answers[f"refused: {type(error).__name__}"] += 1
        except Exception as error:
            self.answers["error"] += 1
            self.errors.append(f"{action.text()}: {type(error).__name__}: {error}")


async def submit(jobs: JobService, facts: dict[str, Any]) -> None:
    """Submit a job of the plan, and cancel it if the plan says so."""
    wish = {name: facts[name] for name in ("queue", "max_retries", "timeout_s")}
    params = {"mood": facts["mood"], "hold_s": facts["hold_s"]}
    job = (await jobs.submit(JobRequest(task=facts["name"], params=params, **wish))).job
    if "cancel_after_s" in facts:
        await asyncio.sleep(facts["cancel_after_s"])
        with contextlib.suppress(JobIsOver):
            await jobs.cancel(job.id)


async def ask(control: BackgroundTaskScheduler, action: Action) -> None:
    """Carry out one control action of the plan."""
    target, facts = action.target, action.facts
    match action.kind:
        case "add":
            await control.schedule(_recurrent(target, facts))
        case "modify":
            changes = _recurrent(target, facts).model_dump(include={"interval", "data", "policy"}, exclude_unset=True)
            await control.modify(target, changes)
        case "again":
            info: Any = await control.get_task_info(target)
            await control.schedule(info.descriptor)
        case "one_shot" | "later":
            await control.schedule(_errand(target, facts))
        case "pause":
            await control.pause(target, "chaos")
        case "resume":
            await control.resume(target)
        case "stop" | "stop_one_shot":
            await control.stop_task(target, cancel_running=facts["cancel_running"])
        case "run_now":
            await control.run_now(target)
        case "backfill":
            stored: Any = await control.get_task_info(target)
            until = datetime.now(UTC)
            await control.backfill(
                target, until - timedelta(seconds=stored.descriptor.interval * facts["fires"]), until
            )
        case _:
            raise ValueError(f"the plan asks for {action.kind!r}, which nobody can do")


def _recurrent(target: str, facts: dict[str, Any]) -> RecurrentTaskDescriptor:
    now = datetime.now(UTC)
    bounds = {
        name: now + timedelta(seconds=facts[f"{name}_in_s"]) for name in ("start", "end") if f"{name}_in_s" in facts
    }
    policy = {name: facts[name] for name in ("overlap", "catch_up", "jitter_s", "max_retries", "timeout_s")}
    return RecurrentTaskDescriptor(
        id=target,
        name=facts["name"],
        interval=facts["interval"],
        data={"mood": facts["mood"], "hold_s": facts["hold_s"]},
        policy=SchedulePolicy(**policy, **bounds),
    )


def _errand(target: str, facts: dict[str, Any]) -> ScheduledTaskDescriptor:
    later = facts.get("in_s")
    return ScheduledTaskDescriptor(
        id=target,
        name=facts["name"],
        data={"mood": facts["mood"], "hold_s": facts["hold_s"]},
        scheduled_at=None if later is None else datetime.now(UTC) + timedelta(seconds=later),
        max_retries=facts["max_retries"],
        timeout_s=facts["timeout_s"],
    )
