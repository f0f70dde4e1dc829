"""Whatever happens is published on the event bus, for any process that cares to listen.

A subscription with a ``group`` is for work: each event goes to one member among all processes, and again if that one
dies. A subscription without a group is for showing: every process sees every event.
"""

from typing import Any

from application.events.bus import EventBus
from application.scheduling import Injected, ScheduledBackgroundJob, ScheduledTaskDescriptor, backgroundjob
from domain.events.event import Event
from fundamentals.conftest import App, running
from infrastructure.settings import Settings
from support import wait_until


@backgroundjob(task_type="scheduled")
class Wash(ScheduledBackgroundJob):
    """A job may publish facts of its own: topics are dotted words in the past tense, such as ``worker.washed``."""

    events: Injected[EventBus]

    async def run_at(self) -> None:
        await self.events.publish("worker.washed", {"worker_id": "w1"})


WASH = ScheduledTaskDescriptor(id="wash", name="Wash", correlation_id="order-7")


async def test_a_run_tells_its_story(app: App) -> None:
    heard = await app.listen("job.*")
    await app.bus.schedule_task(WASH)
    await wait_until(lambda: len(heard) == 3)
    assert [event.topic for event in heard] == ["job.queued", "job.started", "job.succeeded"]
    assert {event.data["run_id"] for event in heard} == {"wash"}
    assert {event.correlation_id for event in heard} == {"order-7"}


async def test_a_job_publishes_facts_of_its_own(app: App) -> None:
    heard = await app.listen("worker.washed")
    await app.bus.schedule_task(WASH)
    await wait_until(lambda: heard)
    assert heard[0].data == {"worker_id": "w1"}


async def test_a_group_shares_the_work_and_others_see_everything(settings: Settings) -> None:
    billed: list[Any] = []

    async def bill(event: Event) -> None:
        billed.append(event.data["n"])

    async with running(settings) as one, running(settings) as two:
        screens = [await app.listen("worker.washed") for app in (one, two)]
        for app in (one, two):
            await app.events.subscribe(["worker.washed"], bill, group="billing").ready()
        for n in range(10):
            await one.events.publish("worker.washed", {"n": n})
        await wait_until(lambda: len(billed) >= 10 and all(len(screen) == 10 for screen in screens))
    assert sorted(billed) == list(range(10))
