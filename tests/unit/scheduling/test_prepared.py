"""A schedule as the tick keeps it: its texts are those that pydantic would write."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.runs.registry import JobRegistry
from application.scheduling import RecurrentBackgroundJob, RetryPolicy, backgroundjob, states
from application.scheduling.compiled import compile_schedule
from application.scheduling.moments import milliseconds
from application.scheduling.planning import PlannedRun
from domain.runs.run import RunReason
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.policy import SchedulePolicy
from domain.scheduling.schedule import ScheduleState
from infrastructure.runs.records import join_spec, payload_of, split_spec
from infrastructure.scheduling.prepared import Prepared, prepare

NOW = milliseconds(datetime(2026, 11, 22, 12, tzinfo=UTC))


@backgroundjob(task_type="recurrent", version=2, retry=RetryPolicy(max_retries=3, backoff_s=9))
class Kept(RecurrentBackgroundJob):
    label: str = "a"

    async def run_every(self) -> None: ...


def prepared(**fields: Any) -> tuple[Prepared, ScheduleState]:
    descriptor = RecurrentTaskDescriptor(**{"id": "s", "name": "Kept", "interval": 30, **fields})
    state = states.put(descriptor, None, NOW)
    return prepare(compile_schedule(descriptor, state, JobRegistry([Kept]), 300.0), state, state.dump()), state


@given(
    due=st.integers(NOW, NOW + 10**12),
    missed=st.sampled_from([0, 0, 1, 1000]),
    reason=st.sampled_from([RunReason.FIRE, RunReason.FIRE, RunReason.CATCH_UP]),
    fields=st.sampled_from(
        [
            {},
            {"id": "a.b:c-d_e"},
            {"policy": SchedulePolicy(timeout_s=0.5, max_retries=1)},
            {"data": {"label": '"\u2028é'}},
        ]
    ),
)
def test_the_texts_of_a_run_are_those_of_its_spec(
    due: int, missed: int, reason: RunReason, fields: dict[str, Any]
) -> None:
    schedule, _ = prepared(**fields)
    run = PlannedRun(due, missed, reason)
    spec = schedule.compiled.spec(run)
    run_id, tag, payload = schedule.run_texts(run)
    assert run_id == spec.run_id
    whole, rest = split_spec(spec)
    assert tag == whole
    assert payload == payload_of(rest, schedule.compiled.data)
    assert join_spec(tag, payload) == (spec, schedule.compiled.data)
    assert schedule.claim(run, "7").spec == spec


@given(due=st.integers(NOW, NOW + 10**12))
def test_the_text_of_a_state_is_what_it_would_be_dumped_as(due: int) -> None:
    schedule, state = prepared()
    assert schedule.state_text(due) == state.model_copy(update={"due": due}).dump()


@pytest.mark.parametrize("spaced", [False, True])
def test_what_a_newer_version_wrote_into_a_state_stays_in_it(spaced: bool) -> None:
    schedule, state = prepared()
    newer = json.dumps(
        {**json.loads(state.dump()), "due": 17, "colour": "red"}, separators=None if spaced else (",", ":")
    )
    schedule.take(newer, state.model_copy(update={"due": 17}))
    assert (schedule.text, schedule.due) == (newer, 17)
    wanted = {**json.loads(state.dump()), "due": 99} | ({} if spaced else {"colour": "red"})
    assert json.loads(schedule.state_text(99)) == wanted


def test_the_mark_that_let_fires_wait_for_a_change_goes_with_the_next_fire() -> None:
    schedule, state = prepared()
    schedule.take(f"{state.dump()} ", state)
    assert schedule.text.endswith(" ")
    assert schedule.state_text(99) == state.model_copy(update={"due": 99}).dump()
