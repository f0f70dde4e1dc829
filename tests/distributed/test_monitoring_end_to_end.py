"""From a machine to a receiver of webhooks, through whole programs that are killed, and a receiver that is away."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from distributed.alarm_kit import Dials, Receiver, program, watch
from distributed.program_kit import Roundsman, assert_ended_cleanly

BUSY = {"id": "busy", "metric": "process_count", "fire": 100, "clear": 50, "severity": "critical"}
HOT = {"id": "hot", "metric": "cpu_utilization", "fire": 0.02, "clear": 0.01, "keep_firing_for_s": 2.0}
"""Of one core: so little, because tests share the machine, and so much, because who is dead uses none. One look at
which it was not let run ends nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def dials(tmp_path: Path) -> Dials:
    made = Dials(tmp_path)
    made.turn(["w1"], process_count=10)
    return made


@pytest.fixture
def running(tmp_path: Path, receiver: Receiver, dials: Dials, stack: ExitStack) -> Roundsman:
    """A program that looks at one worker, which is calm."""
    made = stack.enter_context(program(tmp_path / "one", receiver, [BUSY], DIALS=str(dials.file))).start()
    watch(made, ["w1"], "dial")
    made.wait(lambda: made.get("/workers/w1")["last_sample"], "a first sample")
    assert receiver.got == []
    return made


def told(running: Roundsman, receiver: Receiver, kinds: list[str], worker_id: str = "w1") -> None:
    """Wait until the receiver was told just this of a worker."""
    running.wait(lambda: len(receiver.told(worker_id)) >= len(kinds), f"{worker_id}: {kinds}, beside {receiver.got}")
    assert receiver.told(worker_id) == kinds
    assert receiver.badly_signed == []


def test_a_burning_cpu_is_told_once_and_taken_back_once(tmp_path: Path, receiver: Receiver, stack: ExitStack) -> None:
    pid_file = tmp_path / "burner.pid"
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    stack.callback(burner.wait)
    stack.callback(burner.kill)
    pid_file.write_text(str(burner.pid))
    made = stack.enter_context(program(tmp_path / "one", receiver, [HOT], BURNER=str(pid_file))).start()
    watch(made, ["cpu"], "burner", interval_s=0.5)
    told(made, receiver, ["firing"], "cpu")
    (first,) = receiver.got[0].alerts
    assert first["value"] > 0.02
    burner.kill()
    told(made, receiver, ["firing", "resolved"], "cpu")
    (last,) = receiver.got[-1].alerts
    assert last["alert_id"] == first["alert_id"]
    assert_ended_cleanly(made, made.interrupt())
    assert receiver.told("cpu") == ["firing", "resolved"]
    assert receiver.twice() == []


def test_who_is_killed_between_firing_and_resolve_resolves_after_its_restart(
    running: Roundsman, receiver: Receiver, dials: Dials
) -> None:
    dials.turn(["w1"], process_count=200)
    told(running, receiver, ["firing"])
    running.kill()
    dials.turn(["w1"], process_count=10)
    running.start()
    told(running, receiver, ["firing", "resolved"])
    alerts = [one for got in receiver.got for one in got.alerts]
    assert len({one["alert_id"] for one in alerts}) == 1
    assert len(receiver.twice()) <= 1, "the one message that was under way, by its key"
    assert [one["state"] for one in running.get("/alerts")["items"]] == ["resolved"]
    assert_ended_cleanly(running, running.interrupt())


def test_who_is_killed_between_sending_and_noting_it_sends_it_again_under_the_same_key(
    running: Roundsman, receiver: Receiver, dials: Dials
) -> None:
    """The lease of the message must lapse first."""
    receiver.before_answer = running.kill
    dials.turn(["w1"], process_count=200)
    told(running, receiver, ["firing"])
    running.wait(lambda: running.process.poll() is not None, "the kill")
    running.start()
    running.wait(lambda: len(receiver.got) == 2, "the same once more")
    first, again = receiver.got
    assert first == again
    dials.turn(["w1"], process_count=10)
    told(running, receiver, ["firing", "resolved"])
    assert receiver.twice() == [first.alerts[0]["key"]]
    assert_ended_cleanly(running, running.interrupt())


def test_what_breaks_again_while_nobody_looks_is_one_episode(
    running: Roundsman, receiver: Receiver, dials: Dials
) -> None:
    """It was calm and broke again while the program was dead: nobody saw that, and nobody is told of it."""
    dials.turn(["w1"], process_count=200)
    told(running, receiver, ["firing"])
    running.kill()
    dials.turn(["w1"], process_count=10)
    dials.turn(["w1"], process_count=300)
    running.start()
    seen = running.get("/workers/w1")["last_sample"]["observed_at"]
    running.wait(lambda: running.get("/workers/w1")["last_sample"]["observed_at"] > seen, "another sample")
    assert receiver.told("w1") == ["firing"]
    dials.turn(["w1"], process_count=10)
    told(running, receiver, ["firing", "resolved"])
    assert_ended_cleanly(running, running.interrupt())


def test_a_receiver_that_was_away_hears_all_of_it_in_order(
    running: Roundsman, receiver: Receiver, dials: Dials
) -> None:
    receiver.down()
    dials.turn(["w1"], process_count=200)
    running.wait(lambda: running.get("/alerts?state=firing")["items"], "the alert to fire")
    dials.turn(["w1"], process_count=10)
    running.wait(lambda: running.get("/alerts?state=resolved")["items"], "the alert to be over")
    assert receiver.got == []
    receiver.up()
    told(running, receiver, ["firing", "resolved"])
    assert receiver.twice() == []
    assert_ended_cleanly(running, running.interrupt())


def test_what_was_not_delivered_before_a_restart_is_delivered_after_it(
    running: Roundsman, receiver: Receiver, dials: Dials
) -> None:
    receiver.down()
    dials.turn(["w1"], process_count=200)
    running.wait(lambda: running.get("/alerts?state=firing")["items"], "the alert to fire")
    running.kill()
    receiver.up()
    running.start()
    told(running, receiver, ["firing"])
    dials.turn(["w1"], process_count=10)
    told(running, receiver, ["firing", "resolved"])
    assert_ended_cleanly(running, running.interrupt())


def test_two_instances_tell_each_thing_once(
    tmp_path: Path, receiver: Receiver, dials: Dials, stack: ExitStack, redis_url: str, namespace: str
) -> None:
    workers = [f"w{number}" for number in range(8)]
    dials.turn(workers, process_count=10)
    shared = {
        "ROUNDSMAN_STORE__REDIS_URL": redis_url,
        "ROUNDSMAN_STORE__NAMESPACE": namespace,
        "DIALS": str(dials.file),
    }
    one, two = (
        stack.enter_context(program(tmp_path / name, receiver, [BUSY], **shared)).start() for name in ("one", "two")
    )
    one.wait(lambda: len(two.get("/instances")["items"]) == 2, "the two to know each other")
    watch(one, workers, "dial")
    for round_ in (1, 2):
        dials.turn(workers, process_count=200)
        for worker_id in workers:
            told(one, receiver, ["firing", "resolved"] * (round_ - 1) + ["firing"], worker_id)
        dials.turn(workers, process_count=10)
        for worker_id in workers:
            told(two, receiver, ["firing", "resolved"] * round_, worker_id)
    for process in (one, two):
        assert process.interrupt() == 0, process.said
    assert receiver.twice() == [], "nobody was killed, so each key came once"
