"""How the program begins and ends within one process: twice, half-way, and on request while it starts."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import pytest

import main
from conftest import servers_below
from domain.errors import RoundsmanError
from infrastructure.program import Program
from infrastructure.settings import Settings

pytestmark = pytest.mark.usefixtures("no_server_left")


def settings_in(directory: Path) -> Settings:
    return Settings.model_validate({"data_dir": directory, "server": {"port": 0}})


async def test_starting_and_stopping_twice_is_like_once(tmp_path: Path) -> None:
    program = Program(settings_in(tmp_path))
    await program.stop()
    await program.start()
    await program.start()
    assert len(servers_below(tmp_path)) == 1
    await program.stop()
    await program.stop()
    assert servers_below(tmp_path) == []


async def test_what_was_stopped_can_start_again_on_what_it_left(tmp_path: Path) -> None:
    program = Program(settings_in(tmp_path))
    for _ in range(2):
        await program.start()
        found = await program.services().scheduler.list_tasks()
        assert [info.id for info in found.items] == ["monitoring-silence-check", "worker-metrics-local"]
        await program.stop()


async def test_as_an_application_its_lifespan_is_the_program(tmp_path: Path) -> None:
    app = main.create_app(settings_in(tmp_path))
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ok")
    assert servers_below(tmp_path) == []


async def test_a_start_that_fails_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    """Two programs of one process: the second finds the directory taken, and the first works on."""
    first, second = Program(settings_in(tmp_path)), Program(settings_in(tmp_path))
    await first.start()
    with pytest.raises(RoundsmanError, match="Another program in this very process has the data directory"):
        await second.start()
    await second.stop()
    assert (await first.services().health.look()).status == "ok"
    await first.stop()


async def ends_what_it_began() -> None:
    """Do what an engine does that executes jobs when its start is given up: let them end, and do not stand twice."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        for _ in range(10):
            await asyncio.sleep(0.01)
        ended.append(True)
        raise


ended: list[bool] = []


async def ends_by_itself() -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("work", "is_done"), [(ends_what_it_began, False), (asyncio.Event().wait, False), (ends_by_itself, True)]
)
async def test_a_start_is_given_up_for_certain_when_asked_to_end(
    work: Callable[[], Awaitable[None]], is_done: bool
) -> None:
    ended.clear()
    asked = asyncio.Event()
    starting = asyncio.create_task(main._unless(asked, work()))
    await asyncio.sleep(0.01)
    asked.set()
    async with asyncio.timeout(30):
        assert await starting is is_done
    assert ended == [True] * (work is ends_what_it_began)


async def test_what_prevents_the_start_is_raised_even_if_somebody_asked_to_end() -> None:
    async def fails() -> None:
        raise ValueError("no")

    asked = asyncio.Event()
    asked.set()
    with pytest.raises(ValueError, match="no"):
        await main._unless(asked, fails())
