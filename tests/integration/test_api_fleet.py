"""The monitoring of many workers at once over HTTP."""

from collections.abc import AsyncIterator

import pytest

from api_kit import API_KEYS, Api, problem_type


@pytest.fixture
async def api(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    async with Api(redis_url, namespace) as running:
        for number, team in enumerate(("web", "web", "db")):
            body = {"id": f"b{number}", "name": "x", "provider": "scripted", "labels": {"team": team}}
            assert (await running.post("/workers", body)).status_code == 201
        yield running


async def test_many_are_watched_in_one_call_and_each_is_answered(api: Api) -> None:
    answer = await api.put("/monitoring", {"labels": {"team": "web"}, "interval_s": 60})
    assert answer.status_code == 200
    found = answer.json()
    assert (found["created"], found["failed"]) == (2, 0)
    assert [(item["worker_id"], item["monitoring"]["interval_s"]) for item in found["items"]] == [
        ("b0", 60),
        ("b1", 60),
    ]
    again = (await api.put("/monitoring", {"all": True, "interval_s": 60})).json()
    assert (again["created"], again["unchanged"]) == (1, 2)
    listed = (await api.get("/monitoring?limit=2")).json()
    assert [item["worker_id"] for item in listed["items"]] == ["b0", "b1"]
    rest = (await api.get(f"/monitoring?cursor={listed['next_cursor']}")).json()
    assert ([item["worker_id"] for item in rest["items"]], rest["next_cursor"]) == (["b2"], None)


async def test_what_failed_is_named(api: Api) -> None:
    found = (await api.put("/monitoring", {"worker_ids": ["b0", "b9"], "interval_s": 60})).json()
    assert [item["result"] for item in found["items"]] == ["created", "failed"]
    assert found["items"][1]["problem"]["status"] == 404
    assert found["failed"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"interval_s": 5},
        {"all": True, "worker_ids": ["b0"]},
        {"all": True, "interval_s": 0},
        {"all": True, "interval_s": "5"},
        {"all": True, "cron": "* * * * *", "interval_s": 5},
        {"all": True, "nonsense": 1},
        {"worker_ids": ["no id"]},
        {"labels": {}},
        {"labels": {"team": 1}},
    ],
)
async def test_what_is_wrong_is_refused_whole(api: Api, body: dict[str, object]) -> None:
    refused = await api.put("/monitoring", body)
    assert refused.status_code == 422
    assert problem_type(refused) in ("invalid-request", "invalid-monitoring")
    assert (await api.get("/monitoring")).json()["items"] == []


async def test_an_operator_may_and_a_viewer_may_only_look(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        assert (await api.put("/monitoring", {"all": True}, key="viewer")).status_code == 403
        assert (await api.put("/monitoring", {"all": True}, key="operator")).status_code == 200
        assert (await api.get("/monitoring", key="viewer")).status_code == 200


async def test_who_asked_for_it_is_written_down_for_each(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        for number in range(3):
            body = {"id": f"b{number}", "name": "x", "provider": "scripted"}
            assert (await api.post("/workers", body, key="admin")).status_code == 201
        await api.put("/monitoring", {"all": True, "interval_s": 60}, key="operator")
        await api.put("/monitoring", {"all": True, "interval_s": 60}, key="operator")
        entries = (await api.get("/audit", key="admin")).json()["items"]
        made = [(entry["target"], entry["actor"]) for entry in entries if entry["action"] == "schedule.created"]
        assert sorted(made) == [(f"worker-metrics-b{number}", "the-operator") for number in range(3)]
