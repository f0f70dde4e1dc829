"""The library's background jobs."""

from application.scheduling import Injected, RecurrentBackgroundJob, backgroundjob
from library import Loans, Postman


@backgroundjob(task_type="recurrent")
class RemindReaders(RecurrentBackgroundJob):
    """Write to everybody who has had a book for too long."""

    days: int = 28  # data: checked when it is scheduled, travels as JSON
    loans: Injected[Loans]  # dependencies: given anew for every run
    postman: Injected[Postman]

    async def run_every(self) -> dict[str, int]:
        """Remind all, and tell how many they were."""
        overdue = self.loans.overdue(self.days)
        for reader, book in overdue:
            await self.postman.deliver(f"Dear {reader}, please bring back '{book}'.")
        return {"reminded": len(overdue)}
