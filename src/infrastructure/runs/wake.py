"""Hear at once what other instances changed: a hint by pub/sub, which the tick's poll makes up for when it is lost."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from application.tasks import end_task
from domain.errors import StoreUnavailable
from infrastructure.redis.connection import RedisStore, store_errors

log = logging.getLogger(__name__)

POLL_S = 5.0
RETRY_S = 1.0


@dataclass(frozen=True)
class Hearing:
    """What is called for what is heard, on the event loop."""

    wake: Callable[[], None]
    """Something changed, and is to be looked at."""
    ready: Callable[[], None]
    """Runs may be claimed."""
    cancel: Callable[[list[str]], None]
    """The runs with these ids were revoked."""
    handed: Callable[[str], None]
    """A job was handed over to this instance."""
    listens: Callable[[bool], None]
    """It hears what is said from now on, or no more: what is said meanwhile is not repeated."""


class WakeListener:
    """Listen on the wake channel of all instances, and on the channel of this one, to which jobs are handed over."""

    def __init__(self, store: RedisStore, instance_id: str, hearing: Hearing) -> None:
        self._blocking = store.blocking
        self._channel, self._own = store.key("wake"), store.key("hand", instance_id)
        self._hearing = hearing
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
                        await pubsub.subscribe(self._channel, self._own)
                        pubsub.connection.owes_answers = True
                        self._hearing.listens(True)
                        self._hearing.wake()  # what was said before is not repeated
                        while True:
                            self._hear(await pubsub.get_message(timeout=POLL_S))
            except StoreUnavailable as error:
                log.debug("the wake channel is cut off: %s", error)
            except Exception:
                log.exception("the wake listener failed")
            self._hearing.listens(False)
            await asyncio.sleep(RETRY_S)

    def _hear(self, message: dict[str, Any] | None) -> None:
        if message is None:
            return
        if message["channel"] == self._own:
            self._hearing.handed(message["data"])
            return
        word, _, rest = str(message["data"]).partition(" ")
        if word == "ready":
            self._hearing.ready()
            return
        if word == "cancel":
            self._hearing.cancel(rest.split())
        self._hearing.wake()
