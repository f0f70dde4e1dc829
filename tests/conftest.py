"""Real parts for every test: one Valkey server a test session (a worker, under xdist), one namespace a test."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """One embedded server for all tests of this process; do not stop, kill or flush it (see ``fresh_valkey``)."""
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    server.open()
    yield server
    server.close()


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """The URL of the shared server; other processes can use it too."""
    return valkey.url


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test has."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
async def store(redis_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    """An open store on a namespace of its own, whose keys are gone afterwards."""
    opened = RedisStore(redis_url, namespace)
    await opened.open()
    yield opened
    async for key in opened.command.scan_iter(match=f"{opened.prefix}:*", count=1000):
        await opened.command.unlink(key)
    await opened.close()


@pytest.fixture
def fresh_valkey(tmp_path: Path) -> Iterator[Callable[[], EmbeddedValkey]]:
    """Make servers that the test may kill, freeze or restart: each call starts one on an empty directory."""
    servers: list[EmbeddedValkey] = []

    def start() -> EmbeddedValkey:
        server = EmbeddedValkey(tmp_path / f"data{len(servers)}")
        servers.append(server)
        server.open()
        return server

    yield start
    for server in servers:
        server.close()
