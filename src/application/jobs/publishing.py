"""Handing jobs over to what executes them: the one seam between the job service and the engines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from application.runs.asking import Note
from domain.errors import StoreUnavailable
from domain.runs.run import RunSpec, RunStatus

Verdict = Literal["created", "same", "conflict", "taken", "full"]
MOST_IN_ONE_STEP = 250
"""Jobs: the store serves nobody else meanwhile."""
UNNAMED = "-"
"""The ids in a pattern's spec."""


@dataclass(frozen=True, slots=True, eq=False)
class JobPattern:
    """What many jobs have in common: all but their ids and data. Times in ms of the store's clock.

    ``spec`` is that of each of them, with ``UNNAMED`` for its ids. ``ahead_ms``: how much earlier than they came they
    are placed. ``limit_key`` is shared by those of which ``at_once`` execute at a time.
    """

    spec: RunSpec
    due_ms: int | None = None
    expires_ms: int | None = None
    ahead_ms: int = 0
    limit_key: str = ""
    at_once: int = 1


class NewJob(NamedTuple):
    """A job to be accepted: ``data`` is its JSON. ``digest`` tells what was asked for under the idempotency ``key``."""

    id: str
    pattern: JobPattern
    data: str
    key: str = ""
    digest: str = ""


class Accepted(NamedTuple):
    """The answer for one job.

    ``created``; ``same``: its key was seen with the same digest, and ``id`` is the job of then, without a status when
    it is no longer kept; ``conflict``: with another one; ``taken``: the id is in use; ``full``: ``waiting`` jobs wait
    in its queue.
    """

    verdict: Verdict
    id: str
    status: RunStatus | None = None
    queued_ms: int | None = None
    waiting: int = 0

    @property
    def is_new(self) -> bool:
        """Whether it was made now."""
        return self.verdict == "created"


class QueuePublisher(Protocol):
    """Put jobs into their queues, from where an engine takes them. Raises ``StoreUnavailable``.

    Whatever the engine is, what it is given is in the store first, with its idempotency key and its event, in one
    atomic step; an engine with a broker of its own is sent the ids after that, and claims in the store what it is sent.
    """

    async def publish(
        self, jobs: Sequence[NewJob], most_waiting: dict[str, int], note: Note | None
    ) -> Sequence[Accepted | StoreUnavailable]:
        """Accept jobs in one step, each whole or not at all, and answer for each in the order asked.

        For what the store gave no answer about it is ``StoreUnavailable``: that may have been accepted.
        ``most_waiting`` is by queue. ``note`` is written down when a job was accepted. One step is
        ``MOST_IN_ONE_STEP`` jobs at most.
        """
        ...

    async def republish(self, job_ids: Sequence[str], why: str, note: Note | None) -> dict[str, str]:
        """Queue jobs again that are over without success; return the status each had, '' for one that is not there."""
        ...
