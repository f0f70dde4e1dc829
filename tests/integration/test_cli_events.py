"""``roundsman events``: live, filtered, resumed after cuts, and ended cleanly."""

import json
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli_program import EXECUTABLE, Program
from cli_support import Reply, environment, problem, roundsman, scripted
from infrastructure.cli import live
from infrastructure.cli.errors import INTERRUPTED
from infrastructure.redis.embedded import EmbeddedValkey
from support import wait_until_sync


@pytest.fixture(scope="module")
def program(valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    often = {"ROUNDSMAN_MONITORING__INTERVAL_S": "1"}
    with Program(tmp_path_factory.mktemp("program"), valkey.url, f"cli{uuid.uuid4().hex[:8]}", **often) as started:
        yield started


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(live, "LONGEST_DELAY_S", 0.02)


class Following:
    """``roundsman events`` in a process of its own, with its lines in a file."""

    def __init__(self, program: Program, directory: Path, *args: str) -> None:
        self._out, self._err = directory / "out", directory / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [EXECUTABLE, "events", *args],
                env=environment(program.url),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def __enter__(self) -> "Following":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def lines(self) -> list[str]:
        return self._out.read_text().splitlines()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return self.process.wait(30)


def add(program: Program, schedule_id: str, *more: str) -> None:
    found = program("schedules", "add", "Greet", "--id", schedule_id, "--data", '{"label": "a"}', *more)
    assert found.status == 0, found.err


def message(cursor: str, topic: str = "", data: Any = None) -> str:
    lines = [f"id: {cursor}", *([f"event: {topic}"] if topic else []), *([f"data: {json.dumps(data)}"] if data else [])]
    return "\n".join(lines) + "\n\n"


def event(number: int, topic: str = "job.succeeded", **data: Any) -> dict[str, Any]:
    return {"id": f"job-{number}-0", "topic": topic, "time": "2026-11-22T08:00:05Z", "source": "i", "data": data}


def stream(*messages: str) -> Reply:
    return Reply("".join(messages), type="text/event-stream")


def test_what_concerns_a_job_is_followed_live_until_ctrl_c(program: Program, tmp_path: Path) -> None:
    mine, other = (f"s-{uuid.uuid4().hex[:8]}" for _ in range(2))
    with Following(program, tmp_path, "job.*", "schedule.created", "--job", mine, "--json") as following:
        # Nobody tells when the first connection stands: what happens until then is not followed.
        wait_until_sync(lambda: _touch(program, mine, other) or following.lines, "the first event")
        run_id = program.json("schedules", "run", mine)["run_id"]
        wait_until_sync(lambda: f'"{run_id}"' in "".join(following.lines) and "job.succeeded" in following.lines[-1])
        assert following.end() == INTERRUPTED
        found = [json.loads(line) for line in following.lines]
        assert {name for one in found for name in (one["data"].get("job_id"), one["data"].get("id")) if name} == {mine}
        assert all(one["cursor"] for one in found)
        assert following.err == ""


def _touch(program: Program, *ids: str) -> None:
    for schedule_id in ids:
        add(program, schedule_id, "--interval", "1h")
        program("schedules", "run", schedule_id)


def test_it_begins_behind_a_place_and_ends_after_so_many(program: Program) -> None:
    before = roundsman("events", "worker.metrics.collected", "--limit", "1", "--json", url=program.url).json["cursor"]
    assert before.startswith("worker:")
    found = program("events", "worker.*", "--after", before, "--limit", "2")
    assert found.status == 0
    assert len(found.out.splitlines()) == 2
    assert all("worker." in line for line in found.out.splitlines())


def test_after_a_cut_it_goes_on_where_it_was(at_once: None) -> None:
    replies = (
        stream(message("c0"), message("c1", "job.succeeded", event(1, run_id="r1"))),
        problem(503, "the store is away"),
        stream(message("c1"), message("c2", "job.failed", event(2, "job.failed", run_id="r2", error="no"))),
    )
    with scripted(*replies) as server:
        found = roundsman("events", "--limit", "2", url=server.url)
    assert found.status == 0
    assert [line.split()[1:3] for line in found.out.splitlines()] == [["job.succeeded", "r1"], ["job.failed", "r2"]]
    assert [request.headers.get("Last-Event-ID") for request in server.requests] == [None, "c1", "c1"]
    assert found.err.splitlines() == [
        "Cut off: the stream ended. Trying again, from where it was.",
        "Connected again.",
    ]


def test_a_gap_is_told_in_both_forms(at_once: None) -> None:
    body = (message("c0"), message("c5", "gap", {"reason": "trimmed"}), message("c6", "job.lost", event(6, "job.lost")))
    with scripted(stream(*body)) as server:
        plain = roundsman("events", "--limit", "1", url=server.url)
        lines = roundsman("events", "--limit", "1", "--json", url=server.url).out.splitlines()
    assert plain.out.splitlines()[0].split(maxsplit=2)[1:] == ["gap", "trimmed"]
    assert json.loads(lines[0]) == {"topic": "gap", "reason": "trimmed", "cursor": "c5"}
    assert json.loads(lines[1])["topic"] == "job.lost"


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (problem(422, "no such topic"), 4),
        (problem(401, "who are you"), 4),
        (problem(503, "away"), 5),
        (Reply("<html>", type="text/html"), 1),
        (Reply({}), 1),
    ],
)
def test_a_first_connection_that_fails_ends_it(reply: Reply, status: int) -> None:
    with scripted(reply) as server:
        found = roundsman("events", url=server.url)
    assert (found.status, found.out) == (status, "")
    assert found.err.startswith("Error: ")


def test_a_refusal_later_on_ends_it_too(at_once: None) -> None:
    with scripted(stream(message("c0")), problem(401, "the key was taken away")) as server:
        found = roundsman("events", "--json", url=server.url)
    assert found.status == 4
    assert "the key was taken away" in found.err


def test_nobody_there_is_told_and_not_waited_for() -> None:
    assert roundsman("events", url="http://127.0.0.1:1").status == 5


def test_what_is_no_event_does_no_harm(at_once: None) -> None:
    odd = "id: c1\nevent: job.odd\ndata: [1\n\n" + "id: c2\nevent: job.odd\ndata: [1, 2]\n\n"
    hostile = message("c3", "job.failed", event(3, "job.failed", run_id="r\x1b[31m", error="\x1b]0;x\x07" * 100))
    with scripted(stream(message("c0"), odd, hostile)) as server:
        found = roundsman("events", "--limit", "3", url=server.url)
    assert found.status == 0
    assert "\x1b" not in found.out
    assert len(found.out.splitlines()) == 3


def test_a_reader_that_goes_away_ends_it(program: Program) -> None:
    with subprocess.Popen(
        [EXECUTABLE, "events"], env=environment(program.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 1
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_a_full_disk_is_told(program: Program) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("wb") as full:
        found = subprocess.run(
            [EXECUTABLE, "events"], env=environment(program.url), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert found.returncode == 1
    assert os.strerror(28).encode() in found.stderr
