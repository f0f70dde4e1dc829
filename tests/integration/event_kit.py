"""What the tests of the event bus share: several instances on one store, and handlers that remember."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

from domain.events.event import Event, Gap
from infrastructure.events.bus import RedisEventBus
from infrastructure.events.options import EventBusOptions
from infrastructure.events.subscription import RedisSubscription
from infrastructure.redis.connection import RedisStore

QUICK = {"visibility_s": 0.4, "retry_delay_s": 0.02, "stop_grace_s": 5.0}
"""Short times, so that nothing has to be waited for long."""


class Buses:
    """Instances on one store, each stopped at the end of the test.

    Readers outlive every failure, their own bugs included, so a test in which the store is well must have had none.
    """

    def __init__(self, store: RedisStore, failures_expected: bool = False) -> None:
        self.store = store
        self.failures_expected = failures_expected
        self._made: list[RedisEventBus] = []

    async def __aenter__(self) -> "Buses":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bus in self._made:
            await bus.stop()
        if error is None and not self.failures_expected:
            assert [bus.counters.store_failures for bus in self._made] == [0] * len(self._made)
        assert all(not bus.troubles for bus in self._made), "whoever has ended has no trouble"

    def make(self, name: str = "i1", store: RedisStore | None = None, **options: Any) -> RedisEventBus:
        """An instance that the test starts."""
        found = store or self.store
        known = EventBusOptions(**(QUICK | options))
        bus = RedisEventBus(found.command, found.blocking, found.key, name, known)
        self._made.append(bus)
        return bus

    async def start(self, name: str = "i1", store: RedisStore | None = None, **options: Any) -> RedisEventBus:
        """An instance that runs."""
        bus = self.make(name, store, **options)
        await bus.start()
        return bus


@asynccontextmanager
async def opened(url: str, namespace: str) -> AsyncIterator[RedisStore]:
    """A store on connections of its own."""
    store = RedisStore(url, namespace)
    try:
        yield store
    finally:
        await store.close()


class Heard:
    """A handler that keeps what it heard; ``fails`` says for which events it raises."""

    def __init__(self, fails: Callable[[Event], bool] = lambda _: False) -> None:
        self.events: list[Event] = []
        self.gaps: list[Gap] = []
        self.fails = fails

    async def __call__(self, event: Event) -> None:
        self.events.append(event)
        if self.fails(event):
            raise ValueError(f"cannot handle {event.data.get('n')}")

    async def gap(self, gap: Gap) -> None:
        self.gaps.append(gap)

    @property
    def numbers(self) -> list[Any]:
        """The ``n`` of each event heard, in order."""
        return [event.data.get("n") for event in self.events]


class Stuck:
    """A handler that never returns, as in a process that is about to die."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.numbers: list[Any] = []

    async def __call__(self, event: Event) -> None:
        self.numbers.append(event.data.get("n"))
        self.entered.set()
        await asyncio.Event().wait()


async def kill(subscription: RedisSubscription) -> None:
    """End a subscription as ``kill -9`` ends its process: nothing is acknowledged, given back or told."""

    async def say_nothing() -> None:
        return None

    subscription._part = say_nothing  # type: ignore[attr-defined]
    task = subscription._task
    assert task is not None
    subscription._closing = True
    task.cancel()
    await asyncio.wait({task})


async def backlog(bus: RedisEventBus, count: int, group: str = "history") -> list[Event]:
    """Events that wait for a group with no members, to be read in one batch by the first that comes."""
    opening = bus.subscribe(["job.*"], Heard(), group=group)
    await opening.ready()
    await opening.close()
    return await publish(bus, *range(count))


async def publish(bus: RedisEventBus, *numbers: int, topic: str = "job.started") -> list[Event]:
    """Publish one event a number."""
    return [await bus.publish(topic, {"n": number}) for number in numbers]


async def trim(store: RedisStore, kept: int, family: str = "job") -> None:
    """Trim a stream exactly, as an approximate trim does sooner or later."""
    await store.command.xtrim(store.key("ev", family), maxlen=kept, approximate=False)


async def pending(store: RedisStore, group: str, family: str = "job") -> int:
    """How many entries a group was given and has not acknowledged."""
    return int((await store.command.xpending(store.key("ev", family), group))["pending"])
