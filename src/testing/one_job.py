"""One run of one job, for the test that needs no more."""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from domain.runs.fields import NOT_INJECTED
from domain.runs.job import BackgroundJob, JobDefinition
from domain.scheduling.policy import YEAR_S
from testing.blocking import refuse_running_loop
from testing.errors import DataTwice, NoJob
from testing.injection import Given
from testing.kit import START, JobKit
from testing.outcome import JobRun

if TYPE_CHECKING:
    from testing.containers import Containers

ID = "the-job"


async def run_job(
    job: BackgroundJob | type,
    data: Mapping[str, Any] | None = None,
    *,
    given: Given | None = None,
    container: "Containers" = (),
    at: datetime | str = START,
) -> JobRun:
    """Run a job once, to its end, and return what became of it: retries and sleeps take no real time.

    ``job`` is one that was constructed with its data and fakes, or its class; then ``data`` is what a descriptor would
    carry. Either way the data goes through JSON, and dependencies that ``job`` does not have come from ``given`` and
    ``container`` as in ``JobKit``. Raises ``InvalidData`` for data that could not be scheduled.
    """
    definition = _definition(job)
    by_hand: dict[str | type, object] = dict(given or {})
    if not isinstance(job, type):
        if data is not None:
            raise DataTwice
        data = _data(job, definition)
        by_hand |= _dependencies(job, definition)
    async with JobKit(definition.cls, given=by_hand, container=container, at=at) as kit:
        return await _run(kit, definition, dict(data or {}))


def run_job_sync(
    job: BackgroundJob | type,
    data: Mapping[str, Any] | None = None,
    *,
    given: Given | None = None,
    container: "Containers" = (),
    at: datetime | str = START,
) -> JobRun:
    """Do the same in a test that is not async."""
    running = run_job(job, data, given=given, container=container, at=at)
    refuse_running_loop(running, "run_job")
    return asyncio.run(running)


async def _run(kit: JobKit, definition: JobDefinition, data: dict[str, Any]) -> JobRun:
    if definition.task_type == "scheduled":
        await kit.schedule(ScheduledTaskDescriptor(id=ID, name=definition.name, data=data))
    else:
        await kit.schedule(RecurrentTaskDescriptor(id=ID, name=definition.name, data=data, interval=YEAR_S))
        await kit.scheduler.run_now(ID)
    await kit.drain()
    return kit.runs(ID)[0]


def _definition(job: BackgroundJob | type) -> JobDefinition:
    definition = getattr(job, "__definition__", None)
    if not isinstance(definition, JobDefinition):
        raise NoJob(what=repr(job))
    return definition


def _data(job: BackgroundJob, definition: JobDefinition) -> dict[str, Any]:
    """Return the data of a constructed job, as it stands in a descriptor."""
    names = [name.removeprefix(".") for name in definition.data_model.model_fields]
    values = {name: getattr(job, name) for name in names if hasattr(job, name)}
    found: dict[str, Any] = json.loads(definition.dump(values))
    return found


def _dependencies(job: BackgroundJob, definition: JobDefinition) -> dict[str | type, object]:
    """Return what the job was constructed with; the rest is left to ``given`` and ``container``."""
    found: dict[str | type, object] = {name: getattr(job, name) for name in definition.dependencies}
    return {name: value for name, value in found.items() if value is not NOT_INJECTED}
