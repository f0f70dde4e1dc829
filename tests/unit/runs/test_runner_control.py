"""Ending runs from outside: timeouts, revocation, takeover by ourselves, draining; and the slots all this takes."""

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from application.scheduling import JobContext, RecurrentBackgroundJob, RetryPolicy, backgroundjob
from domain.runs.outcome import Failed, Lost, Released, Retry, Succeeded
from support import wait_until
from unit.runs.runner_kit import RunnerKit, forever, job_of


class Gate:
    """What bodies wait for, and what they tell."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.open = asyncio.Event()
        self.threads_may_end = threading.Event()
        self.contexts: list[JobContext] = []


@pytest.fixture
async def gate() -> Any:
    made = Gate()
    yield made
    made.open.set()
    made.threads_may_end.set()


def waits(gate: Gate) -> type:
    """A job that waits for the gate."""

    async def body(self: Any, ctx: JobContext) -> str:
        gate.started.append(ctx.token)
        gate.contexts.append(ctx)
        try:
            await gate.open.wait()
        finally:
            gate.ended.append(ctx.token)
        return "done"

    return job_of(body)


def insists(gate: Gate) -> type:
    """A job that swallows every cancellation."""

    async def body(self: Any, ctx: JobContext) -> str:
        gate.started.append(ctx.token)
        while not gate.open.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate.open.wait()
        gate.ended.append(ctx.token)
        return "done"

    return job_of(body)


def blocks(gate: Gate) -> type:
    """A job whose sync body waits in its thread."""

    def body(self: Any, ctx: JobContext) -> str:
        gate.started.append(ctx.token)
        gate.contexts.append(ctx)
        gate.threads_may_end.wait()
        gate.ended.append(ctx.token)
        return "done"

    return job_of(body)


def refuses_to_start() -> type:
    async def body(self: Any) -> None:
        raise AssertionError("it was not to start")

    return job_of(body)


async def turn() -> None:
    """Let the loop turn a few times: what was to happen at once has happened."""
    for _ in range(5):
        await asyncio.sleep(0)


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


async def test_slots_are_taken_from_the_claim_to_the_answer_of_the_store(gate: Gate) -> None:
    kit = RunnerKit(waits(gate), concurrency=3)
    assert kit.runner.free_slots == 3
    first, second = kit.claim("Job"), kit.claim("Job")
    assert kit.runner.free_slots == 1
    kit.runner.start([first, second])
    gate.open.set()
    await kit.outcome(first)
    await kit.outcome(second)
    assert kit.runner.free_slots == 1
    kit.runner.forget([first])
    assert kit.runner.free_slots == 2
    for _ in range(4):
        kit.claim("Job")
    assert kit.runner.free_slots == 0


@pytest.mark.parametrize("retry", [RetryPolicy(), RetryPolicy(max_retries=1, backoff_s=3, jitter=False)])
async def test_a_body_that_ignores_its_timeout_is_left_behind(
    gate: Gate, retry: RetryPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    kit = RunnerKit(insists(gate), concurrency=2, clean_up_s=0.01)
    claim = kit.start("Job", timeout_s=0.01, retry=retry)
    late = "TimeoutError: the body did not end within its timeout of 0.01 s"
    assert await kit.outcome(claim) == (Retry(late, 3.0) if retry.max_retries else Failed(late))
    kit.runner.forget([claim])
    assert (kit.runner.abandoned, kit.runner.free_slots) == (1, 1)
    gate.open.set()
    await wait_until(lambda: kit.runner.abandoned == 0, "the end of the body")
    assert kit.runner.free_slots == 2
    assert len(kit.settled.outcomes) == 1
    assert "the body of run r1, which was left behind, ended: Succeeded" in caplog.text


async def test_a_revoked_body_that_ignores_it_gives_its_slot_back_only_when_it_ends(gate: Gate) -> None:
    kit = RunnerKit(insists(gate), concurrency=1, clean_up_s=0.01)
    claim = kit.start("Job")
    await wait_until(lambda: gate.started, "the body")
    kit.runner.revoke(claim.spec.run_id, "another owns it")
    await wait_until(lambda: not kit.runner.held, "the claim to be given up")
    assert kit.runner.free_slots == 0
    gate.open.set()
    await wait_until(lambda: kit.runner.free_slots == 1, "the slot")
    assert kit.settled.outcomes == []


async def test_a_body_that_lost_its_first_cancellation_gets_another() -> None:
    async def body(self: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        await forever()

    kit = RunnerKit(job_of(body), clean_up_s=0.01)
    assert isinstance(await kit.run("Job", timeout_s=0.01), Failed)
    await wait_until(lambda: kit.runner.abandoned == 0, "the end of the body")


async def test_a_loss_outweighs_a_timeout(gate: Gate) -> None:
    kit = RunnerKit(insists(gate))
    claim = kit.start("Job", timeout_s=0.01)
    await wait_until(lambda: gate.started, "the body")
    await wait_until(lambda: kit.runner._executing["r1"].ending is not None, "the timeout")
    kit.runner.revoke(claim.spec.run_id, "another owns it")
    gate.open.set()
    await wait_until(lambda: not kit.runner.held, "the slot")
    assert kit.settled.outcomes == []


async def test_a_sync_body_that_outlives_its_timeout_is_told_and_left_behind(gate: Gate) -> None:
    kit = RunnerKit(blocks(gate), concurrency=2)
    claim = kit.start("Job", timeout_s=0.02)
    outcome = await kit.outcome(claim)
    assert isinstance(outcome, Failed)
    assert "timeout of 0.02 s" in outcome.error
    kit.runner.forget([claim])
    assert gate.contexts[0].cancelled
    assert (kit.runner.abandoned, kit.runner.threads.abandoned, kit.runner.free_slots) == (1, 1, 1)
    gate.contexts[0].progress(0.5, "of a run that is over")
    gate.threads_may_end.set()
    await wait_until(lambda: kit.runner.free_slots == 2, "the slot")
    assert kit.settled.reports == []
    assert len(kit.settled.outcomes) == 1


async def test_a_sync_body_can_see_that_it_was_revoked() -> None:
    seen = threading.Event()

    def body(self: Any, ctx: JobContext) -> None:
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        seen.set()

    kit = RunnerKit(job_of(body))
    claim = kit.start("Job")
    kit.runner.revoke(claim.spec.run_id, "stopped")
    await wait_until(lambda: not kit.runner.held, "the slot")
    claim = kit.start("Job")
    await turn()
    kit.runner.revoke(claim.spec.run_id, "stopped")
    await wait_until(seen.is_set, "the body to see it")
    await wait_until(lambda: kit.runner.abandoned == 0, "the thread")


async def test_draining_waits_for_bodies_within_the_grace(gate: Gate) -> None:
    kit = RunnerKit(waits(gate))
    claim = kit.start("Job")
    await wait_until(lambda: gate.started, "the body")
    asyncio.get_running_loop().call_later(0.02, gate.open.set)
    await kit.runner.drain(30)
    assert kit.settled.of(claim) == Succeeded('"done"')


async def test_draining_gives_back_what_does_not_end_and_what_has_not_begun(gate: Gate) -> None:
    kit = RunnerKit(waits(gate))
    running, waiting = kit.start("Job"), kit.claim("Job")
    await wait_until(lambda: gate.started, "the body")
    await kit.runner.drain(0.01)
    assert kit.settled.of(running) == Released(started=True)
    assert kit.settled.of(waiting) == Released(started=False)
    assert gate.ended == gate.started
    kit.runner.start([waiting])
    await turn()
    assert len(gate.started) == 1, "what was given back does not begin"


async def test_draining_finishes_nothing_twice(gate: Gate) -> None:
    gate.open.set()
    kit = RunnerKit(waits(gate))
    claim = kit.start("Job")
    await kit.outcome(claim)
    await kit.runner.drain(0)
    await kit.runner.drain(0)
    assert kit.settled.outcomes == [(claim, Succeeded('"done"'))]


async def test_draining_an_idle_runner_returns_at_once() -> None:
    await RunnerKit().runner.drain(1000)


@backgroundjob(task_type="recurrent")
class Closing(RecurrentBackgroundJob):
    how: str

    async def run_every(self) -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            if self.how == "raises":
                raise ConnectionError("my client was closed under me") from None
        return "all of it"


async def test_a_body_that_comes_to_its_end_while_draining_counts() -> None:
    kit = RunnerKit(Closing)
    claim = kit.start(Closing, '{"how":"returns"}')
    await turn()
    await kit.runner.drain(0)
    assert kit.settled.of(claim) == Succeeded('"all of it"')


async def test_a_body_that_fails_because_of_draining_is_given_back() -> None:
    kit = RunnerKit(Closing)
    claim = kit.start(Closing, '{"how":"raises"}')
    await turn()
    await kit.runner.drain(0)
    assert kit.settled.of(claim) == Released(started=True)


async def test_draining_leaves_behind_who_does_not_listen(gate: Gate) -> None:
    kit = RunnerKit(insists(gate), clean_up_s=0.02)
    claim = kit.start("Job")
    await wait_until(lambda: gate.started, "the body")
    await kit.runner.drain(0.01)
    assert kit.settled.of(claim) == Released(started=True)
    assert kit.runner.abandoned == 1


async def test_draining_does_not_wait_for_threads(gate: Gate) -> None:
    kit = RunnerKit(blocks(gate))
    claim = kit.start("Job")
    await wait_until(lambda: gate.started, "the body")
    await kit.runner.drain(0.01)
    assert kit.settled.of(claim) == Released(started=True)
    assert kit.runner.abandoned == 1


async def test_a_loss_during_draining_stays_a_loss(gate: Gate) -> None:
    kit = RunnerKit(waits(gate))
    claim = kit.start("Job")
    await wait_until(lambda: gate.started, "the body")
    draining = asyncio.create_task(kit.runner.drain(30))
    await turn()
    kit.runner.revoke(claim.spec.run_id, "another owns it")
    await draining
    assert kit.settled.outcomes == []


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
