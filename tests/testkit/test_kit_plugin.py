"""The pytest plugin: named in a conftest it gives fixtures, and named nowhere it is not even imported."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from application.scheduling import RecurrentTaskDescriptor
from testing import BlockingJobKit, JobKit
from testing.errors import LoopRuns
from testkit.sample_kit_jobs import Digest, Mailer

MODULE = """
import pytest

from application.scheduling import RecurrentBackgroundJob, RecurrentTaskDescriptor, backgroundjob


@backgroundjob(task_type="recurrent")
class Count(RecurrentBackgroundJob):
    def run_every(self) -> int:
        return 1


def descriptor():
    return RecurrentTaskDescriptor(id="c", name="Count", interval=60)


@pytest.fixture
def kit_options():
    return {"at": "2026-03-01T00:00:00Z"}


def test_blocking(blocking_job_kit):
    blocking_job_kit.schedule(descriptor())
    assert len(blocking_job_kit.advance(minutes=3)) == 3
    assert blocking_job_kit.now.month == 3


@pytest.mark.asyncio
async def test_asynchronous(job_kit):
    await job_kit.schedule(descriptor())
    assert len(await job_kit.advance(minutes=3)) == 3
"""


@pytest.fixture
def kit_options() -> dict[str, Any]:
    return {"given": {"mailer": Mailer()}, "at": "2026-02-01T00:00:00Z"}


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


async def test_the_fixture_takes_the_jobs_of_the_module_and_its_options(job_kit: JobKit) -> None:
    await job_kit.schedule(RecurrentTaskDescriptor(name="Digest", data={"to": "eve"}, interval=60))
    assert len(await job_kit.advance(60)) == 1
    assert job_kit.now.month == 2


def test_the_fixture_for_tests_that_are_not_async(blocking_job_kit: BlockingJobKit) -> None:
    kit = blocking_job_kit
    kit.schedule(RecurrentTaskDescriptor(id="d", name="Digest", data={"to": "eve"}, interval=60))
    assert kit.run_due() == []
    assert len(kit.advance(minutes=2)) == 2
    assert len(kit.outage(minutes=2)) == 1
    kit.advance_to("2026-02-01T00:30:00Z")
    assert kit.drain() == []
    assert kit.assert_ran(Digest, times=29) == kit.runs("d")
    assert [one.id for one in kit.scheduled] == ["d"]
    assert kit.assert_published("schedule.created") == kit.published[0]
    assert kit.wait(kit.kit.scheduler.get_task_info("d")).id == "d"


async def test_the_blocking_kit_is_refused_in_an_async_test() -> None:
    with pytest.raises(LoopRuns, match="fixture job_kit"), BlockingJobKit(Digest):
        pass


def test_a_project_names_the_plugin_in_its_conftest(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["testing.plugin"]\n')
    (tmp_path / "test_mine.py").write_text(MODULE)
    answer = run_pytest(tmp_path)
    assert "2 passed" in answer.stdout, answer.stdout


def test_a_module_without_jobs_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["testing.plugin"]\n')
    (tmp_path / "test_none.py").write_text("def test_it(blocking_job_kit): ...\n")
    answer = run_pytest(tmp_path)
    assert "The module 'test_none' has no background job. Define or import one there" in answer.stdout


def test_where_nobody_names_it_pytest_does_not_import_it(tmp_path: Path) -> None:
    text = "import sys\n\n\ndef test_it():\n    assert not {'testing', 'application', 'pydantic'} & set(sys.modules)\n"
    (tmp_path / "test_plain.py").write_text(text)
    answer = run_pytest(tmp_path, "-p", "no:hypothesispytest")
    assert "1 passed" in answer.stdout, answer.stdout
