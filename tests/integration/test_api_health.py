"""Health over HTTP."""

import asyncio
import os
import signal
from collections.abc import Callable

from api_kit import Api, Follower, problem_type
from domain.scheduling.descriptor import ScheduledTaskDescriptor
from fault_proxy import FaultProxy
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.web.health import Check, Finding, HealthStatus
from support import wait_until

REPORT = {"id": "r", "name": "Report", "data": {"team": "ops"}, "trigger": {"interval_s": 3600}}


async def tired() -> Finding:
    return Finding(HealthStatus.DEGRADED, "it is tired")


async def down() -> Finding:
    return Finding(HealthStatus.DOWN, "it fell over")


async def hanging() -> Finding:
    await asyncio.Event().wait()
    raise AssertionError


async def test_ready_shows_each_component(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api:
        answer = await api.get("/health/ready")
        assert answer.status_code == 200
        assert answer.json() == {
            "status": "ok",
            "components": {"store": {"status": "ok", "facts": {"server": "valkey"}}},
        }


async def test_degraded_is_still_ready(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, checks=[Check("legs", tired)]) as api:
        answer = await api.get("/health/ready")
        assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
        assert answer.json()["components"]["legs"]["detail"] == "it is tired"


async def test_down_is_not_ready_but_alive(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, checks=[Check("legs", down), Check("arms", tired)]) as api:
        answer = await api.get("/health/ready")
        assert (answer.status_code, answer.json()["status"]) == (503, "down")
        assert (await api.get("/health/live")).json() == {"status": "ok"}


async def test_live_asks_nobody(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, checks=[Check("legs", hanging)]) as api:
        slow = asyncio.create_task(api.get("/health/ready"))
        assert (await api.get("/health/live")).status_code == 200
        assert not slow.done()
        slow.cancel()


async def test_the_queue_counts_what_waits_and_what_runs(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, executes=True) as api:
        for label in ("a", "b"):
            wanted = ScheduledTaskDescriptor(id=label, name="Once", data={"hold": True, "label": label})
            await api.instance.bus.schedule_task(wanted)
        await wait_until(lambda: len(api.ledger.entries) == 2)
        stats = (await api.get("/health/queue")).json()["queue_stats"]
        assert (stats["running"], stats["ready"], stats["later"], stats["parked"]) == (2, 0, 0, 0)
        assert stats["lanes"]["Once@1"] == {"ready": 0, "running": 2, "oldest_ready_s": None}


async def test_the_queue_counts_what_nobody_executes(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api:
        await api.post("/schedules", REPORT)
        await api.post("/schedules/r/run")
        stats = (await api.get("/health/queue")).json()["queue_stats"]
        assert (stats["ready"], stats["running"]) == (1, 0)
        assert stats["oldest_ready_s"] >= 0
        assert stats["lanes"]["Report@1"]["ready"] == 1


async def test_without_the_store_the_api_says_so_and_comes_back(valkey: EmbeddedValkey, namespace: str) -> None:
    async with FaultProxy(valkey) as proxy, Api(proxy.url, namespace) as api:
        await api.post("/schedules", REPORT)
        await proxy.set_fault("down")
        for method, path in (
            ("GET", "/schedules"),
            ("GET", "/schedules/r"),
            ("POST", "/schedules/r/pause"),
            ("DELETE", "/schedules/r"),
            ("GET", "/events"),
        ):
            refused = await api.call(method, path)
            assert (refused.status_code, problem_type(refused)) == (503, "store-unavailable")
            assert int(refused.headers["retry-after"]) > 0
        ready = await api.get("/health/ready")
        assert (ready.status_code, ready.json()["components"]["store"]["status"]) == (503, "down")
        queue = await api.get("/health/queue")
        assert (queue.status_code, queue.json()["queue_stats"]) == (503, None)
        assert (await api.get("/health/live")).status_code == 200
        await proxy.set_fault("none")
        assert (await api.get("/schedules/r")).json()["status"] == "active"
        assert (await api.get("/health/ready")).status_code == 200


async def test_a_killed_server_interrupts_the_api_and_its_streams_and_no_more(
    fresh_valkey: Callable[[], EmbeddedValkey], namespace: str
) -> None:
    server = fresh_valkey()
    async with Api(server.url, namespace) as api, Follower(api, "?topics=worker.*") as follower:
        await api.bus.publish("worker.registered", {"n": 1})
        assert (await follower.message())[2]["data"] == {"n": 1}
        os.kill(server.pid, signal.SIGKILL)

        async def is_back() -> bool:
            answer = await api.get("/schedules")
            assert answer.status_code in (200, 503)
            return answer.status_code == 200 and server.state == "running"

        await wait_until(is_back)
        await api.bus.publish("worker.registered", {"n": 2})
        kinds = [(await follower.message())[1:]]
        if kinds[0][0] == "gap":  # the last second of a killed server may be lost, and is told then
            kinds.append((await follower.message())[1:])
        assert kinds[-1][1]["data"] == {"n": 2}
