"""Draining: what ends in time counts, the rest is given back, and nothing is finished twice."""

import asyncio

from application.scheduling import RecurrentBackgroundJob, backgroundjob
from domain.runs.outcome import Released, Succeeded
from support import wait_until
from unit.runs.gate_kit import Gate, blocks, insists, turn, waits
from unit.runs.runner_kit import RunnerKit, forever


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
