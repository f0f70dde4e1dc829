"""What the API refuses of schedules and streams, and how it says so. One server: nothing here changes anything."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from api_kit import Api, problem_type
from infrastructure.redis.embedded import EmbeddedValkey

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(valkey: EmbeddedValkey) -> AsyncIterator[Api]:
    async with Api(valkey.url, "api-refusals") as running:
        yield running


def report(schedule_id: str = "r", **more: Any) -> dict[str, Any]:
    return {"id": schedule_id, "name": "Report", "data": {"team": "ops"}, "trigger": {"interval_s": 60}, **more}


@pytest.mark.parametrize(
    ("change", "kind", "loc"),
    [
        ({"name": "Raport"}, "unknown-job", ["body", "name"]),
        ({"data": {}}, "invalid-data", ["body", "data", "team"]),
        ({"data": {"team": "x", "rows": "many"}}, "invalid-data", ["body", "data", "rows"]),
        ({"data": {"team": "x", "colour": 1}}, "invalid-data", ["body", "data", "colour"]),
        ({"trigger": {"interval_s": 0}}, "invalid-request", ["body", "trigger", "interval_s"]),
        ({"trigger": {"interval_s": -5}}, "invalid-request", ["body", "trigger", "interval_s"]),
        ({"trigger": {"interval_s": 1e12}}, "invalid-request", ["body", "trigger", "interval_s"]),
        ({"trigger": {"interval_s": "60"}}, "invalid-request", ["body", "trigger", "interval_s"]),
        ({"trigger": {"interval_s": True}}, "invalid-request", ["body", "trigger", "interval_s"]),
        ({"trigger": {"cron": "61 * * * *"}}, "invalid-trigger", ["body", "trigger"]),
        ({"trigger": {"cron": "0 0 31 2 *"}}, "invalid-trigger", ["body", "trigger"]),
        ({"trigger": {"cron": "x" * 300}}, "invalid-request", ["body", "trigger", "cron"]),
        (
            {"trigger": {"cron": "* * * * *", "timezone": "Mars/Dome"}},
            "invalid-request",
            ["body", "trigger", "timezone"],
        ),
        ({"trigger": {"interval_s": 5, "timezone": "UTC"}}, "invalid-request", ["body", "trigger"]),
        ({"trigger": {"interval_s": 5, "cron": "* * * * *"}}, "invalid-request", ["body", "trigger"]),
        ({"trigger": {"calendar": {}}}, "invalid-request", ["body", "trigger", "calendar"]),
        ({"trigger": {}}, "invalid-request", ["body", "trigger"]),
        ({"policy": {"overlap": "allow(0)"}}, "invalid-request", ["body", "policy", "overlap"]),
        ({"policy": {"start": "2026-12-01T00:00:00"}}, "invalid-request", ["body", "policy", "start"]),
        ({"policy": {"start": "9999-12-31T23:59:59.999999Z"}}, "invalid-request", ["body", "policy", "start"]),
        ({"policy": {"start": "9999-12-31T23:59:59-01:00"}}, "invalid-request", ["body", "policy", "start"]),
        ({"policy": {"end": "2020-01-01T00:00:00Z"}}, "invalid-trigger", ["body", "trigger"]),
        ({"policy": None}, "invalid-request", ["body", "policy"]),
        ({"id": "a b"}, "invalid-request", ["body", "id"]),
        ({"id": "-a"}, "invalid-request", ["body", "id"]),
        ({"id": "x" * 201}, "invalid-request", ["body", "id"]),
        ({"colour": "red"}, "invalid-request", ["body", "colour"]),
    ],
)
async def test_what_is_wrong_with_a_schedule_is_said_by_its_place(
    api: Api, change: dict[str, Any], kind: str, loc: list[str]
) -> None:
    refused = await api.post("/schedules", {**report("wrong"), **change})
    assert (refused.status_code, problem_type(refused)) == (422, kind)
    assert [error["loc"] for error in refused.json()["errors"]] == [loc]
    assert (await api.get("/schedules/wrong")).status_code == 404


@pytest.mark.parametrize(
    ("patch", "loc"),
    [
        ({"name": "Note"}, ["body", "name"]),
        ({"id": "other"}, ["body", "id"]),
        ({"trigger": {"timezone": "UTC"}}, ["body", "trigger"]),
        ({"trigger": {"interval_s": 0}}, ["body", "trigger", "interval_s"]),
        ({"data": {}}, ["body", "data", "team"]),
        ({"policy": {"end": "2020-01-01T00:00:00Z", "start": "2021-01-01T00:00:00Z"}}, ["body", "policy"]),
        ({"policy": {"jitter_s": None}}, ["body", "policy", "jitter_s"]),
    ],
)
async def test_a_wrong_patch_changes_nothing(api: Api, patch: dict[str, Any], loc: list[str]) -> None:
    before = (await api.post("/schedules", report())).json()
    refused = await api.patch("/schedules/r", patch)
    assert refused.status_code == 422
    assert [error["loc"] for error in refused.json()["errors"]] == [loc]
    assert (await api.get("/schedules/r")).json() == before


@pytest.mark.parametrize("field", ["trigger", "data", "policy"])
async def test_null_is_no_way_to_leave_a_field_out(api: Api, field: str) -> None:
    await api.post("/schedules", report())
    refused = await api.patch("/schedules/r", {field: None})
    assert refused.status_code == 422
    assert f"{field} cannot be null" in refused.json()["detail"]


async def test_a_value_that_is_refused_is_not_repeated(api: Api) -> None:
    secret = "hunter2-hunter2"
    for body in (report(data={"team": {"password": secret}}), report(policy={"overlap": secret}), report(id=[secret])):
        refused = await api.post("/schedules", body)
        assert refused.status_code == 422
        assert secret not in refused.text


@pytest.mark.parametrize(
    "span",
    [
        {"since": "2026-11-20T00:00:00", "until": "2026-11-22T00:00:00Z"},
        {"since": "yesterday", "until": "2026-11-22T00:00:00Z"},
        {"since": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59Z"},
        {"since": "2026-11-22T00:00:00Z", "until": "2026-11-20T00:00:00Z"},
        {"since": "2096-11-22T00:00:00Z", "until": "2097-11-20T00:00:00Z"},
        {"since": 1e300, "until": 0},
        {"until": "2026-11-22T00:00:00Z"},
    ],
)
@pytest.mark.parametrize("trigger", [{"interval_s": 0.01}, {"cron": "* * * * *"}, {"cron": "0 3 29 2 1"}])
async def test_a_backfill_of_an_impossible_time_is_refused(api: Api, span: Any, trigger: Any) -> None:
    await api.post("/schedules", report(trigger=trigger))
    refused = await api.post("/schedules/r/backfill", span)
    assert refused.status_code == 422


@pytest.mark.parametrize(
    "query",
    [
        *({"limit": limit} for limit in ("0", "-1", "501", "9" * 5000, "ten", "1.5", "")),
        *({"cursor": cursor} for cursor in ("", "a b", "\x00", "ключ", "x" * 300, "../etc")),
        {"state": "sleeping"},
        {"stat": "paused"},
        {"limit": ["1", "2"]},
    ],
)
async def test_a_wrong_question_is_refused(api: Api, query: dict[str, Any]) -> None:
    refused = await api.get("/schedules", params=query)
    assert (refused.status_code, problem_type(refused)) == (422, "invalid-request")
    assert refused.json()["errors"][0]["loc"][0] == "query"


@pytest.mark.parametrize(
    "path", ["/a%00b", "/%F0%9F%92%A5", "/%FF", "/a%20b", "/-a", "/" + "x" * 201, "/a%2Fb", "/..%2F"]
)
async def test_an_id_that_no_schedule_can_have_is_refused(api: Api, path: str) -> None:
    for method, end in (("GET", ""), ("DELETE", ""), ("GET", "/runs"), ("POST", "/run")):
        refused = await api.call(method, f"/schedules{path}{end}")
        assert refused.status_code in (404, 422)
        assert problem_type(refused) in ("invalid-request", "no-such-path")


async def test_a_typo_in_a_parameter_of_a_stop_stops_nothing(api: Api) -> None:
    await api.post("/schedules", report())
    refused = await api.delete("/schedules/r", params={"cancel_runing": True})
    assert refused.status_code == 422
    assert (await api.get("/schedules/r")).status_code == 200


@pytest.mark.parametrize("topics", ["", "jobs", "job.*.x", "job.*,", "job..x", "*.job", "x" * 3000, "ключ", "job.a%00"])
async def test_wrong_topics_are_refused(api: Api, topics: str) -> None:
    refused = await api.get(f"/events?topics={topics}")
    assert refused.status_code == 422
    assert problem_type(refused) in ("invalid-topic", "invalid-request")


@pytest.mark.parametrize(
    "place", ["17", "job:1-1", "jobs:1-1:1", "job:1-1:1,", "x" * 3000, "job:99999999999999999999-1:1"]
)
async def test_a_wrong_place_is_refused(api: Api, place: str) -> None:
    refused = await api.get("/events", headers={"Last-Event-ID": place})
    assert (refused.status_code, problem_type(refused)) == (422, "invalid-cursor")
