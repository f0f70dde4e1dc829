"""What a reader does when the store fails it: say so once, wait longer each time, say when it is over."""

import asyncio
import logging
import random

from redis.exceptions import RedisError

from infrastructure.events.options import Condition

log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 1.0
"""All runs again within 2 s of the store's return, which this and a connect must fit in."""


class Recovery:
    """The patience of one reader, which is known by ``name`` in logs and health."""

    def __init__(self, name: str, condition: Condition) -> None:
        self._name = name
        self._condition = condition
        self._failures = 0

    def succeeded(self) -> None:
        """Note that the store answered."""
        if self._failures:
            log.info("%s reads again after %d failures", self._name, self._failures)
            self._failures = 0
            self._condition.troubles.pop(self._name, None)

    async def failed(self, error: Exception) -> None:
        """Note a failure and wait: 50 ms, doubling up to 1 s, less up to half at random. Also for a bug of ours."""
        expected = isinstance(error, RedisError | OSError)
        self._condition.troubles[self._name] = f"{type(error).__name__}: {error}"
        if not self._failures:
            self._condition.counters.store_failures += 1
            log.warning("%s cannot read: %s", self._name, error, exc_info=None if expected else error)
        wait_s = min(FIRST_WAIT_S * 2 ** min(self._failures, 10), LONGEST_WAIT_S)
        self._failures += 1
        # Spread, so that all readers of all instances do not come back at once.
        await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - a spread, not a secret

    def forget(self) -> None:
        """Take this reader's trouble out of health: it has ended."""
        self._condition.troubles.pop(self._name, None)
