"""Many workers, several processes, few calls."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from aws_fake import FakeInstance, Fault
from aws_kit import REGION, AwsSite, aws_site, use_key
from domain.monitoring.errors import CollectionFailed
from infrastructure.monitoring.aws import loader
from infrastructure.monitoring.aws.board import Answer, RegionBoard
from infrastructure.monitoring.aws.loader import RegionLoader
from infrastructure.monitoring.aws.provider import AwsProvider
from support import wait_until

WORKERS = 1_000


@pytest.fixture
async def site(redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AwsSite]:
    use_key(monkeypatch)
    monkeypatch.setattr(loader, "PATIENCE_S", 60.0)  # for slow machines
    monkeypatch.setattr(loader, "LOOK_S", 50.0)
    async with aws_site(redis_url, namespace) as made:
        yield made


def loader_of(provider: AwsProvider) -> RegionLoader:
    (found,) = provider._loaders.values()
    return found


async def test_a_thousand_workers_of_two_processes_need_as_many_calls_as_of_one(site: AwsSite) -> None:
    ids = site.fleet.grow(REGION, WORKERS, disks={"/": 30.0, "/data": 20.0})
    one, two = await site.provider(), await site.provider()
    halves = await asyncio.gather(site.look_at_all(one, ids[::2]), site.look_at_all(two, ids[1::2]))
    samples = [sample for half in halves for sample in half]
    assert len(samples) == WORKERS
    assert {sample.metrics.cpu_utilization for sample in samples} == {0.125}
    assert {sample.metrics.memory_utilization for sample in samples} == {0.4}
    assert site.fleet.count("DescribeInstanceStatus") <= 10
    assert site.fleet.count("DescribeInstances") <= 5
    assert site.fleet.count("GetMetricData") <= 12
    assert site.fleet.queries == WORKERS * 6
    assert not site.fleet.refused


async def test_a_fleet_that_is_asked_for_little_by_little_is_looked_at_at_once(
    site: AwsSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could expect those that come, in two processes, when the look would have begun: not at first, nor next."""
    for name, seconds in (("GATHER_S", 0.0), ("QUIET_S", 1.0), ("GATHER_MOST_S", 4.0)):
        monkeypatch.setattr(loader, name, seconds)
    ids = site.fleet.grow(REGION, 300)
    providers = [await site.provider(), await site.provider()]
    for times in (1, 2):
        looks = []
        for number in range(10):
            part = ids[30 * number : 30 * number + 30]
            looks.append(asyncio.create_task(site.look_at_all(providers[number % 2], part)))
            await asyncio.sleep(0.1)
        assert sum(len(samples) for samples in await asyncio.gather(*looks)) == 300
        made = site.fleet.count("DescribeInstances"), site.fleet.count("DescribeInstanceStatus")
        assert made == (2 * times, 3 * times)
        await a_minute_later(site)


async def test_all_pages_are_followed(site: AwsSite) -> None:
    ids = site.fleet.grow(REGION, 130)
    site.fleet.page = 50
    samples = await site.look_at_all(await site.provider(), ids)
    assert [sample.metrics.filesystems for sample in samples] == [{"/": 0.3}] * 130
    assert {sample.status_checks.system for sample in samples} == {"ok"}
    assert site.fleet.count("ListMetrics") == 3 + 6
    assert site.fleet.count("DescribeInstances") == 3


async def test_periods_of_both_lengths_share_calls(site: AwsSite) -> None:
    site.fleet.add(REGION, *(FakeInstance(f"i-{number:017x}", is_detailed=number % 2 == 0) for number in range(150)))
    samples = await site.look_at_all(await site.provider(), list(site.fleet.regions[REGION]))
    assert {sample.period_s for sample in samples} == {60, 300}
    assert {sample.metrics.cpu_utilization for sample in samples} == {0.125}
    assert site.fleet.count("GetMetricData") == 1


async def test_a_second_look_within_moments_needs_no_call(site: AwsSite) -> None:
    (name,) = site.fleet.grow(REGION, 1)
    one, two = await site.provider(), await site.provider()
    first = await site.look(one, name)
    made = dict(site.fleet.calls)
    assert await site.look(two, name) == first.model_copy(update={"worker_id": f"aws-{name}"})
    assert dict(site.fleet.calls) == made


async def test_a_period_is_paid_for_once(site: AwsSite) -> None:
    """A worker that is looked at every five seconds has one value in five minutes, and is asked for it once."""
    site.fleet.add(REGION, FakeInstance("i-00000000", memory=40.0))
    provider = await site.provider()
    first = await site.look(provider, "i-00000000")
    paid = site.fleet.queries
    site.fleet.regions[REGION]["i-00000000"].system = "impaired"
    await site.forget_looks()
    second = await site.look(provider, "i-00000000")
    assert second.status_checks.system == "impaired", "the checks are looked at again"
    if second.observed_at == first.observed_at:  # unless a new period has begun meanwhile
        assert site.fleet.queries == paid
        assert second.metrics == first.metrics.model_copy(update={"uptime_s": second.metrics.uptime_s})


async def test_who_will_ask_soon_is_looked_at_too(site: AwsSite) -> None:
    """Runs of one minute do not all start at once: the first look serves those that come seconds later."""
    ids = site.fleet.grow(REGION, 300)
    provider = await site.provider()
    await site.look_at_all(provider, ids)
    await a_minute_later(site)
    await site.look_at_all(provider, ids[:50])  # from now on it is known when they ask
    await site.look_at_all(provider, ids[50:])
    await a_minute_later(site)
    before = site.fleet.count("DescribeInstances"), site.fleet.count("DescribeInstanceStatus")
    await site.look(provider, ids[0])
    await site.look_at_all(provider, ids)
    after = site.fleet.count("DescribeInstances"), site.fleet.count("DescribeInstanceStatus")
    assert (after[0] - before[0], after[1] - before[1]) == (2, 3)


async def test_who_asked_together_is_looked_at_together_before_its_rhythm_is_known(site: AwsSite) -> None:
    """The first look comes when a fleet is started, at no time of its rhythm; and not all runs start at once."""
    ids = site.fleet.grow(REGION, 300)
    provider = await site.provider()
    await site.look_at_all(provider, ids)
    for seconds in (40, 60, 60):
        await later(site, seconds)
        before = site.fleet.count("DescribeInstances"), site.fleet.count("DescribeInstanceStatus")
        await site.look_at_all(provider, ids[:150])  # as many as there are slots
        await site.look_at_all(provider, ids[150:])
        after = site.fleet.count("DescribeInstances"), site.fleet.count("DescribeInstanceStatus")
        assert (after[0] - before[0], after[1] - before[1]) == (2, 3)


async def test_who_is_known_to_ask_at_another_time_is_not_looked_at_with_those_it_asked_with(site: AwsSite) -> None:
    """What is asked of CloudWatch is paid for: a worker that is looked at every hour is not read each minute."""
    ids = site.fleet.grow(REGION, 300)
    provider = await site.provider()
    await site.look_at_all(provider, ids)
    await later(site, 3_600)
    await site.look_at_all(provider, ids)
    await later(site, 60)
    before = site.fleet.count("DescribeInstanceStatus")
    await site.look_at_all(provider, ids[:100])
    assert site.fleet.count("DescribeInstanceStatus") - before == 1


async def a_minute_later(site: AwsSite) -> None:
    """Move what is on the board a minute into the past."""
    await later(site, 60)


async def later(site: AwsSite, seconds: int) -> None:
    """Move what is on the board into the past."""
    await site.forget_looks()
    command, key = site._stores[0].command, site._stores[0].key
    for kind in ("aws_asked", "aws_due"):
        name = key("mon", kind, f"default/{REGION}")
        for member, score in await command.zrange(name, 0, -1, withscores=True):
            await command.zadd(name, {member: score - seconds * 1000})


async def test_one_unknown_instance_harms_no_other(site: AwsSite) -> None:
    ids = site.fleet.grow(REGION, 3)
    provider = await site.provider()
    *known, unknown = await asyncio.gather(
        *(site.look(provider, name) for name in [*ids, "i-0ffffffffffffffff"]), return_exceptions=True
    )
    assert isinstance(unknown, CollectionFailed)
    assert [sample.status for sample in known] == ["running"] * 3  # type: ignore[union-attr]


@pytest.mark.parametrize("names_unknown_ids", [True, False], ids=["named", "not named"])
async def test_instances_that_vanish_between_two_calls_cost_only_their_checks(
    site: AwsSite, names_unknown_ids: bool
) -> None:
    """DescribeInstances had it, DescribeInstanceStatus has not: its whole call fails, and is asked without it."""
    ids = site.fleet.grow(REGION, 7)
    site.fleet.names_unknown_ids = names_unknown_ids
    provider = await site.provider()
    has = site.fleet.visible

    def visible(region: str) -> dict[str, FakeInstance]:
        is_gone = site.fleet.count("DescribeInstanceStatus") > 0
        return {name: one for name, one in has(region).items() if not (is_gone and name == ids[3])}

    site.fleet.visible = visible  # type: ignore[method-assign]
    samples = await site.look_at_all(provider, ids)
    assert [sample.status_checks.system for sample in samples] == ["ok"] * 3 + [None] + ["ok"] * 3
    assert samples[3].missing["status_checks.system"] == "EC2 tells no status of this instance now"
    assert samples[3].metrics.cpu_utilization == 0.125


async def test_who_stops_waiting_stops_nobody_else(site: AwsSite) -> None:
    ids = site.fleet.grow(REGION, 3)
    provider, answered = await site.provider(), asyncio.Event()
    site.fleet.faults.append(Fault("hang", action="DescribeInstances", until=answered))
    looks = [asyncio.ensure_future(site.look(provider, name)) for name in ids]
    await wait_until(lambda: site.fleet.count("DescribeInstances"), "the look to begin")
    looks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await looks[0]
    answered.set()
    samples = await asyncio.gather(*looks[1:])
    assert [sample.status for sample in samples] == ["running"] * 2


async def test_who_looks_is_answered_from_its_own_look(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has just seen need not be read again from the board."""
    asked = 0
    ask = RegionBoard.ask

    async def once(board: RegionBoard, ids: Sequence[str], **more: Any) -> Answer:
        nonlocal asked
        asked += 1
        answer = await ask(board, ids, **more)
        return answer if asked == 1 else dataclasses.replace(answer, seen={})

    monkeypatch.setattr(RegionBoard, "ask", once)
    samples = await site.look_at_all(await site.provider(), site.fleet.grow(REGION, 250))
    assert [sample.status for sample in samples] == ["running"] * 250


async def test_when_all_stop_waiting_the_look_still_serves_others(site: AwsSite) -> None:
    (name,) = site.fleet.grow(REGION, 1)
    one, two = await site.provider(), await site.provider()
    answered = asyncio.Event()
    site.fleet.faults.append(Fault("hang", action="DescribeInstances", times=1, until=answered))
    look = asyncio.ensure_future(site.look(one, name))
    await wait_until(lambda: site.fleet.count("DescribeInstances"), "the look to begin")
    look.cancel()
    answered.set()
    assert (await site.look(two, name)).status == "running"
    assert site.fleet.count("DescribeInstances") == 1
    await wait_until(lambda: loader_of(one).is_idle, "the first loader to rest")


async def test_a_process_that_dies_while_it_looks_is_replaced(site: AwsSite) -> None:
    ids = site.fleet.grow(REGION, 4)
    one, two = await site.provider(), await site.provider()
    site.fleet.faults.append(Fault("hang", action="DescribeInstances", times=1))
    first = asyncio.ensure_future(site.look_at_all(one, ids[:2]))
    await wait_until(lambda: site.fleet.count("DescribeInstances"), "the look to begin")
    second = asyncio.ensure_future(site.look_at_all(two, ids[2:]))
    third = asyncio.ensure_future(site.look(two, ids[0]))
    await one.stop()  # neither gives back the lease nor renews it: as if it were killed
    with pytest.raises(asyncio.CancelledError):
        await first
    assert [sample.status for sample in await second] == ["running"] * 2
    assert (await third).status == "running"


async def test_a_look_that_takes_longer_than_a_lease_is_not_begun_twice(site: AwsSite) -> None:
    (name,) = site.fleet.grow(REGION, 1)
    one, two = await site.provider(), await site.provider()
    site.fleet.faults.append(Fault("hang", action="DescribeInstanceStatus", times=1))
    looks = [asyncio.ensure_future(site.look(provider, name)) for provider in (one, two)]
    for sample in await asyncio.gather(*looks):  # botocore gives up after READ_TIMEOUT_S and tries again
        assert sample.status == "running"
    assert site.fleet.count("DescribeInstances") == 1


async def test_loaders_rest_when_nobody_asks_and_nothing_grows(site: AwsSite) -> None:
    ids = site.fleet.grow(REGION, 20)
    provider = await site.provider()
    await site.look_at_all(provider, ids)
    found = loader_of(provider)
    await wait_until(lambda: found.is_idle, "the loader to rest")
    assert (found._waiting, found._new, found._round) == ({}, set(), None)
    store = site._stores[0]
    async for key in store.command.scan_iter(match=store.key("mon", "aws*"), count=1000):
        assert await store.command.pttl(key) > 0, f"{key} would stay for ever"
