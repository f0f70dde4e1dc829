"""Who may call the API, and who may not."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from fastapi.routing import APIRoute

from api_kit import API_KEYS, KEYS, Api, Follower, check_problem, problem_type
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.web import app as web_app
from infrastructure.web.openapi import required_role

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPORT = {"id": "r", "name": "Report", "data": {"team": "ops"}, "trigger": {"interval_s": 60}}
ORIGIN = "https://ops.example"
RANK = ["viewer", "operator", "admin"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keyed(valkey: EmbeddedValkey) -> AsyncIterator[Api]:
    """An API with keys, for tests that leave nothing behind."""
    async with Api(valkey.url, "api-keyed", api_keys=API_KEYS, allowed_origins=(ORIGIN,)) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keyless(valkey: EmbeddedValkey) -> AsyncIterator[Api]:
    """The same without keys, and without allowed origins."""
    async with Api(valkey.url, "api-keyless") as running:
        yield running


def operations() -> list[tuple[str, str, str | None]]:
    """Return every operation under the API's prefix with the role it takes, as the application includes them."""
    routes = [route for router in web_app.FEATURES for route in router.routes if isinstance(route, APIRoute)]
    return [
        (method, route.path, required_role(route.dependant))
        for route in routes
        for method in sorted(route.methods or ())
    ]


async def test_every_operation_takes_a_role_and_only_reading_takes_a_viewer() -> None:
    assert len(operations()) > 8
    for method, path, role in operations():
        assert role in RANK, f"{method} {path} is open"
        assert (role == "viewer") == (method == "GET"), f"{method} {path}"


async def test_each_role_may_do_what_it_should_and_nothing_more(keyed: Api) -> None:
    for method, path, wanted in operations():
        if path == "/events":
            continue
        concrete = path.replace("{id}", "none")
        nobody = await keyed.call(method, concrete)
        assert (nobody.status_code, problem_type(nobody)) == (401, "not-authenticated"), (method, path)
        assert nobody.headers["www-authenticate"] == 'Bearer realm="roundsman"'
        for role in RANK:
            answer = await keyed.call(method, concrete, key=role)
            if RANK.index(role) < RANK.index(wanted or ""):
                assert (answer.status_code, problem_type(answer)) == (403, "role-too-low"), (method, path, role)
            else:
                assert answer.status_code in (200, 404, 422), (method, path, role)


async def test_the_event_stream_takes_a_viewer(keyed: Api) -> None:
    assert (await keyed.get("/events")).status_code == 401
    async with Follower(keyed, key="viewer") as follower:
        assert follower.place


async def test_what_is_changed_is_changed_in_the_name_of_the_key(keyed: Api) -> None:
    await keyed.post("/schedules", REPORT, key="operator")
    paused = await keyed.post("/schedules/r/pause", key="admin")
    assert paused.json()["paused"]["by"] == "the-admin"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer wrong",
        f"Bearer {KEYS['viewer']}x",
        f"Bearer {KEYS['viewer'][:-1]}",
        f"Bearer {KEYS['viewer']} {KEYS['admin']}",
        f"Basic {KEYS['viewer']}",
        KEYS["viewer"],
        "Bearer",
        "",
        "Bearer " + "x" * 5000,
        b"Bearer k\xc3\xbcche",
        f"Bearer {API_KEYS[0].key_sha256}",
    ],
)
async def test_what_is_no_key_is_refused_and_not_repeated(
    keyed: Api, header: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        value = header if isinstance(header, bytes) else header.encode()
        refused = await keyed.get("/schedules", headers={b"Authorization": value})
    assert (refused.status_code, problem_type(refused)) == (401, "key-refused")
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    assert "wrong" not in refused.text
    for key in KEYS.values():
        assert key not in refused.text + caplog.text


async def test_the_word_bearer_may_be_written_in_any_case(keyed: Api) -> None:
    headers = {"Authorization": f"bEARER  {KEYS['viewer']}"}
    assert (await keyed.get("/schedules", headers=headers)).status_code == 200


async def test_nothing_is_read_of_what_a_stranger_sends(keyed: Api) -> None:
    refused = await keyed.call("POST", "/schedules", content=b"{nonsense", headers={"Content-Type": "application/json"})
    assert refused.status_code == 401


async def test_keys_are_in_no_log_and_no_repr(keyed: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await keyed.get("/schedules", key="admin")
        await keyed.get("/nothing", key="admin")
    said = caplog.text + repr(keyed.settings) + repr(keyed.services)
    for key in (*KEYS.values(), *(key.key_sha256 for key in API_KEYS)):
        assert key not in said


async def test_health_is_open_and_shows_details_to_known_callers_alone(keyed: Api) -> None:
    for path in ("/health/live", "/health/ready", "/health/queue"):
        assert (await keyed.get(path)).status_code == 200
    bad = {"Authorization": "Bearer wrong"}
    assert (await keyed.get("/health/ready", headers=bad)).json()["components"] == {"store": {"status": "ok"}}
    known = (await keyed.get("/health/ready", key="viewer")).json()
    assert known["components"]["store"]["facts"] == {"server": "valkey"}
    assert (await keyed.get("/health/queue")).json()["queue_stats"]["lanes"] is None
    assert "Note@1" in (await keyed.get("/health/queue", key="viewer")).json()["queue_stats"]["lanes"]


async def test_the_documentation_is_open(keyed: Api) -> None:
    for path in ("/docs", "/openapi.json", "/docs/start.js"):
        assert (await keyed.get(path)).status_code == 200


FOREIGN_HOSTS = ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.7", "[::2]", "@", "[", "a b"]
OWN_HOSTS = ["localhost", "LOCALHOST:8000", "localhost.", "app.localhost", "127.0.0.2", "[::1]:80"]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
async def test_without_keys_a_foreign_name_is_refused(keyless: Api, host: str) -> None:
    for path in ("/schedules", "/health/live"):
        refused = await keyless.get(path, headers={"Host": host})
        assert (refused.status_code, problem_type(refused)) == (403, "host-refused")


@pytest.mark.parametrize("host", OWN_HOSTS)
async def test_names_of_this_machine_are_served(keyless: Api, host: str) -> None:
    assert (await keyless.get("/schedules", headers={"Host": host})).status_code == 200


async def test_with_keys_any_name_is_served(keyed: Api) -> None:
    assert (await keyed.get("/schedules", key="viewer", headers={"Host": "ops.example"})).status_code == 200


@pytest.mark.parametrize("client", ["10.1.2.3", "::ffff:10.1.2.3", "fe80::1", "somewhere"])
async def test_without_keys_another_machine_is_refused(redis_url: str, namespace: str, client: str) -> None:
    api = Api(redis_url, namespace)
    transport = httpx2.ASGITransport(api.app, client=(client, 5000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        refused = await http.get("/health/live")
    check_problem(refused)
    assert (refused.status_code, problem_type(refused)) == (403, "not-from-this-machine")
    await api.instance.stop()


async def test_a_proxy_that_tells_whom_it_serves_opens_nothing(keyless: Api) -> None:
    refused = await keyless.get("/schedules", headers={"X-Forwarded-For": "203.0.113.9"})
    assert (refused.status_code, problem_type(refused)) == (403, "not-from-this-machine")


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_page_of_another_origin_changes_nothing(keyless: Api, headers: Any) -> None:
    await keyless.post("/schedules", REPORT)
    for method, path in (("POST", "/schedules/r/pause"), ("DELETE", "/schedules/r"), ("PATCH", "/schedules/r")):
        refused = await keyless.call(method, path, headers=headers)
        assert (refused.status_code, problem_type(refused)) == (403, "origin-refused")
    assert (await keyless.get("/schedules/r", headers=headers)).json()["status"] == "active"


async def test_pages_of_this_server_and_allowed_ones_may_change_things(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, allowed_origins=(ORIGIN,)) as api:
        own = api.base
        for headers in (
            {"Origin": own},
            {"Origin": own, "Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
            {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
            {"Origin": "https://OPS.example"},
        ):
            assert (await api.post("/schedules", REPORT, headers=headers)).status_code in (200, 201)


async def test_allowed_origins_get_cors_headers_and_others_none(keyed: Api) -> None:
    allowed = {"Origin": ORIGIN}
    seen = await keyed.get("/schedules", headers=allowed)
    assert seen.status_code == 401  # an error is readable too
    assert seen.headers["access-control-allow-origin"] == ORIGIN
    ask = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}
    preflight = await keyed.http.options("/api/v1/schedules/r", headers={**allowed, **ask})
    assert preflight.status_code == 200
    assert "PATCH" in preflight.headers["access-control-allow-methods"]
    foreign = await keyed.get("/schedules", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers


async def test_without_allowed_origins_there_is_no_cors(keyless: Api) -> None:
    answer = await keyless.get("/schedules", headers={"Origin": ORIGIN})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
