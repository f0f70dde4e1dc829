"""The kit that a job's author tests with; ``docs/how-to/test-a-job.md`` shows how.

Nothing is set up at import. ``pytest_plugins = ["testing.plugin"]`` in a ``conftest.py`` adds the fixtures.
"""

from testing.blocking import BlockingJobKit
from testing.events import MemoryEventBus
from testing.kit import JobKit
from testing.one_job import run_job, run_job_sync
from testing.outcome import JobRun

__all__ = ["BlockingJobKit", "JobKit", "JobRun", "MemoryEventBus", "run_job", "run_job_sync"]
