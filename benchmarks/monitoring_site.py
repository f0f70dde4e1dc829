"""What the program under measurement meets: the stand-in for AWS as a process, and a receiver of webhooks."""

import asyncio
import json
import os
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import psutil

from benchmarks.peers import ROOT

CONTROL_TIMEOUT_S = 60.0


class AwsProcess:
    """The strict stand-in of the tests (``tests/aws_fake``), in a process of its own."""

    async def __aenter__(self) -> "AwsProcess":
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "aws_fake", "--port", "0"),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert self._process.stdout is not None
        self.url = (await self._process.stdout.readline()).decode().strip()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()

    async def control(self, what: str, **facts: Any) -> dict[str, Any]:
        """Set or show something of its state; see ``AwsFake.control``."""
        request = urllib.request.Request(f"{self.url}/fake/{what}", json.dumps(facts).encode())  # noqa: S310 - http

        def ask() -> dict[str, Any]:
            with urllib.request.urlopen(request, timeout=CONTROL_TIMEOUT_S) as answer:  # noqa: S310 - http
                found: dict[str, Any] = json.loads(answer.read())
                return found

        return await asyncio.to_thread(ask)

    async def calls(self) -> dict[str, int]:
        """Return how often each action was asked, in all regions."""
        counts: dict[str, int] = {}
        for call, times in (await self.control("calls"))["calls"].items():
            action = call.rpartition(" ")[2]
            counts[action] = counts.get(action, 0) + times
        return counts

    def cpu_s(self) -> float:
        """Return its processor time."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)


class Receiver:
    """Take webhooks, each in a thread, and note when: on a loopback port."""

    def __init__(self) -> None:
        self.received: list[tuple[float, bytes]] = []
        """Unix seconds, body."""

    def __enter__(self) -> "Receiver":
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((time.time(), body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = (
                128  # of 5, the library's default, sixteen connections at once overflow: 1 s to the next try
            )

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def told(self, kind: str) -> dict[str, float]:
        """Return worker -> when the first message of a kind about it came."""
        first: dict[str, float] = {}
        for at, body in list(self.received):
            for alert in json.loads(body)["alerts"]:
                if alert["kind"] == kind:
                    first.setdefault(alert["worker_id"], at)
        return first
