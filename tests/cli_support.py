"""The command line and a server for it to meet, for tests."""

import contextlib
import functools
import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock

import typer.main

from infrastructure.cli.app import create_cli

BOOT = "from infrastructure.cli.app import create_cli; create_cli(lambda **_: 0, lambda **_: 0)()"
"""What the entry point does, for a process of its own."""

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return stdout as JSON."""
        return json.loads(self.out)

    @property
    def problem(self) -> dict[str, Any]:
        """Return stderr, one line, as a JSON object."""
        (line,) = self.err.splitlines()
        found = json.loads(line)
        assert isinstance(found, dict)
        return found


def do_nothing(**_: Any) -> int:
    """Stand in for ``run`` and ``check`` where a test does not call them."""
    return 0


@functools.cache
def command_line(run: Callable[..., int], check: Callable[..., int]) -> Any:
    """Return the command that the entry point makes anew for each process: making it costs more than calling it."""
    return typer.main.get_command(create_cli(run, check))


def roundsman(
    *args: str,
    url: str | None = None,
    env: dict[str, str] | None = None,
    stdin: str = "",
    run: Callable[..., int] = do_nothing,
    check: Callable[..., int] = do_nothing,
) -> Outcome:
    """Run one command in this process, as the entry point would."""
    command = command_line(run, check)
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with (
        mock.patch.dict(os.environ, environment(url, env), clear=True),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            command.main(args=list(args), prog_name="roundsman")
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else 1
    return Outcome(status, _text(out), _text(err))


def environment(url: str | None = None, extra: dict[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without what would change a command, and with ``extra``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ROUNDSMAN_", "PYTHON")) and not name.lower().endswith("_proxy") and "COLOR" not in name
    }
    return {**kept, **({"ROUNDSMAN_URL": url} if url else {}), **(extra or {})}


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


@dataclass
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


@dataclass
class Reply:
    """One answer to give."""

    body: Any = field(default_factory=dict)
    status: int = 200
    type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        """Return the body as bytes; what is neither text nor bytes is sent as JSON."""
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


def problem(status: int, detail: str, **more: Any) -> Reply:
    """Return an error as the API tells it."""
    body = {"type": "urn:roundsman:problem:test", "title": "Test", "status": status, "detail": detail, **more}
    return Reply(body, status, PROBLEM)


class ScriptedServer:
    """A real HTTP server that gives the next of ``replies``, again and again the last, and keeps the requests."""

    def __init__(self) -> None:
        self.replies: list[Reply | Callable[[BaseHTTPRequestHandler], None]] = []
        self.requests: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def reply(self, *replies: Reply | Callable[[BaseHTTPRequestHandler], None]) -> "ScriptedServer":
        """Give these from now on."""
        self.replies = list(replies)
        return self

    def __enter__(self) -> "ScriptedServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle_one_request()

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                server.requests.append(Request(self.command, self.path, dict(self.headers.items()), body))
                reply = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
                if not isinstance(reply, Reply):
                    reply(self)
                    return
                self.send_response_only(reply.status)
                headers = {"Content-Type": reply.type, "Content-Length": str(len(reply.content)), **reply.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.content)

            do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815 - the names that http.server looks for

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        return Handler


@contextlib.contextmanager
def scripted(*replies: Reply | Callable[[BaseHTTPRequestHandler], None]) -> Iterator[ScriptedServer]:
    """Serve ``replies`` for the length of a test."""
    with ScriptedServer().reply(*replies) as server:
        yield server
