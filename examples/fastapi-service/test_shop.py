"""The whole application in one process, with a store of its own: the embedded Valkey, below a temporary directory."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from main import create_app


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    app = create_app({"data_dir": tmp_path / "var"}, database=str(tmp_path / "shop.db"))
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50_000)) as client:
        yield client


def test_an_order_gets_its_receipt(client: TestClient) -> None:
    order = client.post("/orders", json={"item": "tea"}).json()["order"]
    end = time.monotonic() + 30
    while client.get(f"/orders/{order}").json()["receipts"] == 0:
        assert time.monotonic() < end, "no receipt was sent"
        time.sleep(0.01)


def test_the_routes_of_the_jobs_are_below_their_prefix(client: TestClient) -> None:
    shown = client.get("/jobs/api/v1/schedules/count-orders").json()
    assert shown["name"] == "CountOrders"
    assert client.get("/jobs/health/ready").json()["status"] == "ok"
