"""Send spans from a thread of its own: bounded in memory and in time, and silent about an endpoint that is away."""

import asyncio
import logging
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = logging.getLogger(__name__)

EVERY_S = 1.0
BATCH = 512
MOST_WAITING = 8_192
"""Spans kept while the endpoint is slow or away, about a kilobyte each; more are dropped and counted."""
FLUSH_S = 4.0
"""How long a stop waits for the last spans."""
CHATTER = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.http.transport._requests",
    "urllib3.connectionpool",
)
"""Loggers of the exporter, which would tell of each batch that an endpoint did not take."""


@dataclass
class SpanCounts:
    """What became of spans. Each only grows."""

    exported: int = 0
    failed: int = 0
    dropped: int = 0


class SpanExport(SpanProcessor):
    """Hand ended spans to ``exporter``, in batches. The endpoint's absence is told once when it begins and once when
    it ends; what it did not take is counted and gone."""

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._waiting: deque[ReadableSpan] = deque()
        self._wanted = threading.Event()
        self._deadline: float | None = None
        self._thread: threading.Thread | None = None
        self._down = False
        self._quiet = _Quiet()
        self._counts = SpanCounts()

    def counts(self) -> dict[str, int]:
        """Return how many spans met which end."""
        return asdict(self._counts)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: spans are sent when they have ended."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span; any thread."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._counts.dropped += 1
            return
        self._waiting.append(span)
        if len(self._waiting) >= BATCH:
            self._wanted.set()

    def start(self) -> None:
        """Begin to send; a second start does nothing."""
        if self._thread is None:
            self._deadline = None
            self._thread = threading.Thread(target=self._work, name="spans", daemon=True)
            for name in CHATTER:
                logging.getLogger(name).addFilter(self._quiet)
            self._thread.start()

    async def stop(self) -> None:
        """Send what is left, for ``FLUSH_S`` seconds at most, and end; twice is fine."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._deadline = time.monotonic() + FLUSH_S
        self._wanted.set()
        await asyncio.to_thread(thread.join, FLUSH_S)
        self._drop_waiting()
        if thread.is_alive():
            log.warning("the OTLP endpoint %s is slow: the last spans are given up", self._endpoint)
        for name in CHATTER:
            logging.getLogger(name).removeFilter(self._quiet)

    def _work(self) -> None:
        self._quiet.thread_id = threading.get_ident()
        while self._deadline is None:
            self._wanted.wait(EVERY_S)
            self._wanted.clear()
            self._send_waiting()
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and (self._deadline is None or time.monotonic() < self._deadline):
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if not self._send(batch):
                break  # the rest waits for the next time, or is dropped by a stop

    def _send(self, batch: list[ReadableSpan]) -> bool:
        self._quiet.said = ""
        try:
            done = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001 - told below; spans are worth no failure
            done, self._quiet.said = False, f"{type(error).__name__}: {error}"
        if done:
            self._counts.exported += len(batch)
        else:
            self._counts.failed += len(batch)
        if not done and not self._down:
            log.warning("spans cannot be sent to %s and are dropped until they can: %s", self._endpoint, self._why())
        elif done and self._down:
            log.info("spans are sent to %s again", self._endpoint)
        self._down = not done
        return done

    def _why(self) -> str:
        return self._quiet.said or "the exporter does not say why"

    def _drop_waiting(self) -> None:
        self._counts.dropped += len(self._waiting)
        self._waiting.clear()


class _Quiet(logging.Filter):
    """Keep what the exporter says in our own thread from the log, and remember its last word."""

    def __init__(self) -> None:
        super().__init__()
        self.thread_id: int | None = None
        self.said = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether somebody else says this."""
        if record.thread != self.thread_id:
            return True
        self.said = record.getMessage()
        return False
