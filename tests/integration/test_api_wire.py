"""What may come over the wire: odd bodies, odd paths, and what a failure looks like from outside."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio

from api_kit import Api, problem_type
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.web.bodies import MAX_BODY_BYTES, READ_AND_DROPPED_BYTES
from support import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"Content-Type": "application/json"}
REPORT: dict[str, Any] = {"id": "r", "name": "Report", "data": {"team": "ops"}, "trigger": {"interval_s": 60}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(valkey: EmbeddedValkey) -> AsyncIterator[Api]:
    async with Api(valkey.url, "api-wire") as running:
        yield running


@pytest.mark.parametrize(
    "body", [b"{", b"{nonsense", b'{"a": NaN}', b'{"id": "a", "id": "b"}', b'{"name": "\\ud800"}', b"[" * 5000, b"\xff"]
)
async def test_what_is_no_json_is_refused(api: Api, body: bytes) -> None:
    refused = await api.call("POST", "/schedules", content=body, headers=JSON)
    assert (refused.status_code, problem_type(refused)) == (400, "malformed-json")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1", b"[{}]", b"true"])
async def test_json_that_is_no_object_is_refused(api: Api, body: bytes) -> None:
    refused = await api.call("POST", "/schedules", content=body, headers=JSON)
    assert (refused.status_code, problem_type(refused)) == (422, "invalid-request")


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "json",
        "*/*",
        "é",
    ],
)
async def test_what_is_not_sent_as_json_is_refused(api: Api, kind: str | None) -> None:
    headers = {} if kind is None else {b"Content-Type": kind.encode()}
    refused = await api.call("POST", "/schedules", content=json.dumps(REPORT).encode(), headers=headers)
    assert (refused.status_code, problem_type(refused)) == (415, "unsupported-media-type")


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/merge-patch+json"]
)
async def test_json_has_many_names(api: Api, kind: str) -> None:
    headers = {"Content-Type": kind}
    answer = await api.call("POST", "/schedules", content=json.dumps(REPORT).encode(), headers=headers)
    assert answer.status_code in (200, 201)


async def test_without_a_body_the_missing_one_is_named(api: Api) -> None:
    refused = await api.post("/schedules")
    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"loc": ["body"], "msg": "Field required"}]


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(0, size, 65_536):
        yield b" " * 65_536


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 65_536, READ_AND_DROPPED_BYTES // 2])
async def test_a_body_that_is_too_large_is_refused_however_it_is_sent(api: Api, size: int) -> None:
    whole = await api.call("POST", "/schedules", content=b" " * size, headers=JSON)
    streamed = await api.call("POST", "/schedules", content=chunks(size), headers=JSON)
    for refused in (whole, streamed):
        assert (refused.status_code, problem_type(refused)) == (413, "body-too-large")


async def test_a_body_of_the_full_size_is_read(api: Api) -> None:
    body = json.dumps({**REPORT, "colour": 1}).encode().ljust(MAX_BODY_BYTES)
    refused = await api.call("POST", "/schedules", content=body, headers=JSON)
    assert (refused.status_code, problem_type(refused)) == (422, "invalid-request")


async def test_a_body_that_never_ends_is_refused(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.web.bodies.BODY_TIMEOUT_S", 0.05)
    async with Api(valkey.url, "api-slow") as api:
        head = "POST /api/v1/schedules HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{"
        answer = await raw(api, head.encode())
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body-too-slow" in answer


async def test_a_client_that_hangs_up_in_mid_body_is_no_failure(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    with caplog.at_level(logging.DEBUG, logger="infrastructure.web"):
        writer.write(b"POST /api/v1/schedules HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await wait_until(lambda: "hung up" in caplog.text)
    assert "ERROR" not in caplog.text


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/schedules/", "/relays", "/schedules/r/nothing", "/../../etc/passwd"]
)
async def test_a_path_that_leads_nowhere_is_told(api: Api, path: str) -> None:
    answer = await api.get(path)
    assert (answer.status_code, problem_type(answer)) == (404, "no-such-path")
    assert "/api/v1" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/schedules", "GET, POST"),
        ("POST", "/schedules/r", "DELETE, GET, PATCH"),
        ("GET", "/schedules/r/pause", "POST"),
    ],
)
async def test_a_method_that_is_not_possible_is_told(api: Api, method: str, path: str, allowed: str) -> None:
    answer = await api.call(method, path)
    assert (answer.status_code, problem_type(answer)) == (405, "wrong-method")
    assert answer.headers["allow"] == allowed
    assert allowed in answer.json()["detail"]


@pytest.mark.parametrize("parts", [b"GET /%zz HTTP/1.1", b"GET /api/v1/schedules/\xff HTTP/1.1", b"GET //x HTTP/1.1"])
async def test_broken_request_lines_do_no_harm(api: Api, parts: bytes) -> None:
    answer = await raw(api, parts + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 4")
    assert (await api.get("/schedules")).status_code == 200


async def test_an_old_client_without_a_host_is_served(api: Api) -> None:
    answer = await raw(api, b"GET /health/live HTTP/1.0\r\n\r\n")
    assert b" 200 " in answer


async def raw(api: Api, data: bytes) -> bytes:
    """Send bytes as they are and return what comes back until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    try:
        writer.write(data)
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


class Broken:
    """A scheduler in which something is wrong that nobody thought of."""

    async def list_tasks(self, **_: Any) -> None:
        raise RuntimeError("the password is hunter2")


async def test_a_failure_is_logged_and_shows_an_id_alone(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(api.instance, "scheduler", Broken())
    monkeypatch.setattr(api, "services", api.services.__class__(**{**vars(api.services), "scheduler": Broken()}))
    with caplog.at_level(logging.ERROR):
        answer = await api.get("/schedules")
    assert (answer.status_code, problem_type(answer)) == (500, "internal-error")
    assert "hunter2" not in answer.text
    error_id = answer.json()["error_id"]
    (record,) = [record for record in caplog.records if error_id in record.getMessage()]
    assert record.exc_info is not None
    assert "hunter2" in caplog.text


ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**63, -(2**70), 10**400, 1e308, -0.0, 5e-324, 0.01),
    *("", " ", "\x00", "a\x00b", "ключ", "\U0001f600", "a" * 5000, "../..", "${x}", "{0}", "%s", "'; --", "\r\n", "﻿"),
    *("2026-13-45T99:99:99Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z", "now"),
    *(
        "1e999",
        "NaN",
        "skip",
        "allow(999)",
        "all(1)",
        "* * * * *",
        "@yearly",
        "0 0 29 2 *",
        "*/0 * * * *",
        "1-0 * * * *",
    ),
    *("Europe/Brussels", "/etc/passwd", "../UTC", "UTC\x00", "Note", "Report", "Once", "__init__", "r"),
    *([], {}, [None], {"": {}}, {"\x00": 1}, [[[[]]]], {"a": {"b": {"c": 10**400}}}),
]
FIELDS = [
    "id",
    "name",
    "data",
    "trigger",
    "policy",
    "interval_s",
    "cron",
    "timezone",
    "overlap",
    "catch_up",
    "jitter_s",
]
FIELDS += ["start", "end", "max_retries", "timeout_s", "team", "reason", "since", "until", "", "\x00"]


def odd_value(chance: random.Random, depth: int = 0) -> Any:
    if depth < 3 and chance.random() < 0.4:
        return {chance.choice(FIELDS): odd_value(chance, depth + 1) for _ in range(chance.randint(0, 4))}
    return chance.choice(ODD)


def spoilt(chance: random.Random, body: Any) -> Any:
    """Return a body with a few things changed, added or gone, at any depth."""
    if not isinstance(body, dict) or chance.random() < 0.1:
        return odd_value(chance)
    found = {name: spoilt(chance, value) if chance.random() < 0.3 else value for name, value in body.items()}
    if chance.random() < 0.3:
        found[chance.choice(FIELDS)] = odd_value(chance)
    if found and chance.random() < 0.2:
        found.pop(chance.choice(list(found)))
    return found


FULL = {
    **REPORT,
    "id": "fuzzed",
    "trigger": {"cron": "0 6 * * *", "timezone": "UTC"},
    "policy": {"overlap": "skip", "catch_up": "one", "jitter_s": 1, "start": None, "end": None, "max_retries": 1},
}
CHANGE = {name: FULL[name] for name in ("data", "trigger", "policy")}
WORKER = {"id": "fuzzed", "name": "x", "provider": "scripted", "labels": {"a": "b"}, "region": None}
RHYTHM = {"interval_s": 5, "cron": None, "timezone": None, "paused": False}
SPAN = {"since": "2026-11-20T00:00:00Z", "until": "2026-11-22T00:00:00Z"}
ATTACKS: list[tuple[str, str, Callable[[random.Random], Any]]] = [
    ("POST", "/schedules", lambda chance: spoilt(chance, FULL)),
    (
        "PATCH",
        "/schedules/fuzzed",
        lambda chance: spoilt(chance, {k: v for k, v in FULL.items() if k not in ("id", "name")}),
    ),
    ("POST", "/schedules/fuzzed/pause", lambda chance: spoilt(chance, {"reason": "x"})),
    ("POST", "/schedules/fuzzed/backfill", lambda chance: spoilt(chance, SPAN)),
    ("POST", "/schedules/fuzzed/resume", odd_value),
    ("POST", "/workers", lambda chance: spoilt(chance, WORKER)),
    ("PATCH", "/workers/fuzzed", lambda chance: spoilt(chance, {"name": "x", "labels": {"a": "b"}, "region": "r"})),
    ("PUT", "/workers/fuzzed/monitoring", lambda chance: spoilt(chance, RHYTHM)),
]


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_that_a_client_sends_is_a_failure(api: Api, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    await api.post("/schedules", {**FULL, "policy": {}})
    await api.post("/workers", WORKER)
    for _ in range(60):
        method, path, make = chance.choice(ATTACKS)
        body = json.dumps(make(chance)).encode()
        answer = await api.call(method, path, content=body, headers=JSON)
        assert answer.status_code < 500, (method, path, body)
        assert (await api.get("/schedules/fuzzed")).status_code == 200, (method, path, body)
    for path in ("/schedules", "/workers"):
        assert (await api.get(path, params={"limit": 100})).status_code == 200
