"""A store that is not there yet when the program starts."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from distributed.program_kit import Roundsman
from external_server import ExternalServer
from fault_proxy import FaultProxy
from infrastructure.program import Program
from infrastructure.redis import errors, patience
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.patience import open_patiently
from infrastructure.settings import Settings
from integration.test_connections_refused import GOOD, info, server_that
from support import wait_until, wait_until_sync

Servers = Callable[..., ExternalServer]


@pytest.fixture
async def absent(external: Servers) -> AsyncIterator[FaultProxy]:
    """A server that is down."""
    async with FaultProxy(external()) as proxy:
        await proxy.set_fault("down")
        yield proxy


async def test_a_program_waits_for_its_store_and_says_so(
    absent: FaultProxy, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"store": {"redis_url": absent.url, "namespace": namespace}, "monitoring": {"local_worker": False}}
    program = Program(Settings.model_validate(settings))
    starting = asyncio.create_task(program.start())
    await wait_until(lambda: "more for the store: No Redis can be reached at 127.0.0.1" in caplog.text)
    assert not starting.done()
    await absent.set_fault("none")
    await starting
    assert (await program.services().health.look()).status == "ok"
    await program.stop()


async def test_it_gives_up_after_its_patience_with_what_was_wrong(
    absent: FaultProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(patience, "RETRY_S", 0.02)
    monkeypatch.setattr(patience, "SAY_EVERY_S", 0.05)
    with pytest.raises(errors.StoreUnreachable, match="Start it, or mend the setting") as failure:
        await open_patiently(RedisStore(absent.url), 0.3)
    assert failure.value.exit_status == 5
    said = [record for record in caplog.records if "more for the store" in record.message]
    assert 2 <= len(said) <= 7


async def test_without_patience_it_does_not_try_again(absent: FaultProxy, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(errors.StoreUnreachable):
        await open_patiently(RedisStore(absent.url), 0)
    assert "more for the store" not in caplog.text


async def test_one_that_is_loading_its_data_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_S", 0.02)
    answers = iter([b"-LOADING Redis is loading the dataset in memory\r\n"] * 3)
    async with server_that(lambda command: next(answers, info(**GOOD)(command))) as url:
        store = RedisStore(url)
        await open_patiently(store, 30)
        await store.close()
    assert next(answers, None) is None


async def test_one_that_fails_over_is_waited_for(external: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_S", 0.02)
    replica, primary = external(replicaof="127.0.0.1 1"), external()
    async with FaultProxy(replica) as proxy:
        store = RedisStore(proxy.url)
        opening = asyncio.create_task(open_patiently(store, 30))
        await wait_until(lambda: proxy.accepted >= 2)
        assert not opening.done()
        proxy.lead_to(primary)
        await opening
        await store.close()


async def test_what_time_does_not_mend_is_told_at_once(external: Servers) -> None:
    server = external(requirepass="s3cret")
    with pytest.raises(errors.StorePasswordRequired):
        await open_patiently(RedisStore(server.url), 3600)


def test_who_is_told_to_end_while_it_waits_ends(tmp_path: Path) -> None:
    with Roundsman(tmp_path, ROUNDSMAN_STORE__REDIS_URL="redis://127.0.0.1:1") as program:
        process = program.begin()
        wait_until_sync(lambda: "more for the store" in program.said, "it to say that it waits", 90)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "Traceback" not in program.said
