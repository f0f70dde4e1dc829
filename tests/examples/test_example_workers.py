"""Several workers of one service: they share a Redis and fire each schedule once, or say that they need one."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from examples.example_kit import Project, documented
from infrastructure.redis.connection import RedisStore

README = "examples/fastapi-service/README.md"
EMBED = "docs/how-to/embed.md"
UVICORN = "uvicorn main:app --port 8000 --workers 4"
GUNICORN = "gunicorn main:app --bind 127.0.0.1:8000 --workers 4 --worker-class uvicorn_worker.UvicornWorker --preload"
FOR_TESTS = ["--no-control-socket"]
"""gunicorn would make one in the home directory."""
EVERY_S = 0.05

pytestmark = pytest.mark.usefixtures("no_server_left")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Project]:
    with Project("fastapi-service", tmp_path) as project:
        yield project


@pytest.fixture
def shared(shop: Project, redis_url: str, namespace: str, store: RedisStore) -> Project:
    """The shop on the store of this test, counting its orders all the time."""
    shop.environ |= {
        "ROUNDSMAN_STORE__REDIS_URL": redis_url,
        "ROUNDSMAN_STORE__NAMESPACE": namespace,
        "SHOP_COUNT_EVERY_S": str(EVERY_S),
    }
    return shop


def counts(shop: Project) -> list[tuple[datetime, int, int, int]]:
    """Return fire, missed, attempt and worker of what was counted, by fire."""
    with closing(sqlite3.connect(shop.directory / "shop.db", timeout=30)) as database:
        rows = database.execute("SELECT fire, missed, attempt, worker FROM counts ORDER BY fire").fetchall()
    return [(datetime.fromisoformat(fire), missed, attempt, worker) for fire, missed, attempt, worker in rows]


def instances(shop: Project) -> list[Any]:
    found: list[Any] = shop.call("GET", "/jobs/api/v1/instances", 200)["items"]
    return [item for item in found if item["status"] == "alive"]


def missing(shop: Project) -> list[datetime]:
    """Return the fires between the first count and the last that nobody counted and nobody said were missed."""
    found = counts(shop)
    gone = []
    for (before, *_), (fire, missed, *_) in pairwise(found):
        lost = round((fire - before) / timedelta(seconds=EVERY_S)) - 1 - missed
        gone += [fire] * (lost > 0)
    return gone


def test_four_workers_of_uvicorn_count_each_fire_once_and_one_more_replaces_a_killed_one(shared: Project) -> None:
    shared.start(documented(UVICORN, README, EMBED))
    shared.wait(lambda: len(instances(shared)) == 4, "four instances")
    start = len(counts(shared))
    shared.wait(lambda: len(counts(shared)) > start + 60, "sixty counts")
    found = counts(shared)
    assert len({fire for fire, *_ in found}) == len(found), "a fire was counted twice"
    assert {attempt for _, _, attempt, _ in found} == {1}
    skipped = shared.call("GET", "/jobs/api/v1/schedules/count-orders", 200)["counts"]["skipped"]
    assert len(missing(shared)) <= skipped
    victim = found[-1][3]
    os.kill(victim, signal.SIGKILL)
    shared.wait(lambda: len({item["pid"] for item in instances(shared)} - {victim}) == 4, "a worker in its place")
    start = len(counts(shared))
    shared.wait(lambda: len(counts(shared)) > start + 20, "counts after the kill")
    found = counts(shared)
    doubled = [attempt for fire, _, attempt, _ in found if [other for other, *_ in found].count(fire) > 1]
    assert doubled in ([], [1, 2], [2, 1]), "only what a killed worker had begun is counted again, and says so"
    assert shared.stop() == 0
    assert "Traceback" not in shared.said


def test_gunicorn_forks_a_loaded_application_and_each_fire_is_counted_once(shared: Project) -> None:
    shared.start([*documented(GUNICORN, README, EMBED), *FOR_TESTS])
    shared.wait(lambda: len(instances(shared)) == 4, "four instances")
    shared.wait(lambda: len(counts(shared)) > 40, "forty counts")
    found = counts(shared)
    assert len({fire for fire, *_ in found}) == len(found), "a fire was counted twice"
    assert len({item["id"] for item in instances(shared)}) == 4
    number = shared.call("POST", "/orders", 202, {"item": "tea"})["order"]
    shared.wait(lambda: shared.call("GET", f"/orders/{number}", 200)["receipts"] == 1, "the receipt")
    assert shared.stop() == 0
    assert "Traceback" not in shared.said


@pytest.mark.parametrize("command", [UVICORN, GUNICORN], ids=["uvicorn", "gunicorn"])
def test_without_a_redis_workers_say_what_they_need_and_end(shop: Project, command: str) -> None:
    words = [word.replace("4", "2") for word in documented(command, README, EMBED)]
    process = shop.begin(words + FOR_TESTS * (words[0] == "gunicorn"))
    process.wait(90)
    assert "WorkersNeedRedis: Several workers of one server cannot share the embedded Valkey" in shop.said
    assert "Set store.redis_url (ROUNDSMAN_STORE__REDIS_URL)" in shop.said
    assert shop.said.count("WorkersNeedRedis") == 1, "it was started again"
    assert not psutil.pid_exists(process.pid)
