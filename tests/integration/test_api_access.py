"""Who may call the API, and who may not."""

import logging
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute

from api_kit import API_KEYS, KEYS, Api, Follower, check_problem, problem_type
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.web import app as web_app
from infrastructure.web.openapi import required_role

REPORT = {"id": "r", "name": "Report", "data": {"team": "ops"}, "trigger": {"interval_s": 60}}
RANK = ["viewer", "operator", "admin"]


def operations() -> list[tuple[str, str, str | None]]:
    """Return every operation under the API's prefix with the role it takes, as the application includes them."""
    routes = [route for router in web_app.FEATURES for route in router.routes if isinstance(route, APIRoute)]
    return [
        (method, route.path, required_role(route.dependant))
        for route in routes
        for method in sorted(route.methods or ())
    ]


def test_every_operation_takes_a_role_and_only_reading_takes_a_viewer() -> None:
    assert len(operations()) > 8
    for method, path, role in operations():
        assert role in RANK, f"{method} {path} is open"
        assert (role == "viewer") == (method == "GET"), f"{method} {path}"


async def test_each_role_may_do_what_it_should_and_nothing_more(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        for method, path, wanted in operations():
            if path == "/events":
                continue
            concrete = path.replace("{id}", "none")
            nobody = await api.call(method, concrete)
            assert (nobody.status_code, problem_type(nobody)) == (401, "not-authenticated"), (method, path)
            assert nobody.headers["www-authenticate"] == 'Bearer realm="roundsman"'
            for role in RANK:
                answer = await api.call(method, concrete, key=role)
                if RANK.index(role) < RANK.index(wanted or ""):
                    assert (answer.status_code, problem_type(answer)) == (403, "role-too-low"), (method, path, role)
                else:
                    assert answer.status_code in (200, 404, 422), (method, path, role)


async def test_the_event_stream_takes_a_viewer(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        assert (await api.get("/events")).status_code == 401
        async with Follower(api, key="viewer") as follower:
            assert follower.place


async def test_what_is_changed_is_changed_in_the_name_of_the_key(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        await api.post("/schedules", REPORT, key="operator")
        paused = await api.post("/schedules/r/pause", key="admin")
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
    redis_url: str, namespace: str, header: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        with caplog.at_level(logging.DEBUG):
            value = header if isinstance(header, bytes) else header.encode()
            refused = await api.get("/schedules", headers={b"Authorization": value})
        assert (refused.status_code, problem_type(refused)) == (401, "key-refused")
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]
        assert "wrong" not in refused.text
        for key in KEYS.values():
            assert key not in refused.text + caplog.text


async def test_the_word_bearer_may_be_written_in_any_case(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        headers = {"Authorization": f"bEARER  {KEYS['viewer']}"}
        assert (await api.get("/schedules", headers=headers)).status_code == 200


async def test_nothing_is_read_of_what_a_stranger_sends(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        refused = await api.call(
            "POST", "/schedules", content=b"{nonsense", headers={"Content-Type": "application/json"}
        )
        assert refused.status_code == 401


async def test_keys_are_in_no_log_and_no_repr(redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        with caplog.at_level(logging.DEBUG):
            await api.get("/schedules", key="admin")
            await api.get("/nothing", key="admin")
        said = caplog.text + repr(api.settings) + repr(api.services)
        for key in (*KEYS.values(), *(key.key_sha256 for key in API_KEYS)):
            assert key not in said


async def test_health_is_open_and_shows_details_to_known_callers_alone(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        for path in ("/health/live", "/health/ready", "/health/queue"):
            assert (await api.get(path)).status_code == 200
        bad = {"Authorization": "Bearer wrong"}
        assert (await api.get("/health/ready", headers=bad)).json()["components"] == {"store": {"status": "ok"}}
        known = (await api.get("/health/ready", key="viewer")).json()
        assert known["components"]["store"]["facts"] == {"server": "valkey"}
        assert (await api.get("/health/queue")).json()["queue_stats"]["lanes"] is None
        assert "Note@1" in (await api.get("/health/queue", key="viewer")).json()["queue_stats"]["lanes"]


async def test_the_documentation_is_open(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        for path in ("/docs", "/openapi.json", "/docs/start.js"):
            assert (await api.get(path)).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.7", "[::2]", "@"]
)
async def test_without_keys_a_foreign_name_is_refused(valkey: EmbeddedValkey, namespace: str, host: str) -> None:
    async with Api(valkey.url, namespace) as api:
        for path in ("/schedules", "/health/live"):
            refused = await api.get(path, headers={"Host": host})
            assert (refused.status_code, problem_type(refused)) == (403, "host-refused")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "localhost.", "app.localhost", "127.0.0.2", "[::1]:80"]
)
async def test_names_of_this_machine_are_served(valkey: EmbeddedValkey, namespace: str, host: str) -> None:
    async with Api(valkey.url, namespace) as api:
        assert (await api.get("/schedules", headers={"Host": host})).status_code == 200


async def test_with_keys_any_name_is_served(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        assert (await api.get("/schedules", key="viewer", headers={"Host": "ops.example"})).status_code == 200


@pytest.mark.parametrize("client", ["10.1.2.3", "::ffff:10.1.2.3", "fe80::1", "somewhere"])
async def test_without_keys_another_machine_is_refused(redis_url: str, namespace: str, client: str) -> None:
    api = Api(redis_url, namespace)
    transport = httpx2.ASGITransport(api.app, client=(client, 5000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        refused = await http.get("/health/live")
    check_problem(refused)
    assert (refused.status_code, problem_type(refused)) == (403, "not-from-this-machine")
    await api.instance.stop()


async def test_a_proxy_that_tells_whom_it_serves_opens_nothing(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api:
        refused = await api.get("/schedules", headers={"X-Forwarded-For": "203.0.113.9"})
        assert (refused.status_code, problem_type(refused)) == (403, "not-from-this-machine")


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_page_of_another_origin_changes_nothing(redis_url: str, namespace: str, headers: Any) -> None:
    async with Api(redis_url, namespace) as api:
        await api.post("/schedules", REPORT)
        for method, path in (("POST", "/schedules/r/pause"), ("DELETE", "/schedules/r"), ("PATCH", "/schedules/r")):
            refused = await api.call(method, path, headers=headers)
            assert (refused.status_code, problem_type(refused)) == (403, "origin-refused")
        assert (await api.get("/schedules/r", headers=headers)).json()["status"] == "active"


async def test_pages_of_this_server_and_allowed_ones_may_change_things(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, allowed_origins=("https://ops.example",)) as api:
        own = api.base
        for headers in (
            {"Origin": own},
            {"Origin": own, "Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
            {"Origin": "https://ops.example", "Sec-Fetch-Site": "cross-site"},
            {"Origin": "https://OPS.example"},
        ):
            assert (await api.post("/schedules", REPORT, headers=headers)).status_code in (200, 201)


async def test_allowed_origins_get_cors_headers_and_others_none(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, allowed_origins=("https://ops.example",), api_keys=API_KEYS) as api:
        allowed = {"Origin": "https://ops.example"}
        seen = await api.get("/schedules", headers=allowed)
        assert seen.status_code == 401  # an error is readable too
        assert seen.headers["access-control-allow-origin"] == "https://ops.example"
        ask = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}
        preflight = await api.http.options("/api/v1/schedules/r", headers={**allowed, **ask})
        assert preflight.status_code == 200
        assert "PATCH" in preflight.headers["access-control-allow-methods"]
        foreign = await api.get("/schedules", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers


async def test_without_allowed_origins_there_is_no_cors(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api:
        answer = await api.get("/schedules", headers={"Origin": "https://ops.example"})
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
