"""What a clock does for alerts: silent workers, regions that are down, repeats, and what nobody else would end."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from application.monitoring.alert_book import AlertBook
from application.monitoring.alerting import AlertEngine
from application.monitoring.looks import Looks, group_of
from application.monitoring.policy import Policies
from application.monitoring.rhythm import Rhythms
from application.monitoring.stores import Samples, Silence, Workers
from domain.monitoring.errors import AlertsChangedMeanwhile
from domain.monitoring.observation import Tick

log = logging.getLogger(__name__)

SILENT_AT_ONCE = 10_000
DUE_AT_ONCE = 2_000
ABANDONED_AT_ONCE = 500
TICKED_AGAIN_AFTER = timedelta(seconds=30)
"""A silent worker of whom all is told is ticked only so often: to see that it is paused, or no longer monitored."""
SHORTEST_SILENCE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""When nobody looked for silence for longer than this, the silence of that time is nobody's fault but ours."""


class AlertWatch:
    """Tick what needs a tick. Any instance may, and several at once: who comes second finds it done."""

    def __init__(
        self,
        engine: AlertEngine,
        workers: Workers,
        samples: Samples,
        book: AlertBook,
        rhythms: Rhythms,
        policies: Policies,
        looks: Looks,
    ) -> None:
        self._engine = engine
        self._workers = workers
        self._samples = samples
        self._book = book
        self._rhythms = rhythms
        self._policies = policies
        self._looks = looks
        self._rotation = 0
        self._quiet: dict[str, datetime] = {}
        """Silent workers of whom all is told -> when they are ticked next."""
        self._policy = ""

    async def check_providers(self) -> list[str]:
        """Step the alerts of regions in which looks fail; return those in which something is wrong or owed.

        It comes before the check for silence: what a region hides is then not told first.
        """
        found = await self._looks.reach(await self._workers.now())
        wrong = []
        for group, reach in sorted(found.items()):
            try:
                is_wrong = await self._engine.step_group(group, reach)
            except AlertsChangedMeanwhile as error:
                log.warning("%s", error)  # the next check steps it again
                is_wrong = True
            if is_wrong:
                wrong.append(group)
            elif not reach.failing:
                await self._looks.settle(group)
        return wrong

    async def check_silence(self) -> list[str]:
        """Tick the workers that were not heard of, for no-data rules; return those that are monitored and silent."""
        policy = await self._policies.current()
        shortest = min((rule.silent_min_s for rule in policy.rules if rule.is_no_data), default=None)
        if shortest is None:
            return []
        silence = await self._samples.silence(LONGEST_PAUSE_S, max(shortest, SHORTEST_SILENCE_S), SILENT_AT_ONCE)
        if policy.version != self._policy:
            self._policy, self._quiet = policy.version, {}
        self._quiet = {name: at for name, at in self._quiet.items() if name in silence.quiet_since and at > silence.now}
        return [name for name in silence.quiet_since if name in self._quiet or await self._tick(name, silence)]

    async def check_due(self) -> int:
        """Look again at alerts that only time changes: repeats, escalations, ends of silences; return how many.

        A change of rules or silences, and a region that goes down or comes back, make all open alerts due.
        """
        due = await self._book.due(await self._workers.now(), DUE_AT_ONCE)
        for worker_id in due:
            try:
                await self._engine.look_again(worker_id)
            except AlertsChangedMeanwhile as error:
                log.warning("%s", error)  # it stays due, and others are not kept waiting
        return len(due)

    async def close_the_abandoned(self) -> int:
        """Close the alerts of workers that were removed or are no longer monitored; return how many were open.

        Of many open alerts each call looks at some, in turn.
        """
        closed = 0
        for worker_id in await self._workers.orphans():
            closed += await self._engine.close(worker_id, "the worker was removed", is_removed=True)
        for worker_id in await self._next_unmonitored():
            closed += await self._engine.close(worker_id, "its monitoring was stopped or has ended")
        return closed

    async def _next_unmonitored(self) -> Sequence[str]:
        count, found = await self._book.unmonitored(self._rotation, ABANDONED_AT_ONCE)
        if not count and self._rotation:
            self._rotation = 0
            count, found = await self._book.unmonitored(0, ABANDONED_AT_ONCE)
        self._rotation = self._rotation + count if count == ABANDONED_AT_ONCE else 0
        return found

    async def _tick(self, worker_id: str, silence: Silence) -> bool:
        worker = await self._workers.get(worker_id)
        rhythm = await self._rhythms.of(worker_id, silence.now)
        if worker is None or rhythm is None:
            await self._samples.ignore([worker_id])
            return False
        if rhythm.is_paused:
            await self._samples.expect(worker_id, silence.now)
            await self._looks.forget(worker_id, group_of(worker.provider, worker.region))
            return False
        quiet_since = max(silence.quiet_since[worker_id], silence.watching_since)
        tick = Tick(silence.now, quiet_since, rhythm.interval_s)
        try:
            evaluation = await self._engine.observe(worker, lambda _: tick)
        except AlertsChangedMeanwhile as error:
            log.warning("%s", error)  # the next check ticks it again, and others are not kept waiting
            return True
        if evaluation.is_silence_told:
            self._quiet[worker_id] = silence.now + TICKED_AGAIN_AFTER
        return True
