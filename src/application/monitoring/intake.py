"""Samples on their way into the store and to their alerts: what was stored is evaluated before more is stored."""

import asyncio
import logging
from collections.abc import Sequence

from application.monitoring.alerting import AlertEngine
from application.monitoring.stores import Appended, Arrival, Samples
from application.monitoring.together import Together
from domain.monitoring.sample import MetricSample

log = logging.getLogger(__name__)

AT_ONCE = 50
"""Samples of one round: as long as storing and evaluating these takes is what an alert waits for at most."""
REMEMBERED = 20_000
"""Workers whose last evaluated sample is known until its event comes; it may never come to this process."""


class SampleIntake:
    """Take samples in rounds, one after another: store some, evaluate the alerts of their workers, let the looks end.

    When all workers of a fleet are looked at in one moment, samples therefore wait before they are stored, and not
    between being stored and being evaluated; and a look that has ended makes room for one that begins. The event of
    a sample finds it evaluated by then. It is what makes up for a process that dies between the two: whoever hears of
    a sample that was not evaluated does it.
    """

    def __init__(self, samples: Samples, alerts: AlertEngine) -> None:
        self._samples = samples
        self._alerts = alerts
        self._rounds: Together[Arrival, Appended] = Together(self._round, AT_ONCE)
        self._evaluates = False
        self._in_hand: set[str] = set()
        self._is_over = asyncio.Event()
        self._evaluated: dict[str, int] = {}

    async def start(self) -> None:
        """Do nothing: rounds begin with what comes. Hosted service: it ends after what looks at workers."""

    async def stop(self) -> None:
        """End the round under way, and who waits for one; twice is fine."""
        await self._rounds.stop()

    def open(self) -> None:
        """Evaluate what is stored from now on; before, that is left to who hears of it."""
        self._evaluates = True

    async def close(self) -> None:
        """Evaluate nothing any more, when the round under way is over; samples are stored as before."""
        self._evaluates = False
        while self._in_hand:
            await self._is_over.wait()

    async def take(self, sample: MetricSample, correlation_id: str | None = None) -> Appended:
        """Store a sample and evaluate it; return what ``Samples.append`` says of it, and raise what that raises.

        That it could not be evaluated is no fault of the look.
        """
        return await self._rounds.ask(Arrival(sample, correlation_id))

    async def has_evaluated(self, worker_id: str, time_ms: int) -> bool:
        """Tell, once, whether this process has evaluated a sample that it stored; while it does, wait."""
        while worker_id in self._in_hand:
            await self._is_over.wait()
        return self._evaluated.pop(worker_id, -1) >= time_ms

    async def _round(self, arrivals: Sequence[Arrival]) -> dict[Arrival, Appended | Exception]:
        self._in_hand, self._is_over = {one.sample.worker_id for one in arrivals}, asyncio.Event()
        try:
            verdicts = dict(zip(arrivals, await self._samples.append_all(arrivals), strict=True))
            if self._evaluates:
                await self._evaluate(
                    {one.sample.worker_id: one.sample for one in arrivals if verdicts[one] == "stored"}
                )
            return verdicts
        finally:
            self._in_hand = set()
            self._is_over.set()

    async def _evaluate(self, newest: dict[str, MetricSample]) -> None:
        try:
            done = await self._alerts.evaluate(newest) if newest else []
        except Exception as error:  # noqa: BLE001 - the events of these samples have them evaluated
            log.warning("%d samples are stored and will be evaluated later: %s", len(newest), error)
            return
        for worker_id in done:
            self._evaluated[worker_id] = newest[worker_id].time_ms
        while len(self._evaluated) > REMEMBERED:
            del self._evaluated[next(iter(self._evaluated))]
