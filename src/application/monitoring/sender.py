"""Send what is in the outbox: leased, in order, again until it arrives, by one instance at a time."""

import asyncio
import contextlib
import logging
import random
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from application.monitoring.outbox import Outbox, Sending
from domain.errors import StoreUnavailable
from domain.monitoring.notification import Notification

log = logging.getLogger(__name__)

AT_ONCE = 50
LEASE_S = 30.0
SEND_TIMEOUT_S = 10.0
"""Less than the lease: nobody else may send a message while this instance still does."""
POLL_S = 1.0
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 300.0
GIVE_UP_AFTER = timedelta(hours=24)


class Channel(Protocol):
    """A way to reach people; its ``name`` is what the outbox calls it."""

    name: str

    @abstractmethod
    async def send(self, notification: Notification) -> None:
        """Deliver one message or raise. It may come a second time, with the same ``key``, after a crash in between."""


@dataclass
class SenderCounters:
    """What this instance sent. Each only grows."""

    sent: int = 0
    failed: int = 0
    given_up: int = 0


class NotificationSender:
    """Hosted service: takes what is due from the outbox and sends it. As many instances may run as like."""

    def __init__(
        self,
        outbox: Outbox,
        channels: Iterable[Channel],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        stop_grace_s: float = SEND_TIMEOUT_S,
        poll_s: float = POLL_S,
    ) -> None:
        self._outbox = outbox
        self._channels = {channel.name: channel for channel in channels}
        self._now = now
        self._stop_grace_s = stop_grace_s
        self._poll_s = poll_s
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing: dict[str, str] = {}
        """Channel -> why the last message did not go out on it."""
        self.counters = SenderCounters()
        self.trouble: str | None = None
        """What keeps messages from going out right now; None when all is well."""

    async def start(self) -> None:
        """Begin to send; twice is once."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="notification sender")

    async def stop(self) -> None:
        """Stop; messages that are being sent get a grace. One that is cut off is sent again when its lease has
        ended."""
        task, self._task = self._task, None
        if task is not None:
            self._news.set()
            _, late = await asyncio.wait([task], timeout=self._stop_grace_s)
            if late:
                task.cancel()
                await asyncio.wait([task])

    def wake(self) -> None:
        """Look into the outbox now rather than at the next poll."""
        self._news.set()

    async def send_due(self) -> int:
        """Send what is due, once; return how many messages were tried."""
        due = await self._outbox.take(AT_ONCE, LEASE_S)
        ended = await asyncio.gather(*(self._send(sending) for sending in due), return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error
        return len(due)

    async def _run(self) -> None:
        while self._task is not None:
            self._news.clear()
            if not await self._round() and self._task is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), self._poll_s)

    async def _round(self) -> int:
        try:
            tried = await self.send_due()
        except StoreUnavailable as error:
            self.trouble = str(error)
        except Exception as error:
            self.trouble = f"{type(error).__name__}: {error}"
            log.exception("the notification sender failed and goes on")
        else:
            self.trouble = "; ".join(f"channel {name}: {why}" for name, why in self._failing.items()) or None
            return tried
        return 0

    async def _send(self, sending: Sending) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._channel(sending.channel).send(sending.notification)
        except Exception as error:  # noqa: BLE001 - a channel may raise anything; the message is tried again
            await self._failed(sending, error)
        else:
            self.counters.sent += 1
            self._failing.pop(sending.channel, None)
            await self._outbox.done(sending)

    def _channel(self, name: str) -> Channel:
        channel = self._channels.get(name)
        if channel is None:
            raise LookupError(f"there is no channel '{name}' in this program's settings")
        return channel

    async def _failed(self, sending: Sending, error: Exception) -> None:
        self.counters.failed += 1
        why = self._failing[sending.channel] = str(error) or type(error).__name__
        key = sending.notification.key
        if self._now() - sending.notification.at > GIVE_UP_AFTER:
            self.counters.given_up += 1
            log.error("%s is given up on channel %s after %d tries: %s", key, sending.channel, sending.tries, why)
            await self._outbox.done(sending)
            return
        delay_s = retry_delay_s(sending.tries)
        log.warning("%s did not go out on channel %s, next try in %.0f s: %s", key, sending.channel, delay_s, why)
        await self._outbox.again(sending, delay_s)


def retry_delay_s(tries: int) -> float:
    """Return the wait after so many failed tries: doubling, capped, with jitter that spreads what failed together."""
    ceiling = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(tries - 1, 30))
    return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads load, guards nothing
