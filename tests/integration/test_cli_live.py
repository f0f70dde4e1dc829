"""The audit, the list that is watched, and what a shell completes, by the real program."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from cli_program import EXECUTABLE, Program
from cli_support import Reply, environment, problem, roundsman, scripted
from infrastructure.cli import completion
from infrastructure.cli.errors import INTERRUPTED
from infrastructure.redis.embedded import EmbeddedValkey
from support import wait_until_sync


@pytest.fixture(scope="module")
def program(valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with Program(tmp_path_factory.mktemp("program"), valkey.url, f"cli{uuid.uuid4().hex[:8]}") as started:
        yield started


@pytest.fixture
def schedule_id() -> str:
    return f"s-{uuid.uuid4().hex[:10]}"


def add(program: Program, schedule_id: str) -> None:
    arguments = ["--id", schedule_id, "--data", '{"label": "a"}', "--interval", "1h"]
    assert program("schedules", "add", "Greet", *arguments).status == 0


def test_what_was_asked_for_is_found_by_target_action_and_person(program: Program, schedule_id: str) -> None:
    add(program, schedule_id)
    program("schedules", "pause", schedule_id, "--reason", "moving\x1b[31m")
    found = program("audit", "--target", schedule_id)
    assert found.status == 0
    title, paused, created = found.out.splitlines()
    assert title.split() == ["WHEN", "WHO", "ACTION", "TARGET", "WHAT"]
    assert "schedule.paused" in paused
    assert r"moving\x1b[31m" in paused
    assert created.rstrip().endswith("Greet")
    (entry,) = program.json("audit", "--target", schedule_id, "--action", "schedule.paused")["items"]
    assert (entry["via"], entry["actor"]) == ("cli", entry["client"])
    assert re.fullmatch(r"[^@]+@.+", entry["actor"])
    mine = program.json("audit", "--actor", entry["actor"], "--target", schedule_id, "--since", "1h")["items"]
    assert len(mine) == 2
    assert program.json("audit", "--target", schedule_id, "--limit", "1")["next_cursor"] is not None
    none = program("audit", "--target", "absent")
    assert (none.status, none.out) == (0, "")
    assert none.err.startswith("Nobody asked")


@pytest.mark.parametrize(
    ("args", "status"), [(["--action", "Paused"], 4), (["--since", "gestern"], 2), (["--limit", "0"], 2)]
)
def test_what_is_asked_wrongly_is_refused(program: Program, args: list[str], status: int) -> None:
    found = program("audit", *args)
    assert (found.status, found.out) == (status, "")
    assert found.err.startswith("Error: ")


class Watching:
    """``schedules list --watch`` in a process, its output in a pipe."""

    def __init__(self, program: Program, directory: Path, *args: str) -> None:
        self._out = directory / "out"
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [EXECUTABLE, "schedules", "list", "--watch", *args],
                env=environment(program.url),
                stdout=out,
                stderr=subprocess.PIPE,
            )

    def __enter__(self) -> "Watching":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def lines(self) -> list[str]:
        return self._out.read_text().splitlines()


def test_a_watched_list_in_a_pipe_is_a_line_a_change(program: Program, schedule_id: str, tmp_path: Path) -> None:
    add(program, schedule_id)
    with Watching(program, tmp_path, "--json", "--name", "Greet") as watching:

        def about() -> list[dict[str, Any]]:
            found = [json.loads(line) for line in watching.lines]
            return [one for one in found if one["schedule"]["id"] == schedule_id]

        wait_until_sync(about, "the schedule")
        program("schedules", "pause", schedule_id, "--reason", "moving")
        wait_until_sync(lambda: about()[-1]["schedule"]["status"] == "paused", "the pause")
        program("schedules", "rm", schedule_id)
        wait_until_sync(lambda: about()[-1]["change"] == "removed", "the removal")
        watching.process.send_signal(signal.SIGINT)
        assert watching.process.wait(30) == INTERRUPTED
        assert [one["change"] for one in about()] == ["new", "changed", "removed"]
        assert watching.process.stderr is not None
        assert watching.process.stderr.read() == b""


def test_a_watched_list_for_people_says_what_changed(program: Program, schedule_id: str, tmp_path: Path) -> None:
    add(program, schedule_id)
    with Watching(program, tmp_path, "--name", "Greet") as watching:
        wait_until_sync(lambda: schedule_id in "".join(watching.lines), "the schedule")
        program("schedules", "pause", schedule_id)
        wait_until_sync(lambda: "paused by" in watching.lines[-1], "the pause")
        assert not any("\x1b" in line for line in watching.lines)


def test_a_watched_list_on_a_terminal_is_drawn_anew(program: Program, schedule_id: str) -> None:
    add(program, schedule_id)
    ours, theirs = pty.openpty()
    env = {**environment(program.url), "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(
        [EXECUTABLE, "schedules", "list", "--watch"], env=env, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            seen = _read(ours, lambda text: text.count("\x1b[2J") >= 2 and schedule_id in text)
            assert "NEXT FIRE" in seen
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == INTERRUPTED
        finally:
            process.kill()
            os.close(ours)


def _read(descriptor: int, is_enough: Any) -> str:
    text, end = "", time.monotonic() + 30
    while not is_enough(text):
        assert time.monotonic() < end, text
        if select.select([descriptor], [], [], 0.1)[0]:
            text += os.read(descriptor, 65536).decode(errors="replace")
    return text


def test_a_watched_list_outlives_a_server_that_is_away_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.cli.schedule_watch.EVERY_S", 0.01)
    page = {"items": [{"id": "s1", "status": "active"}], "next_cursor": None}
    changed = {"items": [{"id": "s1", "status": "paused"}], "next_cursor": None}
    with scripted(
        Reply(page), problem(503, "away"), problem(503, "away"), Reply(changed), problem(401, "no key")
    ) as server:
        found = roundsman("schedules", "list", "--watch", "--json", url=server.url)
    assert found.status == 4
    assert [json.loads(line)["change"] for line in found.out.splitlines()] == ["new", "changed"]
    assert found.err.count("Looking again") == 1


def words(shell: str, line: str, url: str, **more: str) -> list[str]:
    """Return what a shell would be offered for the last word of a line."""
    given = line.split(" ")
    env = {
        "_ROUNDSMAN_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(given) - 1),
        "_TYPER_COMPLETE_ARGS": line,
    }
    found = subprocess.run(
        [EXECUTABLE], env=environment(url, {**env, **more}), capture_output=True, text=True, check=False, timeout=60
    )
    assert found.stderr == ""
    return found.stdout.split()


def test_commands_options_and_ids_are_completed(program: Program, schedule_id: str) -> None:
    add(program, schedule_id)
    assert {"schedules"} == set(words("bash", "roundsman sched", program.url))
    assert {"doctor", "events", "audit"} <= set(words("bash", "roundsman ", program.url))
    assert words("bash", f"roundsman schedules show {schedule_id[:6]}", program.url) == [schedule_id]
    assert words("bash", f"roundsman schedules pause {schedule_id}", program.url) == [schedule_id]
    assert words("bash", "roundsman schedules show absent", program.url) == []
    assert "job.failed" in words("bash", "roundsman events job.", program.url)
    assert "local" in words("bash", "roundsman workers show ", program.url)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_completed_too(program: Program, schedule_id: str, shell: str) -> None:
    add(program, schedule_id)
    action = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert schedule_id in " ".join(words(shell, f"roundsman schedules show {schedule_id[:6]}", program.url, **action))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "ftp://x"])
def test_a_server_that_is_away_completes_nothing_and_says_nothing(url: str) -> None:
    assert words("bash", "roundsman schedules show s", url) == []


def test_a_server_that_hangs_or_answers_nonsense_completes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.15)

    monkeypatch.setattr(completion, "PATIENCE_S", 0.05)
    odd = (
        Reply({"items": [{"no": "id"}]}),
        Reply({"items": 5}),
        Reply([]),
        Reply("<html>", type="text/html"),
        problem(401, "key"),
        hang,
    )
    for reply in odd:
        with scripted(reply) as server:
            env = {
                "_ROUNDSMAN_COMPLETE": "complete_bash",
                "COMP_WORDS": "roundsman schedules show s",
                "COMP_CWORD": "3",
            }
            found = roundsman(url=server.url, env=env)
        assert (found.status, found.out.strip(), found.err) == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_it_can_read(shell: str, tmp_path: Path) -> None:
    found = roundsman("completion", shell)
    assert found.status == 0
    assert "_ROUNDSMAN_COMPLETE" in found.out
    if shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(found.out)
        subprocess.run([shell, "-n", str(script)], check=True)
    assert roundsman("completion", "tcsh").status == 2
