"""What a person reads at last on six bad days: the whole message, wherever it is shown."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from api_kit import Api, problem_type
from application.scheduling import RecurrentTaskDescriptor
from cli_support import roundsman
from cluster import Cluster
from domain.monitoring.sample import MetricSample
from domain.monitoring.worker import Worker
from domain.runs.errors import UnknownVersion
from domain.runs.payload import DATA_LIMIT
from external_server import ExternalServer, free_port
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.errors import StoreIsReplica
from infrastructure.web.bodies import MAX_BODY_BYTES
from newer_jobs import NewerNote
from support import wait_until
from unit.monitoring.waveforms import sample

Servers = Callable[..., ExternalServer]

REPORT: dict[str, Any] = {"id": "r", "name": "Report", "data": {"team": "ops"}, "trigger": {"interval_s": 3600}}
WORKER = {"id": "b7", "name": "Build 7", "provider": "scripted"}


@pytest.fixture
async def api(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    async with Api(redis_url, namespace, executes=True) as running:
        yield running


async def schedule_by_shell(api: Api, *args: str) -> tuple[int, str]:
    """Return exit status and words of a command that schedules a report."""
    command = ("schedules", "add", "Report", "--id", "shell", "--interval", "1h", "--data", '{"team": "ops"}', *args)
    answer = await asyncio.to_thread(roundsman, *command, url=api.base)
    assert answer.out == ""
    return answer.status, " ".join(answer.err.split())


EMPTY = '{"team":"","rows":0}'
TOO_MUCH_DATA = (
    f"The data of 'Report' is not valid: it has {DATA_LIMIT + 1 + len(EMPTY)} bytes of JSON, and {DATA_LIMIT} are "
    "allowed; put it elsewhere, and say where. Give each field as its class declares it."
)
TOO_LARGE = (
    f"The body has more than {MAX_BODY_BYTES} bytes, which is the most. Send less, or a reference to where the rest is."
)


@pytest.mark.parametrize(
    ("size", "status", "kind", "said"),
    [(DATA_LIMIT + 1, 422, "invalid-data", TOO_MUCH_DATA), (MAX_BODY_BYTES, 413, "body-too-large", TOO_LARGE)],
    ids=["a quarter of one", "all of it"],
)
async def test_a_megabyte_of_data(api: Api, size: int, status: int, kind: str, said: str) -> None:
    refused = await api.post("/schedules", {**REPORT, "data": {"team": "x" * size}})
    assert (refused.status_code, problem_type(refused), refused.json()["detail"]) == (status, kind, said)
    assert len(refused.content) < 1000, "nobody wants it back"
    assert (await api.get("/schedules")).json()["items"] == []


async def test_a_payload_of_a_newer_version(cluster: Cluster, redis_url: str, namespace: str) -> None:
    await cluster.start(lease_ms=1_000)
    newer = await cluster.start(lease_ms=1_000, jobs=(NewerNote,), executes=False)
    await newer.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=0.1))
    async with Api(redis_url, namespace) as api:

        async def parked() -> Any:
            return (await api.get("/schedules/s")).json()["parked"]

        assert (await wait_until(parked, "the schedule to be parked"))["reason"] == (
            "no running instance knows 'Note' in version 2 (only in version 1); start one that has it in "
            "background_jobs.modules"
        )
    with pytest.raises(UnknownVersion) as found:
        await newer.bus.schedule_task(RecurrentTaskDescriptor(id="t", name="Note", interval=1, version=9))
    assert str(found.value) == (
        "The payload of 'Note' has version 9; this program knows version 2. Leave the version out, or schedule where "
        "that version runs."
    )


async def test_a_provider_that_raises(api: Api) -> None:
    api.instance.provider.errors["b7"] = ConnectionError("the metadata service does not answer")
    assert await reason_of_status(api) == (
        "No metrics of worker 'b7': the metadata service does not answer. It is tried again at its next time; if it "
        "stays so, see whether the worker runs, and whether its provider may be asked."
    )


async def test_a_clock_that_jumps(api: Api) -> None:
    async def ahead(worker: Worker, now: datetime) -> MetricSample:
        made = sample(now + timedelta(hours=1), 0.1, worker.id)
        return made.model_copy(update={"worker_name": worker.name, "provider": "scripted"})

    api.instance.provider.collect = ahead  # type: ignore[method-assign]  # measured by a clock that is an hour ahead
    assert (await reason_of_status(api)).startswith(
        "No metrics of worker 'b7': the sample's time is ahead of the store's clock, so the clock of the one or the "
        "other is wrong; mend that. It is tried again at its next time;"
    )
    assert (await api.get("/workers/b7/metrics")).json()["items"] == []


async def reason_of_status(api: Api) -> str:
    """Return why a worker that is watched from now on is said to be unreachable."""
    assert (await api.post("/workers", WORKER)).status_code == 201
    assert (await api.put("/workers/b7/monitoring", {"interval_s": 3600})).status_code in (200, 201)

    async def reason() -> str | None:
        worker = (await api.get("/workers/b7")).json()
        return worker["status_reason"] if worker["status"] == "unreachable" else None

    return await wait_until(reason, "the worker to be unreachable")  # type: ignore[return-value]


async def test_a_read_only_redis(external: Servers, namespace: str) -> None:
    server = external()
    async with Api(server.url, namespace) as api:
        await asyncio.to_thread(server.tell, "REPLICAOF", "127.0.0.1", free_port())
        refused = await api.post("/schedules", REPORT)
        assert (refused.status_code, problem_type(refused)) == (503, "store-unavailable")
        assert "read only replica" in refused.json()["detail"]
        assert refused.json()["detail"].endswith("Try again when health shows the store back.")
        status, said = await schedule_by_shell(api)
        assert (status, said.startswith("Error: The store did not answer:")) == (5, True)
        assert said.endswith("Try again when health shows the store back. Try again in 2 s.")
        await asyncio.to_thread(server.tell, "REPLICAOF", "NO", "ONE")
        await wait_until(lambda: made(api), "the schedule to be made")
    await asyncio.to_thread(server.tell, "REPLICAOF", "127.0.0.1", free_port())
    store = RedisStore(server.url, namespace)
    with pytest.raises(
        StoreIsReplica, match=r"is a read-only replica\. Name the primary in the setting store\.redis_url;"
    ):
        await store.open()


async def made(api: Api) -> bool:
    return (await api.post("/schedules", REPORT)).status_code == 201


async def test_a_full_redis(external: Servers, namespace: str) -> None:
    server = external()
    async with Api(server.url, namespace) as api:
        await asyncio.to_thread(server.tell, "CONFIG", "SET", "maxmemory", "1")
        status, said = await schedule_by_shell(api)
    assert status == 5
    assert said.startswith("Error: The store has no memory left: ")
    assert said.endswith(
        "Nothing was changed. What runs goes on, and things can be stopped; give the store more memory, or remove what "
        "is not needed, and try again. Try again in 2 s."
    )
