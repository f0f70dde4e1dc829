"""docs/how-to/add-a-provider.md: its one file, as it stands there, measures turbines in a whole program."""

import json
import os
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from docs.blocks import blocks
from infrastructure.embedding import Roundsman
from infrastructure.monitoring.user_providers import InvalidProvider
from support import wait_until

PAGE = "docs/how-to/add-a-provider.md"
CONTAINER = """

from dependency_injector import containers, providers


class Park(ParkApi):
    async def turbine(self, park: str, number: str) -> dict[str, float] | None:
        return {"1": {"load": 0.75, "uptime_s": 60}, "2": {}, "3": {"load": 0}}.get(number)


class Container(containers.DeclarativeContainer):
    api = providers.Singleton(Park)
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str, namespace: str) -> dict[str, Any]:
    """Save the page's file, with a park to ask, and return the page's settings."""
    source, said = (next(block for block in blocks(PAGE) if block.language == kind) for kind in ("python", "toml"))
    (tmp_path / "turbines.py").write_text(source.text + CONTAINER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "turbines", raising=False)
    return {"store": {"redis_url": redis_url, "namespace": namespace}, **tomllib.loads(said.text)}


@pytest.fixture
async def api(settings: dict[str, Any]) -> AsyncIterator[httpx2.AsyncClient]:
    async with Roundsman(settings=settings) as roundsman:
        transport = httpx2.ASGITransport(roundsman.api)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1/api/v1") as client:
            yield client


def turbine(number: str, **facts: str) -> dict[str, Any]:
    given = {"id": f"t{number}", "name": number, "provider": "turbine", "region": "north", "instance_id": number}
    return given | facts


async def test_the_provider_of_the_page_measures(api: httpx2.AsyncClient) -> None:
    for number in "1234":
        assert (await api.post("/workers", json=turbine(number))).status_code == 201
        started = await api.put(f"/workers/t{number}/monitoring")
        assert (started.status_code, started.json()["interval_s"]) == (201, 60), "its own default"

    async def statuses() -> dict[str, str]:
        found = (await api.get("/workers")).json()["items"]
        return {one["id"]: one["status"] for one in found}

    wanted = {"t1": "running", "t2": "unreachable", "t3": "stopped", "t4": "terminated"}

    async def all_seen() -> bool:
        return await statuses() == wanted

    await wait_until(all_seen, f"{wanted}")
    (sample,) = (await api.get("/workers/t1/metrics")).json()["items"]
    assert sample["metrics"]["cpu_utilization"] == 0.75
    assert sample["missing"]["load_1m"] == "a turbine has none"
    assert "did not say how it runs" in (await api.get("/workers/t2")).json()["status_reason"]

    async def ended() -> bool:
        return (await api.get("/workers/t4/monitoring")).status_code == 404

    await wait_until(ended, "the monitoring of the one that was taken down to end")


async def test_what_it_could_never_measure_is_refused(api: httpx2.AsyncClient) -> None:
    refused = await api.post("/workers", json=turbine("1") | {"region": None})
    assert refused.status_code == 422
    assert "a turbine has a region (its park)" in refused.json()["detail"]
    unknown = await api.post("/workers", json=turbine("1", provider="windmill"))
    assert "Supported: local, turbine" in unknown.json()["detail"].replace("aws, ", "")


def test_a_module_that_is_not_there_stops_the_start(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidProvider, match="names 'nowhere:X', which cannot be used"):
        Roundsman(settings=settings | {"monitoring": {"providers": ["nowhere:X"]}})


async def test_what_its_constructor_wants_must_be_there_when_jobs_execute(settings: dict[str, Any]) -> None:
    bare = settings | {"background_jobs": {"containers": []}}
    with pytest.raises(InvalidProvider, match="it asks for 'api: ParkApi', and no provider"):
        await Roundsman(settings=bare).start()
    async with Roundsman(settings=bare, role="api") as only_api:
        assert only_api.bus() is not None


def test_the_setting_can_come_from_the_environment(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "ROUNDSMAN_MONITORING__PROVIDERS", json.dumps(["turbines:Nowhere"]))
    with pytest.raises(InvalidProvider, match="the module has no 'Nowhere'"):
        Roundsman(settings=settings)
