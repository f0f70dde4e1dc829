"""Jobs that schedule others, publish and subscribe, with what the kit itself injects."""

import asyncio
from typing import Any

import pytest
from dependency_injector import containers, providers

from application.events.bus import EventBus
from application.scheduling import (
    BackgroundTasksBus,
    BackgroundTaskScheduler,
    Injected,
    RecurrentTaskDescriptor,
    ScheduledBackgroundJob,
    ScheduledTaskDescriptor,
    backgroundjob,
)
from domain.events.errors import GroupTaken, InvalidPayload, InvalidTopic
from domain.events.event import Event
from domain.runs.errors import UnknownJob
from testing import JobKit
from testkit.sample_kit_jobs import Mailer, Planner, Reminder, SlowThread


def planner(count: int) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(id="p", name="Planner", data={"count": count}, cron="0 12 * * *")


async def test_a_job_schedules_another_through_the_bus_that_is_injected() -> None:
    mailer = Mailer()
    async with JobKit(Planner, Reminder, given={"mailer": mailer}) as kit:
        await kit.schedule(planner(3))
        await kit.advance(hours=4)
        wanted = kit.assert_scheduled(Reminder, {"text": "hello"}, id="r3")
        assert isinstance(wanted, ScheduledTaskDescriptor)
        assert wanted.scheduled_at is not None
        assert wanted.scheduled_at.hour == 14
        assert mailer.sent == []
        await kit.advance(hours=1)
        assert mailer.sent == ["hello"]
        kit.assert_ran(Reminder, times=1)


async def test_a_job_that_ends_itself_is_gone() -> None:
    async with JobKit(Planner, Reminder, given={"mailer": Mailer()}) as kit:
        await kit.schedule(planner(0))
        await kit.advance(days=3)
        kit.assert_ran(Planner, times=1)
        kit.assert_published("job.terminated", {"why": "enough"})
        assert (await kit.scheduler.list_tasks()).items == []


async def test_a_sync_body_schedules_from_its_thread() -> None:
    mailer = Mailer()
    async with JobKit(SlowThread, Reminder, given={"mailer": mailer}, patience_s=0.001) as kit:
        await kit.schedule(ScheduledTaskDescriptor(id="slow", name="SlowThread"))
        runs = await kit.drain()
        assert [run.id for run in runs] == ["slow", "after"]
        assert mailer.sent == ["from a thread"]


async def test_what_cannot_be_scheduled_is_refused_to_the_job_and_is_not_counted_as_scheduled() -> None:
    async with JobKit(Planner) as kit:
        await kit.schedule(planner(1))
        (run,) = await kit.advance(hours=3)
        assert isinstance(run.exception, UnknownJob)
        assert [one.name for one in kit.scheduled] == ["Planner"]


@backgroundjob(task_type="scheduled")
class Teller(ScheduledBackgroundJob):
    """Publish what it is told."""

    topic: str
    said: dict[str, Any]
    events: Injected[EventBus]
    scheduler: Injected[BackgroundTaskScheduler]

    async def run_at(self) -> str:
        event = await self.events.publish(self.topic, self.said, correlation_id="c")
        return event.id


def tell(topic: str = "worker.told", **said: Any) -> ScheduledTaskDescriptor:
    return ScheduledTaskDescriptor(id=f"t{said.get('n', 0)}", name="Teller", data={"topic": topic, "said": said})


async def test_events_reach_their_subscribers_before_the_kit_goes_on() -> None:
    heard: list[tuple[str, dict[str, Any]]] = []

    async def hear(event: Event) -> None:
        heard.append((event.topic, event.data))

    async with JobKit(Teller) as kit:
        subscription = kit.events.subscribe(["worker.*"], hear, group="g")
        with pytest.raises(GroupTaken):
            kit.events.subscribe(["worker.*"], hear, group="g")
        await subscription.ready()
        await kit.schedule(tell(n=1))
        (run,) = await kit.run_due()
        event = kit.assert_published("worker.told", {"n": 1})
        assert (run.result, event.correlation_id) == (event.id, "c")
        assert event.time == kit.now
        await subscription.close()
        await kit.schedule(tell(n=2))
        await kit.run_due()
        assert heard == [("worker.told", {"n": 1})]
        kit.events.subscribe(["worker.*"], hear, group="g", from_start=True)
        await kit.run_due()
        assert [data["n"] for _, data in heard] == [1, 1, 2]


@pytest.mark.parametrize(("topic", "said"), [("Nonsense", {}), ("worker.told", {"x": "y" * 300_000})])
async def test_events_are_checked_as_in_production(topic: str, said: dict[str, Any]) -> None:
    async with JobKit(Teller) as kit:
        with pytest.raises((InvalidTopic, InvalidPayload)):
            await kit.events.publish(topic, said)
        kit.assert_not_published("worker.*")


async def test_a_handler_that_fails_fails_the_test() -> None:
    async def fail(event: Event) -> None:
        raise ValueError("cannot hear")

    async with JobKit(Teller) as kit:
        kit.events.subscribe("job.succeeded", fail)
        await kit.schedule(tell())
        with pytest.raises(ValueError, match="cannot hear"):
            await kit.run_due()


async def test_events_can_be_read_from_a_place() -> None:
    async with JobKit(Teller) as kit:
        place = await kit.events.place(["worker.*"])
        reading = aiter(kit.events.read(["worker.*"], after=place))
        first = asyncio.ensure_future(anext(reading))
        await kit.schedule(tell(n=1))
        await kit.schedule(tell(n=2))
        await kit.run_due()
        found = [await first, await anext(reading)]
        assert [event.data["n"] for _, event in found if event] == [1, 2]
        again = await anext(aiter(kit.events.read(["worker.*"], after=found[0][0])))
        assert again == found[1]
        assert await kit.events.parked() == []


class Desk:
    """A service of an application that schedules; it lives in the application's container."""

    def __init__(self, bus: BackgroundTasksBus, events: EventBus) -> None:
        self.bus, self.events = bus, events


@backgroundjob(task_type="scheduled")
class Ask(ScheduledBackgroundJob):
    desk: Injected[Desk]

    async def run_at(self) -> None:
        await self.desk.bus.schedule_task(tell(n=7))
        await self.desk.events.publish("worker.asked", {})


class Office(containers.DeclarativeContainer):
    bus: providers.Dependency[BackgroundTasksBus] = providers.Dependency(instance_of=BackgroundTasksBus)
    events: providers.Dependency[EventBus] = providers.Dependency(instance_of=EventBus)
    desk = providers.Singleton(Desk, bus, events)


async def test_what_waits_for_the_bus_in_a_container_gets_that_of_the_kit() -> None:
    office = Office()
    for _ in range(2):
        async with JobKit(Ask, Teller, container=office) as kit:
            await kit.schedule(ScheduledTaskDescriptor(id="a", name="Ask"))
            assert {run.status for run in await kit.drain()} == {"succeeded"}
            kit.assert_scheduled(Teller)
            kit.assert_published("worker.asked")
            kit.assert_published("worker.told", {"n": 7})
    async with JobKit(Ask, container=Office):
        pass


@backgroundjob(task_type="scheduled")
class Endless(ScheduledBackgroundJob):
    bus: Injected[BackgroundTasksBus]

    async def run_at(self) -> None:
        await self.bus.schedule_task(ScheduledTaskDescriptor(name="Endless"))


async def test_jobs_that_follow_each_other_for_ever_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testing.engine.ROUNDS", 20)
    async with JobKit(Endless) as kit:
        await kit.schedule(ScheduledTaskDescriptor(name="Endless"))
        with pytest.raises(AssertionError, match=r"2026-01-05T09:00:00\+00:00 has no end.* the last is Endless"):
            await kit.run_due()
