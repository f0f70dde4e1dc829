"""What end to end tests of alerts need: a receiver that can be away, and programs whose metrics a test sets."""

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from distributed.program_kit import Roundsman
from external_server import free_port
from infrastructure.monitoring.channels.signing import key_of, signature

SECRET = "a-secret-of-twenty-four-bytes-or-more"
MODULES = Path(__file__).with_name("providers")
SRC = Path(__file__).resolve().parents[2] / "src"


@dataclass(frozen=True)
class Got:
    """One POST that came, with what it said of each alert."""

    key: str
    alerts: tuple[dict[str, Any], ...]


@dataclass
class Receiver:
    """An HTTP server on a port of its own. While it is down, nobody listens there."""

    port: int = field(default_factory=free_port)
    got: list[Got] = field(default_factory=list)
    badly_signed: list[str] = field(default_factory=list)
    before_answer: Callable[[], None] | None = None
    """Done once, when the next POST has come and is not yet answered."""
    _server: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it is, or will be."""
        return f"http://127.0.0.1:{self.port}/alerts"

    def up(self) -> "Receiver":
        """Listen."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(self.headers, body)
                meanwhile, receiver.before_answer = receiver.before_answer, None
                if meanwhile is not None:
                    meanwhile()
                with suppress(OSError):  # who asked may be dead by now
                    self.send_response(204)
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def down(self) -> None:
        """Listen no more."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def take(self, headers: Any, body: bytes) -> None:
        """Keep what came, and whether it was signed as it must be."""
        said, key = json.loads(body), headers["webhook-id"]
        if headers["webhook-signature"] != signature(key_of(SECRET), key, int(headers["webhook-timestamp"]), body):
            self.badly_signed.append(key)
        self.got.append(Got(key, tuple(said["alerts"])))

    def told(self, worker_id: str) -> list[str]:
        """Return the kinds that it was told of a worker, each notification once, in the order of their first coming."""
        first = {one["key"]: one["kind"] for got in self.got for one in got.alerts if one["worker_id"] == worker_id}
        return list(first.values())

    def twice(self) -> list[str]:
        """Return the keys of notifications that came more than once."""
        times = Counter(one["key"] for got in self.got for one in got.alerts)
        return [key for key, count in times.items() if count > 1]

    def __enter__(self) -> "Receiver":
        return self.up()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()


class Dials:
    """The file that ``DialProvider`` reads."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "dials.json"
        self._values: dict[str, dict[str, float]] = {}

    def turn(self, worker_ids: Sequence[str], **metrics: float) -> None:
        """Let these workers show these metrics from the next look on; written in one step."""
        self._values |= dict.fromkeys(worker_ids, metrics)
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(self._values))
        fresh.replace(self.file)


def program(directory: Path, receiver: Receiver, rules: list[dict[str, Any]], **environ: str) -> Roundsman:
    """Return a program, not started, that alerts ``receiver`` and nobody else, and has the providers of these tests."""
    directory.mkdir(exist_ok=True)
    channel = {"name": "hook", "type": "webhook", "url": receiver.url, "secret": SECRET, "timeout_s": 5}
    return Roundsman(
        directory,
        PYTHONPATH=os.pathsep.join([str(MODULES), str(SRC)]),
        ROUNDSMAN_MONITORING__PROVIDERS=json.dumps(["dials:DialProvider", "dials:BurnerProvider"]),
        ROUNDSMAN_MONITORING__LOCAL_WORKER="false",
        ROUNDSMAN_ALERTS__RULES=json.dumps(rules),
        ROUNDSMAN_ALERTS__CHANNELS=json.dumps([channel]),
        **environ,
    )


def watch(running: Roundsman, worker_ids: Sequence[str], provider: str, interval_s: float = 0.2) -> None:
    """Register workers and start their monitoring in one call."""
    for worker_id in worker_ids:
        running.call("POST", "/workers", 201, {"id": worker_id, "name": worker_id, "provider": provider})
    asked = {"worker_ids": list(worker_ids), "interval_s": interval_s}
    answer = running.call("PUT", "/monitoring", 200, asked)
    assert answer["created"] == len(worker_ids), answer
