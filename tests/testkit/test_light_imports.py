"""What a job's author imports brings in no more than it needs: nothing of servers, stores or clients.

Asked of an interpreter of its own. Of the time that ``application.scheduling`` takes to import, two thirds go to
pydantic; what is listed here would multiply it. Figures: docs/performance.md.
"""

import subprocess
import sys

import pytest

import application.scheduling

SERVERS = {"fastapi", "starlette", "uvicorn", "sse_starlette", "prometheus_client", "opentelemetry", "jinja2"}
CLIENTS = {"redis", "hiredis", "httpx2", "aiohttp", "typer", "click", "rich", "psutil", "sqlite3"}
HEAVY = {
    *SERVERS,
    *CLIENTS,
    "dependency_injector",
    "apscheduler",
    "multiprocessing",
    "pydantic.v1",
    "pytest",
    "hypothesis",
}

LOADED_WHEN_ASKED_FOR = {
    "asyncio",
    "concurrent.futures",
    "ssl",
    "subprocess",
    "pydantic.networks",
    "application.scheduling.bus",
    "application.scheduling.scheduler",
    "application.scheduling.triggers",
}
"""What stands behind the bus and the scheduler: a third of the time that a module of jobs would take to import."""


def brought_in(statement: str) -> set[str]:
    """Return the modules there are after a statement, as a fresh interpreter says."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(answer.stdout.split())


@pytest.mark.parametrize("module", ["application.scheduling", "testing", "domain.runs.job"])
def test_what_authors_import_is_light(module: str) -> None:
    found = brought_in(f"import {module}")
    assert module in found
    assert found & HEAVY == set()
    assert {name for name in found if name.startswith("infrastructure")} <= {
        "infrastructure",
        "infrastructure.events",
        "infrastructure.events.wire",
    }


def test_a_module_of_jobs_does_not_wait_for_the_scheduler() -> None:
    found = brought_in(
        "from application.scheduling import backgroundjob, JobContext, RecurrentTaskDescriptor, RetryPolicy"
    )
    assert found & (HEAVY | LOADED_WHEN_ASKED_FOR) == set()


def test_a_client_is_loaded_by_whoever_sends() -> None:
    found = brought_in("import infrastructure.monitoring.channels.webhook, infrastructure.monitoring.channels.making")
    assert found & {"httpx2", "aiohttp", "apprise", "aioboto3"} == set()


def test_the_bus_and_the_scheduler_are_there_for_whoever_asks() -> None:
    asked = """
import application.scheduling as here
assert {"BackgroundTasksBus", "BackgroundTaskScheduler", "backgroundjob"} <= set(dir(here))
from application.scheduling import *
assert BackgroundTasksBus is here.BackgroundTasksBus is here.bus.BackgroundTasksBus
assert BackgroundTaskScheduler.__module__ == "application.scheduling.scheduler"
assert "BackgroundTaskScheduler" in vars(here)
"""
    assert brought_in(asked) & LOADED_WHEN_ASKED_FOR >= {"asyncio", "application.scheduling.scheduler"}


def test_a_name_that_is_not_there_is_told_as_ever() -> None:
    with pytest.raises(AttributeError, match=r"module 'application\.scheduling' has no attribute 'Backgroundtasksbus'"):
        application.scheduling.Backgroundtasksbus  # type: ignore[attr-defined]  # noqa: B018 - this is the test
    with pytest.raises(ImportError, match=r"cannot import name 'TasksBus' from 'application\.scheduling'"):
        from application.scheduling import TasksBus  # type: ignore[attr-defined]  # noqa: F401


def test_a_run_of_a_job_without_containers_stays_light() -> None:
    job = """
from application.scheduling import *
from testing import run_job_sync
@backgroundjob(task_type="scheduled")
class Job(ScheduledBackgroundJob):
    bus: Injected[BackgroundTasksBus]
    def run_at(self): return 1
assert run_job_sync(Job).result == 1
"""
    assert brought_in(job) & HEAVY == set()


def test_the_check_sees_what_is_imported() -> None:
    assert brought_in("import application.scheduling, redis") & HEAVY >= {"redis"}
