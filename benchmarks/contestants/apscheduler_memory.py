"""APScheduler 3.11 with its memory store: what one process costs that keeps nothing and shares nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from apscheduler.events import EVENT_JOB_SUBMITTED, JobSubmissionEvent
from apscheduler.jobstores.base import BaseJobStore
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from benchmarks.contestants.interface import Case, Recorder

RECORDER = Recorder()
DUE: dict[str, float] = {}
"""Job id -> nominal due time of the fire that was submitted last. A job's function is not told it otherwise."""


def create(case: Case, recorder: Recorder) -> "APScheduler":
    """Return the contestant."""
    return APScheduler(case, recorder, MemoryJobStore())


async def tick(index: int, job_id: str) -> None:
    """Do nothing, and say when."""
    RECORDER.record(index, DUE[job_id])


def submitted(event: JobSubmissionEvent) -> None:
    """Note the due time; called before the function is, as that is a task of the same loop."""
    DUE[event.job_id] = event.scheduled_run_times[-1].timestamp()


class APScheduler:
    """The asyncio scheduler with its defaults: coalescing, one instance a job, 1 s of grace."""

    def __init__(self, case: Case, recorder: Recorder, store: BaseJobStore) -> None:
        global RECORDER  # a stored job refers to its function by name, and that can hold nothing
        RECORDER = recorder
        self._interval_s = case.interval_ms / 1000
        self._adds = case.adds
        self._scheduler = AsyncIOScheduler(jobstores={"default": store}, timezone=UTC)
        self._scheduler.add_listener(submitted, EVENT_JOB_SUBMITTED)

    async def open(self) -> None:
        """Start without processing anything."""
        self._scheduler.start(paused=True)

    async def add(self, first_due_ms: Sequence[int]) -> None:
        """Add one job after the other: its interface blocks."""
        for index, due in enumerate(first_due_ms):
            first = datetime.fromtimestamp(due / 1000, UTC)
            trigger = IntervalTrigger(seconds=self._interval_s, start_date=first, timezone=UTC)
            self._scheduler.add_job(tick, trigger, args=(index, f"s{index}"), id=f"s{index}", next_run_time=first)

    async def start(self) -> None:
        """Let it process what is due."""
        self._scheduler.resume()

    async def stop(self) -> None:
        """Stop."""
        self._scheduler.shutdown(wait=False)

    def facts(self) -> dict[str, str]:
        """Return versions and settings."""
        return {"version": version("apscheduler"), "redis-py": version("redis"), "set": "defaults"}
