"""The command line against the real program, over a real store."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli_program import Program, call
from infrastructure.cli.errors import RUNS_LEFT
from infrastructure.redis.embedded import EmbeddedValkey
from support import wait_until_sync

KEYS = {role: f"{role}-key-of-the-tests" for role in ("viewer", "operator", "admin")}


@pytest.fixture(scope="module")
def program(valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One program for all tests of this file; each uses ids of its own."""
    with Program(tmp_path_factory.mktemp("program"), valkey.url, f"cli{uuid.uuid4().hex[:8]}") as started:
        yield started


@pytest.fixture
def schedule_id() -> str:
    """An id that no other test has."""
    return f"s-{uuid.uuid4().hex[:10]}"


def add(program: Program, schedule_id: str, *more: str) -> None:
    found = program("schedules", "add", "Greet", "--id", schedule_id, "--data", '{"label": "a"}', *more)
    assert found.status == 0, found.err


def add_running(program: Program, schedule_id: str) -> str:
    """Make a schedule whose run is executing, and return the run's id."""
    hold = '{"label": "a", "hold": true}'
    program("schedules", "add", "Greet", "--id", schedule_id, "--data", hold, "--interval", "1h")
    run_id = program.json("schedules", "run", schedule_id)["run_id"]
    assert isinstance(run_id, str)
    wait_until_sync(
        lambda: program.json("schedules", "show", schedule_id)["running"] == [run_id], f"{run_id} to execute"
    )
    return run_id


def test_health_is_ready_and_names_the_parts(program: Program) -> None:
    found = program("health")
    assert found.status == 0
    assert found.out.startswith(f"Ready: ok ({program.url})\n")
    assert {line.split()[0] for line in found.out.splitlines()[2:]} >= {"store", "events", "scheduler"}
    assert program.json("health")["status"] == "ok"


def test_a_schedule_is_made_seen_and_removed(program: Program, schedule_id: str) -> None:
    made = program("schedules", "add", "Greet", "--id", schedule_id, "--data", '{"label": "a"}', "--interval", "1h")
    assert made.status == 0
    assert made.out.startswith(f"{schedule_id} is new. Next fire: 20")
    assert "(in " in made.out
    again = program("schedules", "add", "Greet", "--id", schedule_id, "--data", '{"label": "a"}', "--interval", "1h")
    assert again.out.startswith(f"{schedule_id} was there")

    shown = program.json("schedules", "show", schedule_id)
    assert shown["trigger"] == {"interval_s": 3600.0}
    assert shown["generation"] == 1
    listed = program("schedules", "list", "--name", "Greet")
    assert any(line.split()[:4] == [schedule_id, "Greet", "every", "hour"] for line in listed.out.splitlines())

    removed = program("schedules", "rm", schedule_id)
    assert removed.out == f"{schedule_id} is stopped and removed.\nNothing of it was running.\n"
    for command in ("show", "rm", "pause", "resume", "run", "runs"):
        gone = program("schedules", command, schedule_id)
        assert (gone.status, gone.out) == (3, "")
        assert gone.err.startswith(f"Error: There is no schedule or waiting one-shot '{schedule_id}'.")


def test_every_part_of_the_policy_arrives(program: Program, schedule_id: str) -> None:
    cron = ["--cron", "0 2 * * 1-5", "--timezone", "Europe/Brussels"]
    policy = ["--overlap", "allow(2)", "--catch-up", "all(3)", "--jitter", "2m", "--timeout", "10m"]
    bounds = ["--max-retries", "3", "--start", "2030-01-01T00:00:00+01:00", "--end", "2031-01-01T00:00:00Z"]
    add(program, schedule_id, *cron, *policy, *bounds)
    shown = program.json("schedules", "show", schedule_id)
    assert shown["trigger"] == {"cron": "0 2 * * 1-5", "timezone": "Europe/Brussels"}
    assert shown["policy"] == {
        "overlap": "allow(2)",
        "catch_up": "all(3)",
        "jitter_s": 120.0,
        "timeout_s": 600.0,
        "max_retries": 3,
        "start": "2029-12-31T23:00:00Z",
        "end": "2031-01-01T00:00:00Z",
    }
    listed = program("schedules", "list", "--name", "Greet")
    assert "at 02:00 on weekdays" in listed.out


def test_a_schedule_rests_and_goes_on(program: Program, schedule_id: str) -> None:
    add(program, schedule_id, "--interval", "1h")
    assert program("schedules", "pause", schedule_id, "--reason", "move").status == 0
    shown = program("schedules", "show", schedule_id)
    assert "move" in shown.out
    paused = program.json("schedules", "list", "--state", "paused")
    assert schedule_id in [item["id"] for item in paused["items"]]
    assert program("schedules", "resume", schedule_id).out.startswith(f"{schedule_id} goes on. Next fire: 20")
    twice = program("schedules", "resume", schedule_id)
    assert twice.status == 4
    assert twice.err.startswith(f"Error: '{schedule_id}' is neither paused nor parked")


def test_a_run_beside_the_rhythm_is_followed(program: Program, schedule_id: str) -> None:
    add(program, schedule_id, "--interval", "1h")
    started = program("schedules", "run", schedule_id)
    assert started.status == 0
    assert started.out.startswith(f"Run {schedule_id}@")
    run = wait_until_sync(
        lambda: next(
            (run for run in program.json("schedules", "runs", schedule_id)["items"] if run["status"] == "succeeded"),
            None,
        ),
        "the run to succeed",
    )
    assert run["reason"] == "run_now"
    table = program("schedules", "runs", schedule_id)
    assert f"{run['run_id']}  run_now  succeeded" in table.out


def test_a_stop_says_what_still_runs_and_cancels_it_when_told(program: Program, schedule_id: str) -> None:
    run_id = add_running(program, schedule_id)
    refused = program("schedules", "run", schedule_id)
    assert refused.status == 4
    assert run_id in refused.err
    stopped = program("schedules", "rm", schedule_id)
    assert stopped.out == f"{schedule_id} is stopped and removed.\nStill runs, to its end: {run_id}\n"

    other = f"{schedule_id}-other"
    other_run = add_running(program, other)
    cancelled = program("schedules", "rm", other, "--cancel-running")
    assert cancelled.out == f"{other} is stopped and removed.\nTold to end: {other_run}\n"


def test_what_was_due_is_run_later(program: Program, schedule_id: str) -> None:
    add(program, schedule_id, "--interval", "1s", "--start", "2026-01-01T00:00:00Z")
    found = program(
        "schedules", "backfill", schedule_id, "--since", "2026-01-01T00:00:01Z", "--until", "2026-01-01T00:00:03Z"
    )
    assert found.status == 0
    assert found.out.startswith("3 runs are queued:\n  ")
    refused = program("schedules", "backfill", schedule_id, "--since", "2026-01-01T00:00:00Z")
    assert refused.status == 4
    assert "fires lie in that time" in refused.err
    program("schedules", "rm", schedule_id)


def test_lists_are_read_page_by_page(program: Program, schedule_id: str) -> None:
    ids = sorted(f"{schedule_id}-{number}" for number in range(5))
    for each in ids:
        add(program, each, "--interval", "1h")
    every = [item["id"] for item in program.json("schedules", "list", "--name", "Greet")["items"]]
    assert [each for each in every if each in ids] == ids
    cut = program.json("schedules", "list", "--name", "Greet", "--limit", "2")
    assert len(cut["items"]) == 2
    assert cut["next_cursor"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["Greet", "--interval", "1h"], "label: Field required"),
        (["Greet", "--interval", "1h", "--data", '{"label": "a", "lable": 1}'], "lable"),
        (["Great", "--interval", "1h"], "Great"),
        (["Greet", "--interval", "0", "--data", '{"label": "a"}'], "greater than or equal to 0.01"),
        (["Greet", "--interval", "900d", "--data", '{"label": "a"}'], "less than or equal to"),
        (["Greet", "--cron", "0 0 30 2 *", "--data", '{"label": "a"}'], "never"),
        (["Greet", "--cron", "0 0 * * *", "--timezone", "Mars/Base", "--data", '{"label": "a"}'], "Mars/Base"),
        (["Greet", "--interval", "1h", "--data", '{"label": "a"}', "--overlap", "maybe"], "overlap"),
        (["Greet", "--interval", "1h", "--data", '{"label": "a"}', "--id", "no/good"], "id"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_in_words(program: Program, args: list[str], said: str) -> None:
    found = program("schedules", "add", *args)
    assert (found.status, found.out) == (4, "")
    assert found.err.startswith("Error: ")
    assert said in found.err
    assert len(found.err.splitlines()) <= 3


def test_the_installed_command_talks_to_it(program: Program, schedule_id: str) -> None:
    add(program, schedule_id, "--interval", "1h")
    env = {"ROUNDSMAN_URL": program.url}
    assert call("schedules", "show", schedule_id, "--json", env=env).json["id"] == schedule_id
    gone = call("schedules", "show", f"{schedule_id}-not", "--json", env=env)
    assert (gone.status, gone.out) == (3, "")
    assert gone.problem["type"] == "urn:roundsman:problem:schedule-not-found"
    assert call("health", "--json", env={"ROUNDSMAN_URL": "http://127.0.0.1:9"}).status == 5


def test_the_installed_command_starts_light() -> None:
    found = call("--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert found.status == 0
    assert "Exit statuses:" in found.out
    loaded = {line.rpartition("|")[2].strip() for line in found.err.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"httpx2", "rich", "fastapi", "redis", "apscheduler", "dependency_injector", "pydantic"}


def test_check_tells_a_wrong_setting_without_a_traceback(tmp_path: Path) -> None:
    good = call("check", "--data-dir", str(tmp_path))
    assert (good.status, good.err) == (0, "")
    bad = call("check", env={"ROUNDSMAN_SERVER__PROT": "1"})
    assert (bad.status, bad.out) == (1, "")
    assert bad.err.startswith("Error: The settings are not valid:")
    assert "ROUNDSMAN_SERVER__PROT" in bad.err
    assert "Traceback" not in bad.err


def test_keys_decide_who_may_do_what(valkey: EmbeddedValkey, tmp_path: Path, namespace: str) -> None:
    with Program(tmp_path, valkey.url, namespace, KEYS) as program:
        nobody = program("schedules", "list")
        assert nobody.status == 4
        assert nobody.err.endswith("\nSet ROUNDSMAN_API_KEY.\n")
        stranger = program("schedules", "list", key="guessed")
        assert stranger.status == 4
        assert stranger.err.endswith("\nSet ROUNDSMAN_API_KEY to another key.\n")
        assert "guessed" not in stranger.err
        assert program("schedules", "list", key=KEYS["viewer"]).status == 0
        command = ["schedules", "add", "Greet", "--id", "k", "--data", '{"label": "a"}', "--interval", "1h"]
        viewer = program(*command, key=KEYS["viewer"])
        assert viewer.status == 4
        assert "viewer" in viewer.err
        assert program(*command, key=KEYS["operator"]).status == 0
        assert program("health").status == 0


def test_without_its_store_it_is_not_ready_and_refuses(
    fresh_valkey: Callable[[], EmbeddedValkey], tmp_path: Path, namespace: str
) -> None:
    server = fresh_valkey()
    hurries = {"ROUNDSMAN_BACKGROUND_JOBS__LEASE_S": "1"}
    with Program(tmp_path, server.url, namespace, **hurries) as program:
        assert program("health").status == 0
        program.statuses = (0, RUNS_LEFT)  # it may be looking at its worker just now
        server.close()
        health = wait_until_sync(
            lambda: found if (found := program("health")).status else None, "health to see that the store is gone"
        )
        assert health.status == 5
        assert health.out.startswith("Not ready: down")
        refused = program("schedules", "list")
        assert (refused.status, refused.out) == (5, "")
        assert refused.err.startswith("Error: The store did not answer")
