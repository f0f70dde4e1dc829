"""Real parts for every test: one Valkey server a test session (a worker, under xdist), one namespace a test."""

import contextlib
import gc
import os
import platform
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

from dealing import deal, is_slow
from external_server import ExternalServer
from infrastructure.garbage import THRESHOLDS
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from scripts import pythons
from support import examples, wait_until_sync

pytest_plugins = ["testing.plugin"]
gc.set_threshold(*THRESHOLDS)
# No deadlines: how long an example takes is the machine's affair.
settings.register_profile(
    "tests", max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # programs that tests start would compile all sources, each time
NO_AUTHORITY = str(Path(__file__).with_name("no_authority.pem"))
"""Nobody here calls a server of the internet, and to read all who could vouch for one takes 60 ms a client."""
os.environ |= dict.fromkeys(("SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"), NO_AUTHORITY)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # or the programs of tests would not hear it either


def pytest_report_header() -> str:
    """Name the interpreter of this run, and the other supported ones that are here (``make pythons`` tries them)."""
    others = [version for version in pythons.found() if version != platform.python_version()]
    return (
        f"on {platform.python_implementation()} {platform.python_version()}; found too: {', '.join(others) or 'none'}"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deal the tests out, where several processes run them."""
    parts = getattr(config, "workerinput", {}).get("workercount", 1)
    if parts > 1:
        items[:] = deal(items, lambda item: item.path, is_slow, parts)


def pytest_collection_finish() -> None:
    """Keep Python's garbage collector from going through 400,000 objects of modules and tests again and again."""
    gc.freeze()


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
def no_server_left(tmp_path: Path) -> Iterator[None]:
    """Fail when a server that works below ``tmp_path`` outlives the test, and end it."""
    yield
    try:
        wait_until_sync(lambda: not servers_below(tmp_path), "the servers of this test to end", deadline_s=10)
    finally:
        for process in servers_below(tmp_path):
            process.kill()


def servers_below(folder: Path) -> list[psutil.Process]:
    """Return the Valkey servers whose data is below ``folder``."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            alive = process.name() == "valkey-server" and process.status() != psutil.STATUS_ZOMBIE
            if alive and Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


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


@pytest.fixture
def external(tmp_path: Path) -> Iterator[Callable[..., ExternalServer]]:
    """Make servers that are not the program's, each started on a directory of its own; kill what is left."""
    made: list[ExternalServer] = []

    def start(**options: object) -> ExternalServer:
        server = ExternalServer(tmp_path / f"e{len(made)}", **options)
        made.append(server)
        return server.start()

    yield start
    for server in made:
        server.kill()
