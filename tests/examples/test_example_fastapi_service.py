"""Roundsman in a FastAPI service, with a store of its own: one process, as its README says."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import servers_below
from examples.example_kit import Project, documented

README = "examples/fastapi-service/README.md"
EMBED = "docs/how-to/embed.md"

pytestmark = pytest.mark.usefixtures("no_server_left")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Project]:
    with Project("fastapi-service", tmp_path) as project:
        yield project


def serve(shop: Project) -> Project:
    return shop.start(documented("uvicorn main:app --port 8000", README, EMBED))


def order(shop: Project) -> int:
    """Order something and wait for the receipt."""
    number = int(shop.call("POST", "/orders", 202, {"item": "tea"})["order"])
    shop.wait(lambda: shop.call("GET", f"/orders/{number}", 200)["receipts"] == 1, "the receipt")
    return number


def test_its_own_tests_pass(shop: Project) -> None:
    assert "2 passed" in shop.run("pytest", "-q", "-p", "no:randomly", "-p", "no:asyncio")


def test_from_the_first_order_through_a_stop_and_a_kill(shop: Project) -> None:
    serve(shop)
    number = order(shop)
    assert shop.call("POST", f"/orders/{number}/receipt", 202)["job"]
    shop.wait(lambda: shop.call("GET", f"/orders/{number}", 200)["receipts"] == 2, "the second receipt")
    shows_the_routes_below_the_prefix(shop)
    first = shop.call("GET", "/jobs/api/v1/schedules/count-orders", 200)
    stop_beside_an_open_stream(shop)
    serve(shop)
    assert shop.call("GET", f"/orders/{number}", 200)["receipts"] == 2
    assert shop.call("GET", "/jobs/api/v1/schedules/count-orders", 200)["created_at"] == first["created_at"]
    shop.kill()
    serve(shop)
    assert shop.call("GET", "/jobs/api/v1/schedules/count-orders", 200)["created_at"] == first["created_at"]
    order(shop)


def shows_the_routes_below_the_prefix(shop: Project) -> None:
    assert shop.call("GET", "/jobs/api/v1/schedules/count-orders", 200)["trigger"]["interval_s"] == 60
    assert shop.call("GET", "/jobs/openapi.json", 200)["servers"] == [{"url": "/jobs"}]
    assert shop.http.get("/jobs/").headers["location"] == "/jobs/docs"
    assert 'src="/jobs/docs/start.js"' in shop.http.get("/jobs/docs").text
    assert shop.call("GET", "/jobs/api/v1/none", 404)["type"] == "urn:roundsman:problem:no-such-path"
    assert shop.call("GET", "/api/v1/schedules", 404) == {"detail": "Not Found"}
    assert "/orders" in shop.call("GET", "/openapi.json", 200)["paths"]
    wanted = {"id": "c", "name": "CountOrders", "trigger": {"interval_s": 5}}
    made = shop.http.post("/jobs/api/v1/schedules", json=wanted)
    assert made.headers["location"] == "/jobs/api/v1/schedules/c"
    shop.environ["ROUNDSMAN_URL"] = f"{shop.http.base_url}".rstrip("/") + "/jobs"
    listed = json.loads(shop.run("roundsman", "schedules", "list", "--json"))
    assert "count-orders" in [item["id"] for item in listed["items"]]
    del shop.environ["ROUNDSMAN_URL"]
    assert '"POST /orders HTTP/1.1" 202' in shop.said, "uvicorn logs as it always does"


def stop_beside_an_open_stream(shop: Project) -> None:
    with shop.http.stream("GET", "/jobs/api/v1/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("id: ")
        shop.process.terminate()
        list(lines)
    assert shop.process.wait(60) in (0, -signal.SIGTERM)
    assert "Traceback" not in shop.said
    assert servers_below(shop.directory) == []
