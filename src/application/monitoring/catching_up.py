"""Evaluate the samples that came since the last ones that were evaluated, of many workers at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from application.monitoring.alert_book import NONE_AT_HAND, AlertBook, AlertStep, Backlog, WorkerAlerts
from application.monitoring.evaluation import Evaluation
from application.monitoring.rhythm import Rhythms
from application.monitoring.together import Together
from domain.monitoring.errors import AlertsChangedMeanwhile
from domain.monitoring.observation import Reading
from domain.monitoring.sample import MetricSample
from domain.monitoring.worker import Worker

TOGETHER = 100
"""Workers in one round: more gain little, and the store serves nobody else meanwhile."""
TRIES = 20
HOLD_S = 0.01
"""For so long others may wait for the event loop."""

EvaluationOf = Callable[[WorkerAlerts, Worker], Awaitable[Evaluation]]


class Part(NamedTuple):
    """What one round did for a worker: how many samples it evaluated, and how it stands now.

    ``stale``: somebody else was faster. ``more``: there are more samples than one round takes.
    """

    evaluated: int
    now: Literal["all", "more", "stale"]


NOTHING = Part(0, "all")


class CatchingUp:
    """Evaluate the nudged workers in rounds: one read of the store, an evaluation of each, one write.

    Each worker's step is stored or refused for itself; one that is refused is made again in a later round. So a round
    is only a way to ask the store less often, and any number of instances may evaluate the same workers.
    """

    def __init__(
        self,
        book: AlertBook,
        rhythms: Rhythms,
        evaluation: EvaluationOf,
        close: Callable[[str, str], Awaitable[int]],
    ) -> None:
        """``evaluation`` makes one of a worker's alerts; ``close`` ends the alerts of one that is not monitored."""
        self._book = book
        self._rhythms = rhythms
        self._evaluation = evaluation
        self._close = close
        self._rounds = Together(self._round, TOGETHER)

    async def of(self, worker_id: str) -> int:
        """Evaluate all that is new of a worker, in order; return how many samples that were."""
        evaluated = refused = 0
        while refused < TRIES:
            part = await self._rounds.ask(worker_id)
            evaluated += part.evaluated
            if part.now == "all":
                return evaluated
            refused = refused + 1 if part.now == "stale" else 0
        raise AlertsChangedMeanwhile(worker_id=worker_id, tries=TRIES)

    async def at_once(self, stored: Mapping[str, MetricSample]) -> list[str]:
        """Evaluate what is new of the workers of samples that were just stored, in a round of their own.

        Return those of whom nothing is left.
        The others were overtaken, have more samples than fit, or met an error: ``of`` goes on with them.
        """
        parts = await self._round(list(stored), stored)
        return [worker_id for worker_id, part in parts.items() if isinstance(part, Part) and part.now == "all"]

    async def stop(self) -> None:
        """End what is under way: what was not stored is evaluated by whoever is nudged next."""
        await self._rounds.stop()

    async def _round(
        self, worker_ids: Sequence[str], at_hand: Mapping[str, MetricSample] = NONE_AT_HAND
    ) -> dict[str, Part | Exception]:
        """Evaluate the next samples of some workers."""
        # Who is left out, as the first ones have so many samples, is read in the next round.
        parts: dict[str, Part | Exception] = dict.fromkeys(worker_ids, Part(0, "more"))
        steps: dict[str, AlertStep] = {}
        since = time.monotonic()
        for worker_id, backlog in zip(worker_ids, await self._book.backlog(worker_ids, at_hand), strict=False):
            try:
                parts[worker_id], step = await self._evaluated(worker_id, backlog)
            except Exception as error:  # noqa: BLE001 - told to who asked for this worker; the others go on
                parts[worker_id], step = error, None
            if step is not None:
                steps[worker_id] = step
            if time.monotonic() - since > HOLD_S:
                await asyncio.sleep(0)
                since = time.monotonic()
        verdicts = await self._book.commit_all(list(steps.values()))
        refused: dict[str, Part] = {"stale": Part(0, "stale"), "gone": NOTHING}
        for worker_id, verdict in zip(steps, verdicts, strict=True):
            parts[worker_id] = refused.get(verdict, parts[worker_id])
        return parts

    async def _evaluated(self, worker_id: str, backlog: Backlog | Exception) -> tuple[Part, AlertStep | None]:
        """Return the step over a worker's next samples, and what it does; None when there is nothing to do."""
        if isinstance(backlog, Exception):
            raise backlog
        samples = backlog.samples
        if not samples or backlog.worker is None:
            return NOTHING, None
        interval_s = backlog.interval_s
        if interval_s is None:
            rhythm = await self._rhythms.of(worker_id, samples[-1].observed_at)
            if rhythm is None:
                await self._close(worker_id, "its monitoring was stopped")
                return NOTHING, None
            interval_s = rhythm.interval_s
        evaluation = await self._evaluation(backlog.alerts, backlog.worker)
        for sample in samples:
            evaluation.observe(Reading(sample, sample.apart_s(interval_s)))
        return Part(len(samples), "more" if backlog.has_more else "all"), evaluation.step(samples[-1].time_ms)
