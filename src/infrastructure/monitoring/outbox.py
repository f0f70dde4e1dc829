"""The outbox in Redis: a list of messages a lane, a lease while its first ones are being sent, a circuit a channel."""

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from application.monitoring.outbox import Backlog, Circuit, CircuitState, Ending, How, Outbox, Sending
from domain.monitoring.delivery import Delivery, Outcome, alerts_of
from domain.monitoring.notification import Notification
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.redis.connection import store_errors

OUTCOMES: dict[How, Outcome] = {
    "sent": "sent",
    "again": "retrying",
    "split": "split",
    "refused": "given_up",
    "expired": "given_up",
}


@dataclass(frozen=True)
class OutboxOptions:
    """How much goes together, when a channel is left alone, and how long deliveries are kept."""

    messages: int = 50
    """Notifications that go out as one message, at most."""
    failures: int = 5
    """Failures in a row that open a circuit."""
    rest_s: float = 10.0
    """For how long it is open at first; twice as long each time that it does not close."""
    longest_rest_s: float = 120.0
    interval_s: float = 0.0
    """Least time between two messages of a lane."""
    deliveries_kept: int = 5_000
    deliveries_kept_s: float = 30 * 86_400.0


class RedisOutbox(Outbox):
    """Messages that ``RedisAlertBook`` has put in."""

    def __init__(self, scripts: MonitoringScripts, instance_id: str = "", options: OutboxOptions | None = None) -> None:
        self._scripts = scripts
        self._redis = scripts.store.command
        self._instance_id = instance_id
        self._options = options or OutboxOptions()

    async def take(self, channel: str, lanes: int, lease_s: float) -> list[Sending]:
        """Lease what is due."""
        args: list[str | int] = [channel, lanes, self._options.messages, round(lease_s * 1000)]
        found = await self._scripts.run("take_outbox", args, hurries=True)
        return [
            Sending(channel, lane, token, int(tries), tuple(map(Notification.model_validate_json, messages)))
            for lane, token, tries, *messages in found
        ]

    async def settle_all(self, endings: Sequence[tuple[Sending, Ending]]) -> list[bool]:
        """Take messages out, or put them off, in one call."""
        options = self._options
        args: list[str | int] = [
            round(options.rest_s * 1000),
            round(options.longest_rest_s * 1000),
            round(options.interval_s * 1000),
            options.deliveries_kept,
            round(options.deliveries_kept_s * 1000),
        ]
        for sending, ending in endings:
            args += self._settled(sending, ending)
        return [bool(one) for one in await self._scripts.run("settle_outbox", args, hurries=True)]

    async def backlogs(self) -> dict[str, Backlog]:
        """Return what waits, by channel."""
        with store_errors():
            counts = await cast(Awaitable[dict[str, str]], self._redis.hgetall(self._scripts.key("outbox_waiting")))
            async with self._redis.pipeline(transaction=False) as batch:
                batch.time()
                for channel in counts:
                    batch.zrange(self._scripts.key("outbox_since", channel), 0, 0, withscores=True)
                (seconds, micros), *firsts = await batch.execute()
        now_ms = seconds * 1000 + micros // 1000
        return {
            channel: Backlog(int(count), max(now_ms - first[0][1], 0) / 1000 if first else 0.0)
            for (channel, count), first in zip(counts.items(), firsts, strict=True)
        }

    async def circuits(self, channels: Iterable[str]) -> Mapping[str, Circuit]:
        """Return how each channel is."""
        names = list(channels)
        with store_errors():
            async with self._redis.pipeline(transaction=False) as batch:
                batch.time()
                for name in names:
                    batch.hgetall(self._scripts.key("circuit", name))
                (seconds, micros), *found = await batch.execute()
        now_ms = seconds * 1000 + micros // 1000
        return {name: _circuit(fields, now_ms) for name, fields in zip(names, found, strict=True)}

    def _settled(self, sending: Sending, ending: Ending) -> list[str | int]:
        """Return what the script wants to know of one."""
        delivery = self._delivery(sending, ending)
        return [
            sending.channel,
            sending.lane,
            sending.token,
            ending.how,
            round(ending.delay_s * 1000),
            1 if ending.opens else self._options.failures,
            round(ending.hold_s * 1000),
            ending.why,
            delivery.id,
            delivery.model_dump_json(exclude_defaults=True),
        ]

    def _delivery(self, sending: Sending, ending: Ending) -> Delivery:
        message = sending.message
        return Delivery(
            id=message.key,
            channel=sending.channel,
            outcome=OUTCOMES[ending.how],
            tries=sending.tries,
            title=message.title,
            alerts=alerts_of(message.notifications),
            alerts_total=len(message.notifications),
            status=ending.answer.status,
            answer=ending.answer.text,
            why=ending.why,
            instance=self._instance_id,
        )


def _circuit(fields: Mapping[str, str], now_ms: int) -> Circuit:
    is_open = int(fields.get("until", 0)) > now_ms
    state: CircuitState = "closed"
    if "probing" in fields or ("opened" in fields and not is_open):
        state = "half_open"
    elif is_open:
        state = "open"
    return Circuit(
        state=state,
        failures=int(fields.get("failures", 0)),
        failing_since=_time(fields.get("failing_since")),
        until=_time(fields.get("until")) if state == "open" else None,
        why=fields.get("why", ""),
        sent_at=_time(fields.get("sent_at")),
        given_up_at=_time(fields.get("given_up_at")),
        given_up=fields.get("given_up", ""),
    )


def _time(ms: str | None) -> datetime | None:
    return datetime.fromtimestamp(int(ms) / 1000, UTC) if ms else None
