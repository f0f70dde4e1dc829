"""Alert rules over HTTP: those of the settings to read, those of the store to make, change, try and remove."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from api_kit import API_KEYS, Api, problem_type
from infrastructure.redis.embedded import EmbeddedValkey
from unit.monitoring.waveforms import sample

pytestmark = pytest.mark.asyncio(loop_scope="module")

RULE: dict[str, Any] = {"metric": "load_1m", "fire": 9, "clear": 8, "for_s": 20, "message": "{worker} is busy"}
SETTINGS = ["failed-check", "filesystem-full", "high-cpu", "high-memory", "no-data", "provider-down"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(valkey: EmbeddedValkey) -> AsyncIterator[Api]:
    """One API for all tests of this file; each uses ids of its own."""
    async with Api(valkey.url, "api-rules", api_keys=API_KEYS) as running:
        body = {"id": "w1", "name": "w1", "provider": "scripted", "labels": {"role": "db"}}
        assert (await running.post("/workers", body, key="admin")).status_code == 201
        yield running


async def put(api: Api, rule_id: str, body: Any, key: str = "operator") -> Any:
    return await api.put(f"/alert-rules/{rule_id}", body, key=key)


async def test_rules_of_the_settings_are_shown_and_cannot_be_changed_here(api: Api) -> None:
    shown = (await api.get("/alert-rules/high-cpu", key="viewer")).json()
    assert (shown["source"], shown["read_only"], shown["revision"], shown["fire"]) == ("settings", True, None, 0.9)
    for answer in (
        await put(api, "high-cpu", {**RULE}),
        await api.delete("/alert-rules/high-cpu", key="operator"),
    ):
        assert (answer.status_code, problem_type(answer)) == (409, "alert-rule-from-settings")
        assert "Change it in settings.toml, or give a rule of your own another id." in answer.json()["detail"]


async def test_a_rule_is_made_changed_and_removed_and_each_time_noted(api: Api) -> None:
    made = await put(api, "busy", RULE)
    assert (made.status_code, made.headers["location"]) == (201, "/api/v1/alert-rules/busy")
    one = made.json()
    assert (one["source"], one["read_only"], one["revision"], one["changed_by"]) == ("store", False, 1, "the-operator")
    assert (one["severity"], one["comparison"]) == ("warning", ">")
    same = await put(api, "busy", {**RULE, "severity": "warning"}, key="admin")
    assert (same.status_code, same.json()) == (200, one), "the same again changes nothing"
    changed = await put(api, "busy", {**RULE, "fire": 10}, key="admin")
    assert (changed.status_code, changed.json()["revision"], changed.json()["changed_by"]) == (200, 2, "the-admin")
    assert (await api.get("/alert-rules/busy", key="viewer")).json() == changed.json()
    assert (await api.delete("/alert-rules/busy", key="operator")).status_code == 204
    for call in ("GET", "DELETE"):
        gone = await api.call(call, "/alert-rules/busy", key="operator")
        assert (gone.status_code, problem_type(gone)) == (404, "alert-rule-not-found")
    found = (await api.get("/audit?target=busy", key="viewer")).json()["items"]
    assert [(entry["action"], entry["actor"]) for entry in found] == [
        ("alert.rule.removed", "the-operator"),
        ("alert.rule.changed", "the-admin"),
        ("alert.rule.changed", "the-operator"),
    ]
    assert found[1]["changes"]["fire"] == {"before": 9.0, "after": 10.0}


async def test_what_was_read_can_be_changed_and_sent_back(api: Api) -> None:
    await put(api, "back", RULE)
    read = (await api.get("/alert-rules/back", key="viewer")).json()
    assert (await put(api, "back", {**read, "fire": 11})).json()["revision"] == 2
    late = await put(api, "back", {**read, "fire": 12})
    assert (late.status_code, problem_type(late)) == (409, "alert-rule-changed-meanwhile")
    assert (await api.get("/alert-rules/back", key="viewer")).json()["fire"] == 11
    template = (await api.get("/alert-rules/high-cpu", key="viewer")).json()
    copied = await put(api, "copy", {**template, "id": "copy", "fire": 0.95})
    assert (copied.status_code, copied.json()["source"]) == (201, "store")
    only_new = await put(api, "copy", {**RULE, "revision": 0})
    assert problem_type(only_new) == "alert-rule-changed-meanwhile"


async def test_two_who_change_one_rule_at_once_do_not_undo_each_other(api: Api) -> None:
    await put(api, "two", RULE)
    answers = await asyncio.gather(*(put(api, "two", {**RULE, "fire": 10 + n, "revision": 1}) for n in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    blind = await asyncio.gather(*(put(api, "two", {**RULE, "fire": 20 + n}) for n in range(4)))
    assert {answer.status_code for answer in blind} == {200}
    assert (await api.get("/alert-rules/two", key="viewer")).json()["revision"] == 6
    both = await asyncio.gather(*(put(api, "twins", RULE) for _ in range(4)))
    assert sorted(answer.status_code for answer in both) == [200, 200, 200, 201]


async def test_rules_are_listed_in_pages_by_their_ids(api: Api) -> None:
    await put(api, "a-first", RULE)
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await api.get(f"/alert-rules?limit=3{cursor}", key="viewer")).json()
        seen += [one["id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == sorted(seen)
    assert {"a-first", *SETTINGS} <= set(seen)


WRONG: list[tuple[dict[str, Any], list[Any], str]] = [
    ({"metric": "cpu"}, ["metric"], "there is no 'cpu'"),
    ({"metric": None}, ["metric"], "valid string"),
    ({"fire": None}, ["fire"], "needs the level"),
    ({"fire": "much"}, ["fire"], "valid number"),
    ({"clear": 10}, ["clear"], "must not be above fire"),
    ({"comparison": "=="}, ["comparison"], "'>'"),
    ({"for_s": -1}, ["for_s"], "greater than or equal to 0"),
    ({"keep_firing_for_s": 1e9}, ["keep_firing_for_s"], "less than or equal"),
    ({"severity": "bad"}, ["severity"], "'critical'"),
    ({"escalate": [{"severity": "info", "fire": 10}]}, ["escalate", 0, "severity"], "must be worse"),
    ({"escalate": [{"severity": "critical"}]}, ["escalate", 0], "from when on"),
    ({"escalate": [{"severity": "critical", "fire": 1}]}, ["escalate", 0, "fire"], "must not be below"),
    ({"escalate": [{"severity": "critical", "after": 1}]}, ["escalate", 0, "after"], "not known here"),
    ({"repeat_s": 0.5}, ["repeat_s"], "greater than or equal to 1"),
    ({"labels": {"no good": "x"}}, ["labels", "no good", "[key]"], "match"),
    ({"except_labels": {"role": []}}, ["except_labels", "role"], "at least 1"),
    ({"message": "{wroker}"}, ["message"], "wroker"),
    ({"statuses": ["stopped"]}, ["statuses"], "only a status rule"),
    ({"checks": ["system"]}, ["checks"], "only a status rule"),
    ({"silent_intervals": 0}, ["silent_intervals"], "greater than or equal to 1"),
    ({"silent_min_s": -1}, ["silent_min_s"], "greater than or equal to 0"),
    ({"min_workers": 0}, ["min_workers"], "greater than or equal to 1"),
    ({"revision": -1}, ["revision"], "greater than or equal to 0"),
    ({"id": "other"}, ["id"], "not the id of the address"),
    ({"fier": 1}, ["fier"], "not known here"),
]


@pytest.mark.parametrize(("facts", "loc", "said"), WRONG)
async def test_what_is_wrong_with_a_rule_is_named_by_field(
    api: Api, facts: dict[str, Any], loc: list[Any], said: str
) -> None:
    refused = await put(api, "wrong", {**RULE, **facts})
    assert (refused.status_code, problem_type(refused)) == (422, "invalid-request")
    found = [(error["loc"][: 1 + len(loc)], error["msg"]) for error in refused.json()["errors"]]
    assert any(where == ["body", *loc] and said in what for where, what in found), found
    assert (await api.get("/alert-rules/wrong", key="viewer")).status_code == 404


async def test_all_that_is_wrong_is_named_at_once(api: Api) -> None:
    refused = await put(api, "wrong", {**RULE, "severity": "bad", "clear": 10, "checks": ["x"], "message": "{x}"})
    found = {error["loc"][1] for error in refused.json()["errors"]}
    assert found == {"severity", "clear", "checks", "message"}


async def test_a_body_that_is_no_rule_is_refused(api: Api) -> None:
    for body in ([], "x", None, {}):
        assert (await put(api, "wrong", body)).status_code == 422
    bad_id = await put(api, "no good", RULE)
    assert (bad_id.status_code, bad_id.json()["errors"][0]["loc"]) == (422, ["path", "id"])


async def test_more_rules_than_are_taken_are_a_conflict(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.monitoring.alert_rules.MAX_RULES", 0)
    refused = await put(api, "too-many", RULE)
    assert (refused.status_code, problem_type(refused)) == (409, "too-many-rules")


async def test_viewers_may_look_and_not_change(api: Api) -> None:
    for call, path in (("PUT", "/x"), ("DELETE", "/x"), ("POST", "/test")):
        refused = await api.call(call, f"/alert-rules{path}", key="viewer", json=RULE)
        assert (refused.status_code, problem_type(refused)) == (403, "role-too-low")


async def test_a_rule_is_tried_on_what_was_measured(api: Api) -> None:
    container = api.instance.container
    now = await container.workers().now()
    for ago_s, load in ((60, 1.0), (50, 9.5), (40, 9.5), (30, 9.5), (20, 1.0), (10, 9.5)):
        one = sample(now - timedelta(seconds=ago_s), 0.5, "w1", load_1m=load)
        await container.samples().append(one.model_copy(update={"provider": "scripted"}))
    wanted = {"rule": RULE, "worker_id": "w1"}
    tried = await api.post("/alert-rules/test", wanted, key="operator")
    assert tried.status_code == 200
    found = tried.json()
    assert [(one["kind"], one["text"]) for one in found["messages"]] == [
        ("firing", "w1 is busy"),
        ("resolved", "w1 is busy"),
    ]
    assert (found["samples"], found["state"], found["pending"], found["is_about_worker"]) == (6, "pending", 2, True)
    since = {**wanted, "since": (now - timedelta(seconds=45)).isoformat(), "until": now.isoformat()}
    assert (await api.post("/alert-rules/test", since, key="operator")).json()["messages"] == []
    other = {**wanted, "rule": {**RULE, "labels": {"role": "web"}}}
    assert (await api.post("/alert-rules/test", other, key="operator")).json()["is_about_worker"] is False
    assert (await api.get("/alerts", key="viewer")).json()["items"] == []


@pytest.mark.parametrize(
    ("facts", "status", "kind"),
    [
        ({"worker_id": "nobody"}, 404, "worker-not-found"),
        ({"worker_id": "a b"}, 422, "invalid-request"),
        ({"rule": {"metric": "provider_down"}}, 422, "rule-not-rehearsed"),
        ({"rule": {"metric": "load_1m"}}, 422, "invalid-request"),
        ({"since": "yesterday"}, 422, "invalid-request"),
        ({"until": "2026-11-22T08:00:00"}, 422, "invalid-request"),
    ],
)
async def test_what_cannot_be_tried_is_refused(api: Api, facts: dict[str, Any], status: int, kind: str) -> None:
    refused = await api.post("/alert-rules/test", {"rule": RULE, "worker_id": "w1", **facts}, key="operator")
    assert (refused.status_code, problem_type(refused)) == (status, kind)


async def test_rules_outlive_the_program(valkey: EmbeddedValkey, api: Api) -> None:
    await put(api, "lasting", RULE)
    async with Api(valkey.url, "api-rules", api_keys=API_KEYS) as other:
        shown = (await other.get("/alert-rules/lasting", key="viewer")).json()
        assert (shown["fire"], shown["revision"]) == (9, 1)
        assert (await other.delete("/alert-rules/lasting", key="operator")).status_code == 204
    assert (await api.get("/alert-rules/lasting", key="viewer")).status_code == 404
