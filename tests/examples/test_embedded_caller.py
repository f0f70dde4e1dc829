"""The application around Roundsman says who may call its routes, by a dependency of its own."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Security
from fastapi.security import APIKeyCookie

from examples.embedding_kit import Make, client
from infrastructure.embedding import Caller
from infrastructure.settings import InvalidSettings, Role

SESSIONS = {"e1": Caller("eve", "viewer"), "a1": Caller("ann", "operator")}
STAFF: dict[str, Role] = {"ann": "operator"}
COOKIE = APIKeyCookie(name="session", auto_error=False)
FAR = "203.0.113.9"
SCHEDULE = {"id": "s", "name": "Pass", "data": {"line": "x"}, "trigger": {"interval_s": 3600}}


def session(key: Annotated[str | None, Security(COOKIE)]) -> str:
    """Return the session, as the application's own endpoints get it; refuse a request without."""
    if key is None:
        raise HTTPException(403, "log in first", {"x-login": "/login"})
    return key


async def in_session(found: Annotated[str, Depends(session)]) -> Caller | None:
    return SESSIONS.get(found)


async def staff(token: Annotated[str | None, Header(alias="x-staff")] = None) -> Caller | None:
    """Say who calls, for the routes of Roundsman; a real service looks into its session."""
    role = STAFF.get(token or "")
    return Caller(name=f"{token}@shop", role=role) if role else None


def headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"cookie": f"session={key}"}


async def test_it_guards_the_routes_and_names_who_acts(make: Make) -> None:
    roundsman = make(caller=in_session)
    app = FastAPI()
    app.mount("/jobs", roundsman.api)
    async with roundsman, client(app, FAR) as http:
        http.headers["host"] = "shop.example"
        made = await http.post("/jobs/api/v1/schedules", json=SCHEDULE, headers=headers("a1"))
        assert made.status_code == 201, made.text
        assert (await http.get("/jobs/api/v1/schedules/s", headers=headers("e1"))).status_code == 200
        paused = await http.post("/jobs/api/v1/schedules/s/pause", json={"reason": "tea"}, headers=headers("a1"))
        assert paused.json()["paused"]["by"] == "ann"
        written = (await http.get("/jobs/api/v1/audit", headers=headers("a1"))).json()["items"]
        assert {(entry["actor"], entry["via"]) for entry in written if entry["target"] == "s"} == {("ann", "api")}
        assert (await http.get("/jobs/metrics", headers=headers("e1"))).status_code == 200


@pytest.mark.parametrize(
    ("key", "method", "path", "status", "told"),
    [
        (None, "GET", "/jobs/api/v1/schedules", 403, "log in first"),
        (None, "POST", "/jobs/api/v1/schedules", 403, "log in first"),
        (None, "GET", "/jobs/api/v1/events", 403, "log in first"),
        (None, "GET", "/jobs/metrics", 403, "log in first"),
        ("unknown", "GET", "/jobs/api/v1/schedules", 401, "key"),
        ("e1", "POST", "/jobs/api/v1/schedules", 403, "eve"),
        ("e1", "DELETE", "/jobs/api/v1/schedules/s", 403, "eve"),
    ],
)
async def test_whom_it_does_not_know_may_nothing(
    make: Make, key: str | None, method: str, path: str, status: int, told: str
) -> None:
    roundsman = make(caller=in_session)
    app = FastAPI()
    app.mount("/jobs", roundsman.api)
    async with roundsman, client(app, FAR) as http:
        body = {"json": SCHEDULE} if method == "POST" else {}
        answer = await http.request(method, path, headers=headers(key), **body)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert told in answer.json()["detail"]
        assert answer.json()["status"] == status
        if key is None:
            assert answer.headers["x-login"] == "/login"
        assert "s" not in [task.id for task in (await roundsman.scheduler().list_tasks()).items]


async def test_what_is_for_everybody_shows_no_details(make: Make) -> None:
    roundsman = make(caller=in_session)
    async with roundsman, client(roundsman.api, FAR) as http:
        ready = (await http.get("/health/ready")).json()
        assert ready["status"] == "ok"
        assert all("facts" not in part for part in ready["components"].values())
        assert (await http.get("/docs")).status_code == 200
        document: dict[str, Any] = (await http.get("/openapi.json")).json()
        assert "/api/v1/schedules" in document["paths"]


async def test_a_page_of_another_origin_does_not_act_with_the_cookie(make: Make) -> None:
    roundsman = make(caller=in_session)
    async with roundsman, client(roundsman.api) as http:
        foreign = {**headers("a1"), "origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        answer = await http.post("/api/v1/schedules", json=SCHEDULE, headers=foreign)
        assert answer.status_code == 403
        assert "evil.example" in answer.text or "cross-site" in answer.text


async def test_the_one_of_the_guide_with_a_parameter_of_its_own(make: Make) -> None:
    roundsman = make(caller=staff)
    async with roundsman, client(roundsman.api, FAR) as http:
        assert (await http.get("/api/v1/schedules?limit=5", headers={"x-staff": "ann"})).status_code == 200
        assert (await http.get("/api/v1/schedules?limit=5")).status_code == 401
        assert (await http.get("/api/v1/schedules?bogus=5", headers={"x-staff": "ann"})).status_code == 422


def test_keys_beside_it_are_refused(make: Make) -> None:
    key = {"name": "ops", "role": "operator", "key": "k" * 32}
    with pytest.raises(InvalidSettings, match=r"server\.api_keys: the application says by 'caller' who calls"):
        make(caller=staff, tables={"server": {"api_keys": [key]}})
