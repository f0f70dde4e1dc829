"""What people changed survives Ctrl-C and ``kill -9``; a store that freezes or dies is told of, and comes back."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from conftest import servers_below
from distributed.program_kit import PATIENCE_S, Roundsman, assert_ended_cleanly

TESTS = Path(__file__).parents[1]
GREET = {"id": "greet", "name": "Greet", "data": {"label": "a"}, "trigger": {"interval_s": 0.2}}
TWIN = {"id": "twin", "name": "The other one", "provider": "local"}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Roundsman]:
    settings = {"PYTHONPATH": str(TESTS), "ROUNDSMAN_BACKGROUND_JOBS__MODULES": '["cli_jobs"]'}
    with Roundsman(tmp_path, **settings) as made:
        yield made


def fired(program: Roundsman) -> int:
    count: int = program.get("/schedules/greet")["counts"]["succeeded"]
    return count


def runs_on(program: Roundsman) -> None:
    """Wait until the schedule has run some more."""
    before = fired(program)
    program.wait(lambda: fired(program) >= before + 3, "the schedule to go on")


def changed_by_people(program: Roundsman) -> dict[str, Any]:
    """Return what nobody but a person may change."""
    twin = program.get("/workers/twin")
    (greet,) = (item for item in program.get("/schedules")["items"] if item["id"] == "greet")
    kept = ("generation", "created_at", "trigger", "policy", "data")
    return {
        "schedules": sorted(item["id"] for item in program.get("/schedules")["items"]),
        "pause": twin["monitoring"]["pause"],
        "interval": twin["monitoring"]["interval_s"],
        "labels": twin["labels"],
        "greet": {name: greet[name] for name in kept},
    }


def test_what_people_changed_survives_ctrl_c_and_kill_9(program: Roundsman) -> None:
    program.start()
    program.call("DELETE", "/workers/local/monitoring", 200)
    program.call("POST", "/workers", 201, TWIN)
    program.call("PATCH", "/workers/twin", 200, {"labels": {"role": "spare"}})
    program.call("PUT", "/workers/twin/monitoring", 201, {"interval_s": 0.5})
    program.wait(lambda: program.get("/workers/twin/metrics")["items"], "a sample")
    program.call("POST", "/schedules/worker-metrics-twin/pause", 200, {"reason": "it is being moved"})
    program.call("POST", "/schedules", 201, GREET)
    runs_on(program)
    changed = changed_by_people(program)
    assert changed["pause"]["reason"] == "it is being moved"
    assert changed["schedules"] == ["greet", "monitoring-silence-check", "worker-metrics-twin"]
    counted, samples = fired(program), program.get("/workers/twin/metrics")["items"]
    assert_ended_cleanly(program, program.interrupt())

    program.start()
    assert changed_by_people(program) == changed
    assert fired(program) >= counted
    assert program.get("/workers/twin/metrics")["items"][: len(samples)] == samples
    runs_on(program)
    counted = fired(program)
    program.kill()
    program.wait(lambda: servers_below(program.directory) == [], "the server to follow the program")

    program.start()
    assert changed_by_people(program) == changed
    assert fired(program) >= counted
    runs_on(program)
    program.call("POST", "/schedules/worker-metrics-twin/resume", 200)
    program.wait(lambda: len(program.get("/workers/twin/metrics")["items"]) > len(samples), "a new sample")
    assert_ended_cleanly(program, program.interrupt(signal.SIGTERM))


def test_a_store_that_freezes_and_is_killed_is_told_of_and_comes_back(program: Roundsman) -> None:
    program.start()
    program.call("POST", "/schedules", 201, GREET)
    runs_on(program)
    counted, server = fired(program), program.server
    os.kill(server.pid, signal.SIGSTOP)
    status, health = program.wait(lambda: found if (found := program.health())[0] != 200 else None, "health to notice")
    assert (status, health["status"], health["components"]["store"]["status"]) == (503, "down", "down")
    assert program.http.get("/health/live").status_code == 200

    os.kill(server.pid, signal.SIGKILL)
    program.wait(lambda: program.health()[0] == 200, "health to be well again")
    assert program.server.pid != server.pid
    assert fired(program) >= counted
    runs_on(program)
    assert "the embedded Valkey is back" in program.said
    assert_ended_cleanly(program, program.interrupt())


def test_ctrl_c_while_it_starts_leaves_nothing(program: Roundsman) -> None:
    process = program.begin()
    program.wait(lambda: servers_below(program.directory), "its server to be there")
    server = program.server
    status = program.interrupt()
    assert status in (0, 130), program.said
    assert "Traceback" not in program.said
    assert process.poll() is not None
    gone, _ = psutil.wait_procs([server], PATIENCE_S)
    assert gone == [server]
