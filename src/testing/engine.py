"""What executes in a kit: the program's own runner, with the kit's stores and the kit's time."""

import asyncio
import time
from inspect import iscoroutinefunction

from application.runs.injection import Injector
from application.runs.observer import RunObserver
from application.runs.registry import JobRegistry
from application.runs.runner import JobRunner
from application.scheduling.scheduler import BackgroundTaskScheduler
from domain.runs.run import Claim
from testing.clock import RUN, KitClock
from testing.events import MemoryEventBus
from testing.memory import Memory
from testing.runs import MemoryRuns
from testing.schedules import MemorySchedules

CONCURRENCY = 500
"""Slots, as many as the program has by default."""
THREAD_PATIENCE_S = 30.0
"""How long the kit waits (really) for a sync body, which runs in a thread: longer than a test should take."""
CYCLES = 50
"""So many turns of the event loop a body gets at least, before the kit takes it for waiting."""
ROUNDS = 1_000
"""When what follows from each other at one moment goes on for so long, it will not come to an end."""
CALM = 5
"""So many turns of the event loop without news, and sleeping bodies sleep in all their parts."""


class KitObserver(RunObserver):
    """Let the kit's time hold within runs, and keep what bodies raised."""

    def __init__(self, clock: KitClock) -> None:
        self._clock = clock
        self.raised_by: dict[str, BaseException] = {}
        """What the last attempt of a run raised, by the run's id."""
        self.verdict: BaseException | None = None
        """What pytest raised in a body: by ``pytest.fail``, or as the test's time is up. It is about the test."""

    def began(self, claim: Claim) -> None:
        """From here on, and in all that the body begins, the kit's time holds."""
        RUN.set((self._clock, claim.spec.run_id))
        self.raised_by.pop(claim.spec.run_id, None)

    def raised(self, claim: Claim, error: BaseException) -> None:
        """Keep the exception itself; production keeps its text."""
        self.raised_by[claim.spec.run_id] = error
        if any(base.__module__.startswith("_pytest.") for base in type(error).__mro__):
            self.verdict = error


class KitEngine:
    """Fire, claim and execute what is due at the kit's time, until nothing more happens at that time."""

    def __init__(
        self,
        memory: Memory,
        schedules: MemorySchedules,
        runs: MemoryRuns,
        events: MemoryEventBus,
        registry: JobRegistry,
        injector: Injector,
        clock: KitClock,
        patience_s: float,
    ) -> None:
        self._memory = memory
        self._schedules = schedules
        self._runs = runs
        self._events = events
        self._registry = registry
        self._clock = clock
        self._patience_s = patience_s
        self._waits: set[str] = set()
        """Runs whose bodies wait for something that is neither time nor about to come."""
        self.scheduler: BackgroundTaskScheduler
        self.observer = KitObserver(clock)
        self.runner = JobRunner(
            registry, injector, runs, concurrency=CONCURRENCY, observer=self.observer, now=clock.datetime
        )
        runs.freed = self._freed
        runs.revoke = self._revoke

    def begin(self) -> None:
        """Look anew at each body that waits: the test may have done something since."""
        self._waits.clear()

    def next_moment(self) -> int | None:
        """Return when (ms) something happens next: a fire, a delayed run, a retry, a timer of a body; or None."""
        moments = (self._schedules.next_look(), self._runs.next_later(), self._clock.next_timer())
        return min((moment for moment in moments if moment is not None), default=None)

    async def settle(self) -> None:
        """Let everything happen that is due now; raise ``AssertionError`` when that has no end."""
        busy, rounds = True, 0
        while busy:
            rounds += 1
            if rounds > ROUNDS:
                last = self._memory.all_runs[-1].spec.name if self._memory.all_runs else "an event's handler"
                now = self._clock.datetime().isoformat()
                raise AssertionError(f"what happens at {now} has no end: each run leads to another; the last is {last}")
            fired = self._schedules.fire()
            claims = self._runs.claim(self.runner.free_slots)
            self.runner.hold(claims)
            self._clock.call(self.runner.start, claims)
            stirred = await self._calm()
            if self.observer.verdict is not None:
                raise self.observer.verdict
            parked = await self._park()
            busy = await self._events.deliver() or fired or bool(claims) or parked or stirred

    async def let_bodies_pass(self, end: int) -> None:
        """Let it be ``end`` (ms) for the bodies that execute, and fire and claim nothing meanwhile."""
        while (due := self._clock.next_timer()) is not None and due <= end:
            self._clock.move_to(due)
            await self._calm()
        self._clock.move_to(end)

    async def stop(self) -> None:
        """Cancel the bodies that still execute, and wait for their end."""
        await self.runner.drain(0.0)

    def executing(self) -> list[str]:
        """Return the runs whose bodies have not ended."""
        return sorted(self.runner.held)

    async def _calm(self) -> bool:
        """Wait until every body has ended, sleeps, or waits for something else; tell whether a body ended meanwhile."""
        before = len(self.runner.held)
        began, cycles = time.monotonic(), 0
        while busy := self._busy():
            await asyncio.sleep(0 if cycles < CYCLES else 0.001)
            cycles += 1
            waited = time.monotonic() - began
            if cycles >= CYCLES:
                self._waits.update(run_id for run_id in busy if waited > self._patience(run_id))
        await self._no_news()
        return len(self.runner.held) < before or bool(self._busy())

    async def _no_news(self) -> None:
        calm, seen = 0, self._seen()
        while calm < CALM:
            await asyncio.sleep(0)
            calm = calm + 1 if self._seen() == seen else 0
            seen = self._seen()

    def _seen(self) -> tuple[int, int, int, int]:
        return self._clock.made, len(self.runner.held), len(self._events.events), len(self._memory.all_runs)

    def _busy(self) -> set[str]:
        return set(self.runner.held) - self._clock.sleepers() - self._waits

    def _patience(self, run_id: str) -> float:
        claim = self.runner.held.get(run_id)
        definition = self._registry.definitions.get(claim.spec.name) if claim else None
        if definition is None or iscoroutinefunction(getattr(definition.cls, definition.body)):
            return self._patience_s
        return THREAD_PATIENCE_S

    async def _park(self) -> bool:
        """Park the schedules of fires whose payload does not load."""
        found, self._runs.unloadable = self._runs.unloadable, []
        for claim, why in found:
            await self.scheduler.park(claim.spec.job_id, why, claim.spec.incarnation, claim.spec.generation)
        return bool(found)

    def _freed(self, claim: Claim) -> None:
        self.runner.forget([claim])

    def _revoke(self, run_id: str) -> None:
        self._clock.call(self.runner.revoke, run_id, "it was cancelled")
