"""The tick: claim, take, plan, commit. Runs in the scheduler's thread with a connection of its own."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from redis.exceptions import OutOfMemoryError

from application.runs.registry import JobRegistry
from application.runs.runner import JobRunner
from application.scheduling.planning import plan
from domain.errors import StoreUnavailable, StrangeKey
from domain.runs.run import Claim
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.redis.overlapping import OverlappingCalls
from infrastructure.runs.scripts import Retention, source
from infrastructure.scheduling.batch import Batch
from infrastructure.scheduling.claiming import LONGEST_WAIT_S, Claiming, Pace
from infrastructure.scheduling.known import KnownSchedules
from infrastructure.scheduling.prepared import Prepared

log = logging.getLogger(__name__)

BREATH_S = 0.005
"""After a pass that found work, what is due sooner than this waits so long: one pass for many fires."""
TURN_PATIENCE_S = 0.05
"""How long a pass waits for a claim that is under way on the event loop: what it commits without its turn is nobody's
own, and costs another claim. Nearly all claims have ended by then."""
SLOTS_PATIENCE_S, SLOTS_POLL_S = 0.05, 0.001
"""How long a pass waits for slots, and how often it looks: to be told of each that is free would cost each run more."""
LONGEST_HIDE_MS = 1_500
"""A take hides what it took from the others for no longer: so long does a taker that died, or did not hear the answer,
hold up its schedules. It spares work and guards nothing."""
CLAIMING_S = 0.25
"""How long a pass that fell behind claims before it fires, at most."""
MOST_PARTS, LEAST_PART = 8, 100
"""A pass commits in so many calls at most, and so many schedules in one at least. The store serves nobody else
meanwhile; and while it writes some, the next are planned."""
UNDER_WAY = 2
"""How many of these calls are under way at most: so the store has the next when it has done one, and need not wait for
this thread, which may wait for others itself."""


class Tick:
    """One pass over what is due. Called by one thread only, but for ``close``."""

    def __init__(
        self,
        store: RedisStore,
        instance_id: str,
        registry: JobRegistry,
        runner: JobRunner,
        loop: asyncio.AbstractEventLoop,
        pace: Pace,
        retention: Retention,
        claiming: Claiming,
    ) -> None:
        self._client = store.threaded()
        self._key = store.key
        self._prefix = f"{store.prefix}:"
        self._instance = instance_id
        self._registry = registry
        self._runner = runner
        self._loop = loop
        self._pace = pace
        self._claiming = claiming
        self._clock = claiming.clock
        self._owns = False
        """Whether this pass has the turn to claim."""
        self._take, self._commit, self._claim, self._reclaim = (
            self._client.register_script(source(name, retention)) for name in ("take", "commit", "claim", "reclaim")
        )
        self._known = KnownSchedules(self._definitions, registry, pace.default_timeout_s)
        self._down = self._strange = False
        self._waits_for_slots = True
        self._behind = False
        """Whether fires of the last pass had to become ready."""
        self.taken = self.passes = self.losses = 0
        """Schedules taken, whole passes, and times the store was lost, since the start."""
        self.ticked = time.monotonic()
        """When the last whole pass ended, by this machine's monotonic clock."""

    def __call__(self) -> float:
        """Do one pass and return how long to wait, in seconds.

        While a claim on the event loop does not come to its end, it only fires: that claim wakes the next pass if it is
        needed.
        """
        self._owns = self._waits_for_slots = self._claiming.turn.acquire(timeout=TURN_PATIENCE_S)
        try:
            if self._owns:
                self._begin(self._claiming.heard())
            return self._pass((self._reclaim_runs, self._claim_runs, self._fire) if self._owns else (self._fire,))
        finally:
            if self._owns:
                self._claiming.release()

    def _pass(self, steps: tuple[Callable[[], float], ...]) -> float:
        waits = []
        began = time.monotonic()
        for step in steps:
            try:
                with store_errors():
                    waits.append(step())
            except StoreUnavailable as error:
                if not self._down:
                    self.losses += 1
                    log.warning("the scheduler waits for the store: %s", error)
                self._down = True
                self._doubt(began)
                if not isinstance(error.__cause__, OutOfMemoryError):  # a full store still lets claims through
                    return LONGEST_WAIT_S / 4
            except StrangeKey as error:
                if not self._strange:
                    log.error("half a pass failed; the other half goes on, and it comes again: %s", error)  # noqa: TRY400
                self._strange = True
            except Exception:
                log.exception("half a pass failed; the other half goes on, and it comes again")
                self._doubt(began)  # another commit may have been under way
        if len(waits) == len(steps):
            self._passed()
        # The plans made some ready, or somebody said so meanwhile. Who still has the turn looks when it ends.
        if self._claiming.runs_expected and (self._owns or not self._claiming.turn.locked()):
            return 0.0
        return max(min([*waits, LONGEST_WAIT_S]), 0.0)

    def _passed(self) -> None:
        if self._down:
            log.info("the store is back; the scheduler goes on")
        self._down = self._strange = False
        self.passes += 1
        self.ticked = time.monotonic()

    def _doubt(self, began: float) -> None:
        if self._owns:
            self._claiming.doubt(began)

    def _reclaim_runs(self) -> float:
        """Give back what was claimed by a call that got no answer; else it would wait for the end of its lease."""
        claiming = self._claiming
        claiming.doubt_what_was_handed()
        if claiming.unsure_since is not None:
            now, back = self._call(self._reclaim, claiming.words_of_return(claiming.unsure_since))
            claiming.unsure_since, claiming.given_back_until = None, int(now)
            if back:
                log.warning("%d runs were claimed without this process hearing of it, and are given back", back)
        return LONGEST_WAIT_S

    def close(self) -> None:
        """Close the connection; after the thread has ended."""
        self._client.close()

    def _fire(self) -> float:
        """Take, plan and commit; return the seconds until something is due."""
        asked = time.monotonic()
        hide = self._clock.in_time(min(self._pace.lease_ms, LONGEST_HIDE_MS))
        words = [self._instance, hide, self._pace.batch, *self._registry.lanes]
        now_text, next_look, taken = self._call(self._take, words)
        now = int(now_text)
        self._clock.heard(now, asked)
        if not taken:
            return (int(next_look) - now) / 1000 if next_look else LONGEST_WAIT_S
        self._behind = False
        self.taken += len(taken)
        looks = self._commit_all(now, self._known.prepare(taken))
        if next_look:
            looks.append(int(next_look))
        return 0.0 if len(taken) >= self._pace.batch else max((min(looks, default=now + 1000) - now) / 1000, BREATH_S)

    def _commit_all(self, now: int, prepared: list[Prepared]) -> list[int]:
        """Plan and commit, some at a time; return when they are due next, as far as it is known."""
        looks: list[int] = []
        under_way: deque[Batch] = deque()
        part = max(-(-len(prepared) // MOST_PARTS), LEAST_PART)
        with OverlappingCalls(self._client, self._commit, [self._prefix]) as calls:
            for start in range(0, len(prepared), part):
                batch = self._planned(now, prepared[start : start + part])
                looks.extend(batch.looks)
                while len(under_way) >= UNDER_WAY or (under_way and self._slots_after(under_way) < len(batch.runs)):
                    self._committed(under_way.popleft(), calls.answer())
                free = self._slots(len(batch.runs)) if self._may_own() else 0
                calls.send([self._instance, free, self._clock.in_time(self._pace.lease_ms), *batch.arguments])
                under_way.append(batch)
            while under_way:
                self._committed(under_way.popleft(), calls.answer())
        return looks

    def _slots_after(self, under_way: Iterable[Batch]) -> int:
        """Return how many slots are free once those have theirs: a batch that needs more waits for answers."""
        return self._runner.free_slots - sum(len(batch.runs) for batch in under_way)

    def _slots(self, wanted: int) -> int:
        """Return how many runs may be this instance's own. Where they are too few, bodies that end soon are waited for.

        What becomes ready for want of a slot is claimed by another call, at the price of its commit. Once waited in
        vain, the rest of the pass does not wait.
        """
        until, wanted = time.monotonic() + SLOTS_PATIENCE_S, min(wanted, self._runner.concurrency)
        while (free := self._runner.free_slots) < wanted and self._waits_for_slots:
            self._waits_for_slots = time.monotonic() < until
            time.sleep(SLOTS_POLL_S)
        return min(free, self._claiming.free_slots)

    def _may_own(self) -> bool:
        return self._owns and not self._claiming.claims_left

    def _planned(self, now: int, prepared: list[Prepared]) -> Batch:
        batch = Batch(now)
        for schedule in prepared:
            self._plan(batch, schedule)
        return batch

    def _plan(self, batch: Batch, schedule: Prepared) -> None:
        try:
            policy = schedule.compiled.descriptor.policy
            trigger = schedule.compiled.trigger
            planned = plan(schedule.id, trigger, policy, schedule.due, batch.now, 2 * self._pace.lease_ms)
            batch.add(schedule, planned)
        except Exception:
            log.exception("schedule %s cannot be planned; the others go on", schedule.id)

    def _committed(self, batch: Batch, reply: Any) -> None:
        """Take what commit.lua says: runs that became this instance's own at once go to the event loop."""
        ready, _, tokens = reply
        self._claiming.runs_expected |= ready > 0
        self._behind |= ready > 0
        for schedule, run in batch.runs:
            self._runner.observer.fired(schedule.compiled.descriptor.name, 1 + run.missed)
        tokens = tokens or [""] * len(batch.runs)  # none: the store found this call too late, and changed nothing
        claims = [
            schedule.claim(run, token) for (schedule, run), token in zip(batch.runs, tokens, strict=True) if token
        ]
        self._runner.hold(claims)
        self._begin(claims)

    def _begin(self, claims: list[Claim]) -> None:
        if claims:
            self._loop.call_soon_threadsafe(self._runner.start, claims)

    def _claim_runs(self) -> float:
        """Claim what is ready; where fires are, as slots become free, for ``CLAIMING_S`` at most.

        What fires behind others that are ready has to be claimed too, at twice the price. So a process that fell behind
        would stay behind.
        """
        until = time.monotonic() + CLAIMING_S
        if (wait_s := self._claiming.due_in_s()) > 0:
            return wait_s
        wait_s = self._claim_some()
        while self._behind and self._claiming.claims_left and self._waits_for_slots and time.monotonic() < until:
            wait_s = self._claim_some()
        return wait_s

    def _claim_some(self) -> float:
        """Claim as many runs as there are free slots and hand them to the event loop."""
        claiming, asked = self._claiming, time.monotonic()
        claiming.begin()
        slots = self._slots(1)
        if not slots:
            return LONGEST_WAIT_S
        claims, wait_s = claiming.take(self._call(self._claim, claiming.words(slots)), asked)
        self._begin(claims)
        return wait_s

    def _definitions(self, schedule_ids: list[str]) -> list[str | None]:
        texts: Any = self._client.hmget(self._key("schedules"), schedule_ids)
        return list(texts)

    def _call(self, script: Any, words: list[Any]) -> Any:
        return script(keys=[self._prefix], args=words, client=self._client)
