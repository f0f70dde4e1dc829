"""Data is validated when it is scheduled: whoever asks for nonsense hears it at once, and nothing is stored.

The data fields of the class are the model. What arrives in the body has the types that the class names.
"""

from datetime import date
from typing import Annotated

import pytest
from pydantic import Field

from application.scheduling import ScheduledBackgroundJob, ScheduledTaskDescriptor, backgroundjob
from domain.runs.errors import InvalidData, UnknownJob
from domain.scheduling.errors import ScheduleNotFound
from fundamentals.conftest import App


@backgroundjob(task_type="scheduled")
class PrintInvoice(ScheduledBackgroundJob):
    """Print an invoice."""

    customer: str
    day: date
    copies: Annotated[int, Field(ge=1, le=10)] = 1

    async def run_at(self) -> str:
        return f"{self.copies} for {self.customer}, on a {self.day:%A}"


async def test_data_travels_as_json_and_arrives_with_its_types(app: App) -> None:
    data = {"customer": "Eve", "day": "2026-11-22"}
    await app.bus.schedule_task(ScheduledTaskDescriptor(id="invoice", name="PrintInvoice", data=data))
    assert (await app.end_of("invoice")).result == "1 for Eve, on a Sunday"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"customer": "Eve", "day": "2026-11-22", "copies": 0}, "copies: Input should be greater than or equal to 1"),
        ({"customer": "Eve", "day": "someday"}, "day: Input should be a valid date"),
        ({"day": "2026-11-22"}, "customer: Field required"),
        ({"customer": "Eve", "day": "2026-11-22", "colour": "red"}, "colour: Extra inputs are not permitted"),
    ],
)
async def test_what_is_wrong_is_said_field_by_field_and_nothing_is_stored(
    app: App, data: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidData, match=said):
        await app.bus.schedule_task(ScheduledTaskDescriptor(id="invoice", name="PrintInvoice", data=data))
    with pytest.raises(ScheduleNotFound):
        await app.scheduler.get_task_info("invoice")


async def test_a_name_that_nobody_has_is_refused_with_the_nearest_one(app: App) -> None:
    with pytest.raises(UnknownJob, match="Did you mean PrintInvoice"):
        await app.bus.schedule_task(ScheduledTaskDescriptor(name="PrintInvoices", data={}))
