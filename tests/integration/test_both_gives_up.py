"""A trigger of ``both`` whose next common moment is not found: the schedule is parked, and not taken for ended."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from application.scheduling import RecurrentTaskDescriptor, SchedulePolicy, compiled
from application.scheduling.triggers import compile_trigger
from cluster import Cluster
from domain.scheduling.schedule import ScheduleInfo, ScheduleStatus
from sample_jobs import Ledger, Note
from support import wait_until
from testing import JobKit


def seldom(start: datetime, **policy: datetime) -> RecurrentTaskDescriptor:
    """Return one whose parts meet at the start, and then not for many days."""
    daily = {"days": 1, "hour": start.hour, "minute": start.minute, "second": start.second}
    parts = [{"interval": 0.7}, {"calendar": daily}, {"interval": 1.1}]
    return RecurrentTaskDescriptor.model_validate(
        {"id": "s", "name": "Note", "both": parts, "policy": SchedulePolicy(start=start, **policy)}
    )


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """A moment some seconds from now; who plans looks at few times."""
    monkeypatch.setattr(compiled, "compile_trigger", partial(compile_trigger, looks=6))
    return (datetime.now(UTC) + timedelta(seconds=4)).replace(microsecond=0)


async def test_it_is_parked_after_its_fire(cluster: Cluster, soon: datetime) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(seldom(soon))
    await wait_until(lambda: cluster.ledger.of("s"), "the fire that there is")
    assert [entry.fire_time for entry in cluster.ledger.of("s")] == [soon]

    async def parked() -> ScheduleInfo | None:
        info = await one.scheduler.get_task_info("s")
        assert isinstance(info, ScheduleInfo)
        return info if info.status is ScheduleStatus.PARKED and info.counts.fired else None

    info = await wait_until(parked, "the schedule to be parked")
    assert info.parked is not None
    assert "have no moment in common up to 20" in info.parked.reason
    assert "give it another trigger, or stop it" in info.parked.reason
    assert info.next_fire is None
    (event,) = await cluster.events("schedule", "schedule.changed")
    assert event["parked"] == info.parked.reason
    assert await one.store.command.zscore(one.store.key("due", "Note@1"), "s") is None
    await one.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=0.05))
    await wait_until(lambda: len(cluster.ledger.of("s")) >= 3, "another trigger to fire")


async def test_a_person_may_let_it_go_on_where_a_longer_search_finds_more(cluster: Cluster, soon: datetime) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(seldom(soon))

    async def parked() -> bool:
        info = await one.scheduler.get_task_info("s")
        return isinstance(info, ScheduleInfo) and info.status is ScheduleStatus.PARKED

    await wait_until(parked, "the schedule to be parked")
    info = await one.scheduler.resume("s")
    assert isinstance(info, ScheduleInfo)
    assert info.next_fire == soon + timedelta(days=77)


async def test_the_kit_parks_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "compile_trigger", partial(compile_trigger, looks=6))
    async with JobKit(Note, given={"ledger": Ledger()}) as kit:
        await kit.schedule(seldom(kit.now + timedelta(seconds=2)))
        assert len(await kit.advance(days=400)) == 1
        (event,) = [event for event in kit.published if event.topic == "schedule.changed"]
        assert "have no moment in common up to 20" in event.data["parked"]


async def test_one_whose_end_comes_before_is_over(cluster: Cluster, soon: datetime) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(seldom(soon, end=soon + timedelta(hours=1)))

    async def removed() -> list[object]:
        return [event["why"] for event in await cluster.events("schedule", "schedule.removed")]

    assert await wait_until(removed, "the schedule to be removed") == ["it has no further fire"]
    assert len(await wait_until(lambda: cluster.ledger.of("s"), "its only fire to begin")) == 1
