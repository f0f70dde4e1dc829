"""What the API refuses of workers, and how it says so. One server for all: what is asked here changes nothing."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from api_kit import Api, problem_type
from infrastructure.redis.embedded import EmbeddedValkey

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUILD = {"id": "b7", "name": "Build 7", "provider": "scripted", "labels": {"team": "ops"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(valkey: EmbeddedValkey) -> AsyncIterator[Api]:
    async with Api(valkey.url, "api-worker-refusals") as running:
        await running.post("/workers", BUILD)
        yield running


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"id": "a b"}, ["body", "id"]),
        ({"id": "../x"}, ["body", "id"]),
        ({"name": ""}, ["body", "name"]),
        ({"name": "   "}, ["body", "name"]),
        ({"name": None}, ["body", "name"]),
        ({"name": "x" * 300}, ["body", "name"]),
        ({"provider": "AWS!"}, ["body", "provider"]),
        ({"labels": {"a b": "c"}}, ["body", "labels", "a b", "[key]"]),
        ({"labels": {"a": 1}}, ["body", "labels", "a"]),
        ({"labels": {f"l{n}": "" for n in range(65)}}, ["body", "labels"]),
        ({"region": ""}, ["body", "region"]),
        ({"status": "running"}, ["body", "status"]),
    ],
)
async def test_what_is_wrong_with_a_worker_is_said_by_its_place(api: Api, change: dict[str, Any], loc: Any) -> None:
    refused = await api.post("/workers", {**BUILD, "id": "new", **change})
    assert (refused.status_code, problem_type(refused)) == (422, "invalid-request")
    assert [error["loc"] for error in refused.json()["errors"]] == [loc]


async def test_an_unknown_provider_is_refused(api: Api) -> None:
    refused = await api.post("/workers", {**BUILD, "id": "new", "provider": "azure"})
    assert (refused.status_code, problem_type(refused)) == (422, "provider-not-supported")
    assert "scripted" in refused.json()["detail"]


FIXED = [{"id": "x"}, {"provider": "local"}, {"status": "running"}, {"name": None}, {"labels": 1}, []]


@pytest.mark.parametrize("patch", FIXED)
async def test_what_cannot_be_changed_is_refused(api: Api, patch: Any) -> None:
    before = (await api.get("/workers/b7")).json()
    assert (await api.patch("/workers/b7", patch)).status_code == 422
    assert (await api.get("/workers/b7")).json() == before


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"interval_s": 0}, "invalid-monitoring"),
        ({"interval_s": -5}, "invalid-monitoring"),
        ({"interval_s": 1e12}, "invalid-monitoring"),
        ({"interval_s": True}, "invalid-request"),
        ({"interval_s": "5"}, "invalid-request"),
        ({"interval_s": 5, "cron": "* * * * *"}, "invalid-monitoring"),
        ({"cron": "0 0 31 2 *"}, "invalid-trigger"),
        ({"cron": "every day"}, "invalid-trigger"),
        ({"cron": "* * * * *", "timezone": "Mars/Dome"}, "invalid-monitoring"),
        ({"interval": 5}, "invalid-request"),
        ({"paused": "maybe"}, "invalid-request"),
        ([], "invalid-request"),
    ],
)
async def test_a_wrong_rhythm_starts_nothing(api: Api, body: Any, kind: str) -> None:
    refused = await api.put("/workers/b7/monitoring", body)
    assert (refused.status_code, problem_type(refused)) == (422, kind)
    assert refused.json()["errors"]
    assert (await api.get("/workers/b7/monitoring")).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"},
        {"since": "2026-11-22T08:00:00"},
        {"since": "0001-01-01T00:00:00Z"},
        {"until": "9999-12-31T23:59:59-23:00"},
        {"since": "2026-11-22T08:00:00Z", "until": "2026-11-21T08:00:00Z"},
        {"cursor": "17"},
        {"cursor": "x" * 100},
        {"limit": 0},
        {"limit": 10_001},
        {"limit": "9" * 5000},
        {"from": "2026-11-22T08:00:00Z"},
    ],
)
async def test_a_wrong_span_is_refused(api: Api, query: dict[str, Any]) -> None:
    assert (await api.get("/workers/b7/metrics", params=query)).status_code == 422


@pytest.mark.parametrize(
    "query",
    [
        {"state": "broken"},
        {"state": ""},
        {"cursor": "-1"},
        {"cursor": "abc"},
        {"cursor": "٣"},
        {"cursor": "9" * 30},
        {"limit": 0},
        {"limit": 1001},
        {"worker": "a b"},
        {"worker_id": "b7"},
    ],
)
async def test_a_wrong_question_about_alerts_is_refused(api: Api, query: dict[str, Any]) -> None:
    refused = await api.get("/alerts", params=query)
    assert (refused.status_code, problem_type(refused)) == (422, "invalid-request")
