"""Silences over HTTP: made in the name of a key, listed, ended."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from api_kit import API_KEYS, Api, problem_type
from infrastructure.redis.embedded import EmbeddedValkey

pytestmark = pytest.mark.asyncio(loop_scope="module")

WANTED: dict[str, Any] = {"matchers": {"worker_ids": ["w*"]}, "for_s": 3600, "reason": "we patch it"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(valkey: EmbeddedValkey) -> AsyncIterator[Api]:
    """One API for all tests of this file."""
    async with Api(valkey.url, "api-silences", api_keys=API_KEYS) as running:
        yield running


async def listed(api: Api, query: str = "") -> list[str]:
    return [one["id"] for one in (await api.get(f"/silences{query}", key="viewer")).json()["items"]]


async def test_a_silence_is_made_shown_ended_and_noted(api: Api) -> None:
    made = await api.post("/silences", {**WANTED, "reason": " we patch it "}, key="operator")
    one = made.json()
    assert (made.status_code, made.headers["location"]) == (201, f"/api/v1/silences/{one['id']}")
    assert (one["state"], one["author"], one["reason"]) == ("active", "the-operator", "we patch it")
    assert one["matchers"] == {"worker_ids": ["w*"], "rule_ids": [], "severities": [], "labels": {}}
    assert (await api.get(f"/silences/{one['id']}", key="viewer")).json() == one
    assert one["id"] in await listed(api)
    for _ in range(2):
        ended = await api.delete(f"/silences/{one['id']}", key="admin")
        assert (ended.status_code, ended.json()["state"]) == (200, "expired")
    assert one["id"] not in await listed(api)
    assert one["id"] in await listed(api, "?state=expired")
    found = (await api.get(f"/audit?target={one['id']}", key="viewer")).json()["items"]
    assert [(entry["action"], entry["actor"]) for entry in found] == [
        ("alert.silence.ended", "the-admin"),
        ("alert.silence.created", "the-operator"),
    ]


async def test_silences_are_listed_by_state_and_in_pages_those_that_end_first_first(api: Api) -> None:
    now = await api.instance.container.workers().now()
    later = {**WANTED, "starts_at": (now + timedelta(hours=1)).isoformat(), "for_s": 7200}
    made = [(await api.post("/silences", body, key="operator")).json() for body in (later, WANTED)]
    planned, active = (one["id"] for one in made)
    assert (await listed(api, "?state=scheduled"), await listed(api, "?state=active")) == ([planned], [active])
    first = (await api.get("/silences?limit=1", key="viewer")).json()
    rest = (await api.get(f"/silences?limit=1&cursor={first['next_cursor']}", key="viewer")).json()
    assert [one["id"] for page in (first, rest) for one in page["items"]] == [active, planned]
    assert rest["next_cursor"] is None
    for one in (planned, active):
        await api.delete(f"/silences/{one}", key="operator")


WRONG: list[tuple[dict[str, Any], str, list[Any], str]] = [
    ({"matchers": {}}, "invalid-request", ["matchers"], 'all: worker_ids = ["*"]'),
    ({"matchers": None}, "invalid-request", ["matchers"], "valid dictionary"),
    ({"matchers": {"workers": ["w1"]}}, "invalid-request", ["matchers", "workers"], "not known here"),
    ({"matchers": {"rule_ids": ["a b"]}}, "invalid-request", ["matchers", "rule_ids", 0], "match"),
    ({"matchers": {"worker_ids": "w1"}}, "invalid-request", ["matchers", "worker_ids"], "valid"),
    ({"matchers": {"severities": ["bad"]}}, "invalid-request", ["matchers", "severities", 0], "'critical'"),
    ({"matchers": {"labels": {"role": []}}}, "invalid-request", ["matchers", "labels", "role"], ""),
    ({"for_s": None}, "invalid-request", ["for_s"], ""),
    ({"for_s": 0}, "invalid-request", ["for_s"], "greater than 0"),
    ({"for_s": 1e12}, "invalid-request", ["for_s"], "less than or equal"),
    ({"reason": "  "}, "invalid-request", ["reason"], "at least 1"),
    ({"reason": "x" * 501}, "invalid-request", ["reason"], "at most 500"),
    ({"author": "somebody else"}, "invalid-request", ["author"], "not known here"),
    ({"ends_at": "soon"}, "invalid-request", ["ends_at"], "valid"),
    ({"starts_at": "2026-11-22T08:00:00"}, "invalid-request", ["starts_at"], "timezone"),
    ({"ends_at": "2999-01-01T00:00:00Z"}, "invalid-silence", ["ends_at"], "either ends_at or for_s"),
    ({"starts_at": "2020-01-01T00:00:00Z"}, "invalid-silence", ["starts_at"], "leave it out to begin now"),
]


@pytest.mark.parametrize(("facts", "kind", "loc", "said"), WRONG)
async def test_a_silence_that_makes_no_sense_is_refused_by_field(
    api: Api, facts: dict[str, Any], kind: str, loc: list[Any], said: str
) -> None:
    before = await listed(api)
    body = {name: value for name, value in {**WANTED, **facts}.items() if (name, value) != ("for_s", None)}
    if facts == {"for_s": None}:
        kind, loc, said = "invalid-silence", ["ends_at"], "either ends_at or for_s"
    refused = await api.post("/silences", body, key="operator")
    assert (refused.status_code, problem_type(refused)) == (422, kind)
    found = [(error["loc"][: 1 + len(loc)], error["msg"]) for error in refused.json()["errors"]]
    assert any(where == ["body", *loc] and said in what for where, what in found), found
    assert await listed(api) == before


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ({"starts_at": "2998-01-02T00:00:00Z", "ends_at": "2998-01-01T00:00:00Z"}, "must be after starts_at"),
        ({"ends_at": "2020-01-01T00:00:00Z"}, "past already"),
        ({"ends_at": "2998-01-01T00:00:00Z"}, "366 days at most"),
    ],
)
async def test_an_end_that_cannot_be_is_refused(api: Api, times: dict[str, str], said: str) -> None:
    body = {"matchers": WANTED["matchers"], "reason": "why not", **times}
    refused = await api.post("/silences", body, key="operator")
    assert (refused.status_code, problem_type(refused)) == (422, "invalid-silence")
    assert any(said in error["msg"] for error in refused.json()["errors"])


async def test_everything_can_be_silenced_by_saying_so(api: Api) -> None:
    made = await api.post("/silences", {**WANTED, "matchers": {"worker_ids": ["*"]}}, key="operator")
    assert made.status_code == 201
    await api.delete(f"/silences/{made.json()['id']}", key="operator")


async def test_what_is_not_there_is_not_found(api: Api) -> None:
    for call in ("GET", "DELETE"):
        gone = await api.call(call, "/silences/silence-none", key="operator")
        assert (gone.status_code, problem_type(gone)) == (404, "silence-not-found")
    for query in ("?state=old", "?limit=0", "?cursor=x", "?expired=true"):
        assert (await api.get(f"/silences{query}", key="viewer")).status_code == 422


async def test_more_silences_than_are_taken_are_a_conflict(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.monitoring.silences.MAX_SILENCES", 0)
    refused = await api.post("/silences", WANTED, key="operator")
    assert (refused.status_code, problem_type(refused)) == (409, "too-many-silences")


async def test_viewers_may_look_and_not_silence(api: Api) -> None:
    for call, path in (("POST", ""), ("DELETE", "/silence-none")):
        refused = await api.call(call, f"/silences{path}", key="viewer")
        assert (refused.status_code, problem_type(refused)) == (403, "role-too-low")


async def test_a_silence_outlives_the_program(valkey: EmbeddedValkey, api: Api) -> None:
    made = (await api.post("/silences", WANTED, key="operator")).json()
    async with Api(valkey.url, "api-silences", api_keys=API_KEYS) as other:
        assert (await other.get(f"/silences/{made['id']}", key="viewer")).json() == made
        await other.delete(f"/silences/{made['id']}", key="operator")
    assert (await api.get(f"/silences/{made['id']}", key="viewer")).json()["state"] == "expired"
