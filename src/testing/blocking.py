"""The kit for tests that are not async."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

from application.scheduling.answers import Scheduled
from application.scheduling.bus import Descriptor
from domain.events.event import Event
from testing.errors import LoopRuns
from testing.expectations import Expectations
from testing.kit import JobKit
from testing.outcome import JobRun

T = TypeVar("T")


def refuse_running_loop(coroutine: Coroutine[Any, Any, Any], instead: str) -> None:
    """Raise ``LoopRuns`` where an event loop runs, which would be blocked."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    coroutine.close()
    raise LoopRuns(instead=instead)


class BlockingJobKit(Expectations):
    """A ``JobKit`` with an event loop of its own: the same methods, without ``await``. Takes what ``JobKit`` takes."""

    def __init__(self, *jobs: type, **options: Any) -> None:
        self.kit = JobKit(*jobs, **options)
        self._runner = asyncio.Runner()

    def __enter__(self) -> "BlockingJobKit":
        """Open it; raises what ``JobKit`` raises."""
        try:
            self.wait(self.kit.__aenter__())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what still executes, and close the loop."""
        try:
            self.wait(self.kit.__aexit__(kind, error, trace))
        finally:
            self._runner.close()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns: of ``kit.scheduler``, ``kit.bus`` or ``kit.events``.

        Raises ``LoopRuns`` in an async test.
        """
        refuse_running_loop(coroutine, "JobKit, or the fixture job_kit,")
        return self._runner.run(coroutine)

    def schedule(self, descriptor: Descriptor) -> Scheduled:
        """Put a descriptor into the store; see ``JobKit``."""
        return self.wait(self.kit.schedule(descriptor))

    def run_due(self) -> list[JobRun]:
        """Run what is due now; see ``JobKit``."""
        return self.wait(self.kit.run_due())

    def advance(self, seconds: float = 0.0, **step: float) -> list[JobRun]:
        """Let time pass; see ``JobKit``."""
        return self.wait(self.kit.advance(seconds, **step))

    def advance_to(self, moment: datetime | str) -> list[JobRun]:
        """Let time pass until ``moment``; see ``JobKit``."""
        return self.wait(self.kit.advance_to(moment))

    def outage(self, **step: Any) -> list[JobRun]:
        """Let time pass while nobody executes; see ``JobKit``."""
        return self.wait(self.kit.outage(**step))

    def drain(self) -> list[JobRun]:
        """Let time pass until no run is open; see ``JobKit``."""
        return self.wait(self.kit.drain())

    def runs(self, job: type | str | None = None) -> list[JobRun]:
        """Return runs; see ``JobKit``."""
        return self.kit.runs(job)

    @property
    def now(self) -> datetime:
        """The kit's time, UTC."""
        return self.kit.now

    @property
    def scheduled(self) -> list[Descriptor]:
        """What was accepted by the bus so far."""
        return self.kit.scheduled

    @property
    def published(self) -> list[Event]:
        """All events so far."""
        return self.kit.published
