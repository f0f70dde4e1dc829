"""Send what is in the outbox: leased, in order, again until it arrives, by one instance at a time."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from application.monitoring.channel import Answer, Channel, NotDelivered
from application.monitoring.channels import Channels
from application.monitoring.outbox import Ending, Outbox, Sending
from application.monitoring.retrying import GIVE_UP_AFTER, decide
from application.tasks import end_task
from domain.errors import StoreUnavailable
from domain.monitoring.message import Message

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Messages on their way to one channel at a time, from one instance."""
LEASE_S = 30.0
SEND_TIMEOUT_S = 10.0
"""Less than the lease: nobody else may send a message while this instance still does."""
POLL_S = 1.0
ABANDONED_S = 60.0
"""How often is looked for what waits for a channel that is no longer in the settings."""


@dataclass
class SenderCounters:
    """What this instance sent, by channel. Each only grows."""

    sent: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    given_up: dict[str, int] = field(default_factory=dict)

    def count(self, what: dict[str, int], channel: str) -> None:
        """Add one."""
        what[channel] = what.get(channel, 0) + 1

    @property
    def totals(self) -> dict[str, int]:
        """All channels together."""
        return {name: sum(getattr(self, name).values()) for name in ("sent", "failed", "given_up")}


class NotificationSender:
    """Hosted service: takes what is due from the outbox and sends it. As many instances may run as like.

    Each channel has a task of its own, so that one that is slow or down keeps no other waiting.
    """

    def __init__(
        self,
        outbox: Outbox,
        channels: Channels,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        stop_grace_s: float = SEND_TIMEOUT_S,
        poll_s: float = POLL_S,
        give_up_after: timedelta = GIVE_UP_AFTER,
    ) -> None:
        self._outbox = outbox
        self._channels = channels
        self._now = now
        self._stop_grace_s = stop_grace_s
        self._poll_s = poll_s
        self._give_up_after = give_up_after
        self._news = {name: asyncio.Event() for name in channels.names}
        self._tasks: list[asyncio.Task[None]] = []
        self._is_running = self._is_stopping = False
        self._lost: dict[str, str] = {}
        """Channel -> why the outbox could not be asked for it."""
        self.counters = SenderCounters(*(dict.fromkeys(channels.names, 0) for _ in range(3)))

    @property
    def trouble(self) -> str | None:
        """What keeps this instance from asking the outbox; None when nothing does. Channels: see their circuits."""
        return "; ".join(sorted(set(self._lost.values()))) or None

    async def start(self) -> None:
        """Begin to send; twice is once."""
        if self._is_running:
            return
        self._is_running = True
        self._tasks = [
            asyncio.create_task(self._run(name), name=f"notification sender {name}") for name in self._channels.names
        ]
        self._tasks.append(asyncio.create_task(self._watch_abandoned(), name="notification sender, abandoned"))

    async def stop(self) -> None:
        """Stop; messages that are being sent get a grace. One that is cut off is sent again when its lease has
        ended."""
        self._is_running, self._is_stopping = False, True
        tasks, self._tasks = self._tasks, []
        self.wake()
        if tasks:
            *sending, watching = tasks
            await end_task(watching)
            if sending:
                await asyncio.wait(sending, timeout=self._stop_grace_s)
            for task in sending:
                await end_task(task)
        self._is_stopping = False

    def wake(self) -> None:
        """Look into the outbox now rather than at the next poll."""
        for news in self._news.values():
            news.set()

    async def send_due(self) -> int:
        """Send what is due on all channels, once; return how many messages were tried."""
        tried = await asyncio.gather(*(self._send_due(self._channels.get(name)) for name in self._channels.names))
        return sum(tried)

    async def give_up_abandoned(self) -> int:
        """Give up what waited for too long for channels that no settings name any more; return how many messages.

        Until then it is left alone: another instance, with newer settings, may know the channel.
        """
        given_up = 0
        for name, backlog in (await self._outbox.backlogs()).items():
            if name in self._channels.names or backlog.oldest_s < self._give_up_after.total_seconds():
                continue
            ending = Ending("expired", f"there is no channel '{name}' in the settings")
            taken = await self._outbox.take(name, AT_ONCE, LEASE_S)
            for sending in taken:
                self._tell(sending, ending)
            await self._outbox.settle_all([(sending, ending) for sending in taken])
            given_up += len(taken)
        return given_up

    async def _run(self, name: str) -> None:
        channel, news = self._channels.get(name), self._news[name]
        if channel.opens_early:
            await _make_ready(channel)
        while self._is_running:
            news.clear()
            if not await self._round(channel) and self._is_running:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), self._poll_s)

    async def _round(self, channel: Channel) -> int:
        try:
            tried = await self._send_due(channel)
        except StoreUnavailable as error:
            self._lost[channel.name] = str(error)
        except Exception as error:
            self._lost[channel.name] = f"{type(error).__name__}: {error}"
            log.exception("the notification sender failed and goes on")
        else:
            self._lost.pop(channel.name, None)
            return tried
        return 0

    async def _watch_abandoned(self) -> None:
        while True:
            await asyncio.sleep(ABANDONED_S)
            try:
                await self.give_up_abandoned()
            except StoreUnavailable as error:
                log.warning("what waits for channels of others could not be looked at: %s", error)
            except Exception:
                log.exception("looking at what waits for channels of others failed; it goes on")

    async def _send_due(self, channel: Channel) -> int:
        """Send what is due, and what falls due meanwhile, some at a time; return how many messages were tried.

        Whoever arrives makes room for the next: one that takes long holds up no other.
        """
        tried, under_way = 0, set[asyncio.Task[tuple[Sending, Ending]]]()
        error: Exception | None = None
        try:
            while under_way or not (error or self._is_stopping):
                try:
                    if not (error or self._is_stopping):
                        due = await self._outbox.take(channel.name, AT_ONCE - len(under_way), LEASE_S)
                        tried += len(due)
                        under_way |= {asyncio.create_task(self._send(channel, sending)) for sending in due}
                        if not under_way:
                            break
                    await self._settle_ended(under_way)
                except Exception as found:  # noqa: BLE001 - raised below: what is under way may get to its end
                    error = error or found
        finally:
            for task in under_way:
                await end_task(task)
        if error is not None:
            raise error
        return tried

    async def _settle_ended(self, under_way: set[asyncio.Task[tuple[Sending, Ending]]]) -> None:
        """Wait until some have ended, take these out, and settle them together."""
        done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        under_way -= done
        await self._outbox.settle_all([one.result() for one in done if one.exception() is None])
        for one in done:
            one.result()

    async def _send(self, channel: Channel, sending: Sending) -> tuple[Sending, Ending]:
        """Try once; return how it ended."""
        answer, failure = await try_to_send(channel, sending.message)
        if failure is None:
            ending = Ending("sent", answer=answer)
        else:
            ending = decide(failure, sending, self._now() - sending.oldest, self._give_up_after)
        self._tell(sending, ending)
        return sending, ending

    def _tell(self, sending: Sending, ending: Ending) -> None:
        """Count and tell how a try ended."""
        name, key, tries = sending.channel, sending.message.key, sending.tries
        about = f"{sending.message.title} ({key})"
        if ending.how == "sent":
            self.counters.count(self.counters.sent, name)
        else:
            self.counters.count(self.counters.failed, name)
        if ending.how == "again":
            log.warning("%s did not go out on channel %s, again in %.0f s: %s", about, name, ending.delay_s, ending.why)
        elif ending.how == "split":
            log.warning("%s was refused on channel %s and goes in two parts: %s", about, name, ending.why)
        elif ending.how != "sent":
            self.counters.count(self.counters.given_up, name)
            log.error("%s is given up on channel %s after %d tries: %s", about, name, tries, ending.why)


async def _make_ready(channel: Channel) -> None:
    try:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await channel.open()
    except Exception as error:  # noqa: BLE001 - a channel may raise anything; its first message tries again, and tells
        log.warning(
            "channel %s is not ready, which its first message tries again: %s", channel.name, as_failure(error).why
        )


async def try_to_send(channel: Channel, message: Message) -> tuple[Answer, NotDelivered | None]:
    """Try once, for a limited time; return what the other side said, and why it failed if it did."""
    try:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await channel.open()
            return await channel.send(message), None
    except Exception as error:  # noqa: BLE001 - a channel may raise anything
        failure = as_failure(error)
        return failure.answer, failure


def as_failure(error: Exception) -> NotDelivered:
    """Return what a channel raised as a failed delivery; what it did not foresee is told by its kind."""
    if isinstance(error, NotDelivered):
        return error
    if isinstance(error, TimeoutError):
        return NotDelivered(f"no answer within {SEND_TIMEOUT_S:g} s")
    if isinstance(error, OSError) and str(error):
        return NotDelivered(str(error))
    return NotDelivered(f"{type(error).__name__} (its text is not shown: it may have a secret in it)")
