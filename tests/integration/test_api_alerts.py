"""Alerts over HTTP: what is wrong, shown and acknowledged."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from api_kit import API_KEYS, Api, problem_type
from infrastructure.redis.embedded import EmbeddedValkey
from unit.monitoring.waveforms import sample

RULE = {"metric": "load_1m", "fire": 9, "clear": 8}


@pytest_asyncio.fixture
async def api(valkey: EmbeddedValkey, namespace: str) -> AsyncIterator[Api]:
    """An API with keys, two workers and a rule of the store; the first worker's is busy."""
    async with Api(valkey.url, namespace, api_keys=API_KEYS) as running:
        for worker_id in ("w1", "w2"):
            body = {"id": worker_id, "name": f"Box {worker_id}", "provider": "scripted"}
            assert (await running.post("/workers", body, key="admin")).status_code == 201
            await running.put(f"/workers/{worker_id}/monitoring", {"interval_s": 10}, key="operator")
        assert (await running.put("/alert-rules/load", RULE, key="operator")).status_code == 201
        await see(running, "w1", 40, 9.5)
        yield running


async def see(api: Api, worker_id: str, ago_s: float, load: float) -> None:
    """Let a worker be measured, and its alerts be stepped."""
    container = api.instance.container
    at = await container.workers().now() - timedelta(seconds=ago_s)
    one = sample(at, 0.5, worker_id, load_1m=load).model_copy(update={"provider": "scripted"})
    assert await container.samples().append(one) == "stored"
    await container.alert_engine().catch_up(worker_id)


async def listed(api: Api, query: str = "") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await api.get(f"/alerts{query}", key="viewer")).json()["items"]
    return items


async def test_alerts_are_found_by_what_they_are(api: Api) -> None:
    (one,) = await listed(api)
    assert (one["rule_id"], one["worker_id"], one["state"], one["severity"]) == ("load", "w1", "firing", "warning")
    assert one["ack"] is None
    for query, count in [
        ("?state=firing&rule=load&worker=w1&severity=warning", 1),
        ("?rule=other", 0),
        ("?worker=w2", 0),
        ("?severity=critical", 0),
        ("?state=resolved", 0),
        ("?worker=aws~eu-west-1", 0),
    ]:
        assert len(await listed(api, query)) == count, query
    await see(api, "w2", 30, 9.5)
    first = (await api.get("/alerts?limit=1", key="viewer")).json()
    assert [one["worker_id"] for one in first["items"]] == ["w1"]
    rest = (await api.get(f"/alerts?limit=1&cursor={first['next_cursor']}", key="viewer")).json()
    assert ([one["worker_id"] for one in rest["items"]], rest["next_cursor"]) == (["w2"], None)


async def test_an_alert_is_shown_while_it_is_open_and_when_it_is_over(api: Api) -> None:
    (one,) = await listed(api)
    shown = await api.get(f"/alerts/{one['id']}", key="viewer")
    assert (shown.status_code, shown.json()) == (200, one)
    await see(api, "w1", 20, 1.0)
    over = (await api.get(f"/alerts/{one['id']}", key="viewer")).json()
    assert (over["state"], over["id"]) == ("resolved", one["id"])
    assert over["resolved_at"]


async def test_an_alert_is_acknowledged_in_the_name_of_the_key_and_that_is_withdrawn(api: Api) -> None:
    (one,) = await listed(api)
    path = f"/alerts/{one['id']}/ack"
    acked = await api.post(path, {"note": " on it ", "for_s": 600}, key="operator")
    assert acked.status_code == 200
    ack = acked.json()["ack"]
    assert (ack["by"], ack["note"], ack["severity"]) == ("the-operator", "on it", "warning")
    until = (await api.instance.container.workers().now() + timedelta(days=2)).replace(microsecond=0)
    again = (await api.post(path, {"until": until.isoformat()}, key="admin")).json()["ack"]
    assert (again["by"], datetime.fromisoformat(again["until"])) == ("the-admin", until)
    plain = (await api.post(path, key="operator")).json()["ack"]
    assert (plain["note"], plain["by"]) == ("", "the-operator")
    for _ in range(2):
        withdrawn = await api.delete(path, key="operator")
        assert (withdrawn.status_code, withdrawn.json()["ack"]) == (200, None)
    found = (await api.get(f"/audit?target={one['id']}", key="viewer")).json()["items"]
    assert [entry["action"] for entry in found].count("alert.unacknowledged") == 1, "what changed nothing is not noted"
    assert (found[-1]["action"], found[-1]["actor"], found[-1]["reason"]) == (
        *("alert.acknowledged", "the-operator", "on it"),
    )


@pytest.mark.parametrize(
    ("body", "kind", "loc", "said"),
    [
        ({"for_s": 0}, "invalid-request", ["body", "for_s"], "greater than 0"),
        ({"for_s": 1e9}, "invalid-request", ["body", "for_s"], "less than or equal"),
        ({"for_s": "soon"}, "invalid-request", ["body", "for_s"], "valid number"),
        ({"until": "2020-01-01T00:00:00Z"}, "invalid-ack", ["body", "until"], "past already"),
        ({"until": "2999-01-01T00:00:00Z"}, "invalid-ack", ["body", "until"], "30 days at most"),
        ({"until": "2999-01-01T00:00:00Z", "for_s": 5}, "invalid-ack", ["body", "until"], "either until or for_s"),
        ({"until": "2026-11-22T00:00:00"}, "invalid-request", ["body", "until"], "timezone"),
        ({"note": "x" * 501}, "invalid-request", ["body", "note"], "at most 500"),
        ({"note": None}, "invalid-request", ["body", "note"], "valid string"),
        ({"severity": "bad"}, "invalid-request", ["body", "severity"], "'critical'"),
        ({"by": "somebody else"}, "invalid-request", ["body", "by"], "not known here"),
    ],
)
async def test_an_acknowledgement_that_makes_no_sense_is_refused_by_field(
    api: Api, body: Any, kind: str, loc: list[str], said: str
) -> None:
    (one,) = await listed(api)
    refused = await api.post(f"/alerts/{one['id']}/ack", body, key="operator")
    assert (refused.status_code, problem_type(refused)) == (422, kind)
    assert refused.json()["errors"][0]["loc"] == loc
    assert said in refused.json()["errors"][0]["msg"]
    assert (await listed(api))[0]["ack"] is None


async def test_what_is_not_there_is_not_found_and_what_is_over_is_no_longer_acknowledged(api: Api) -> None:
    (one,) = await listed(api)
    for call, path in (("GET", ""), ("POST", "/ack"), ("DELETE", "/ack")):
        gone = await api.call(call, f"/alerts/load@w9@1{path}", key="operator")
        assert (gone.status_code, problem_type(gone)) == (404, "alert-not-found")
    await see(api, "w1", 20, 1.0)
    for call in ("POST", "DELETE"):
        over = await api.call(call, f"/alerts/{one['id']}/ack", key="operator")
        assert (over.status_code, problem_type(over)) == (409, "alert-not-open")
        assert "it ended at 20" in over.json()["detail"]
    strange = await api.get("/alerts/no good", key="viewer")
    assert (strange.status_code, problem_type(strange)) == (422, "invalid-request")


async def test_two_who_acknowledge_at_once_are_both_told_yes_and_one_is_noted(api: Api) -> None:
    (one,) = await listed(api)
    path = f"/alerts/{one['id']}/ack"
    answers = await asyncio.gather(*(api.post(path, {"note": f"n{n}"}, key="operator") for n in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert (await listed(api))[0]["ack"]["note"] in {f"n{n}" for n in range(6)}
    found = (await api.get(f"/audit?target={one['id']}", key="viewer")).json()["items"]
    assert len(found) == 6


async def test_viewers_may_look_and_not_acknowledge(api: Api) -> None:
    (one,) = await listed(api)
    for call in ("POST", "DELETE"):
        refused = await api.call(call, f"/alerts/{one['id']}/ack", key="viewer")
        assert (refused.status_code, problem_type(refused)) == (403, "role-too-low")


async def test_an_acknowledgement_outlives_the_program(valkey: EmbeddedValkey, namespace: str, api: Api) -> None:
    (one,) = await listed(api)
    await api.post(f"/alerts/{one['id']}/ack", {"note": "on it"}, key="operator")
    async with Api(valkey.url, namespace, api_keys=API_KEYS) as other:
        assert (await listed(other))[0]["ack"]["note"] == "on it"
        assert (await other.delete(f"/alerts/{one['id']}/ack", key="operator")).status_code == 200
    assert (await listed(api))[0]["ack"] is None


@pytest.mark.parametrize(
    "query", ["?state=burning", "?severity=bad", "?rule=a/b", "?worker=a b", "?limit=0", "?cursor=x", "?worker_id=w1"]
)
async def test_a_wrong_question_is_refused(api: Api, query: str) -> None:
    answer = await api.get(f"/alerts{query}", key="viewer")
    assert (answer.status_code, problem_type(answer)) == (422, "invalid-request")
