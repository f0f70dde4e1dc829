"""A cluster on the shared server, under a namespace of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import event_facts
from cluster import Cluster
from external_server import ExternalServer
from hands import Hands
from infrastructure.program import Program
from infrastructure.redis import watch
from integration.history_kit import HistoryUnderTest
from integration.watched_kit import Start, make
from postgres_server import PostgresServer


@pytest.fixture
async def cluster(redis_url: str, namespace: str) -> AsyncIterator[Cluster]:
    async with Cluster(redis_url, namespace) as made:
        yield made
        await event_facts.hold(made.redis.command, made.redis.prefix)
        keys = [key async for key in made.redis.command.scan_iter(match=f"{made.redis.prefix}:*", count=1000)]
    if keys:
        from infrastructure.redis.connection import RedisStore

        store = RedisStore(redis_url, namespace)
        await store.command.unlink(*keys)
        await store.close()


@pytest.fixture
async def hands(cluster: Cluster) -> AsyncIterator[tuple[Hands, Hands]]:
    made = []
    for _ in range(2):
        instance = cluster.make(executes=False)
        await instance.start()
        made.append(Hands(instance))
    yield made[0], made[1]
    for one in made:
        one.client.close()


@pytest.fixture
async def begin(namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Start programs on a server, which look at it often."""
    monkeypatch.setattr(watch, "LOOK_S", 0.05)
    programs: list[Program] = []

    async def start(server: ExternalServer, **options: Any) -> Program:
        programs.append(make(server, namespace, **options))
        await programs[-1].start()
        return programs[-1]

    yield start
    for program in programs:
        await program.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests of this process; do not stop or freeze it."""
    server = PostgresServer()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def history_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: a test that asks for it runs on each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'history.sqlite3'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
async def history(history_url: str) -> AsyncIterator[HistoryUnderTest]:
    """An open history without jobs."""
    made = HistoryUnderTest(history_url)
    await made.database.open()
    yield made
    await made.database.close()
