"""What makes a process execute: the scheduler's thread, renewal, settlement and the wake channel, started in order."""

import asyncio
import logging
import os
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from application.runs.injection import Injector
from application.runs.observer import UNOBSERVED, RunObserver
from application.runs.registry import JobRegistry
from application.runs.runner import JobRunner
from domain.runs.run import Claim
from infrastructure.redis.connection import RedisStore
from infrastructure.runs.loop_watch import Blockage
from infrastructure.runs.renewal import Renewal
from infrastructure.runs.scripts import Retention
from infrastructure.runs.settling import SettlementQueue
from infrastructure.runs.wake import Hearing, WakeListener
from infrastructure.scheduling.claim_at_once import ClaimAtOnce
from infrastructure.scheduling.claiming import Claiming, Pace
from infrastructure.scheduling.cluster import ClusterScheduler
from infrastructure.scheduling.handed import HandedJobs
from infrastructure.scheduling.tick import Tick

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineCondition:
    """What health says about an engine."""

    running: bool
    ticked_s_ago: float | None = None
    executing: int = 0
    free_slots: int = 0
    abandoned_bodies: int = 0
    blocked: Blockage | None = None
    """What blocks the event loop now, seen from the renewal thread."""
    was_blocked: Blockage | None = None
    """What blocked it last."""
    clock_behind_s: float = 0.0
    """For how long the store's clock, which was put back, still shows times that it has shown before."""


@dataclass(frozen=True)
class EngineFigures:
    """What an engine did since its start, for metrics. Each only grows."""

    passes: int
    taken: int
    """Schedules that its passes took."""
    taken_over: int
    """Runs of owners whose leases had lapsed."""
    renewed: int
    """Renewals, each of all leases at once."""
    renewals_failed: int
    stalls: int
    """How often its event loop was blocked, and for how long in all."""
    stalled_s: float
    scheduler_losses: int
    """How often its scheduler's thread lost the store, and its renewal thread."""
    renewal_losses: int


class Engine:
    """Execute due work in this process. A hosted service, owned by ``BackgroundTaskScheduler``.

    ``park`` is called with job id, reason, incarnation and generation when the payload of a fire does not load.
    """

    def __init__(
        self,
        store: RedisStore,
        instance_id: str,
        registry: JobRegistry,
        injector: Injector,
        *,
        pace: Pace,
        retention: Retention,
        concurrency: int = 500,
        grace_s: float = 10.0,
        role: str = "all",
        version: str = "",
        observer: RunObserver = UNOBSERVED,
        rules: str = "",
    ) -> None:
        """``rules``: weights and limits of queues and jobs, JSON as claim.lua reads it; '' for none."""
        self._rules = rules
        self._store = store
        self._instance = instance_id
        self._registry = registry
        self._injector = injector
        self._pace = pace
        self._retention = retention
        self._concurrency = concurrency
        self._grace_s = grace_s
        self._observer = observer
        self._facts = {"id": instance_id, "role": role, "version": version, "host": platform.node(), "pid": os.getpid()}
        self._draining = False
        self._hurried = asyncio.Event()
        self._started = False
        self.unsettled = 0
        """Runs that the last stop could neither settle nor give back: they lapse, and others take them over."""
        self._parking: set[asyncio.Task[None]] = set()
        self.park: Callable[[str, str, str, int], Any] = _no_park

    async def start(self) -> None:
        """Check that every job can be satisfied, then start; a second start does nothing."""
        if self._started:
            return
        self._injector.check(self._registry.definitions.values())
        self._draining = False
        self._hurried.clear()
        self._facts["started_at"] = datetime.now(UTC).isoformat()
        self._prepare_to_execute()
        self._prepare_to_claim()
        self._started = True
        try:
            await self._settlements.start()
            self._renewal.start()
            self._scheduler.start()
            await self._wake.start()
        except BaseException:
            await self.stop()
            raise

    def _prepare_to_execute(self) -> None:
        """Make what claimed runs need until the store has their outcomes."""
        self._settlements = SettlementQueue(self._store, self._instance, self._retention)
        self._settlements.settled = self._settled
        self._settlements.ready = self._look_for_runs
        self._settlements.park = self._park_fire
        self.runner = JobRunner(
            self._registry,
            self._injector,
            self._settlements,
            concurrency=self._concurrency,
            observer=self._observer,
        )
        self.runner.freed = self._freed
        self._renewal = Renewal(
            self._store,
            self._instance,
            self.runner,
            self._pace.lease_ms,
            self._pace.renew_every_s,
            self._retention,
            self._announcement,
        )

    def _prepare_to_claim(self) -> None:
        """Make the two that claim, and what wakes them."""
        self._claiming = Claiming(self._instance, self._registry, self.runner, self._pace, self._may_claim, self._rules)
        self._tick = Tick(
            self._store,
            self._instance,
            self._registry,
            self.runner,
            asyncio.get_running_loop(),
            self._pace,
            self._retention,
            self._claiming,
        )
        self._scheduler = ClusterScheduler(self._tick)
        self._at_once = ClaimAtOnce(
            self._store, self._retention, self._claiming, self.runner, self._pace.lease_ms, self._scheduler.wakeup
        )
        self._handed = HandedJobs(self._store, self._retention, self._claiming, self.runner, self._pace.lease_ms)
        self._wake = WakeListener(
            self._store,
            self._instance,
            Hearing(self._look_for_runs, self._claim_at_once, self._cancelled, self._handed.hear, self._listens),
        )

    def refuse_work(self) -> None:
        """Claim nothing from now on: the process is about to stop. Bodies go on."""
        self._draining = True

    def hurry(self) -> None:
        """Let ``stop`` wait no longer for running bodies; before it or while it waits."""
        self._hurried.set()

    async def stop(self) -> None:
        """Drain: claim nothing more, let bodies end, give the rest back, settle it all. Twice is fine."""
        if not self._started:
            return
        self._started = False
        self._draining = True
        await self._wake.stop()
        await self._at_once.stop()
        if self._scheduler.running:
            await asyncio.to_thread(self._scheduler.shutdown)
        self._tick.close()
        await self._handed.stop()
        await asyncio.sleep(0)  # what the last tick handed over begins, and is drained like the rest
        await self.runner.drain(self._grace_s, self._hurried)
        await self._settlements.stop()
        self.unsettled = len(self.runner.held)
        await asyncio.gather(*self._parking, return_exceptions=True)
        await self._renewal.stop()

    def condition(self) -> EngineCondition:
        """Return how it is doing; any thread may ask."""
        if not self._started:
            return EngineCondition(running=False)
        return EngineCondition(
            running=True,
            ticked_s_ago=round(time.monotonic() - self._tick.ticked, 3),
            executing=len(self.runner.held),
            free_slots=self.runner.free_slots,
            abandoned_bodies=self.runner.abandoned,
            blocked=self._renewal.watch.now,
            was_blocked=self._renewal.watch.last,
            clock_behind_s=self._claiming.clock.behind_s,
        )

    def figures(self) -> EngineFigures | None:
        """Return what it did since its start; None before it. Any thread may ask."""
        if not self._started:
            return None
        tick, renewal = self._tick, self._renewal
        return EngineFigures(
            passes=tick.passes,
            taken=tick.taken,
            taken_over=self._claiming.taken_over,
            renewed=renewal.renewed,
            renewals_failed=renewal.failed,
            stalls=renewal.watch.stalls,
            stalled_s=renewal.watch.stalled_s,
            scheduler_losses=tick.losses,
            renewal_losses=renewal.losses,
        )

    @property
    def clock_offset_s(self) -> float:
        """By how much this host's clock is ahead of the store's; 0.0 before the first look."""
        return self._renewal.presence.clock.seconds or 0.0 if self._started else 0.0

    def _may_claim(self) -> bool:
        return not self._draining and not self._renewal.loop_blocked

    def _announcement(self) -> dict[str, Any]:
        return {**self._facts, "claimed": len(self.runner.held), "lanes": list(self._registry.lanes)}

    def _settled(self, claims: Iterable[Claim]) -> None:
        self.runner.forget(claims)
        if self._claiming.held_back:  # a limit is of the store, and lets others go when the store knows
            self._look_for_runs()
        else:
            self._freed()

    def _freed(self) -> None:
        if self._claiming.claims_left:
            self._scheduler.wakeup()

    def _look_for_runs(self) -> None:
        self._claiming.runs_expected = True
        self._scheduler.wakeup()

    def _claim_at_once(self) -> None:
        self._claiming.runs_expected = True
        if not self._at_once.begin():
            self._scheduler.wakeup()

    def _listens(self, does: bool) -> None:
        self._claiming.listens = does
        if not does:
            self._claiming.was_deaf = True
            self._scheduler.wakeup()

    def _cancelled(self, run_ids: list[str]) -> None:
        self._handed.forget(run_ids)
        for run_id in run_ids:
            self.runner.revoke(run_id, "it was cancelled")

    def _park_fire(self, claim: Claim, why: str) -> None:
        task = asyncio.create_task(self._park(claim, why), name=f"park {claim.spec.job_id}")
        self._parking.add(task)
        task.add_done_callback(self._parking.discard)

    async def _park(self, claim: Claim, why: str) -> None:
        try:
            await self.park(claim.spec.job_id, why, claim.spec.incarnation, claim.spec.generation)
        except Exception:
            log.exception("schedule %s could not be parked; its next fire tries again", claim.spec.job_id)


async def _no_park(job_id: str, why: str, incarnation: str, generation: int) -> None:
    log.error("schedule %s cannot be loaded: %s", job_id, why)
