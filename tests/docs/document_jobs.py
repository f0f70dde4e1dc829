"""The jobs that the how-to guides schedule without showing them."""

from application.scheduling import RecurrentBackgroundJob, backgroundjob


@backgroundjob(task_type="recurrent")
class Invoice(RecurrentBackgroundJob):
    async def run_every(self) -> None: ...


@backgroundjob(task_type="recurrent")
class Poll(RecurrentBackgroundJob):
    async def run_every(self) -> None: ...


@backgroundjob(task_type="recurrent")
class Nightly(RecurrentBackgroundJob):
    """Fails, so that there is something to look for."""

    async def run_every(self) -> None:
        raise RuntimeError("the database is being moved")
