"""Hear at once what other instances changed: a hint by pub/sub, which the tick's poll makes up for when it is lost."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from application.tasks import end_task
from domain.errors import StoreUnavailable
from infrastructure.redis.connection import RedisStore, store_errors

log = logging.getLogger(__name__)

POLL_S = 5.0
RETRY_S = 1.0


class WakeListener:
    """Listen on the wake channel: ``ready`` is called when runs may be claimed, ``cancel`` with ids of revoked runs.

    ``wake`` is called for whatever else may have changed.
    """

    def __init__(
        self,
        store: RedisStore,
        wake: Callable[[], None],
        ready: Callable[[], None],
        cancel: Callable[[list[str]], None],
    ) -> None:
        self._blocking = store.blocking
        self._channel = store.key("wake")
        self._wake = wake
        self._ready = ready
        self._cancel = cancel
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._listen(), name="wake listener")

    async def stop(self) -> None:
        """Stop listening."""
        await end_task(self._task)
        self._task = None

    async def _listen(self) -> None:
        while True:
            try:
                with store_errors():
                    async with self._blocking.pubsub(ignore_subscribe_messages=True) as pubsub:
                        await pubsub.subscribe(self._channel)
                        self._wake()  # what was said before is not repeated
                        while True:
                            self._hear(await pubsub.get_message(timeout=POLL_S))
            except StoreUnavailable as error:
                log.debug("the wake channel is cut off: %s", error)
            except Exception:
                log.exception("the wake listener failed")
            await asyncio.sleep(RETRY_S)

    def _hear(self, message: dict[str, Any] | None) -> None:
        if message is None:
            return
        word, _, rest = str(message["data"]).partition(" ")
        if word == "ready":
            self._ready()
            return
        if word == "cancel":
            self._cancel(rest.split())
        self._wake()
