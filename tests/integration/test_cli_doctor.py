"""``roundsman doctor`` against real servers, with and without the program."""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from application.scheduling import RecurrentTaskDescriptor
from cli_program import Program
from cli_support import Outcome, Reply, problem, roundsman, scripted
from cluster import Cluster
from external_server import ExternalServer
from fault_proxy import FaultProxy
from infrastructure.components import BLOCKAGE_SHOWN_S
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from support import wait_until_sync

NOBODY = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def shared() -> str:
    return f"cli{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def program(valkey: EmbeddedValkey, shared: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with Program(tmp_path_factory.mktemp("program"), valkey.url, shared) as started:
        wait_until_sync(lambda: findings(doctor(started.url, "--json"))["api/scheduler"]["level"] == "ok", "health")
        yield started


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where there are no settings, and no data directory."""
    monkeypatch.chdir(tmp_path)


def doctor(url: str = NOBODY, *args: str, redis_url: str = "", namespace: str = "", **more: str) -> Outcome:
    """Return what it says when nothing has held up the program's loop lately, as a busy machine does now and then."""
    settings = {"ROUNDSMAN_STORE__REDIS_URL": redis_url} | (
        {"ROUNDSMAN_STORE__NAMESPACE": namespace} if namespace else {}
    )

    def look() -> Outcome | None:
        found = roundsman("doctor", *args, url=url, env={**settings, **more})
        return None if "blocked the event loop" in found.out else found

    return wait_until_sync(look, "the last blockage to be told no more", BLOCKAGE_SHOWN_S + 30)


def findings(outcome: Outcome) -> dict[str, Any]:
    return {f"{one['area']}/{one['name']}": one for one in outcome.json["findings"]}


def wrong(outcome: Outcome) -> dict[str, Any]:
    found = {name: one for name, one in findings(outcome).items() if one["level"] == "wrong"}
    assert all(one["mend"] for one in found.values())
    assert outcome.status == (1 if found else 0)
    return found


def test_with_everything_well_it_says_so_and_ends_with_0(program: Program, valkey: EmbeddedValkey, shared: str) -> None:
    found = doctor(program.url, redis_url=valkey.url, namespace=shared)
    assert (found.status, found.err) == (0, ""), found.out
    assert found.out.endswith("Nothing is wrong.\n")
    as_json = doctor(program.url, "--json", redis_url=valkey.url, namespace=shared)
    assert wrong(as_json) == {}
    known = findings(as_json)
    for name in ("server", "persistence", "eviction", "memory", "connections", "latency", "clock", "layout"):
        assert known[f"store/{name}"]["level"] in ("ok", "note")
    assert abs(known["store/clock"]["facts"]["offset_s"]) < 1
    assert known["instances/executing"]["level"] == "ok"
    assert known["api/scheduler"]["level"] == "ok"
    assert doctor(program.url, "--quiet", redis_url=valkey.url, namespace=shared).out == "Nothing is wrong.\n"


async def test_it_works_without_the_program_and_writes_nothing(
    cluster: Cluster, redis_url: str, namespace: str
) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(RecurrentTaskDescriptor(id="s1", name="Note", data={"label": "a"}, interval=3600))
    await one.scheduler.park("s1", "cannot be loaded", "", 0)
    stored = await one.schedules.get("s1")
    assert stored is not None
    await one.scheduler.park("s1", "cannot be loaded", stored.state.incarnation, 1)
    await one.stop()
    before = await _content(cluster.redis)
    said = await asyncio.to_thread(doctor, NOBODY, "--json", redis_url=redis_url, namespace=namespace)
    found = wrong(said)
    assert set(found) == {"api/answer", "instances/executing", "work/parked"}
    assert found["work/parked"]["facts"]["schedules"] == {"s1": "cannot be loaded"}
    assert await _content(cluster.redis) == before


async def _content(store: RedisStore) -> dict[str, str]:
    keys = [key async for key in store.command.scan_iter(match=f"{store.prefix}:*")]
    return {key: await store.command.eval("return redis.sha1hex(redis.call('DUMP', KEYS[1]))", 1, key) for key in keys}  # type: ignore[misc]


def test_a_store_with_nothing_of_ours_stays_empty(redis_url: str, namespace: str, tmp_path: Path) -> None:
    known = findings(doctor(NOBODY, "--json", redis_url=redis_url, namespace=namespace))
    assert known["store/layout"]["level"] == "note"
    assert list(tmp_path.iterdir()) == []


async def test_a_layout_that_it_does_not_know_is_told_and_not_read(
    store: RedisStore, redis_url: str, namespace: str
) -> None:
    await store.command.hset(store.key("meta"), "layout", "99")  # type: ignore[misc]
    await store.command.set(store.key("instances"), "another shape")
    found = await asyncio.to_thread(doctor, NOBODY, "--json", redis_url=redis_url, namespace=namespace)
    assert set(wrong(found)) >= {"store/layout", "api/answer"}
    assert "instances/executing" not in findings(found)


def test_a_redis_that_may_lose_data_is_told(external: Callable[..., ExternalServer], namespace: str) -> None:
    server = external(appendonly="no", save="", maxmemory="100mb", maxmemory_policy="allkeys-lru")
    found = wrong(doctor(NOBODY, "--json", redis_url=server.url, namespace=namespace))
    assert {"store/persistence", "store/eviction"} <= set(found)
    assert "appendonly yes" in found["store/persistence"]["mend"]
    assert "noeviction" in found["store/eviction"]["mend"]


def test_a_user_who_may_not_do_enough_is_told_with_what_to_grant(
    external: Callable[..., ExternalServer], namespace: str
) -> None:
    server = external()
    server.tell("ACL", "SETUSER", "ann", "on", ">pass", "+@all", f"~{{{namespace}}}:*", "resetchannels")
    url = server.url.replace("unix://", "unix://ann:pass@")
    found = wrong(doctor(NOBODY, "--json", redis_url=url, namespace=namespace))
    assert "ACL SETUSER ann" in found["store/connection"]["says"]
    assert "pass@" not in json.dumps(found)


@pytest.mark.parametrize(("off_s", "said"), [(3600, "s ahead of the store"), (-3600, "s behind the store")])
def test_a_clock_that_is_wrong_is_told(off_s: int, said: str, redis_url: str, namespace: str) -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=off_s), tick=True):
        found = wrong(doctor(NOBODY, "--json", redis_url=redis_url, namespace=namespace))
    assert said in found["store/clock"]["says"]
    assert abs(found["store/clock"]["facts"]["offset_s"] - off_s) < 600


async def test_a_store_that_is_far_away_is_told(valkey: EmbeddedValkey, namespace: str) -> None:
    async with FaultProxy(valkey) as proxy:
        proxy.latency_s = 0.02
        said = await asyncio.to_thread(doctor, NOBODY, "--json", redis_url=proxy.url, namespace=namespace)
    assert wrong(said)["store/latency"]["facts"]["median_s"] > 0.02


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "redis://:hunter2@127.0.0.1:1/0", "unix:///nowhere.sock"])
def test_a_redis_that_is_away_is_told_without_its_password(url: str, namespace: str) -> None:
    found = doctor(NOBODY, "--json", redis_url=url, namespace=namespace)
    assert set(wrong(found)) == {"store/connection", "api/answer"}
    assert "hunter2" not in found.out + found.err


def test_settings_that_are_wrong_are_all_told_and_the_rest_is_looked_at(program: Program) -> None:
    found = doctor(program.url, "--json", ROUNDSMAN_STORE__NAMESPACE="a b", ROUNDSMAN_SERVER__PROT="1")
    known = wrong(found)
    assert set(known) == {"settings/settings"}
    lines = [one["says"] for one in found.json["findings"] if one["level"] == "wrong"]
    assert len(lines) == 2
    assert any("PROT" in line for line in lines)
    assert findings(found)["api/answer"]["level"] == "ok"


def test_an_embedded_server_is_never_started_and_its_owner_is_named(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    off = findings(doctor(NOBODY, "--json", ROUNDSMAN_DATA_DIR=str(data_dir)))
    assert off["store/embedded"]["level"] == "note"
    assert not data_dir.exists()
    server = EmbeddedValkey(data_dir)
    server.open()
    try:
        before = sorted(str(path) for path in data_dir.rglob("*"))
        on = findings(doctor(NOBODY, "--json", ROUNDSMAN_DATA_DIR=str(data_dir)))
        assert "belongs to process" in on["store/embedded"]["says"]
        assert on["data directory/fsync"]["level"] in ("ok", "wrong")
        assert sorted(str(path) for path in data_dir.rglob("*")) == before
    finally:
        server.close()
    assert findings(doctor(NOBODY, "--json", ROUNDSMAN_DATA_DIR=str(data_dir)))["store/embedded"]["level"] == "note"


def test_without_a_redis_of_its_own_it_hears_of_parked_work_by_the_api() -> None:
    waiting = {"items": [{"id": "s1", "parked": {"reason": "it cannot be loaded"}}], "next_cursor": None}
    here = {"items": [{"id": "h-1-a", "role": "all", "version": "0.1.0", "status": "alive"}], "next_cursor": None}
    healthy, queue = {"status": "ok", "components": {}}, {"status": "ok", "queue_stats": {"parked": 3}}
    with scripted(*map(Reply, (healthy, here, waiting, queue))) as server:
        found = wrong(doctor(server.url, "--json"))
    assert found["work/parked"]["facts"] == {"runs": 3, "schedules": {"s1": "it cannot be loaded"}}


def test_an_api_that_is_not_well_or_refuses_is_told(tmp_path: Path) -> None:
    down = Reply({"status": "down", "components": {"store": {"status": "down", "detail": "it is away"}}}, 503)
    with scripted(down, problem(401, "a key is needed")) as server:
        found = wrong(doctor(server.url, "--json"))
    assert "it is away" in found["api/store"]["says"]
    assert "ROUNDSMAN_API_KEY" in found["api/access"]["mend"]


@pytest.mark.parametrize(("url", "key"), [("ftp://x", ""), (NOBODY, "k\u00e9y")])
def test_a_wrong_address_or_key_does_not_end_it(url: str, key: str, redis_url: str, namespace: str) -> None:
    found = doctor(url, "--json", redis_url=redis_url, namespace=namespace, ROUNDSMAN_API_KEY=key)
    assert "api/address" in wrong(found)
    assert findings(found)["store/server"]["level"] == "ok"


def test_what_is_printed_for_people_names_the_way_to_mend(redis_url: str, namespace: str) -> None:
    found = doctor(NOBODY, redis_url=redis_url, namespace=namespace)
    lines = found.out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("WRONG  api, answer: "))
    assert lines[at + 1].startswith("         Start it with 'roundsman run'")
    assert lines[-1] == "2 things are wrong."
    json.loads(doctor(NOBODY, "--json", redis_url=redis_url, namespace=namespace).out)
