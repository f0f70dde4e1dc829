"""A region of more instances than can be looked at while anybody waits is looked at part by part."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime

import pytest

from aws_kit import REGION, AwsSite, aws_site, use_key
from domain.monitoring.errors import CollectionFailed
from infrastructure.monitoring.aws import loader
from infrastructure.monitoring.aws.look import RegionLook
from infrastructure.monitoring.aws.seen import Seen
from infrastructure.monitoring.aws.trouble import AwsTrouble, Kind
from support import wait_until


@pytest.fixture
async def site(redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AwsSite]:
    use_key(monkeypatch)
    monkeypatch.setattr(loader, "PATIENCE_S", 60.0)  # for slow machines
    monkeypatch.setattr(loader, "LOOK_S", 50.0)
    monkeypatch.setattr(loader, "A_PART", 2)
    async with aws_site(redis_url, namespace) as made:
        yield made


class Parts:
    """See each part that is looked at; from the second on, wait or fail first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, trouble: AwsTrouble | None = None) -> None:
        self.seen: list[list[str]] = []
        self.go_on = asyncio.Event()
        whole = RegionLook.at

        async def at(look: RegionLook, before: Mapping[str, Seen | None], now: datetime) -> dict[str, Seen]:
            self.seen.append(sorted(before))
            if len(self.seen) > 1:
                if trouble is not None:
                    raise trouble
                await self.go_on.wait()
            return await whole(look, before, now)

        monkeypatch.setattr(RegionLook, "at", at)


async def test_what_was_seen_is_told_before_the_next_part_is_looked_at(
    site: AwsSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, parts = site.fleet.grow(REGION, 5), Parts(monkeypatch)
    provider = await site.provider()
    looks = [asyncio.create_task(site.look(provider, name)) for name in ids]
    await wait_until(lambda: sum(look.done() for look in looks) == 2)
    parts.go_on.set()
    samples = await asyncio.gather(*looks)
    assert {sample.metrics.cpu_utilization for sample in samples} == {0.125}
    assert [len(part) for part in parts.seen] == [2, 2, 1]
    assert sorted(name for part in parts.seen for name in part) == ids


async def test_another_process_may_look_when_the_last_part_is_told(
    site: AwsSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, parts = site.fleet.grow(REGION, 4), Parts(monkeypatch)
    parts.go_on.set()
    await site.look_at_all(await site.provider(), ids[:3])
    await site.look(await site.provider(), ids[3])
    assert parts.seen[2:] == [[ids[3]]]


async def test_trouble_in_one_part_is_told_of_all_that_is_left_and_nothing_more_is_tried(
    site: AwsSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, parts = site.fleet.grow(REGION, 6), Parts(monkeypatch, AwsTrouble(Kind.DOWN, "the region is down"))
    provider = await site.provider()
    found = await asyncio.gather(*(site.look(provider, name) for name in ids), return_exceptions=True)
    failed = [one for one in found if isinstance(one, CollectionFailed)]
    assert (len(failed), len(found)) == (4, 6)
    assert all("the region is down" in str(one) for one in failed)
    assert [len(part) for part in parts.seen] == [2, 2]


async def test_what_somebody_waits_for_is_looked_at_first(site: AwsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """What will be asked for soon is on the list too, and may be much more."""
    ids, parts = site.fleet.grow(REGION, 5), Parts(monkeypatch)
    provider = await site.provider()
    looks = [asyncio.create_task(site.look(provider, name)) for name in ids]
    await wait_until(lambda: len(parts.seen) == 2)
    (region,) = provider._loaders.values()
    waiting = sorted(region._waiting)
    left = dict.fromkeys(["i-1", "i-2", "i-3", *waiting], "")
    assert sorted(region._next_part(left)) == waiting[:2]
    parts.go_on.set()
    await asyncio.gather(*looks)
