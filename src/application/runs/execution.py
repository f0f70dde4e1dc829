"""One body at work: its task, its end, and what counts when it was told to end."""

import asyncio
import logging
from dataclasses import dataclass, field

from application.runs.context import StopSign
from domain.runs.outcome import Cancelled, Failed, Lost, Outcome, Released, Retry, Succeeded, Terminated
from domain.runs.run import Claim

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Execution:
    """A claim whose body runs, or is about to. ``ending`` is how it was ended from outside; the timer ends its time.

    ``deadline`` is when that is, by the loop's clock.
    """

    claim: Claim
    deadline: float
    stopped: StopSign
    task: "asyncio.Task[None]" = field(init=False)
    timer: asyncio.TimerHandle | None = None
    begun: bool = False
    ending: Outcome | None = None

    def disarm(self) -> None:
        """Cancel the timer, if there is one."""
        if self.timer is not None:
            self.timer.cancel()


def reason_of(ending: Outcome) -> str:
    """Return what a body reads in its ``CancelledError``."""
    match ending:
        case Lost(why) | Cancelled(why):
            return why
        case Released():
            return "its instance stops, and gives the run back"
        case Failed(error) | Retry(error):
            return error
        case _:
            return ""


def final(outcome: Outcome, ending: Outcome | None) -> Outcome:
    """Return what counts when a body was told to end: its own outcome, if it came to its end nevertheless."""
    if ending is None or (isinstance(outcome, Succeeded | Terminated) and not isinstance(ending, Lost)):
        return outcome
    return ending
