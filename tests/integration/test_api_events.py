"""The stream of events over HTTP."""

import asyncio
from contextlib import AsyncExitStack

import httpx2
import pytest
from sse_starlette.sse import AppStatus

from api_kit import Api, Follower, problem_type
from infrastructure.events.options import EventBusOptions
from support import NO_AUTHORITIES, wait_until


async def test_each_event_is_sent_from_the_moment_the_stream_is_open(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api, Follower(api) as follower:
        made = await api.bus.publish("worker.registered", {"id": "w1"}, correlation_id="c1")
        place, topic, event = await follower.message()
        assert topic == "worker.registered"
        assert event["id"] == made.id
        assert event["data"] == {"id": "w1"}
        assert event["correlation_id"] == "c1"
        assert event["time"].endswith("Z")
        assert place != follower.place


async def test_topics_filter(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api, Follower(api, "?topics=alert.*,worker.registered") as follower:
        for topic in ("worker.removed", "job.queued", "alert.firing", "worker.registered", "schedule.created"):
            await api.bus.publish(topic, {})
        seen = [(await follower.message())[1] for _ in range(2)]
        assert sorted(seen) == ["alert.firing", "worker.registered"]


async def test_a_stream_resumes_where_it_was_and_sees_nothing_twice(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api:
        async with Follower(api, "?topics=worker.*") as follower:
            await api.bus.publish("worker.registered", {"n": 1})
            place, _, _ = await follower.message()
        for n in (2, 3):
            await api.bus.publish("worker.registered", {"n": n})
        async with Follower(api, "?topics=worker.*", after=place) as follower:
            assert follower.place == place
            await api.bus.publish("worker.registered", {"n": 4})
            assert [(await follower.message())[2]["data"]["n"] for _ in range(3)] == [2, 3, 4]


async def test_the_first_place_resumes_too(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api:
        async with Follower(api) as follower:
            pass
        await api.bus.publish("worker.registered", {"n": 1})
        async with Follower(api, after=follower.place) as again:
            assert (await again.message())[2]["data"] == {"n": 1}


async def test_what_was_trimmed_is_told_as_a_gap(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, events=EventBusOptions(events_kept=10)) as api:
        async with Follower(api, "?topics=worker.*") as follower:
            place = follower.place
        for n in range(400):
            await api.bus.publish("worker.registered", {"n": n})
        async with Follower(api, "?topics=worker.*", after=place) as follower:
            _, kind, data = await follower.message()
            assert kind == "gap"
            assert "trimmed" in data["reason"]
            assert (await follower.message())[2]["data"]["n"] > 0


async def test_a_client_that_hangs_up_leaves_nothing_behind(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api:
        async with Follower(api, "?topics=worker.*"):
            assert len(api.app.state.streams) == 1
        await wait_until(lambda: len(api.app.state.streams) == 0)
        await wait_until(lambda: not _tails())


async def test_when_the_server_stops_streams_end_and_it_stops_at_once(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # sse-starlette looks for uvicorn's signal handlers, which are not there when somebody else handles signals.
    monkeypatch.setattr(AppStatus, "enable_automatic_graceful_drain", False)
    async with Api(redis_url, namespace) as api, AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(Follower(api)) for _ in range(5)]
        async with asyncio.timeout(4):  # it would wait 5 s for open responses
            await api.stop()
        for follower in followers:
            assert await follower.rest() == []
        assert api.stopped
        assert len(api.app.state.streams) == 0


async def test_when_the_bus_stops_streams_end(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api, Follower(api) as follower:
        await api.bus.stop()
        assert await follower.rest() == []
        refused = await api.get("/events")
        assert (refused.status_code, problem_type(refused)) == (503, "bus-not-running")


async def test_many_followers_see_each_event_and_the_api_goes_on(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api, AsyncExitStack() as stack:
        limits = httpx2.Limits(max_connections=400)
        api.http = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=api.base, limits=limits, timeout=30, verify=NO_AUTHORITIES)
        )
        followers = [Follower(api, "?topics=worker.*") for _ in range(100)]
        await asyncio.gather(*(stack.enter_async_context(follower) for follower in followers))
        await api.bus.publish("worker.registered", {"n": 1})
        seen = await asyncio.gather(*(follower.message() for follower in followers))
        assert {message[2]["data"]["n"] for message in seen} == {1}
        assert (await api.get("/schedules")).status_code == 200
        # One connection a family, whoever many listen.
        assert int((await api.instance.store.command.info("clients"))["blocked_clients"]) <= 5


async def test_what_the_api_does_is_told_on_its_stream(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api, Follower(api, "?topics=schedule.*") as follower:
        body = {"id": "r", "name": "Report", "data": {"team": "x"}, "trigger": {"interval_s": 60}}
        await api.post("/schedules", body)
        _, topic, event = await follower.message()
        assert (topic, event["data"]["id"]) == ("schedule.created", "r")


def _tails() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("events: tail")]
