"""What people ask about channels: how they are, whether they work, and what was sent."""

import uuid
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from application.monitoring.channels import Channels
from application.monitoring.outbox import Backlog, Circuit, CircuitState, Outbox
from application.monitoring.sender import try_to_send
from application.runs.asking import Note
from application.scheduling.deeds import Deed, WriteDown
from domain.monitoring.delivery import DatedDelivery, Delivery, Outcome
from domain.monitoring.message import make_test_message
from domain.monitoring.severity import Severity


@dataclass(frozen=True)
class DeliveryQuery:
    """Which deliveries are looked for; what is None is not asked about."""

    channel: str | None = None
    alert_id: str | None = None
    outcome: Outcome | None = None
    limit: int = 50
    cursor: str = ""


@dataclass(frozen=True)
class DeliveryPage:
    """Some deliveries, newest first; ``next_cursor`` asks for older ones, None at the end."""

    items: list[DatedDelivery]
    next_cursor: str | None


class Deliveries(Protocol):
    """What became of messages, as far as it is kept."""

    @abstractmethod
    async def page(self, query: DeliveryQuery) -> DeliveryPage:
        """Return what is looked for, by first try, newest first; raises ``InvalidDeliveryCursor``."""

    @abstractmethod
    async def note(self, delivery: Delivery, note: Note | None) -> None:
        """Keep what became of a message that is in no outbox; ``note`` is written down with it."""


@dataclass(frozen=True)
class ChannelView:
    """A channel as people see it: nothing in it is secret."""

    name: str
    type: str
    target: str
    severities: tuple[Severity, ...]
    match: Mapping[str, str]
    facts: Mapping[str, str]
    state: CircuitState
    failures: int
    failing_since: datetime | None
    open_until: datetime | None
    why: str
    last_sent_at: datetime | None
    last_given_up_at: datetime | None
    last_given_up: str
    waiting: int
    waiting_oldest_s: float


@dataclass(frozen=True)
class Waiting:
    """What waits for one channel. ``is_known`` tells whether these settings have it."""

    channel: str
    is_known: bool
    backlog: Backlog
    circuit: Circuit


class ChannelDesk:
    """Answer for the channels of a program. What is told is in the store: any process knows it."""

    def __init__(
        self, channels: Channels, outbox: Outbox, deliveries: Deliveries, write_down: WriteDown, instance_id: str
    ) -> None:
        self._channels = channels
        self._outbox = outbox
        self._deliveries = deliveries
        self._write_down = write_down
        self._instance_id = instance_id

    async def channels(self) -> list[ChannelView]:
        """Return all channels of the settings, in their order."""
        circuits = await self._outbox.circuits(self._channels.names)
        backlogs = await self._outbox.backlogs()
        return [
            ChannelView(
                name=one.name,
                type=one.type,
                target=one.target,
                severities=tuple(one.route.severities),
                match=one.route.match,
                facts=one.facts,
                state=circuit.state,
                failures=circuit.failures,
                failing_since=circuit.failing_since,
                open_until=circuit.until,
                why=circuit.why,
                last_sent_at=circuit.sent_at,
                last_given_up_at=circuit.given_up_at,
                last_given_up=circuit.given_up,
                waiting=backlog.messages,
                waiting_oldest_s=backlog.oldest_s,
            )
            for one in self._channels.facts
            for circuit, backlog in [(circuits[one.name], backlogs.get(one.name, Backlog()))]
        ]

    async def waiting(self) -> list[Waiting]:
        """Return what waits: for the channels of the settings, and for those that only others know."""
        backlogs = await self._outbox.backlogs()
        names = [*self._channels.names, *sorted(backlogs.keys() - set(self._channels.names))]
        circuits = await self._outbox.circuits(names)
        known = set(self._channels.names)
        return [Waiting(name, name in known, backlogs.get(name, Backlog()), circuits[name]) for name in names]

    async def test(self, name: str, by: str) -> Delivery:
        """Send a message that says that it is a test, at once and once, past the circuit; return what became of it.

        Raises ``ChannelNotFound``. It is kept with the other deliveries, and written down; no circuit changes by it.
        """
        channel = self._channels.get(name)
        message = make_test_message(name, f"msg_test_{uuid.uuid4().hex[:23]}", by)
        answer, failure = await try_to_send(channel, message)
        delivery = Delivery(
            id=message.key,
            channel=name,
            outcome="given_up" if failure else "sent",
            tries=1,
            title=message.title,
            is_test=True,
            status=answer.status,
            answer=answer.text,
            why=failure.why if failure else "",
            instance=self._instance_id,
        )
        deed = Deed("channel.tested", name, facts={"outcome": delivery.outcome, "delivery": delivery.id})
        await self._deliveries.note(delivery, self._write_down(deed))
        return delivery

    async def deliveries(self, query: DeliveryQuery) -> DeliveryPage:
        """Return what was sent, newest first; raises ``InvalidDeliveryCursor``."""
        return await self._deliveries.page(query)

    async def troubles(self) -> list[str]:
        """Return what keeps messages from arriving, one line a channel; empty when all is well."""
        found = []
        for one in await self.waiting():
            if not one.is_known:
                count = one.backlog.messages
                found.append(f"channel {one.channel}: {count} wait, and it is not in the settings of this process")
            elif one.circuit.why:
                found.append(f"channel {one.channel}: {one.circuit.why}")
            elif one.circuit.given_up:
                found.append(f"channel {one.channel}: the last message was given up: {one.circuit.given_up}")
        return found
