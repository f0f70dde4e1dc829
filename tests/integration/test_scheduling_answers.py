"""What scheduling answers."""

from typing import Any

import pytest

from application.scheduling import RecurrentTaskDescriptor, views
from cluster import Cluster
from domain.scheduling.schedule import ScheduleInfo


async def test_what_stands_is_told_to_who_asks_and_made_for_nobody_else(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await cluster.start()
    made: list[str] = []

    def schedule(schedule_id: str, *parts: Any, **options: Any) -> ScheduleInfo:
        made.append(schedule_id)
        return shown(schedule_id, *parts, **options)

    shown = views.schedule
    monkeypatch.setattr(views, "schedule", schedule)
    answer = await one.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=3600))
    assert made == []
    assert (answer.info.id, answer.info.name) == ("s", "Note")
    assert answer.info is answer.info
    assert made == ["s"]
