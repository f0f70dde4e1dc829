"""Jobs that the store handed to this instance as they were submitted, because it offered slots."""

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
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
    waits for its end, or for the next pass. What was not heard, or too late, lapses, and others take it over.
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
        self._waiting: deque[tuple[int, Claim]] = deque()
        claiming.released, claiming.heard = self._turn_released, self.take

    def hear(self, text: str) -> None:
        """Take what enqueue.lua says of one job: when it was handed over (ms), and what a claim is told."""
        try:
            handed_at, *row = json.loads(text)
            self._waiting.append((int(handed_at), claimed(row)))
        except (ValueError, TypeError, OverflowError) as error:
            log.error("a job that was handed over is left to others: it cannot be read: %s", error)  # noqa: TRY400
        self._accept()

    def forget(self, run_ids: Sequence[str]) -> None:
        """Do not begin these: they were cancelled."""
        for one in list(self._waiting):
            if one[1].spec.run_id in run_ids:
                with contextlib.suppress(ValueError):  # a pass may have taken it meanwhile
                    self._waiting.remove(one)

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

    def take(self) -> list[Claim]:
        """Hold what was heard of, and return it: it is to be begun. By who has the turn, in any thread."""
        taken = []
        while self._waiting:
            with contextlib.suppress(IndexError):  # ``forget`` took it
                handed_at, claim = self._waiting.popleft()
                if self._is_ours(handed_at, claim):
                    has_slot = self._claiming.free_slots > 0
                    self._runner.hold([claim])
                    if has_slot:
                        taken.append(claim)
                    else:
                        self._loop.call_soon_threadsafe(self._runner.refuse, claim)
        return taken

    def _accept(self) -> None:
        while self._waiting and self._claiming.turn.acquire(blocking=False):
            try:
                self._runner.start(self.take())
            finally:
                self._claiming.release()

    def _is_ours(self, handed_at: int, claim: Claim) -> bool:
        late_ms = time.monotonic() * 1000 + (self._claiming.clock.ahead_ms or 0) - handed_at
        # What is further ahead of it than a lease was given back by a clock that was put back since.
        was_given_back = 0 <= self._claiming.given_back_until - handed_at < 2 * self._patience_ms
        if was_given_back or late_ms > self._patience_ms:
            log.info("run %s was handed over %.1f s ago and is left to others", claim.spec.run_id, late_ms / 1000)
            return False
        return True
