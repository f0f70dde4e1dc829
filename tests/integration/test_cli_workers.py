"""Workers on the command line, against the real program over a real store."""

import uuid
from collections.abc import Iterator

import pytest

from cli_program import Program
from infrastructure.redis.embedded import EmbeddedValkey
from support import wait_until_sync


@pytest.fixture(scope="module")
def program(valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One program for all tests of this file; each uses ids of its own."""
    with Program(tmp_path_factory.mktemp("program"), valkey.url, f"cli{uuid.uuid4().hex[:8]}") as started:
        yield started


@pytest.fixture
def worker_id() -> str:
    """An id that no other test has."""
    return f"w-{uuid.uuid4().hex[:10]}"


def looked_at_once(program: Program, worker_id: str) -> bool:
    worker = program.json("workers", "show", worker_id)
    return worker["last_sample"] is not None and worker["monitoring"]["running"] == []


def test_it_is_registered_watched_and_seen(program: Program, worker_id: str) -> None:
    made = program("workers", "add", "Build box", "--provider", "local", "--id", worker_id, "--label", "team=web")
    assert (made.status, made.err) == (0, "")
    assert made.out == f"Registered {worker_id}. Watch it: roundsman workers monitor {worker_id}\n"
    twice = program("workers", "add", "Build box", "--provider", "local", "--id", worker_id)
    assert twice.status == 4
    assert twice.err.startswith(f"Error: There is a worker '{worker_id}' already.")
    assert program.json("workers", "show", worker_id)["labels"] == {"team": "web"}

    assert program("workers", "stop", worker_id).status == 3
    first = program("workers", "monitor", worker_id, "--interval", "1h")
    assert first.out.startswith(f"Watching {worker_id}: every hour. Next look: 20")
    again = program("workers", "monitor", worker_id, "--cron", "*/5 * * * *", "--timezone", "Europe/Brussels")
    assert again.out.startswith(f"Still watching {worker_id}: every 5 minutes, Europe/Brussels. Next look: 20")
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


def test_it_rests_and_goes_on_and_is_removed(program: Program, worker_id: str) -> None:
    program("workers", "add", "Box", "--provider", "local", "--id", worker_id)
    program("workers", "monitor", worker_id, "--cron", "*/5 * * * *", "--timezone", "Europe/Brussels")
    paused = program("workers", "monitor", worker_id, "--pause")
    assert "every 5 minutes, Europe/Brussels, paused" in paused.out
    assert ", paused" not in program("workers", "monitor", worker_id, "--resume").out
    wait_until_sync(lambda: looked_at_once(program, worker_id), "the first look to be over")
    stopped = program("workers", "stop", worker_id)
    assert stopped.out == f"Monitoring of {worker_id} is stopped.\nNothing of it was running.\n"
    assert program("schedules", "show", f"worker-metrics-{worker_id}").status == 3

    assert program("workers", "rm", worker_id).out == f"Worker {worker_id} is removed.\n"
    for command in ("show", "rm", "monitor", "stop", "metrics"):
        gone = program("workers", command, worker_id)
        assert (gone.status, gone.out) == (3, "")
        assert gone.err.startswith(f"Error: There is no worker '{worker_id}'.")


def test_samples_are_read_from_a_time_on_and_up_to_one(program: Program, worker_id: str) -> None:
    def observed(*options: str) -> list[str]:
        found = program.json("workers", "metrics", worker_id, *options)
        return [item["observed_at"] for item in found["items"]]

    program("workers", "add", "Box", "--provider", "local", "--id", worker_id)
    program("workers", "monitor", worker_id, "--interval", "50ms")
    seen = wait_until_sync(lambda: found if len(found := observed("--limit", "100")) > 4 else None, "five samples")
    until = ["--until", seen[4]]  # one more may be under way
    assert observed("--since", "1h", *until) == seen[:5] == sorted(set(seen[:5]))
    assert observed("--since", seen[1], *until) == seen[1:5]
    assert observed("--limit", "2", *until) == seen[3:5]
    assert observed("--since", "1h", "--limit", "2", *until) == seen[:2]
    assert program.json("workers", "metrics", worker_id, "--since", "1h", "--limit", "2", *until)["next_cursor"]
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
def test_a_worker_that_cannot_be_is_refused_in_words(program: Program, args: list[str], said: str) -> None:
    found = program("workers", "add", *args)
    assert (found.status, found.out) == (4, "")
    assert said in found.err


@pytest.mark.parametrize(
    "rhythm", [["--interval", "0"], ["--interval", "400d"], ["--cron", "0 0 30 2 *"], ["--cron", "no"]]
)
def test_a_rhythm_that_cannot_be_is_refused_in_words(program: Program, rhythm: list[str]) -> None:
    found = program("workers", "monitor", "local", *rhythm)
    assert (found.status, found.out) == (4, "")
    assert found.err.startswith("Error: ")


def test_alerts_are_listed(program: Program) -> None:
    assert program("alerts", "list").status == 0
    assert program.json("alerts", "list", "--state", "firing", "--worker", "nobody")["items"] == []
    wrong = program("alerts", "list", "--state", "burning")
    assert wrong.status == 4
    assert "query.state" in wrong.err


def test_many_are_watched_at_once(program: Program) -> None:
    ids = [f"m-{uuid.uuid4().hex[:10]}" for _ in range(3)]
    label = f"fleet={uuid.uuid4().hex[:8]}"
    for one in ids:
        program("workers", "add", "Box", "--provider", "local", "--id", one, "--label", label)
    first = program("workers", "monitor", "--label", label, "--interval", "1h")
    assert (first.status, first.err) == (0, "")
    assert first.out.splitlines()[-1] == "3 created, 0 changed, 0 unchanged, 0 failed."
    assert all(any(one in line and "every hour" in line for line in first.out.splitlines()) for one in ids)
    again = program.json("workers", "monitor", *ids, "--interval", "1h")
    assert (again["unchanged"], again["failed"]) == (3, 0)
    partly = program("workers", "monitor", ids[0], "nobody", "--pause")
    assert partly.status == 4
    assert "There is no worker 'nobody'" in partly.out
    assert partly.out.splitlines()[-1] == "0 created, 0 changed, 1 unchanged, 1 failed."
    for wrong in ([], ["--all", ids[0]], [ids[0], "--label", label]):
        refused = program("workers", "monitor", *wrong)
        assert (refused.status, refused.out) == (2, "")
        assert "which workers: give ids" in refused.err
