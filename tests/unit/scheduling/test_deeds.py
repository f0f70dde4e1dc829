"""What of the changes of a schedule somebody asked for, and so is written down."""

import pytest

from application.scheduling.deeds import of_change
from application.scheduling.store import Stored
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.schedule import ScheduleState

STATE = ScheduleState(generation=1, incarnation="1", lane="Job@1", anchor=0, due=1)
BEFORE = Stored(STATE.dump(), STATE, RecurrentTaskDescriptor(id="s", name="Job", interval=5))


@pytest.mark.parametrize("event", [{"parked": "it does not load"}, {"postponed_s": 0.0, "by": "backoff of monitoring"}])
def test_what_nobody_asked_for_is_no_deed(event: dict[str, object]) -> None:
    assert of_change("schedule.changed", "s", BEFORE, STATE, None, event) is None


def test_what_somebody_asked_for_is_one() -> None:
    deed = of_change("schedule.changed", "s", BEFORE, STATE, BEFORE.definition, {"by": "ops", "generation": 2})
    assert deed is not None
    assert (deed.action, deed.target, deed.by) == ("schedule.changed", "s", "ops")
