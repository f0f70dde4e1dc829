"""Wait for a store that is not there yet: what is started together comes up in any order."""

import asyncio
import logging
import time

from infrastructure.redis.connection import RedisStore
from infrastructure.redis.errors import StoreAway

log = logging.getLogger(__name__)

RETRY_S = 0.5
SAY_EVERY_S = 5.0


async def open_patiently(store: RedisStore, patience_s: float) -> None:
    """Open the store, trying again for ``patience_s`` seconds while it is away (``StoreAway``).

    Says at once and then every few seconds what it waits for; raises what was wrong last. A wrong password, or a server
    that is too old, is not waited for.
    """
    end, say_at = time.monotonic() + patience_s, 0.0
    while True:
        try:
            return await store.open()
        except StoreAway as error:
            now = time.monotonic()
            if now >= end:
                raise
            if now >= say_at:
                log.warning("waiting up to %.0f s more for the store: %s", end - now, " ".join(str(error).split()))
                say_at = now + SAY_EVERY_S
            await asyncio.sleep(min(RETRY_S, end - now))
