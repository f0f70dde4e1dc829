"""The command line as a process: pipes, terminals, encodings, and what it costs to start."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli_support import BOOT, Reply, environment, scripted

SOURCES = Path(__file__).parents[2] / "src"
MANY = Reply({"items": [{"id": f"w{number}", "name": "x" * 100} for number in range(2000)], "next_cursor": None})
FIRING = Reply({"items": [{"state": "firing", "summary": "97 %", "worker_name": "b\x1b[2Jx"}], "next_cursor": None})


def start(*args: str, url: str = "http://127.0.0.1:9", **options: object) -> "subprocess.Popen[bytes]":
    """Start one command; what is not given is piped."""
    extra = {"PYTHONPATH": str(SOURCES), "TERM": "xterm-256color", **options.pop("env", {})}  # type: ignore[dict-item]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-c", BOOT, *args], env=environment(url, extra), **streams)  # type: ignore[call-overload]


def on_a_terminal(*args: str, url: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run one command whose stdout is a terminal; return its status and what the terminal got."""
    ours, theirs = pty.openpty()
    with start(*args, url=url, stdout=theirs, env={"COLUMNS": "80", **(env or {})}) as process:
        os.close(theirs)
        chunks: list[bytes] = []
        while chunk := _read(ours):
            chunks.append(chunk)
        os.close(ours)
        process.communicate()
    return process.returncode, b"".join(chunks).decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_help_and_version_load_neither_http_nor_tables() -> None:
    for command in ("--help", "--version", "workers --help", "schedules add --help"):
        script = (
            f"import atexit, json, sys; sys.argv = ['roundsman', *{command.split()!r}]\n"
            "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n" + BOOT
        )
        found = subprocess.run(
            [sys.executable, "-c", script],
            env=environment(extra={"PYTHONPATH": str(SOURCES)}),
            capture_output=True,
            check=True,
        )
        loaded = {name.partition(".")[0] for name in json.loads(found.stderr)}
        assert "typer" in loaded
        assert not loaded & {"httpx2", "httpcore2", "rich", "fastapi", "redis", "apscheduler", "dependency_injector"}


@pytest.mark.parametrize("env", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_a_pipe_that_is_closed_early_is_silent(env: dict[str, str]) -> None:
    for flags in ([], ["--json"]):
        with scripted(MANY) as server, start("workers", "list", *flags, url=server.url, env=env) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(10)
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("reply", [MANY, Reply({"items": [{"id": "w1"}], "next_cursor": None})])
def test_a_full_disk_is_told_once(reply: Reply) -> None:
    with scripted(reply) as server, Path("/dev/full").open("wb") as full:
        process = start("workers", "list", url=server.url, stdout=full)
        _, err = process.communicate()
    assert process.returncode == 1
    assert err.startswith(b"Error: The output could not be written: No space left on device. Mend that")
    assert err.count(b"\n") == 1


def test_a_pipe_that_was_closed_before_anything_is_silent() -> None:
    with scripted(Reply({"items": [{"id": "w1"}], "next_cursor": None})) as server:
        reading, writing = os.pipe()
        os.close(reading)
        process = start("workers", "list", url=server.url, stdout=writing)
        os.close(writing)
        _, err = process.communicate()
    assert (process.returncode, err) == (1, b"")


def test_in_a_pipe_lines_are_whole_and_plain() -> None:
    with scripted(MANY) as server:
        out, err = start("workers", "list", url=server.url, env={"COLUMNS": "40"}).communicate()
    lines = out.decode().splitlines()
    assert len(lines) == 2001
    assert lines[1].split()[:2] == ["w0", "x" * 100]
    assert b"\x1b" not in out
    assert err == b""


def test_a_terminal_gets_colours_and_whole_words_but_no_foreign_codes() -> None:
    with scripted(FIRING) as server:
        status, out = on_a_terminal("alerts", "list", url=server.url)
    assert status == 0
    assert "\x1b[31mfiring" in out
    assert "b\\x1b[2Jx" in out
    assert "\x1b[2J" not in out


@pytest.mark.parametrize(("columns", "is_whole"), [("120", True), ("40", False)])
def test_on_a_terminal_ids_stay_whole_where_there_is_room(columns: str, is_whole: bool) -> None:
    worker = {"id": "build-eu-west-1-a", "name": "word " * 30}
    with scripted(Reply({"items": [worker], "next_cursor": None})) as server:
        status, out = on_a_terminal("workers", "list", url=server.url, env={"COLUMNS": columns})
    assert status == 0
    assert ("build-eu-west-1-a" in out) is is_whole
    assert max(len(line) for line in re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()) <= int(columns)


def test_no_color_is_heeded() -> None:
    with scripted(FIRING) as server:
        status, out = on_a_terminal("alerts", "list", url=server.url, env={"NO_COLOR": "1"})
    assert status == 0
    assert "firing" in out
    assert "\x1b[31m" not in out


def test_a_terminal_of_another_encoding_gets_what_it_can_show() -> None:
    odd = Reply({"items": [{"id": "w1", "name": "日本 é"}], "next_cursor": None})
    with scripted(odd) as server:
        process = start("workers", "list", url=server.url, env={"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"})
        out, err = process.communicate()
    assert process.returncode == 0
    assert "\\u65e5\\u672c é".encode("latin-1") in out
    assert err == b""


def test_an_interrupted_call_ends_quietly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with start("workers", "list", url=url) as process:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1)
                process.send_signal(signal.SIGINT)
                out, err = process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")
