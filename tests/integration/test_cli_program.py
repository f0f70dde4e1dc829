"""The command line against the real program, over a real store."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli_program import Program, call
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
    assert any(line.split()[:5] == [schedule_id, "Greet", "every", "1", "h"] for line in listed.out.splitlines())

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
    assert "0 2 * * 1-5 (Europe/Brussels)" in listed.out


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


class TestWorkers:
    """A worker from its registration to its removal."""

    def test_it_is_registered_watched_seen_and_removed(self, program: Program) -> None:
        worker_id = f"w-{uuid.uuid4().hex[:10]}"
        made = program("workers", "add", "Build box", "--provider", "local", "--id", worker_id, "--label", "team=web")
        assert (made.status, made.err) == (0, "")
        assert made.out == f"Registered {worker_id}. Watch it: roundsman workers monitor {worker_id}\n"
        twice = program("workers", "add", "Build box", "--provider", "local", "--id", worker_id)
        assert twice.status == 4
        assert twice.err.startswith(f"Error: There is a worker '{worker_id}' already.")
        assert program.json("workers", "show", worker_id)["labels"] == {"team": "web"}

        assert program("workers", "stop", worker_id).status == 3
        first = program("workers", "monitor", worker_id, "--interval", "1h")
        assert first.out.startswith(f"Watching {worker_id}: every 1 h. Next look: 20")
        again = program("workers", "monitor", worker_id, "--cron", "*/5 * * * *", "--timezone", "Europe/Brussels")
        assert again.out.startswith(f"Still watching {worker_id}: */5 * * * * (Europe/Brussels). Next look: 20")
        assert program.json("schedules", "show", f"worker-metrics-{worker_id}")["trigger"]["cron"] == "*/5 * * * *"

        sample = wait_until_sync(
            lambda: program.json("workers", "show", worker_id)["last_sample"], "a first look beside the rhythm"
        )
        assert sample["worker_id"] == worker_id
        listed = program("workers", "list")
        assert any(worker_id in line and "running" in line and "%" in line for line in listed.out.splitlines())
        shown = program("workers", "show", worker_id)
        assert "memory_limit_bytes" in shown.out
        assert "GiB" in shown.out
        assert program.json("workers", "metrics", worker_id)["items"][-1]["observed_at"] == sample["observed_at"]
        recent = program("workers", "metrics", worker_id, "--since", "10m")
        assert recent.out.splitlines()[0].startswith("OBSERVED")

        paused = program("workers", "monitor", worker_id, "--pause")
        assert "*/5 * * * * (Europe/Brussels), paused" in paused.out
        assert ", paused" not in program("workers", "monitor", worker_id, "--resume").out
        stopped = program("workers", "stop", worker_id)
        assert stopped.out == f"Monitoring of {worker_id} is stopped.\nNothing of it was running.\n"
        assert program("schedules", "show", f"worker-metrics-{worker_id}").status == 3

        assert program("workers", "rm", worker_id).out == f"Worker {worker_id} is removed.\n"
        for command in ("show", "rm", "monitor", "stop", "metrics"):
            gone = program("workers", command, worker_id)
            assert (gone.status, gone.out) == (3, "")
            assert gone.err.startswith(f"Error: There is no worker '{worker_id}'.")

    def test_samples_are_read_over_several_pages_from_a_time_on(self, program: Program) -> None:
        worker_id = f"w-{uuid.uuid4().hex[:10]}"
        program("workers", "add", "Box", "--provider", "local", "--id", worker_id)
        program("workers", "monitor", worker_id, "--interval", "50ms")
        wait_until_sync(
            lambda: len(program.json("workers", "metrics", worker_id, "--limit", "100")["items"]) > 4, "five samples"
        )
        program("workers", "stop", worker_id)
        every = [
            item["observed_at"] for item in program.json("workers", "metrics", worker_id, "--since", "1h")["items"]
        ]
        assert every == sorted(set(every))
        last = program.json("workers", "metrics", worker_id, "--limit", "2")["items"]
        assert [item["observed_at"] for item in last] == every[-2:]
        first = program.json("workers", "metrics", worker_id, "--since", "1h", "--limit", "2")
        assert [item["observed_at"] for item in first["items"]] == every[:2]
        assert first["next_cursor"]
        program("workers", "rm", worker_id)

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["Box", "--provider", "azure"], "'azure' is not supported"),
            (["Box", "--provider", "local", "--id", "no/good"], "body.id"),
            ([" ", "--provider", "local"], "body.name"),
            (["Box", "--provider", "local", "--label", "bad name=x"], "body.labels"),
        ],
    )
    def test_a_worker_that_cannot_be_is_refused_in_words(self, program: Program, args: list[str], said: str) -> None:
        found = program("workers", "add", *args)
        assert (found.status, found.out) == (4, "")
        assert said in found.err

    @pytest.mark.parametrize(
        "rhythm", [["--interval", "0"], ["--interval", "400d"], ["--cron", "0 0 30 2 *"], ["--cron", "no"]]
    )
    def test_a_rhythm_that_cannot_be_is_refused_in_words(self, program: Program, rhythm: list[str]) -> None:
        found = program("workers", "monitor", "local", *rhythm)
        assert (found.status, found.out) == (4, "")
        assert found.err.startswith("Error: ")

    def test_alerts_are_listed(self, program: Program) -> None:
        assert program("alerts", "list").status == 0
        assert program.json("alerts", "list", "--state", "firing", "--worker", "nobody")["items"] == []
        wrong = program("alerts", "list", "--state", "burning")
        assert wrong.status == 4
        assert "query.state" in wrong.err


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
    with Program(tmp_path, server.url, namespace) as program:
        assert program("health").status == 0
        server.close()
        health = wait_until_sync(
            lambda: found if (found := program("health")).status else None, "health to see that the store is gone"
        )
        assert health.status == 5
        assert health.out.startswith("Not ready: down")
        refused = program("schedules", "list")
        assert (refused.status, refused.out) == (5, "")
        assert refused.err.startswith("Error: The store did not answer")
