"""Who looks on while runs begin and end: metrics, traces and the context of logs hang here, and nowhere else."""

from domain.runs.outcome import Outcome
from domain.runs.run import Claim


class RunObserver:
    """Hear what happens to the runs of this process, at the moment it happens; this one makes nothing of it.

    Each method is called for every run and must take microseconds, wait for nothing and raise nothing.
    """

    def fired(self, name: str, due: int) -> None:
        """Take that ``due`` due times of one job got a run, or were found to overlap; in the scheduler's thread."""

    def began(self, claim: Claim) -> None:
        """Take that a body is about to begin; on the event loop, in the context of this very run."""

    def raised(self, claim: Claim, error: BaseException) -> None:
        """Take what a body raised; on the event loop, in the context of its run."""

    def ended(self, claim: Claim, outcome: Outcome) -> None:
        """Take what a claim ended with, also one whose body never began; on the event loop, in any context."""


UNOBSERVED = RunObserver()
