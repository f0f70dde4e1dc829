"""How the components of the program stand: what each of its health checks asks, and what it makes of the answer."""

import time

from infrastructure.container import RootContainer
from infrastructure.redis.connection import store_errors
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.redis.watch import StoreCondition, StoreWatch
from infrastructure.runs.presence import ClockOffset, Stopwatch
from infrastructure.web.health import Check, Finding, HealthStatus

CLOCK_WRONG_S = 5.0
"""A host whose clock is further off says so in health; due times go by the store's clock and are right all the same."""
BLOCKAGE_SHOWN_S = 300.0
"""A blocked loop cannot answer for itself: it is told for so long after it began."""
TICK_LATE_S = 5.0
"""A scheduler whose last pass is this old does not keep up, or its store is away."""


class Components:
    """The components of one open program."""

    def __init__(
        self,
        container: RootContainer,
        watch: StoreWatch | None,
        embedded: EmbeddedValkey | None,
        durability: str,
        executes: bool,
    ) -> None:
        self._container = container
        self._watch = watch
        self._embedded = embedded
        self._durability = durability
        self._executes = executes

    def checks(self) -> list[Check]:
        """Return one check for each component that there is."""
        checks = [Check("store", self._check_store), Check("events", self._check_events, HealthStatus.DEGRADED)]
        if self._container.jobs.history_part() is not None:
            checks.append(Check("history", self._check_history, HealthStatus.DEGRADED))
        if self._embedded is not None:
            checks.append(Check("embedded_valkey", self._check_embedded))
        if self._executes:
            checks.append(Check("scheduler", self._check_scheduler))
            checks.append(Check("sender", self._check_sender, HealthStatus.DEGRADED))
        return checks

    async def _check_store(self) -> Finding:
        clock, watch = ClockOffset(), Stopwatch()
        with store_errors():
            now = await self._container.store().command.time()
        took_s, ended = watch.read()
        clock.note(took_s, ended, now)
        ahead_s = clock.seconds or 0.0
        wrong = f"this host's clock is {ahead_s:+.1f} s off the store's" if abs(ahead_s) > CLOCK_WRONG_S else ""
        known = self._watch.condition if self._watch else StoreCondition()
        return Finding(
            HealthStatus.DEGRADED if known.troubles else HealthStatus.OK,
            "; ".join(filter(None, [*known.troubles, wrong])),
            {
                "answered_in_s": round(took_s, 4),
                "clock_offset_s": ahead_s,
                "durability": self._durability,
                **known.facts,
            },
        )

    async def _check_events(self) -> Finding:
        troubles = self._container.events().troubles
        if troubles:
            detail = "; ".join(f"{reader}: {what}" for reader, what in troubles.items())
            return Finding(HealthStatus.DEGRADED, detail)
        return Finding()

    async def _check_embedded(self) -> Finding:
        state = self._embedded.state if self._embedded else "stopped"
        return Finding(
            HealthStatus.OK if state == "running" else HealthStatus.DOWN, "" if state == "running" else state
        )

    async def _check_history(self) -> Finding:
        standing = await self._container.jobs.history_part().standing()
        status = HealthStatus.DEGRADED if standing.troubles else HealthStatus.OK
        return Finding(status, "; ".join(standing.troubles), standing.facts)

    async def _check_sender(self) -> Finding:
        """Tell what keeps alerts from arriving: the channels are as the store knows them, whichever instance sends."""
        sender, desk = self._container.monitoring.sender(), self._container.monitoring.channel_desk()
        lost = [f"alerts do not go out: {sender.trouble}"] if sender.trouble else []
        waiting = {one.channel: one.backlog.messages for one in await desk.waiting() if one.backlog.messages}
        troubles = [*lost, *await desk.troubles()]
        status = HealthStatus.DEGRADED if troubles else HealthStatus.OK
        return Finding(status, "; ".join(troubles), {**sender.counters.totals, "waiting": waiting})

    async def _check_scheduler(self) -> Finding:
        condition = self._container.scheduling.engine().condition()
        facts = {
            "executing": condition.executing,
            "free_slots": condition.free_slots,
            "abandoned_bodies": condition.abandoned_bodies,
            "ticked_s_ago": condition.ticked_s_ago,
        }
        if not condition.running:
            return Finding(HealthStatus.DOWN, "it is not started, or it is stopping", facts)
        if condition.blocked is not None:
            detail = f"{condition.blocked.by} blocks the event loop for {condition.blocked.lasted_s:.1f} s now"
            return Finding(HealthStatus.DEGRADED, detail, facts)
        if (past := condition.was_blocked) is not None and time.time() - past.began < BLOCKAGE_SHOWN_S:
            detail = f"{past.by} blocked the event loop for {past.lasted_s:.1f} s; make it async, or a plain def"
            return Finding(HealthStatus.DEGRADED, detail, facts)
        if condition.ticked_s_ago is not None and condition.ticked_s_ago > TICK_LATE_S:
            return Finding(HealthStatus.DOWN, f"its last pass was {condition.ticked_s_ago:.0f} s ago", facts)
        if condition.clock_behind_s:
            detail = f"the store's clock was put back: for {condition.clock_behind_s:.0f} s more schedules may not fire"
            return Finding(HealthStatus.DEGRADED, detail, facts)
        return Finding(facts=facts)
