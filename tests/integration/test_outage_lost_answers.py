"""The store did what it was asked, and the answer never came: nothing may wait for the end of a lease."""

from collections.abc import AsyncIterator

import pytest

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from cluster import Cluster, Instance
from domain.runs.run import RunStatus
from fault_proxy import FaultProxy
from infrastructure.redis import connection
from infrastructure.redis.embedded import EmbeddedValkey
from support import wait_until

LEASE_MS = 300_000
"""So long that what waits for its end does not run in these tests."""


@pytest.fixture
async def proxy(valkey: EmbeddedValkey) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(valkey) as running:
        yield running


@pytest.fixture
async def far(proxy: FaultProxy, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """A cluster behind the proxy, whose calls are given up after half a second."""
    monkeypatch.setattr(connection, "COMMAND_TIMEOUT_S", 0.5)
    async with Cluster(proxy.url, namespace) as cluster:
        yield cluster
        await proxy.set_fault("none")


def begin_with(instance: Instance, proxy: FaultProxy, script: str) -> None:
    """Lose the answer to the instance's next call of this script, and all that follow."""
    proxy.mute_at = getattr(instance.engine._tick, f"_{script}").sha.encode()


async def lost_and_found(instance: Instance, proxy: FaultProxy) -> None:
    """Wait until the answer was lost and the call given up, then end the fault."""
    await wait_until(lambda: proxy.fault == "mute", "the call")
    await wait_until(lambda: instance.engine._tick._down, "the call to be given up")
    await proxy.set_fault("none")


@pytest.mark.parametrize("script", ["take", "commit"])
async def test_a_schedule_goes_on_at_once(script: str, proxy: FaultProxy, far: Cluster) -> None:
    one = await far.start(lease_ms=LEASE_MS)
    await one.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=0.1))
    await wait_until(lambda: len(far.ledger.of("s")) > 2, "the schedule to run")
    begin_with(one, proxy, script)
    await lost_and_found(one, proxy)
    seen = len(far.ledger.of("s"))
    await wait_until(lambda: len(far.ledger.of("s")) > seen + 2, "the schedule to go on")
    await check_that_nothing_was_lost(far)


async def test_a_run_that_was_claimed_unheard_begins_at_once(
    proxy: FaultProxy, far: Cluster, valkey: EmbeddedValkey
) -> None:
    """And what the instance does know goes on as it is."""
    one = await far.start(lease_ms=LEASE_MS)
    await one.bus.schedule_task(ScheduledTaskDescriptor(id="known", name="Once", data={"hold": True}))
    await wait_until(lambda: len(far.ledger.of("known")) == 1, "the first body")
    async with Cluster(valkey.url, far._namespace) as near:
        control = near.make(executes=False)
        proxy.mute_at = b'"run_id":"o"'  # which stands in the answer to the claim
        await control.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once"))

        async def claimed() -> bool:
            run = await control.runs.get("o")
            return run is not None and run.status is RunStatus.RUNNING

        await wait_until(claimed, "the run to be claimed, and nobody to know")
        assert far.ledger.of("o") == []
        await lost_and_found(one, proxy)
    await wait_until(lambda: len(far.ledger.of("o")) == 1, "the run to begin")
    far.ledger.gate("plain").set()

    async def settled() -> bool:
        runs = [await one.runs.get(run_id) for run_id in ("known", "o")]
        return all(run is not None and run.ended_at for run in runs)

    await wait_until(settled, "both to be settled")
    await check_that_nothing_was_lost(far)


async def test_what_others_claimed_stays_theirs(proxy: FaultProxy, far: Cluster, valkey: EmbeddedValkey) -> None:
    one = await far.start(lease_ms=LEASE_MS)
    async with Cluster(valkey.url, far._namespace) as near:
        near.instances.append(one)  # so that the next one has a name of its own
        other = await near.start(lease_ms=LEASE_MS)
        await proxy.set_fault("mute")
        await other.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", data={"hold": True}))
        await wait_until(lambda: len(near.ledger.of("o")) == 1, "the other to execute it")
        await lost_and_found(one, proxy)
        await wait_until(lambda: not one.engine._tick._down, "the tick to be back")
        near.ledger.gate("plain").set()

        async def settled() -> bool:
            run = await other.runs.get("o")
            return run is not None and run.ended_at is not None

        await wait_until(settled)
        assert far.ledger.of("o") == []


async def check_that_nothing_was_lost(cluster: Cluster) -> None:
    assert await cluster.events("job", "job.lost") == []
    entries = [(entry.run_id, entry.attempt) for entry in cluster.ledger.entries]
    assert len(entries) == len(set(entries)), "something ran twice"
    run_ids = [run_id for run_id, _ in entries]
    assert len(run_ids) == len(set(run_ids)), "a body ran again"
