"""Services of one process: started in order, stopped in reverse, whatever one of them does."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from application.hosting import Host

Act = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """Start or stop at once."""


class Service:
    """Tells what happens to it."""

    def __init__(self, name: str, told: list[str], *, start: Act = nothing, stop: Act = nothing) -> None:
        self.name = name
        self._told = told
        self._start = start
        self._stop = stop

    async def start(self) -> None:
        self._told.append(f"start {self.name}")
        await self._start()
        self._told.append(f"started {self.name}")

    async def stop(self) -> None:
        self._told.append(f"stop {self.name}")
        await self._stop()
        self._told.append(f"stopped {self.name}")


@pytest.fixture
def told() -> list[str]:
    return []


def services(told: list[str], **acts: dict[str, Act]) -> list[Service]:
    return [Service(name, told, **acts.get(name, {})) for name in "abc"]


async def fail() -> None:
    raise OSError("on purpose")


async def hang() -> None:
    await asyncio.Event().wait()


STOPPED = ["stop c", "stopped c", "stop b", "stopped b", "stop a", "stopped a"]


async def test_services_start_in_order_and_stop_in_reverse(told: list[str]) -> None:
    host = Host(services(told))
    await host.start()
    assert told == ["start a", "started a", "start b", "started b", "start c", "started c"]
    told.clear()
    await host.stop()
    assert told == STOPPED


async def test_stop_before_start_and_a_second_stop_do_nothing(told: list[str]) -> None:
    host = Host(services(told))
    await host.stop()
    assert told == []
    await host.start()
    await host.stop()
    told.clear()
    await host.stop()
    assert told == []


async def test_a_second_start_does_nothing_and_a_stopped_host_starts_again(told: list[str]) -> None:
    host = Host(services(told))
    await host.start()
    await host.start()
    assert told.count("start a") == 1
    await host.stop()
    await host.start()
    assert told.count("start a") == 2


async def test_a_failure_at_start_stops_it_and_those_before_and_is_raised(told: list[str]) -> None:
    host = Host(services(told, b={"start": fail}))
    with pytest.raises(OSError, match="on purpose"):
        await host.start()
    assert told == ["start a", "started a", "start b", "stop b", "stopped b", "stop a", "stopped a"]
    told.clear()
    await host.stop()
    assert told == []


async def test_a_failure_at_start_is_told_though_stopping_fails_too(
    told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def fail_again() -> None:
        raise ValueError("and this too")

    host = Host(services(told, b={"start": fail}, a={"stop": fail_again}))
    with pytest.raises(OSError, match="on purpose"):
        await host.start()
    assert "Service did not stop cleanly" in caplog.text
    assert "and this too" in caplog.text


async def test_cancelling_a_start_stops_what_was_begun(told: list[str]) -> None:
    host = Host(services(told, b={"start": hang}))
    starting = asyncio.create_task(host.start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert told == ["start a", "started a", "start b", "stop b", "stopped b", "stop a", "stopped a"]


async def test_one_that_fails_to_stop_does_not_keep_the_others_running(
    told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    host = Host(services(told, b={"stop": fail}))
    await host.start()
    told.clear()
    await host.stop()
    assert told == ["stop c", "stopped c", "stop b", "stop a", "stopped a"]
    assert "Service did not stop cleanly" in caplog.text


async def test_cancelling_a_stop_still_stops_the_others(told: list[str]) -> None:
    host = Host(services(told, c={"stop": hang}))
    await host.start()
    told.clear()
    stopping = asyncio.create_task(host.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert told == ["stop c", "stop b", "stopped b", "stop a", "stopped a"]


async def test_two_stops_at_once_both_return_when_all_has_ended(told: list[str]) -> None:
    release = asyncio.Event()

    async def wait() -> None:
        await release.wait()

    host = Host(services(told, c={"stop": wait}))
    await host.start()
    told.clear()
    first, second = asyncio.create_task(host.stop()), asyncio.create_task(host.stop())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not second.done()
    release.set()
    await asyncio.gather(first, second)
    assert told == STOPPED


async def test_a_stop_during_start_leaves_nothing_running(told: list[str]) -> None:
    release = asyncio.Event()

    async def wait() -> None:
        await release.wait()

    host = Host(services(told, b={"start": wait}))
    starting = asyncio.create_task(host.start())
    await asyncio.sleep(0)
    stopping = asyncio.create_task(host.stop())
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(starting, stopping)
    assert told[-6:] == STOPPED


async def test_a_host_without_services_lives_and_dies_quietly() -> None:
    host = Host([])
    await host.start()
    await host.stop()
