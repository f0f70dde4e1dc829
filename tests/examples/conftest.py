"""Programs, alone and in applications, on the store of a test."""

import itertools
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from examples.embedded_jobs import Office
from examples.embedding_kit import Make, Prepare, Threads, Write
from infrastructure.embedding import Roundsman
from infrastructure.program import Program
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.settings import Settings

THREADS = {"APScheduler", "renewal", "embedded-valkey"}
names = itertools.count()


@pytest.fixture
async def make(redis_url: str, namespace: str, store: RedisStore) -> AsyncIterator[Make]:
    """Make some on the store of this test; stop what the test left running."""
    made: list[Roundsman] = []

    def one(container: Any = Office, **options: Any) -> Roundsman:
        tables = {"store": {"redis_url": redis_url, "namespace": namespace}, **options.pop("tables", {})}
        options = {"modules": ["examples.embedded_jobs"], "containers": [container], "settings": tables, **options}
        made.append(Roundsman(**options))
        return made[-1]

    yield one
    for roundsman in made:
        await roundsman.stop()


@pytest.fixture
def threads(valkey: EmbeddedValkey) -> Threads:
    """Return what names our threads that live now, without that of the tests' own server."""
    before = set(threading.enumerate())
    return lambda: {thread.name for thread in set(threading.enumerate()) - before} & THREADS


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module that nobody has imported yet; return its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def one(*parts: str) -> str:
        name = f"users_module_{next(names)}"
        (tmp_path / f"{name}.py").write_text("\n".join(dedent(part) for part in parts))
        return name

    return one


@pytest.fixture
async def prepare(redis_url: str, namespace: str, store: RedisStore) -> AsyncIterator[Prepare]:
    """Make programs on the store of this test; stop what the test left running."""
    made: list[Program] = []

    def one(*containers: str, modules: tuple[str, ...] = (), role: Any = "all") -> Program:
        tables = {
            "store": {"redis_url": redis_url, "namespace": namespace},
            "background_jobs": {"modules": modules, "containers": containers},
            "monitoring": {"local_worker": False},
        }
        made.append(Program(Settings.model_validate(tables), role))
        return made[-1]

    yield one
    for program in made:
        await program.stop()
