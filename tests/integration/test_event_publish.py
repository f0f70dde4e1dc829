"""Publishing: what is stored, how much is kept, what is refused."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ResponseError

from domain.errors import StoreUnavailable
from domain.events.errors import InvalidPayload, InvalidTopic
from domain.events.event import Event
from fault_proxy import FaultProxy
from infrastructure.events.lua import emit_prelude
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from integration.event_kit import Buses, Heard, opened, publish
from support import wait_until

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def buses(store: RedisStore) -> AsyncIterator[Buses]:
    async with Buses(store) as made:
        yield made


async def entries(store: RedisStore, family: str = "job") -> list[dict[str, str]]:
    return [fields for _, fields in await store.command.xrange(store.key("ev", family))]


async def test_what_publish_returns_is_what_readers_get(buses: Buses) -> None:
    bus, heard = await buses.start(), Heard()
    await bus.subscribe(["worker.*"], heard).ready()
    event = await bus.publish(
        "worker.metrics.collected", {"a": [1, None], "ü": {}}, correlation_id="c1", traceparent=TRACEPARENT
    )
    assert (event.topic, event.source, event.correlation_id) == ("worker.metrics.collected", "i1", "c1")
    assert event.data == {"a": [1, None], "ü": {}}
    await wait_until(lambda: heard.events)
    assert heard.events == [event]


async def test_each_family_has_a_stream_of_its_own(buses: Buses) -> None:
    bus = await buses.start()
    await publish(bus, 1, topic="job.started")
    await publish(bus, 2, topic="alert.firing")
    assert [fields["t"] for fields in await entries(buses.store, "job")] == ["job.started"]
    assert [fields["t"] for fields in await entries(buses.store, "alert")] == ["alert.firing"]


@pytest.mark.parametrize(
    ("arguments", "correlation_id", "traceparent"),
    [
        ("nil, nil", None, None),
        ("'', ''", None, None),
        ("false, false", None, None),
        ("'c1', nil", "c1", None),
        (f"nil, '{TRACEPARENT}'", None, TRACEPARENT),
        (f"'c1', '{TRACEPARENT}'", "c1", TRACEPARENT),
    ],
)
async def test_scripts_write_what_python_writes(
    buses: Buses, arguments: str, correlation_id: str | None, traceparent: str | None
) -> None:
    bus, store = buses.make("i1"), buses.store
    await bus.publish("job.started", {"a": [], "n": 1}, correlation_id=correlation_id, traceparent=traceparent)
    head = f"local PREFIX, SOURCE, EVENTS_KEPT = '{store.prefix}:', 'i1', 1000\n"
    body = f"\nreturn emit('job.started', '{{\"a\":[],\"n\":1}}', {arguments})"
    entry_id = await store.command.eval(head + emit_prelude() + body, 0)
    from_python, from_script = await store.command.xrange(store.key("ev", "job"))
    assert from_script == (entry_id, from_python[1])


async def test_streams_are_trimmed(buses: Buses) -> None:
    bus = buses.make(events_kept=100)
    for chunk in range(20):
        await asyncio.gather(*(bus.publish("job.started", {"n": chunk}) for _ in range(50)))
    kept = await buses.store.command.xlen(buses.store.key("ev", "job"))
    assert 100 <= kept < 400, "at least what was asked for, at most some nodes of the stream more"


@pytest.mark.parametrize("topic", ["", "*", "job.*", "nosuch.thing", "job", "job.\x00", "JOB.STARTED"])
async def test_an_event_with_no_proper_topic_is_refused_and_not_stored(buses: Buses, topic: str) -> None:
    with pytest.raises(InvalidTopic):
        await buses.make().publish(topic, {})
    assert not [key async for key in buses.store.command.scan_iter(match=buses.store.key("*"))]


@pytest.mark.parametrize("payload", [{"a": float("nan")}, {"a": "x" * 300_000}, {"a": b"\xff"}, ["a"]])
async def test_what_cannot_travel_is_refused_and_not_stored(buses: Buses, payload: dict[str, object]) -> None:
    with pytest.raises(InvalidPayload):
        await buses.make().publish("job.started", payload)
    assert await entries(buses.store) == []


async def test_a_store_that_is_down_is_told_to_the_publisher(valkey: EmbeddedValkey, namespace: str) -> None:
    async with FaultProxy(valkey) as proxy, opened(proxy.url, namespace) as store, Buses(store) as buses:
        bus = buses.make()
        await bus.publish("job.started", {})
        await proxy.set_fault("down")
        with pytest.raises(StoreUnavailable):
            await bus.publish("job.started", {})
        with pytest.raises(StoreUnavailable):
            await bus.start()
        with pytest.raises(StoreUnavailable):
            await bus.parked()
        with pytest.raises(StoreUnavailable):
            await bus.place(["*"])
        await proxy.set_fault("none")
        event: Event = await bus.publish("job.started", {})
        assert event.topic == "job.started"


async def test_a_key_that_is_no_stream_is_told_to_the_publisher(buses: Buses) -> None:
    await buses.store.command.set(buses.store.key("ev", "job"), "occupied")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE") as told:
        await buses.make().publish("job.started", {})
    assert isinstance(told.value.__cause__, ResponseError)
