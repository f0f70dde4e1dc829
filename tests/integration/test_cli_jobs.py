"""Jobs on the command line, against the real program over a real store."""

import json
import uuid
from collections.abc import Iterator

import pytest

from cli_program import Program
from cli_support import Reply, roundsman, scripted
from infrastructure.redis.embedded import EmbeddedValkey
from support import wait_until_sync


@pytest.fixture(scope="module")
def program(valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One program for all tests of this file; each uses a team of its own."""
    with Program(tmp_path_factory.mktemp("program"), valkey.url, f"cli{uuid.uuid4().hex[:8]}") as started:
        yield started


@pytest.fixture
def team() -> str:
    """A team that no other test has."""
    return f"t-{uuid.uuid4().hex[:10]}"


def submitted(program: Program, team: str, params: str = "{}", *more: str) -> str:
    return str(program.json("jobs", "submit", "Copy", "--params", params, "--team", team, *more)["id"])


def is_at(program: Program, job_id: str, status: str) -> bool:
    return bool(program.json("jobs", "status", job_id)["status"] == status)


def test_a_job_is_submitted_watched_and_shown(program: Program, team: str) -> None:
    made = program("jobs", "submit", "Copy", "--params", '{"files": 4}', "--team", team, "--key", team)
    assert (made.status, made.err) == (0, "")
    job_id = made.out.split()[1]
    assert made.out == f"Job {job_id} is accepted. Follow it: roundsman jobs watch {job_id}\n"
    watched = program("jobs", "watch", job_id)
    assert watched.status == 0
    assert watched.out.splitlines()[-1].startswith(f"{job_id} succeeded")
    again = program("jobs", "submit", "Copy", "--params", '{"files": 4}', "--team", team, "--key", team)
    assert again.out.startswith(f"It is there already: {job_id}, succeeded")
    shown = program("jobs", "status", job_id)
    assert '{"files": 4' in shown.out
    assert "100 %" in shown.out
    assert json.loads(program("jobs", "result", job_id).out) == {"files": 4}
    listed = program("jobs", "list-jobs", "--team", team)
    assert [line.split()[:3] for line in listed.out.splitlines()[1:]] == [[job_id, "Copy", "succeeded"]]


def test_a_job_that_fails_ends_the_watch_with_1(program: Program, team: str) -> None:
    watched = program("jobs", "submit", "Copy", "--params", '{"fail": "the disk is full"}', "--watch", "--team", team)
    assert watched.status == 1
    assert watched.out.splitlines()[-1].endswith("ValueError: the disk is full")


def test_each_event_is_a_line_of_json(program: Program, team: str) -> None:
    job_id = submitted(program, team)
    wait_until_sync(lambda: is_at(program, job_id, "succeeded"), "the job to end")
    watched = program("jobs", "watch", job_id, "--json")
    lines = [json.loads(line) for line in watched.out.splitlines()]
    assert [line["event"] for line in lines] == ["job", "over"]
    assert lines[-1]["job"]["status"] == "succeeded"


def test_what_executes_is_active_and_can_be_cancelled(program: Program, team: str) -> None:
    job_id = submitted(program, team, '{"hold": true}')
    wait_until_sync(lambda: job_id in program("jobs", "active").out, "the job to run")
    wait_until_sync(lambda: "50 %" in program("jobs", "status", job_id).out, "its progress")
    assert "copying (1 of 2)" in program("jobs", "status", job_id).out
    cancelled = program("jobs", "cancel", job_id, "--reason", "wrong customer")
    assert (cancelled.status, cancelled.out) == (0, f"{job_id} is cancelled.\n")
    assert program("jobs", "cancel", job_id).status == 4
    assert program.json("jobs", "status", job_id)["error"] == "wrong customer"


def test_jobs_are_queued_again_by_name_or_by_filter(program: Program, team: str) -> None:
    later = ("--at", "2999-01-01T00:00:00Z")
    ids = [submitted(program, team, "{}", *later) for _ in range(3)]
    assert program("jobs", "retry", ids[0]).status == 4
    for job_id in ids:
        program("jobs", "cancel", job_id)
    assert program("jobs", "retry", ids[0]).out == f"{ids[0]} waits again.\n"
    again = program("jobs", "retry", "--status", "cancelled", "--team", team)
    assert (again.status, again.out) == (0, "2 jobs wait again.\n")
    for wrong in ([], [ids[0], "--status", "failed"], [ids[0], "--team", team]):
        assert program("jobs", "retry", *wrong).status == 2


def test_the_queues_are_counted(program: Program, team: str) -> None:
    submitted(program, team, "{}", "--queue", "enterprise")
    shown = program("jobs", "queue")
    assert shown.out.splitlines()[0].split()[:3] == ["QUEUE", "READY", "RUNNING"]
    assert any(line.startswith("enterprise") for line in shown.out.splitlines())
    assert program.json("jobs", "queue")["queue_stats"]["queues"].keys() >= {"enterprise"}


def test_how_jobs_fared_is_told_by_task_and_day(program: Program, team: str) -> None:
    job_id = submitted(program, team)
    wait_until_sync(lambda: is_at(program, job_id, "succeeded"), "the job to end")
    wait_until_sync(lambda: program.json("jobs", "stats", "--team", team)["all"]["total"] == 1, "the history")
    lines = program("jobs", "stats", "--team", team, "--days", "1").out.splitlines()
    assert lines[0].split()[:2] == ["OF", "TOTAL"]
    assert [line.split()[:3] for line in lines[1:3]] == [["all", "jobs", "1"], ["task", "Copy", "1"]]
    assert "100.0 %" in lines[1]


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        (["submit", "Kopy"], 4, "Did you mean Copy?"),
        (["submit", "Copy", "--params", '{"files": "many"}'], 4, "files"),
        (["submit", "Copy", "--queue", "gold"], 4, "there are free, pro, business, enterprise"),
        (["submit", "Copy", "--params", "nonsense"], 2, "it is not JSON"),
        (["status", "nobody"], 3, "There is no job 'nobody'"),
        (["watch", "nobody"], 3, "There is no job 'nobody'"),
        (["cancel", "nobody"], 3, "There is no job 'nobody'"),
        (["list-jobs", "--status", "done"], 4, "status"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(program: Program, args: list[str], status: int, says: str) -> None:
    found = program("jobs", *args)
    assert (found.status, found.out) == (status, "")
    assert says in found.err


def test_a_store_that_is_away_is_told() -> None:
    with scripted(Reply({"status": "down", "detail": "Connection refused", "queue_stats": None}, 503)) as server:
        found = roundsman("jobs", "queue", url=server.url)
        assert (found.status, found.out) == (5, "")
        assert "The store does not answer: Connection refused" in found.err
        assert roundsman("jobs", "queue", "--json", url=server.url).json["status"] == "down"


def test_a_list_goes_on_behind_a_page_without_a_hit() -> None:
    pages = [Reply({"items": [], "next_cursor": "0:a"}), Reply({"items": [{"id": "b"}], "next_cursor": None})]
    with scripted(*pages) as server:
        found = roundsman("jobs", "list-jobs", "--status", "running", "--json", url=server.url)
        assert [job["id"] for job in found.json["items"]] == ["b"]
        assert [request.path for request in server.requests] == [
            "/api/v1/jobs?status=running&limit=50",
            "/api/v1/jobs?status=running&limit=50&cursor=0%3Aa",
        ]
