"""A real OTLP receiver, over HTTP: it decodes the protobuf that a collector would."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Received:
    """One span as it arrived."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    status: int
    said: str
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    events: list[dict[str, Any]]
    resource: dict[str, Any] = field(default_factory=dict)


class Collector:
    """Listen on a loopback port; ``status`` is what each request is answered with."""

    def __init__(self) -> None:
        self.status = 200
        self.paths: list[str] = []
        self.spans: list[Received] = []
        self.hold = threading.Event()
        """Requests wait for it; set unless a test clears it."""
        self.hold.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.hold.wait(20)
                collector.paths.append(self.path)
                if collector.status == 200:
                    collector.spans.extend(spans_in(body))
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> "Collector":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hold.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def named(self, name: str) -> list[Received]:
        """Return the spans of a name, in the order in which they came."""
        return [span for span in list(self.spans) if span.name == name]


def spans_in(body: bytes) -> Iterator[Received]:
    """Yield the spans of one request."""
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    for of_resource in request.resource_spans:
        resource = values(of_resource.resource.attributes)
        for scope in of_resource.scope_spans:
            for span in scope.spans:
                yield Received(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=span.kind,
                    status=span.status.code,
                    said=span.status.message,
                    attributes=values(span.attributes),
                    links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                    events=[{"name": event.name, **values(event.attributes)} for event in span.events],
                    resource=resource,
                )


def values(attributes: Any) -> dict[str, Any]:
    """Return attributes as Python values."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
