"""The outbox played at random: several instances that take, send, fail, die and come late, on a real store."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from application.monitoring.outbox import Ending, Sending
from domain.monitoring.notification import Notification
from domain.monitoring.routing import Grouping
from infrastructure.redis.connection import RedisStore
from integration.outbox_kit import Post
from support import examples
from unit.monitoring.messages import AT, notification

INSTANCES, WORKERS = 3, 3
GROUPINGS = (("rule", "worker"), ("rule",), ("severity",), ())

MOVES = st.one_of(
    st.tuples(st.just("tell"), st.integers(0, WORKERS - 1)),
    st.tuples(st.just("take"), st.integers(0, INSTANCES - 1)),
    st.tuples(st.sampled_from(("arrive", "fail", "refuse", "die", "arrive and die")), st.integers(0, INSTANCES - 1)),
    st.tuples(st.just("lapse"), st.just(0)),
)


class Receiver:
    """Knows by their keys what it has got: what comes again is the same and is passed over."""

    def __init__(self) -> None:
        self.by_key: dict[str, list[str]] = {}
        self.got: list[Notification] = []
        self.again = 0

    def take(self, sending: Sending) -> None:
        what = [one.key for one in sending.notifications]
        known = self.by_key.setdefault(sending.message.key, what)
        assert known == what, "one key, one content"
        if known is what:
            self.got += sending.notifications
        else:
            self.again += 1


class Play:
    """One play: what was told, what instances hold, what came."""

    def __init__(self, post: Post) -> None:
        self.post = post
        self.receiver = Receiver()
        self.hands: list[list[Sending]] = [[] for _ in range(INSTANCES)]
        self.told: list[Notification] = []
        self.refused: set[str] = set()
        self.lost_hold = 0
        """Sends that nobody noted: each may make one duplicate."""

    async def move(self, name: str, which: int) -> None:
        """Make one move."""
        if name == "tell":
            await self._tell(which)
        elif name == "take":
            self.hands[which] += await self.post.take(lanes=2)
        elif name == "lapse":
            await self.post.rested()
        elif self.hands[which]:
            await self._end(name, self.hands[which].pop(0))

    async def drain(self) -> None:
        """Let all that waits arrive."""
        while await self.post.messages():
            await self.post.rested()
            for sending in await self.post.take():
                await self._end("arrive", sending)

    async def _tell(self, worker: int) -> None:
        """Tell what follows of a worker's alert: firing, resolved, firing of the next episode, in changing severity."""
        mine = [one for one in self.told if one.worker_id == f"w{worker}"]
        one = notification(
            "resolved" if len(mine) % 2 else "firing",
            f"w{worker}",
            alert_id=f"cpu@w{worker}@{len(mine) // 2}",
            severity=("info", "warning", "critical")[len(self.told) % 3],
            at=AT + timedelta(seconds=len(self.told)),
        )
        self.told.append(one)
        await self.post.put(one)

    async def _end(self, name: str, sending: Sending) -> None:
        if name.startswith("arrive"):
            self.receiver.take(sending)
        if name == "fail":
            await self.post.outbox.settle(sending, Ending("again", "down"))
        elif name == "refuse":
            if await self.post.outbox.settle(sending, Ending("refused", "no")):
                self.refused |= {one.key for one in sending.notifications}
        elif name == "arrive":
            self.lost_hold += not await self.post.sent(sending)
        elif name == "arrive and die":
            self.lost_hold += 1


async def play(post: Post, moves: list[tuple[str, int]]) -> None:
    found = Play(post)
    for name, which in moves:
        await found.move(name, which)
    await found.drain()
    arrived = [one.key for one in found.receiver.got]
    assert len(arrived) == len(set(arrived)), "by its key each comes once"
    missing = {one.key for one in found.told} - set(arrived)
    assert missing <= found.refused, "nothing is lost but what was refused"
    for worker in range(WORKERS):
        times = [one.at for one in found.receiver.got if one.worker_id == f"w{worker}"]
        if not found.refused:
            by_alert: dict[str, list[Any]] = {}
            for one in found.receiver.got:
                by_alert.setdefault(one.alert_id, []).append(one.kind)
            assert all(kinds in (["firing"], ["firing", "resolved"]) for kinds in by_alert.values())
            assert "severity" in post_grouping(post) or times == sorted(times), "in order"
    assert found.receiver.again <= found.lost_hold, "twice only where somebody died in between"
    left = [key async for key in post.store.command.scan_iter(match=f"{post.store.prefix}:mon:outbox*")]
    open_alerts = {one.alert_id for one in found.told if one.kind == "firing"} - {
        one.alert_id for one in found.told if one.kind == "resolved"
    }
    known = {"outbox_token", "outbox_leases"} | ({"outbox_routes"} if open_alerts else set())
    assert {key.partition(":mon:")[2] for key in left} <= known


def post_grouping(post: Post) -> tuple[str, ...]:
    return post.book._routing.grouping.by


@pytest.mark.parametrize("by", GROUPINGS, ids="-".join)
@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(MOVES, max_size=40), size=st.integers(1, 3))
def test_whatever_happens_each_arrives_in_order_and_by_its_key_once(
    redis_url: str, namespace: str, by: tuple[str, ...], moves: list[tuple[str, int]], size: int
) -> None:
    async def on_a_store() -> None:
        store = RedisStore(redis_url, namespace)
        await store.open()
        try:
            await play(Post(store, grouping=Grouping(by), messages=size, failures=3), moves)
        finally:
            keys = [key async for key in store.command.scan_iter(match=f"{store.prefix}:*", count=1000)]
            if keys:
                await store.command.unlink(*keys)
            await store.close()

    asyncio.run(on_a_store())
