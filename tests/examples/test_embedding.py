"""Roundsman in an application: started, stopped, interrupted and asked at the wrong moment."""

import asyncio
import gc
import logging
import os
import signal
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
from dependency_injector import providers
from fastapi import Depends, FastAPI

from application.events.bus import EventBus
from application.monitoring.seeding import MonitoringSeed
from application.scheduling import (
    BackgroundTasksBus,
    BackgroundTaskScheduler,
    RecurrentTaskDescriptor,
    ScheduledTaskDescriptor,
)
from conftest import servers_below
from domain.events.event import Event
from examples.embedded_jobs import Office
from infrastructure.embedding import NotRunning, OnAnotherLoop, Roundsman
from infrastructure.process import StartedBeforeFork
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.settings import InvalidSettings, Settings
from infrastructure.user_containers import InvalidContainer
from support import wait_until

Make = Callable[..., Roundsman]
THREADS = {"APScheduler", "renewal", "embedded-valkey"}


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


Threads = Callable[[], set[str]]


@pytest.fixture
def threads(valkey: EmbeddedValkey) -> Threads:
    """Return what names our threads that live now, without that of the tests' own server."""
    before = set(threading.enumerate())
    return lambda: {thread.name for thread in set(threading.enumerate()) - before} & THREADS


def client(app: FastAPI, address: str = "127.0.0.1") -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app, client=(address, 5))
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1")


async def writes(roundsman: Roundsman, office: Any, line: str) -> None:
    """Have a line written through the whole of it."""
    await roundsman.bus().schedule_task(
        RecurrentTaskDescriptor(id=line, name="Pass", data={"line": line}, interval=0.1)
    )
    await wait_until(lambda: line in office.notebook().lines, f"the line '{line}'")


async def test_a_job_gets_what_it_needs_from_the_applications_container_and_that_the_bus(make: Make) -> None:
    office = Office()
    async with make(office) as roundsman:
        await writes(roundsman, office, "hello")
        assert office.desk().bus is roundsman.bus()


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
    assert seen == [THREADS]
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


async def test_endpoints_get_the_bus_and_the_routes_are_where_they_are_mounted_or_nowhere(make: Make) -> None:
    roundsman = make()
    app, bare = FastAPI(), FastAPI()

    @app.get("/mine")
    @bare.get("/mine")
    async def mine(bus: Annotated[BackgroundTasksBus, Depends(roundsman.bus)]) -> bool:
        return bus is roundsman.bus()

    @app.get("/sync")
    def from_a_thread(bus: Annotated[BackgroundTasksBus, Depends(roundsman.bus)]) -> str:
        return bus.schedule_task_sync(ScheduledTaskDescriptor(id="s", name="Write", data={"line": "x"})).result

    app.mount("/deep/down", roundsman.api)
    app.mount("", roundsman.api)
    async with roundsman, client(app) as http, client(bare) as alone:
        assert (await http.get("/mine")).json() is True
        assert (await http.get("/sync")).json() == "created"
        for base in ("", "/deep/down"):
            assert (await http.get(f"{base}/api/v1/schedules")).status_code == 200
            missing = (await http.get(f"{base}/none")).json()
            assert f"The API is under {base}/api/v1; {base}/docs describes it" in missing["detail"]
        assert (await alone.get("/mine")).json() is True
        assert (await alone.get("/api/v1/schedules")).json() == {"detail": "Not Found"}


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


async def test_one_container_for_two_that_run_at_once_is_refused(make: Make) -> None:
    office = Office()
    first, second = make(office), make(office)
    await first.start()
    with pytest.raises(InvalidContainer, match=r"Office\.bus belongs to another running program already"):
        await second.start()
    await writes(first, office, "still-mine")
    await first.stop()
    await second.start()
    assert office.bus() is second.bus()


async def test_what_the_application_itself_gave_to_a_dependency_stays(make: Make) -> None:
    mine = BackgroundTasksBus.__new__(BackgroundTasksBus)
    office = Office(bus=mine)
    async with make(office, role="api"):
        assert office.bus() is mine
    assert office.bus() is mine


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


async def test_events_can_be_followed_and_are_given_to_containers_too(make: Make) -> None:
    office = Office()
    office.events = providers.Dependency(instance_of=EventBus)
    office.scheduler = providers.Dependency(instance_of=BackgroundTaskScheduler)
    heard: list[Event] = []

    async def hear(event: Event) -> None:
        heard.append(event)

    async with make(office) as roundsman:
        assert office.scheduler() is roundsman.scheduler()
        subscription = office.events().subscribe(["job.succeeded"], hear)
        await subscription.ready()
        await writes(roundsman, office, "x")
        await wait_until(lambda: heard, "an event")


class TestSettings:
    """Where settings come from in an application."""

    @pytest.fixture(autouse=True)
    def _here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for name in [name for name in os.environ if name.startswith("ROUNDSMAN_")]:
            monkeypatch.delenv(name)

    def test_what_is_wrong_names_the_place(self) -> None:
        with pytest.raises(InvalidSettings) as found:
            Roundsman(settings={"server": {"prot": 1}, "store": {"namespace": "a b"}})
        assert "server.prot is not known: did you mean port? (in Roundsman(settings=…))" in str(found.value)
        assert "store.namespace" in str(found.value)

    def test_a_base_path_belongs_to_the_mount(self) -> None:
        with pytest.raises(InvalidSettings, match=r"server\.base_path: the routes are where the application mounts"):
            Roundsman(settings={"server": {"base_path": "/x"}})

    def test_a_settings_file_that_lies_around_is_not_read_and_one_that_is_named_wins(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("settings.toml").write_text("[of]\nsomebody = 'else'")
        Path("named.toml").write_text("[store]\nnamespace = 'file'\nredis_url_file = 'url'\n[server]\nport = 3")
        Path("url").write_text("redis://file")
        given = {"store": {"namespace": "code", "redis_url": "redis://code"}, "background_jobs": {"lease_s": 9}}
        assert Roundsman(settings=given)._program.settings.store.namespace == "code"
        monkeypatch.setenv("ROUNDSMAN_CONFIG", "named.toml")
        monkeypatch.setenv("ROUNDSMAN_SERVER__PORT", "4")
        settings = Roundsman(settings=given)._program.settings
        assert (settings.store.namespace, settings.store.redis_url.get_secret_value()) == ("file", "redis://file")
        assert (settings.server.port, settings.background_jobs.lease_s) == (4, 9)
        assert given["store"]["namespace"] == "code", "what was given is left alone"

    def test_modules_are_added_and_the_machine_is_watched_only_when_asked(self) -> None:
        settings = Settings.model_validate({"background_jobs": {"modules": ["cli_jobs"]}})
        found = Roundsman(modules=["examples.embedded_jobs", "cli_jobs"], settings=settings, role="all")
        assert found._program.settings.background_jobs.modules == ("cli_jobs", "examples.embedded_jobs")
        assert not found._program.settings.monitoring.local_worker
        watched = Roundsman(settings={"monitoring": {"local_worker": True}})
        assert watched._program.settings.monitoring.local_worker

    @pytest.mark.parametrize("given", [object(), "examples.embedded_jobs:Office", dict, int])
    def test_what_is_no_container_is_refused(self, given: Any) -> None:
        with pytest.raises(InvalidContainer, match=r"Roundsman\(containers=…\) names '0: .*it is no class derived"):
            Roundsman(containers=[given])

    def test_one_container_given_twice_is_refused(self) -> None:
        office = Office()
        with pytest.raises(InvalidContainer, match="is the same as '0: DynamicContainer'"):
            Roundsman(containers=[office, office])


async def test_with_keys_other_machines_are_served_and_without_they_are_not(make: Make) -> None:
    keys = {"server": {"api_keys": [{"name": "ops", "role": "viewer", "key": "k" * 20}]}}
    async with make(tables=keys) as roundsman, client(roundsman.api, "10.0.0.1") as http:
        assert (await http.get("/api/v1/schedules")).status_code == 401
        known = {"Authorization": "Bearer " + "k" * 20}
        assert (await http.get("/api/v1/schedules", headers=known)).status_code == 200
    async with make() as roundsman, client(roundsman.api, "10.0.0.1") as http:
        assert (await http.get("/api/v1/schedules")).json()["type"] == "urn:roundsman:problem:not-from-this-machine"
