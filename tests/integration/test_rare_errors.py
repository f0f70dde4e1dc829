"""Errors that need a race, a missing part or a full house: each is met for once, and read."""

import asyncio
import json
from typing import Any

import pytest

from api_kit import Api, problem_type
from application.scheduling import RecurrentTaskDescriptor
from cli_support import problem, roundsman, scripted
from cluster import Cluster
from domain.monitoring.errors import WorkerChangedMeanwhile, WorkerVanished
from domain.monitoring.worker import Worker, WorkerStatus
from domain.runs.errors import InvalidTransition
from domain.runs.run import RunStatus, check_transition
from domain.scheduling.errors import ChangedMeanwhile
from infrastructure.cli.client import Connection
from infrastructure.cli.errors import RefusedByServer, WrongInput
from infrastructure.redis.access import StoreAccess
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.errors import InvalidStoreAccess, StoreTakesNoMore
from infrastructure.redis.url import read_url
from infrastructure.settings import Settings
from infrastructure.telemetry import program_telemetry
from infrastructure.telemetry.program_telemetry import ProgramTelemetry, SpansNotInstalled
from integration.monitoring_kit import Site
from support import wait_until


def test_a_run_that_is_over_becomes_nothing_that_it_cannot() -> None:
    with pytest.raises(InvalidTransition) as found:
        check_transition(RunStatus.SUCCEEDED, RunStatus.RUNNING)
    assert str(found.value) == "A run that is succeeded cannot become running. Others were faster: look at it anew."


async def test_who_is_always_overtaken_is_told_to_try_again(cluster: Cluster, redis_url: str, namespace: str) -> None:
    rival = await cluster.start(executes=False)
    await rival.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=3600))
    async with Api(redis_url, namespace) as api:
        now, changes = api.instance.schedules.now, 0

        async def overtaken() -> int:
            nonlocal changes
            changes += 1
            await rival.scheduler.modify("s", {"interval": 3600 + changes})
            return await now()

        api.instance.schedules.now = overtaken  # type: ignore[method-assign]  # a rival between reading and writing
        refused = await api.patch("/schedules/s", {"policy": {"jitter_s": 5}})
        assert (refused.status_code, problem_type(refused)) == (409, "changed-meanwhile")
        assert refused.json()["detail"] == str(ChangedMeanwhile(id="s", tries=changes))
        assert refused.json()["detail"].endswith("times while this change was made. Try again.")
        api.instance.schedules.now = now  # type: ignore[method-assign]
        assert (await api.patch("/schedules/s", {"policy": {"jitter_s": 5}})).status_code == 200


async def test_who_is_always_overtaken_at_a_worker_is_told_so_too(redis_url: str, namespace: str) -> None:
    async with Site(redis_url, namespace) as site:
        monitor = await site.start(executes=False, handles=False, sends=False)
        await monitor.add()
        store = monitor.workers._scripts.store

        class Rival:
            """Changes the text of the worker whenever somebody is about to write."""

            number = 0

            async def run(self, name: str, args: list[Any], note: Any = None) -> Any:
                self.number += 1
                facts = json.loads(args[1]) | {"name": f"by the rival {self.number}"}
                await store.command.hset(scripts.key("workers"), "w1", json.dumps(facts))
                return await scripts.run(name, args, note)

            def __getattr__(self, name: str) -> Any:
                return getattr(scripts, name)

        scripts, monitor.workers._scripts = monitor.workers._scripts, Rival()  # type: ignore[assignment]

        def renamed(worker: Worker) -> Worker:
            return worker.model_copy(update={"name": "by me"})

        with pytest.raises(WorkerChangedMeanwhile, match=r"'w1' was changed by others .* Try again"):
            await monitor.workers.change("w1", renamed)
        with pytest.raises(WorkerChangedMeanwhile):
            await monitor.workers.remove("w1", "a test")


async def test_a_worker_that_vanished_says_what_becomes_of_it(redis_url: str, namespace: str) -> None:
    async with Site(redis_url, namespace) as site:
        monitor = await site.start()
        await monitor.add()
        site.provider.errors["w1"] = WorkerVanished(worker_id="w1", why="there is no such instance")
        await monitor.monitoring.start("w1")

        async def is_gone() -> str | None:
            worker = await monitor.registry.get("w1")
            return worker.status_reason if worker.status is WorkerStatus.TERMINATED else None

        assert await wait_until(is_gone, "the worker to be called terminated") == (
            "The provider no longer has worker 'w1': there is no such instance. Its monitoring ends. Remove it, and "
            "register it anew if it comes back."
        )


async def test_a_server_without_room_says_what_to_raise() -> None:
    """A real one says this and hangs up at once, which a client may hear or not; so this one waits for a command."""

    async def turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"-ERR max number of clients reached\r\n")
        writer.close()

    async with await asyncio.start_server(turn_away, "127.0.0.1") as server:
        store = RedisStore(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(StoreTakesNoMore, match=r"takes no more connections\. Raise its setting maxclients"):
            await store.open()


def test_a_setting_for_tls_without_tls_says_which_two_belong_together() -> None:
    access = StoreAccess(sentinel_user="ops", sentinel_password="s3cret")
    with pytest.raises(InvalidStoreAccess) as found:
        access.check(read_url("redis://localhost"))
    assert str(found.value) == (
        "The setting store.sentinel_password is not valid: there are no Sentinels; store.redis_url would begin with "
        "redis+sentinel://. Mend it; docs/how-to/connect-to-redis.md says what goes together."
    )


def test_spans_that_nothing_can_send_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    known = program_telemetry.importlib.util.find_spec
    monkeypatch.setattr(
        program_telemetry.importlib.util, "find_spec", lambda name: None if "exporter" in name else known(name)
    )
    settings = Settings.model_validate({"telemetry": {"otlp_endpoint": "http://127.0.0.1:4318"}})
    with pytest.raises(SpansNotInstalled, match=r"Install it with 'pip install roundsman\[otlp\]', or leave"):
        ProgramTelemetry(settings)


def test_options_that_do_not_go_together_say_which() -> None:
    for args, said in (
        (("schedules", "backfill", "s"), "--since: say from when on, for example --since 2h."),
        (("workers", "monitor", "w", "--interval", "5s", "--cron", "* * * * *"), "--interval and --cron: give one"),
    ):
        answer = roundsman(*args, url="http://127.0.0.1:1")
        assert answer.status == WrongInput.exit_status
        assert said in answer.err
        assert "'--help' behind the command explains its options." in answer.err


@pytest.mark.parametrize(("status", "ends_with"), [(404, 3), (409, 4), (503, 5)])
def test_what_the_server_refuses_keeps_the_servers_words(status: int, ends_with: int) -> None:
    with scripted(problem(status, "It is so. Do this.")) as server, Connection(server.url, 5).open() as client:
        with pytest.raises(RefusedByServer) as found:
            client.get("/schedules")
        assert str(found.value) == "It is so. Do this."
        assert (found.value.exit_status, found.value.problem["status"]) == (ends_with, status)
