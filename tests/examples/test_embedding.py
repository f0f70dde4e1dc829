"""Roundsman in an application: started, stopped, interrupted and asked at the wrong moment."""

import asyncio
import gc
import logging
import os
import signal
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from application.monitoring.seeding import MonitoringSeed
from application.scheduling import ScheduledTaskDescriptor
from conftest import servers_below
from examples.embedded_jobs import Office
from examples.embedding_kit import Make, Threads, client, writes
from infrastructure.embedding import NotRunning, OnAnotherLoop, Roundsman
from infrastructure.process import StartedBeforeFork
from support import wait_until


async def test_stop_without_start_and_both_twice_are_like_once(make: Make, threads: Threads) -> None:
    roundsman = make()
    await roundsman.stop()
    await roundsman.start()
    scheduler = roundsman.scheduler()
    await roundsman.start()
    assert roundsman.scheduler() is scheduler
    await roundsman.stop()
    await roundsman.stop()
    assert threads() == set()


async def test_starts_and_stops_at_the_same_time_leave_it_as_the_last_one_says(make: Make, threads: Threads) -> None:
    roundsman = make()
    await asyncio.gather(roundsman.start(), roundsman.start(), roundsman.stop(), roundsman.start())
    assert (await roundsman.health()).status == "ok"
    await asyncio.gather(roundsman.stop(), roundsman.start(), roundsman.stop(), roundsman.stop())
    assert threads() == set()
    with pytest.raises(NotRunning):
        roundsman.bus()


async def test_it_starts_again_and_what_the_application_made_of_the_old_bus_is_made_anew(make: Make) -> None:
    office = Office()
    roundsman = make(office)
    for line in ("first", "second"):
        async with roundsman:
            await writes(roundsman, office, line)
    assert office.notebook().lines.count("first") >= 1, "what needs no bus stays"
    assert not office.bus.is_defined


async def test_a_start_that_fails_half_way_stops_what_was_started_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: Threads, no_server_left: None
) -> None:
    seen: list[set[str]] = []

    async def fail(self: MonitoringSeed) -> None:
        seen.append(threads())
        raise OSError("on purpose")

    office = Office()
    roundsman = Roundsman(modules=["examples.embedded_jobs"], containers=[office], settings={"data_dir": str(tmp_path)})
    with monkeypatch.context() as broken:
        broken.setattr(MonitoringSeed, "start", fail)
        with pytest.raises(OSError, match="on purpose"):
            await roundsman.start()
    assert seen == [{"APScheduler", "renewal", "embedded-valkey"}]
    assert threads() == set()
    assert servers_below(tmp_path) == []
    with pytest.raises(NotRunning):
        roundsman.bus()
    async with roundsman:
        await writes(roundsman, office, "again")
    assert threads() == set()


async def test_a_start_that_is_cancelled_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: Threads, no_server_left: None
) -> None:
    reached = asyncio.Event()

    async def hang(self: MonitoringSeed) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(MonitoringSeed, "start", hang)
    starting = asyncio.create_task(Roundsman(settings={"data_dir": str(tmp_path)}).start())
    await reached.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert threads() == set()
    assert servers_below(tmp_path) == []


async def test_an_application_that_raises_in_its_lifespan_stops_it(make: Make, threads: Threads) -> None:
    roundsman = make()
    with pytest.raises(ZeroDivisionError):
        async with roundsman:
            raise ZeroDivisionError
    assert threads() == set()


async def test_before_the_start_and_after_the_stop_all_say_that_it_is_not_running(make: Make) -> None:
    roundsman = make()
    for _ in range(2):
        for ask in (roundsman.bus, roundsman.scheduler, roundsman.events):
            with pytest.raises(NotRunning, match="Enter it in the lifespan"):
                ask()
        async with client(roundsman.api) as http:
            answer = await http.get("/api/v1/schedules")
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:roundsman:problem:not-running")
            assert (await http.get("/health/live")).status_code == 200
        await roundsman.start()
        await roundsman.stop()


async def test_it_takes_neither_logging_nor_signals_nor_the_garbage_collector(make: Make) -> None:
    def state() -> Any:
        root = logging.getLogger()
        return (
            root.handlers[:],
            root.level,
            gc.get_threshold(),
            gc.get_freeze_count() > 0,
            signal.getsignal(signal.SIGINT),
            signal.getsignal(signal.SIGTERM),
        )

    before = state()
    async with make():
        assert state() == before
    assert state() == before


async def test_on_another_loop_it_is_refused_until_it_is_stopped_there(make: Make) -> None:
    roundsman = make()
    await roundsman.start()
    with pytest.raises(OnAnotherLoop, match="still turns"):
        await asyncio.to_thread(asyncio.run, roundsman.start())
    with pytest.raises(OnAnotherLoop, match="still turns"):
        await asyncio.to_thread(asyncio.run, roundsman.stop())
    assert (await roundsman.health()).status == "ok"
    await roundsman.stop()

    async def elsewhere() -> None:
        async with roundsman:
            assert (await roundsman.health()).status == "ok"

    await asyncio.to_thread(asyncio.run, elsewhere())


async def test_a_loop_that_ended_without_stopping_it_is_told(make: Make) -> None:
    roundsman = make()
    await roundsman.start()
    assert roundsman._life is not None
    loop, ended = roundsman._life.loop, asyncio.new_event_loop()
    ended.close()
    roundsman._life.loop = ended
    with pytest.raises(OnAnotherLoop, match="has ended without stopping it"):
        await roundsman.start()
    roundsman._life.loop = loop


async def test_two_applications_in_two_threads_have_a_loop_and_a_scheduler_each(make: Make, threads: Threads) -> None:
    """They share a store, as two processes would: each job runs once, in one or the other."""
    offices = [Office(), Office()]
    both = threading.Barrier(2, timeout=60)
    found: list[int] = []

    async def serve(number: int) -> None:
        async with make(offices[number]) as roundsman:
            await asyncio.to_thread(both.wait)
            for index in range(10):
                line = {"line": f"{number}-{index}"}
                await roundsman.bus().schedule_task(ScheduledTaskDescriptor(name="Write", data=line))
            await wait_until(lambda: sum(len(office.notebook().lines) for office in offices) >= 20, "all lines")
            found.append(len((await roundsman._services().instances.page()).items))
            await asyncio.to_thread(both.wait)

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, serve(number)) for number in range(2)))
    lines = [line for office in offices for line in office.notebook().lines]
    assert sorted(lines) == sorted(f"{number}-{index}" for number in range(2) for index in range(10))
    assert found == [2, 2]
    assert threads() == set()


async def test_a_forked_process_is_told_and_harms_nothing(make: Make) -> None:
    roundsman = make()
    await roundsman.start()
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # Python 3.12 on: forking with threads is this test's subject
        child = os.fork()
    if child == 0:
        _tell_from_child(roundsman, writer)
    os.close(writer)
    os.waitpid(child, 0)
    told = os.read(reader, 10_000).decode()
    os.close(reader)
    assert told.startswith(f"The program was started in process {os.getpid()}, and this is process {child}")
    assert told.endswith("stopped")
    assert (await roundsman.health()).status == "ok"


def _tell_from_child(roundsman: Roundsman, writer: int) -> None:
    try:
        for coroutine in (roundsman.start(), roundsman.stop()):
            try:
                coroutine.send(None)
            except StartedBeforeFork as error:
                os.write(writer, f"{error}\n".encode())
            except StopIteration:
                os.write(writer, b"stopped")
    finally:
        os._exit(0)
