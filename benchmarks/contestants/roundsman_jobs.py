"""The job that the benchmark lets Roundsman run, and the dependency that is injected into it."""

from dependency_injector import containers, providers

from application.scheduling import Injected, JobContext, RecurrentBackgroundJob, backgroundjob
from benchmarks.contestants.interface import Recorder

RECORDER = Recorder()
"""Replaced by the contestant before the container is made."""


@backgroundjob(task_type="recurrent")
class Tick(RecurrentBackgroundJob):
    """Do nothing, and say when."""

    index: int
    recorder: Injected[Recorder]

    async def run_every(self, ctx: JobContext) -> None:
        """Note the start."""
        self.recorder.record(self.index, ctx.fire_time.timestamp())


def recorder() -> Recorder:
    """Return the recorder of this process."""
    return RECORDER


class BenchmarkContainer(containers.DeclarativeContainer):
    """Give the recorder."""

    recorder = providers.Singleton(recorder)
