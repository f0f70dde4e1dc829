"""Bodies that do not end when they are told to: left behind, counted, and never settled twice."""

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from application.scheduling import JobContext, RetryPolicy
from domain.runs.outcome import Failed, Retry
from support import wait_until
from unit.runs.gate_kit import Gate, blocks, insists, turn
from unit.runs.runner_kit import RunnerKit, forever, job_of


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
