"""Claims and slots: revocation at every moment, takeover by ourselves, and nothing left at the end."""

import asyncio

import pytest

from domain.runs.outcome import Cancelled, Lost, Released, Succeeded
from support import wait_until
from unit.runs.gate_kit import Gate, insists, refuses_to_start, turn, waits
from unit.runs.runner_kit import RunnerKit


async def test_a_run_that_is_revoked_before_it_is_started_never_starts() -> None:
    kit = RunnerKit(refuses_to_start())
    claim = kit.claim("Job")
    kit.runner.revoke(claim.spec.run_id, "stopped")
    kit.runner.start([claim])
    await turn()
    assert kit.settled.outcomes == []
    assert kit.runner.held == {}


async def test_a_run_that_is_revoked_in_the_moment_it_is_started_never_starts() -> None:
    """Its task is cancelled before its first step; not even then is the slot forgotten."""
    kit = RunnerKit(refuses_to_start())
    claim = kit.start("Job")
    kit.runner.revoke(claim.spec.run_id, "stopped")
    await wait_until(lambda: not kit.runner.held, "the slot")
    assert kit.settled.outcomes == []
    assert kit.runner.abandoned == 0


async def test_a_run_whose_task_somebody_else_cancels_before_it_begins_is_settled_as_cancelled() -> None:
    """As a host application does that cancels all tasks there are: the slot must not wait for the timeout."""
    kit = RunnerKit(refuses_to_start())
    claim = kit.start("Job")
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == f"run {claim.spec.run_id}"]
    task.cancel()
    await wait_until(lambda: kit.settled.outcomes, "its end")
    assert kit.settled.of(claim) == Cancelled("the body was cancelled")
    kit.runner.forget([claim])
    assert kit.runner.held == {}


async def test_a_run_that_is_revoked_while_it_runs_is_cancelled_and_settles_nothing(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    kit = RunnerKit(waits(gate))
    claim = kit.start("Job")
    await wait_until(lambda: gate.started, "the body")
    kit.runner.revoke(claim.spec.run_id, "another owns it")
    assert gate.contexts[0].cancelled
    await wait_until(lambda: not kit.runner.held, "the slot")
    assert gate.ended == gate.started
    assert kit.settled.outcomes == []
    assert "run r1, attempt 1, was lost: another owns it" in caplog.text


async def test_a_revoked_run_settles_nothing_even_if_its_body_comes_to_its_end(gate: Gate) -> None:
    kit = RunnerKit(insists(gate))
    claim = kit.start("Job")
    await wait_until(lambda: gate.started, "the body")
    kit.runner.revoke(claim.spec.run_id, "another owns it")
    gate.open.set()
    await wait_until(lambda: not kit.runner.held, "the slot")
    assert gate.ended
    assert kit.settled.outcomes == []


async def test_revoking_what_has_ended_changes_nothing(gate: Gate) -> None:
    kit = RunnerKit(waits(gate))
    gate.open.set()
    claim = kit.start("Job")
    assert await kit.outcome(claim) == Succeeded('"done"')
    kit.runner.revoke(claim.spec.run_id, "too late")
    assert kit.runner.held == {"r1": claim}, "its slot is taken until the store has answered"
    kit.runner.forget([claim])
    kit.runner.revoke(claim.spec.run_id, "much too late")
    kit.runner.revoke("never heard of", "no such run")
    assert kit.runner.held == {}
    assert len(kit.settled.outcomes) == 1


async def test_a_run_that_this_instance_takes_over_from_itself_has_one_body_that_counts(gate: Gate) -> None:
    kit = RunnerKit(waits(gate))
    older = kit.start("Job", run_id="r1", token="10")
    await wait_until(lambda: gate.started == ["10"], "the first body")
    newer = kit.start("Job", run_id="r1", token="20")
    assert kit.runner.held == {"r1": newer}
    await wait_until(lambda: gate.started == ["10", "20"], "the second body")
    await wait_until(lambda: gate.ended == ["10"], "the end of the first body")
    kit.runner.forget([older])
    assert kit.runner.held == {"r1": newer}, "the answer for the older claim frees nothing"
    gate.open.set()
    assert await kit.outcome(newer) == Succeeded('"done"')
    assert [claim for claim, _ in kit.settled.outcomes] == [newer]
    assert kit.runner.abandoned == 0


async def test_an_older_body_that_ignores_its_end_takes_a_slot_and_nothing_else(gate: Gate) -> None:
    kit = RunnerKit(insists(gate), concurrency=5, clean_up_s=0.01)
    older = kit.start("Job", run_id="r1", token="10")
    await wait_until(lambda: gate.started == ["10"], "the first body")
    newer = kit.start("Job", run_id="r1", token="20")
    assert (kit.runner.abandoned, kit.runner.free_slots) == (1, 3)
    await wait_until(lambda: gate.started == ["10", "20"], "the second body")
    await asyncio.sleep(0.02)  # past the time that the older body had for its clean-up
    assert kit.runner.held == {"r1": newer}
    gate.open.set()
    assert await kit.outcome(newer) == Succeeded('"done"')
    await wait_until(lambda: kit.runner.abandoned == 0, "the end of the first body")
    assert [claim for claim, _ in kit.settled.outcomes] == [newer]
    assert older not in kit.runner.held.values()


async def test_a_newer_claim_that_has_not_begun_is_told_from_the_older_one_that_runs(gate: Gate) -> None:
    kit = RunnerKit(waits(gate))
    older = kit.start("Job", run_id="r1", token="10")
    kit.start("Job", run_id="r2", token="11")
    await wait_until(lambda: len(gate.started) == 2, "the bodies")
    newer, gone = kit.claim("Job", run_id="r1", token="20"), kit.claim("Job", run_id="r2", token="21")
    kit.runner.revoke("r2", "another owns it")
    assert gone not in kit.runner.held.values()
    assert gate.ended == []
    await kit.runner.drain(0)
    assert kit.settled.of(newer) == Released(started=False)
    assert kit.settled.of(older) == Released(started=True)


async def test_a_claim_that_was_overtaken_before_it_started_does_not_start(gate: Gate) -> None:
    kit = RunnerKit(waits(gate))
    older = kit.claim("Job", run_id="r1", token="10")
    newer = kit.claim("Job", run_id="r1", token="20")
    kit.runner.start([older, newer])
    await wait_until(lambda: gate.started, "the body")
    assert gate.started == ["20"]


async def test_slots_are_taken_from_the_claim_to_the_end_of_the_body(gate: Gate) -> None:
    kit = RunnerKit(waits(gate), concurrency=3)
    freed: list[int] = []
    kit.runner.freed = lambda: freed.append(kit.runner.free_slots)
    assert kit.runner.free_slots == 3
    first, second = kit.claim("Job"), kit.claim("Job")
    assert kit.runner.free_slots == 1
    kit.runner.start([first, second])
    gate.open.set()
    await kit.outcome(first)
    await kit.outcome(second)
    assert freed == [2, 3], "who waits for a slot hears of it"
    kit.runner.forget([first, second])
    for _ in range(4):
        kit.claim("Job")
    assert kit.runner.free_slots == 0


async def test_a_store_that_does_not_answer_is_not_buried_in_outcomes(gate: Gate) -> None:
    kit = RunnerKit(waits(gate), concurrency=3)
    gate.open.set()
    for free in (3, 3, 3, 2, 1, 0):
        await kit.outcome(kit.start("Job"))
        assert kit.runner.free_slots == free
    kit.runner.forget(claim for claim, _ in kit.settled.outcomes[:4])
    assert kit.runner.free_slots == 3


async def test_nothing_is_left_when_all_is_over(gate: Gate) -> None:
    """Tasks, timers and claims: an instance lives for months."""
    kit = RunnerKit(waits(gate), concurrency=100)
    claims = [kit.start("Job") for _ in range(50)]
    gate.open.set()
    for claim in claims:
        await kit.outcome(claim)
    kit.runner.forget(claims)
    assert [kit.runner.held, kit.runner._executing, kit.runner._settling, kit.runner._left_behind] == [
        {},
        {},
        set(),
        set(),
    ]
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("run ")] == []
    assert pending_timers() == []


async def test_no_timer_is_left_of_a_run_that_was_ended_from_outside(gate: Gate) -> None:
    kit = RunnerKit(waits(gate))
    claim = kit.start("Job")
    await wait_until(lambda: gate.started, "the body")
    kit.runner.revoke(claim.spec.run_id, "another owns it")
    await wait_until(lambda: not kit.runner.held, "the slot")
    assert pending_timers() == []


def pending_timers() -> list[str]:
    """The timers of runs that the loop still has to strike."""
    timers = [repr(handle) for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    return [timer for timer in timers if "JobRunner" in timer]


async def test_lost_is_never_settled(gate: Gate) -> None:
    kit = RunnerKit(waits(gate))
    claims = [kit.start("Job") for _ in range(3)]
    await turn()
    for claim in claims:
        kit.runner.revoke(claim.spec.run_id, "gone")
        kit.runner.revoke(claim.spec.run_id, "gone, again")
    await wait_until(lambda: not kit.runner.held, "the slots")
    assert not any(isinstance(outcome, Lost) for _, outcome in kit.settled.outcomes)


async def test_what_was_withdrawn_begins_no_more_and_what_has_begun_goes_on(gate: Gate) -> None:
    kit = RunnerKit(waits(gate))
    begun = kit.start("Job")
    await wait_until(lambda: gate.started, "the body")
    started, held = kit.start("Job"), kit.claim("Job")
    assert kit.runner.withdraw() == [started, held]  # as the renewal thread does while the loop is blocked
    kit.runner.start([held])
    gate.open.set()
    assert isinstance(await kit.outcome(begun), Succeeded)
    await turn()
    assert len(gate.started) == 1
    assert [claim for claim, _ in kit.settled.outcomes] == [begun], "what was withdrawn is the store's again"
