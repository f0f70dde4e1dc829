"""The embedded server allocates with mimalloc where there is one, and starts without it just as well."""

import sys
from pathlib import Path

import pytest

from infrastructure.redis import binary, embedded
from infrastructure.redis.binary import find_allocator
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey

pytestmark = [
    pytest.mark.usefixtures("no_server_left"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a process has mapped is read from /proc"),
]


async def started_with(server: EmbeddedValkey) -> str:
    """Start a server, see it write, and return what it has mapped."""
    await server.start()
    try:
        with RedisStore(server.url).threaded() as client:
            client.set("a", "1" * 1_000_000)
            assert len(client.get("a") or "") == 1_000_000
        return Path(f"/proc/{server.pid}/maps").read_text()
    finally:
        await server.stop()


async def test_the_server_allocates_with_mimalloc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    allocator = find_allocator()
    assert allocator is not None, "the package is among the dependencies on Linux"
    assert str(allocator.resolve()) in await started_with(EmbeddedValkey(tmp_path))


async def test_without_the_package_it_starts_with_the_allocator_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise binary.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(binary.importlib.metadata, "distribution", absent)
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert find_allocator() is None
    assert "libmimalloc" not in await started_with(EmbeddedValkey(tmp_path))


async def test_a_library_that_cannot_be_loaded_is_named_in_the_log_and_the_server_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (broken := tmp_path / "libmimalloc.so").write_bytes(b"no library")
    monkeypatch.setattr(embedded, "find_allocator", lambda: broken)
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    server = EmbeddedValkey(tmp_path)
    assert "libmimalloc" not in await started_with(server)
    assert f"{broken}" in (tmp_path / "valkey" / "valkey.log").read_text()


async def test_an_allocator_that_somebody_preloads_already_stays_the_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/nowhere/libother.so")
    assert "libmimalloc" not in await started_with(EmbeddedValkey(tmp_path))
