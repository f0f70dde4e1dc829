"""The job that the benchmark lets Roundsman run."""

from application.scheduling import ScheduledBackgroundJob, backgroundjob
from benchmarks.contestants.jobs.interface import note


@backgroundjob(task_type="scheduled")
class Tick(ScheduledBackgroundJob):
    """Do nothing, and say when."""

    index: int

    async def run_at(self) -> None:
        """Note the run."""
        note(self.index)
