"""Instances over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api_kit import API_KEYS, Api, problem_type
from cluster import Cluster
from support import wait_until


@pytest.fixture
async def api(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    async with Api(redis_url, namespace) as running:
        yield running


async def items(api: Api, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.get(f"/instances{query}")).json()["items"]
    return found


async def test_without_any_instance_the_list_is_empty(api: Api) -> None:
    assert (await api.get("/instances")).json() == {"items": [], "next_cursor": None}


async def test_instances_of_any_role_are_shown_and_who_is_gone(api: Api, cluster: Cluster) -> None:
    one = await cluster.start()
    await cluster.start(executes=False, announces=True)
    await wait_until(lambda: _count(api, 2))
    executing, controlling = await items(api)
    assert (executing["id"], executing["role"], executing["lanes"]) == ("i1", "all", ["Note@1", "Once@1"])
    assert (controlling["id"], controlling["role"], controlling["lanes"]) == ("i2", "api", [])
    assert executing["status"] == controlling["status"] == "alive"
    assert executing["last_seen_at"].endswith("Z")
    assert executing["gone_at"] is None
    await one.stop()
    gone, _ = await items(api)
    assert (gone["status"], gone["why"], gone["claimed"]) == ("gone", "stopped", 0)
    assert [found["id"] for found in await items(api, "?gone=false")] == ["i2"]
    assert [found["id"] for found in await items(api, "?state=gone")] == ["i1"]
    assert await items(api, "?state=silent") == []


async def _count(api: Api, wanted: int) -> bool:
    return len(await items(api)) == wanted


async def test_the_list_has_pages(api: Api, cluster: Cluster) -> None:
    for _ in range(3):
        await cluster.start(executes=False, announces=True)
    await wait_until(lambda: _count(api, 3))
    first = (await api.get("/instances?limit=2")).json()
    assert ([found["id"] for found in first["items"]], first["next_cursor"]) == (["i1", "i2"], "i2")
    second = (await api.get("/instances?limit=2&cursor=i2")).json()
    assert ([found["id"] for found in second["items"]], second["next_cursor"]) == (["i3"], None)


@pytest.mark.parametrize("query", ["state=dead", "gone=perhaps", "limit=0", "cursor=%0a", "cursor=", "who=x"])
async def test_what_is_asked_wrongly_is_refused(api: Api, query: str) -> None:
    answer = await api.get(f"/instances?{query}")
    assert answer.status_code == 422
    assert problem_type(answer) == "invalid-request"


async def test_a_viewer_may_look_and_nobody_without_a_key(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        assert (await api.get("/instances", key="viewer")).status_code == 200
        assert (await api.get("/instances")).status_code == 401
