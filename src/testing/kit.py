"""The kit: the whole life of jobs in one test, in memory, with time that moves when the test says so."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING

from application.events.bus import EventBus
from application.runs.registry import JobRegistry
from application.scheduling import BackgroundTasksBus, BackgroundTaskScheduler
from application.scheduling.answers import Scheduled
from application.scheduling.bus import Descriptor
from application.scheduling.moments import milliseconds
from domain.events.event import Event
from domain.scheduling.policy import aware_utc
from testing.clock import KitClock
from testing.engine import KitEngine
from testing.errors import ClockGoesForward, KitNotOpen, LoopUnusable
from testing.events import MemoryEventBus
from testing.expectations import Expectations
from testing.injection import Given, KitInjector
from testing.memory import Memory, MemoryRun
from testing.outcome import JobRun
from testing.runs import MemoryRuns
from testing.schedules import MemorySchedules

if TYPE_CHECKING:
    from testing.containers import Containers

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
"""A Monday morning: when it is at the beginning of a test that does not say so."""
INSTANCE = "test"
DRAIN_LIMIT = 10_000
"""A drain that made so many runs will not come to an end."""


class RecordingBus(BackgroundTasksBus):
    """The bus, which remembers what was scheduled through it."""

    def __init__(self, scheduler: BackgroundTaskScheduler) -> None:
        super().__init__(scheduler)
        self.scheduled: list[Descriptor] = []

    async def schedule_task(self, descriptor: Descriptor, *, fires_at_once: bool = False) -> Scheduled:
        """Schedule, and remember what was accepted."""
        answer = await super().schedule_task(descriptor, fires_at_once=fires_at_once)
        self.scheduled.append(descriptor)
        return answer


class JobKit(Expectations):
    """Schedule and run jobs as the program does, with its own code, on stores in memory.

    ``jobs`` are the classes the test is about. Dependencies come from ``given``, by field name or by type, then from
    ``container`` (or several; instances or classes), with whatever is overridden in it; the kit itself gives
    ``BackgroundTasksBus``, ``BackgroundTaskScheduler`` and ``EventBus``, also to what waits for them in ``container``,
    as the program does. What cannot be satisfied is refused when the kit opens.

    It is ``at`` (a time with a timezone, or its text) until ``advance``, ``advance_to``, ``drain`` or ``outage`` move
    the time on. ``patience_s`` real seconds a body may wait for something else than time, before time goes on.
    """

    def __init__(
        self,
        *jobs: type,
        given: Given | None = None,
        container: "Containers" = (),
        at: datetime | str = START,
        default_timeout_s: float = 300.0,
        patience_s: float = 1.0,
    ) -> None:
        self._registry = JobRegistry(jobs)
        self._clock = clock = KitClock(_moment(at))
        self.events = MemoryEventBus(clock, INSTANCE)
        self._memory = Memory(clock, INSTANCE, self.events.append)
        schedules = MemorySchedules(self._memory, self._registry, default_timeout_s)
        self._runs = MemoryRuns(self._memory)
        self.scheduler = BackgroundTaskScheduler(
            self._registry, schedules, self._runs, default_timeout_s=default_timeout_s, actor=lambda: INSTANCE
        )
        self.bus = RecordingBus(self.scheduler)
        own = {BackgroundTasksBus: self.bus, BackgroundTaskScheduler: self.scheduler, EventBus: self.events}
        self._injector = KitInjector(given or {}, container, own)
        self._engine = KitEngine(
            self._memory, schedules, self._runs, self.events, self._registry, self._injector, clock, patience_s
        )
        self._engine.scheduler = self.scheduler
        self._open = False

    async def __aenter__(self) -> "JobKit":
        """Check that every job can be satisfied, as the program does at its start."""
        self._injector.check(self._registry.definitions.values())
        self._take_time(asyncio.get_running_loop())
        await self.scheduler.start()
        self._open = True
        return self

    def _take_time(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._clock.install(loop)
        except (AttributeError, TypeError):
            self._injector.release()
            raise LoopUnusable(loop=type(loop).__name__) from None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what still executes, and give the loop its time back. Twice is fine."""
        if self._open:
            self._open = False
            await self._engine.stop()
            await self.scheduler.stop()
            self._clock.remove()
            self._injector.release()

    @property
    def now(self) -> datetime:
        """The kit's time, UTC."""
        return self._clock.datetime()

    async def schedule(self, descriptor: Descriptor) -> Scheduled:
        """Put a descriptor into the store, or raise what is wrong with it, as the bus does. Nothing is run yet."""
        return await self.bus.schedule_task(descriptor)

    async def run_due(self) -> list[JobRun]:
        """Run what is due now, and what follows from it at once; return the runs that ended."""
        return await self._while(lambda: None)

    async def advance(
        self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0
    ) -> list[JobRun]:
        """Let time pass: all that comes due fires in its order, retries and sleeping bodies go on, timeouts strike.

        Returns the runs that ended, in the order of their ends.
        """
        step = timedelta(seconds=seconds, minutes=minutes, hours=hours, days=days)
        return await self.advance_to(self.now + step)

    async def advance_to(self, moment: datetime | str) -> list[JobRun]:
        """Let time pass until ``moment``; see ``advance``. Raises ``ClockGoesForward`` for one that is past."""
        until = self._ahead(moment)

        def following() -> int | None:
            due = self._engine.next_moment()
            return due if due is not None and due <= until else None

        ended = await self._while(following)
        self._clock.move_to(until)
        return ended

    async def outage(self, *, until: datetime | str | None = None, **step: float) -> list[JobRun]:
        """Let time pass while nobody takes new work, then run what is due: late fires, as their catch-up policy says.

        Bodies that execute go on meanwhile. Returns the runs that ended afterwards.
        """
        self._must_be_open()
        end = self._ahead(self.now + timedelta(**step) if until is None else until)
        await self._engine.let_bodies_pass(end)
        return await self.run_due()

    async def drain(self) -> list[JobRun]:
        """Let time pass until no run is open: delayed one-shots run, retries are waited for, bodies sleep to their end.

        Schedules that come due on the way fire. What is parked stays. Raises ``AssertionError`` when it finds no end.
        """
        first = len(self._memory.all_runs)

        def following() -> int | None:
            if len(self._memory.all_runs) - first > DRAIN_LIMIT:
                raise AssertionError(f"drain has no end: it made {DRAIN_LIMIT} runs, and some are still open")
            is_open = any(not run.is_over and run.parked is None for run in self._memory.runs.values())
            return self._engine.next_moment() if is_open else None

        ended = await self._while(following)
        if waiting := self._engine.executing():
            held = ", ".join(waiting)
            raise AssertionError(f"these runs wait for something that does not come, with no timeout: {held}")
        return ended

    def runs(self, job: type | str | None = None) -> list[JobRun]:
        """Return all runs so far, of a job (its class or name) or of a schedule or one-shot (its id), oldest first."""
        name = None if job is None else job if isinstance(job, str) else job.__definition__.name  # type: ignore[attr-defined]
        found = [run for run in self._memory.all_runs if name in (None, run.job, run.spec.name)]
        return [self._shown(run) for run in found]

    @property
    def scheduled(self) -> list[Descriptor]:
        """What was accepted by the bus so far, by the test or by jobs, oldest first."""
        return list(self.bus.scheduled)

    @property
    def published(self) -> list[Event]:
        """All events so far, oldest first."""
        return list(self.events.events)

    async def _while(self, following: Callable[[], int | None]) -> list[JobRun]:
        """Settle what is due, go on to the moment that ``following`` returns, and so on until it returns None."""
        self._must_be_open()
        before = len(self._memory.ended)
        self._engine.begin()
        await self._engine.settle()
        while (moment := following()) is not None:
            self._clock.move_to(moment)
            await self._engine.settle()
        return [self._shown(run) for run in self._memory.ended[before:]]

    def _shown(self, run: MemoryRun) -> JobRun:
        outcome, raised = self._runs.outcomes.get(run.id), self._engine.observer.raised_by.get(run.id)
        return JobRun(run.record(INSTANCE), outcome, raised)

    def _ahead(self, moment: datetime | str) -> int:
        wanted = _moment(moment)
        if wanted < self.now:
            raise ClockGoesForward(now=self.now.isoformat(), wanted=wanted.isoformat())
        return milliseconds(wanted)

    def _must_be_open(self) -> None:
        if not self._open:
            raise KitNotOpen


def _moment(moment: datetime | str) -> datetime:
    return aware_utc(datetime.fromisoformat(moment) if isinstance(moment, str) else moment)
