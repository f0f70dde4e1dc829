"""Jobs that the store handed to this instance as they were submitted, because it was idle and offered slots."""

import asyncio
import json
import logging
import time
from collections.abc import Sequence

from application.runs.runner import JobRunner
from domain.errors import StoreUnavailable
from domain.runs.run import Claim
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.runs.scripts import Retention, source
from infrastructure.scheduling.claiming import Claiming, claimed

log = logging.getLogger(__name__)

LAST_PATIENCE_S = 1.0
"""How long a stop waits for the store to take back what was handed over and not heard of."""


class HandedJobs:
    """Begin what was handed over, as a claim would, and refuse what there is no slot for any more.

    Who has the turn may be giving slots away, or may give back what nobody here knows of: what is heard meanwhile
    waits for its end. What was not heard, or too late, lapses, and others take it over. All on the event loop.
    """

    def __init__(
        self, store: RedisStore, retention: Retention, claiming: Claiming, runner: JobRunner, lease_ms: int
    ) -> None:
        self._prefix = f"{store.prefix}:"
        self._reclaim = store.command.register_script(source("reclaim", retention))
        self._claiming = claiming
        self._runner = runner
        self._patience_ms = lease_ms / 2
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[int, Claim]] = []
        claiming.released = self._turn_released

    def hear(self, text: str) -> None:
        """Take what enqueue.lua says of one job: when it was handed over (ms), and what a claim is told."""
        try:
            handed_at, *row = json.loads(text)
            claim = claimed(row)
            self._waiting.append((int(handed_at), claim))
        except (ValueError, TypeError) as error:
            log.error("a job that was handed over is left to others: it cannot be read: %s", error)  # noqa: TRY400
        self._accept()

    def forget(self, run_ids: Sequence[str]) -> None:
        """Do not begin these: they were cancelled."""
        self._waiting = [one for one in self._waiting if one[1].spec.run_id not in run_ids]

    async def stop(self) -> None:
        """Refuse what has been heard, and give back what has not; ``hear`` is called no more."""
        self._accept()
        try:
            with store_errors():
                async with asyncio.timeout(LAST_PATIENCE_S):
                    await self._reclaim(keys=[self._prefix], args=self._claiming.words_of_return(since_ms=0))
        except StoreUnavailable as error:
            log.debug("what was handed over in the last moment lapses: %s", error)

    def _turn_released(self) -> None:
        if self._waiting:
            self._loop.call_soon_threadsafe(self._accept)

    def _accept(self) -> None:
        while self._waiting and self._claiming.turn.acquire(blocking=False):
            waiting, self._waiting = self._waiting, []
            try:
                for handed_at, claim in waiting:
                    self._begin(handed_at, claim)
            finally:
                self._claiming.release()

    def _begin(self, handed_at: int, claim: Claim) -> None:
        late_ms = time.monotonic() * 1000 + (self._claiming.clock.ahead_ms or 0) - handed_at
        if handed_at <= self._claiming.given_back_until or late_ms > self._patience_ms:
            log.info("run %s was handed over %.1f s ago and is left to others", claim.spec.run_id, late_ms / 1000)
        elif self._claiming.free_slots:
            self._runner.hold([claim])
            self._runner.start([claim])
        else:
            self._runner.refuse(claim)
