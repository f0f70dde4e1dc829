"""What a job's author imports brings in no more than it needs: nothing of servers, stores or clients.

Asked of an interpreter of its own. Of the time that ``application.scheduling`` takes to import, three quarters go to
asyncio and pydantic; what is listed here would multiply it.
"""

import subprocess
import sys

import pytest

SERVERS = {"fastapi", "starlette", "uvicorn", "sse_starlette", "prometheus_client", "opentelemetry", "jinja2"}
CLIENTS = {"redis", "hiredis", "httpx2", "typer", "click", "rich", "psutil", "sqlite3"}
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
