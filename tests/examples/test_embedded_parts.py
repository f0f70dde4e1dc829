"""What an application has of Roundsman, bus, events and routes, and what it says to it: containers and settings."""

import os
from pathlib import Path
from typing import Annotated, Any

import pytest
from dependency_injector import providers
from fastapi import Depends, FastAPI

from application.events.bus import EventBus
from application.scheduling import (
    BackgroundTasksBus,
    BackgroundTaskScheduler,
    ScheduledTaskDescriptor,
)
from domain.events.event import Event
from examples.embedded_jobs import Office
from examples.embedding_kit import Make, client, writes
from infrastructure.embedding import Roundsman
from infrastructure.settings import InvalidSettings, Settings
from infrastructure.user_containers import InvalidContainer
from support import wait_until


async def test_a_job_gets_what_it_needs_from_the_applications_container_and_that_the_bus(make: Make) -> None:
    office = Office()
    async with make(office) as roundsman:
        await writes(roundsman, office, "hello")
        assert office.desk().bus is roundsman.bus()


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
