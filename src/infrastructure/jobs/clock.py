"""The store's time, for those who need it with every job and cannot ask each time."""

import time

from infrastructure.redis.connection import RedisStore

KEPT_S = 1.0
"""How long one answer is counted on from: a question each second costs nothing, and clocks do not drift so fast."""


class StoreClock:
    """Tell the store's time: asked for at most once a second, and counted on by this host's monotonic clock."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._told_ms = 0
        self._heard_at: float | None = None

    async def now(self) -> int:
        """Return it, ms. It is behind by as long as the answer took, and never ahead. Raises ``StoreUnavailable``."""
        if self._heard_at is None or time.monotonic() - self._heard_at > KEPT_S:
            self._told_ms = await self._store.now()
            self._heard_at = time.monotonic()
        return self._told_ms + int((time.monotonic() - self._heard_at) * 1000)
