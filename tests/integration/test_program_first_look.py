"""What somebody sees who has just started the program."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from infrastructure.cli.first_look import SAMPLES, FirstLook
from infrastructure.events.bus import RedisEventBus
from infrastructure.redis.connection import RedisStore
from infrastructure.settings import Settings
from support import wait_until


@pytest.fixture
async def bus(store: RedisStore) -> AsyncIterator[RedisEventBus]:
    made = RedisEventBus(store.command, store.blocking, store.key, "i1")
    await made.start()
    yield made
    await made.stop()


def settings(**server: Any) -> Settings:
    return Settings.model_validate({"server": server})


class Closed(io.StringIO):
    """An output whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError("the pipe is closed")


class Screen(io.StringIO):
    @property
    def lines(self) -> list[str]:
        return self.getvalue().splitlines()


async def shown(bus: RedisEventBus, *metrics: dict[str, Any], name: str = "vm") -> list[str]:
    """Return the lines of the samples, as many as it shows."""
    screen = Screen()
    looking = asyncio.create_task(FirstLook(settings(), bus, 8000, screen).show())
    await wait_until(lambda: len(screen.lines) == 2)
    numbers = iter(range(1000))

    async def enough() -> bool:
        values = metrics[next(numbers) % len(metrics)]
        sample = {"worker_id": "local", "worker_name": name, "observed_at": "2026-11-22T08:00:05Z", "metrics": values}
        await bus.publish("worker.metrics.collected", sample)
        return looking.done()

    await wait_until(enough, "the first look to end by itself")
    await looking
    return screen.lines[2:]


async def test_the_address_then_the_first_samples(bus: RedisEventBus) -> None:
    known = {"cpu_utilization": 0.314, "memory_utilization": 0.5, "load_1m": 1.5, "process_count": 107}
    lines = await shown(bus, known)
    assert lines == ["  08:00:05  local (vm): cpu 31%, memory 50%, load 1.5, processes 107"] * SAMPLES


async def test_what_is_not_known_is_not_zero(bus: RedisEventBus) -> None:
    nothing = dict.fromkeys(("cpu_utilization", "memory_utilization", "load_1m", "process_count"))
    (line, *_) = await shown(bus, nothing)
    assert line.endswith("cpu not known yet, memory not known yet, load not known, processes not known")
    zero = dict.fromkeys(nothing, 0)
    (line, *_) = await shown(bus, zero)
    assert line.endswith("cpu 0%, memory 0%, load 0, processes 0")


async def test_a_name_does_not_steer_the_terminal(bus: RedisEventBus) -> None:
    (line, *_) = await shown(bus, {}, name="b\x1b[2Jx\ny")
    assert "local (b\\x1b[2Jx\\ny)" in line


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ({}, "http://127.0.0.1:8123/ "),
        ({"host": "::1"}, "http://[::1]:8123/ "),
        ({"base_path": "/roundsman"}, "http://127.0.0.1:8123/roundsman/ "),
    ],
)
async def test_the_address_is_one_to_click_on(bus: RedisEventBus, server: dict[str, Any], address: str) -> None:
    screen = Screen()
    looking = asyncio.create_task(FirstLook(settings(**server), bus, 8123, screen).show())
    await wait_until(lambda: len(screen.lines) == 2)
    looking.cancel()
    await asyncio.wait([looking])
    assert address in screen.lines[0]
    assert f"{address.rstrip().rstrip('/')}/docs " in screen.lines[1]


async def test_an_output_that_is_closed_ends_the_show_alone(bus: RedisEventBus) -> None:
    await FirstLook(settings(), bus, 8000, Closed()).show()
