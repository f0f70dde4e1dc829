"""A recurrent job that has nothing left to do raises ``JobTerminationException``: its schedule leaves the store."""

import pytest

from application.scheduling import (
    JobContext,
    JobTerminationException,
    RecurrentBackgroundJob,
    RecurrentTaskDescriptor,
    backgroundjob,
)
from domain.scheduling.errors import ScheduleNotFound
from fundamentals.conftest import App
from support import wait_until


@backgroundjob(task_type="recurrent")
class Watch(RecurrentBackgroundJob):
    """Watch a ship until it has sailed."""

    ship: str

    async def run_every(self, ctx: JobContext) -> None:
        raise JobTerminationException(f"the {self.ship} has sailed")


async def test_its_schedule_is_gone_and_the_reason_is_told(app: App) -> None:
    told = await app.listen("job.terminated", "schedule.removed")
    await app.bus.schedule_task(
        RecurrentTaskDescriptor(id="watch", name="Watch", data={"ship": "Beagle"}, interval=0.05)
    )
    await wait_until(lambda: len(told) == 2)
    assert {event.topic for event in told} == {"job.terminated", "schedule.removed"}
    assert {event.data["why"] for event in told} == {"the Beagle has sailed"}
    with pytest.raises(ScheduleNotFound):
        await app.scheduler.get_task_info("watch")
