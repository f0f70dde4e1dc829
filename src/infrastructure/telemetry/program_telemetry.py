"""What one program says about itself: put together here, from its settings."""

import importlib.util
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from application.hosting import HostedService
from application.runs.observer import RunObserver
from application.scheduling.tracing import SchedulingTrace
from domain.errors import RoundsmanError
from domain.runs.outcome import Outcome
from domain.runs.run import Claim
from infrastructure.container import RootContainer
from infrastructure.settings import Settings
from infrastructure.telemetry.addresses import split_address
from infrastructure.telemetry.following import FollowedTrace, follow
from infrastructure.telemetry.program_metrics import ProgramMetrics, Sources
from infrastructure.telemetry.run_context import enter_run
from infrastructure.telemetry.run_meter import RunMeter
from infrastructure.telemetry.skip_meter import SkipMeter

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

    from infrastructure.telemetry.tracing import RunSpans, Tracing
    from infrastructure.web.metrics_server import MetricsServer
    from infrastructure.web.services import Services

log = logging.getLogger(__name__)

UNTRACED_PATHS = ("/health/", "/metrics", "/docs", "/openapi.json", "/api/v1/events")
"""What is asked for all the time, or is never over."""


class SpansNotInstalled(RoundsmanError):
    """telemetry.otlp_endpoint is set, and what sends spans is not installed. Install it with
    'pip install roundsman[otlp]', or leave the setting empty."""

    status = 500


class ProgramTelemetry:
    """The meter, the context of logs and, where an endpoint is set, the spans of one program. A hosted service."""

    def __init__(self, settings: Settings) -> None:
        """Prepare, starting nothing; raises ``SpansNotInstalled``."""
        self._settings = settings
        self.meter = RunMeter()
        self.skipped = SkipMeter()
        self.server: MetricsServer | None = None
        """What serves ``telemetry.metrics_address``, once it was asked for."""
        self.tracing = _tracing(settings)
        self.scheduling: SchedulingTrace = self.tracing.scheduling if self.tracing else FollowedTrace()
        self.observer = ProgramObserver(self.meter, self.tracing.runs if self.tracing else None)

    async def start(self) -> None:
        """Begin to send spans, if there are any."""
        if self.tracing is not None:
            await self.tracing.start()

    async def stop(self) -> None:
        """Send the last spans, for a limited time; twice is fine."""
        if self.tracing is not None:
            await self.tracing.stop()

    def look_at(self, container: RootContainer, executes: bool) -> ProgramMetrics:
        """Return the metrics of the opened program that ``container`` holds."""
        facts = container.facts()
        engine = container.scheduling.engine() if executes else None
        if engine is not None:
            self.meter.clock_offset_s = lambda: engine.clock_offset_s
        if self.tracing is not None:
            self.tracing.runs.instance_id = container.instance_id()
        self.skipped.listen(container.events(), container.instance_id())
        sources = Sources(
            facts=facts,
            skipped=self.skipped.counts,
            lanes=container.registry().lanes,
            runs=container.scheduling.runs(),
            instances=container.scheduling.instances(),
            events=container.events(),
            engine=engine,
            notifications=container.monitoring.sender().counters if executes else None,
            channels=container.monitoring.channel_desk(),
            history=container.jobs.history_part(),
            spans=self.span_counts,
        )
        return ProgramMetrics(self.meter, sources)

    def own_server(self, services: "Callable[[], Services]") -> HostedService | None:
        """Return what serves the metrics at ``telemetry.metrics_address``, not started; None without one."""
        address = self._settings.telemetry.metrics_address
        if not address:
            return None
        from infrastructure.web.metrics_server import MetricsServer  # the role scheduler needs no routes else

        host, port = split_address(address)
        settings = self._settings.server.model_copy(update={"host": host, "port": port, "base_path": ""})
        self.server = MetricsServer(services, settings)
        return self.server

    def serve_process(self) -> None:
        """Send also spans that bodies make through OpenTelemetry's API: for a process of the program's own."""
        if self.tracing is not None:
            self.tracing.serve_process()

    def span_counts(self) -> dict[str, int]:
        """Return what became of spans; nothing where none are made."""
        return self.tracing.export.counts() if self.tracing else {}

    def of_requests(self) -> "TelemetryConfig | None":
        """Return how FastAPI is to trace requests; None for its own ways."""
        if self.tracing is None:
            return None
        return {
            "tracer_provider": self.tracing.provider,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
            "exclude": lambda scope: scope["path"].startswith(UNTRACED_PATHS),
        }


class ProgramObserver(RunObserver):
    """Pass on what happens to runs. Whatever is wrong with telemetry, no run feels it."""

    def __init__(self, meter: RunMeter, spans: "RunSpans | None") -> None:
        self._meter = meter
        self._spans = spans
        self._told = False

    def fired(self, name: str, due: int) -> None:
        """Count due times."""
        self._meter.fired(name, due)

    def began(self, claim: Claim) -> None:
        """Let logs tell of the run, count it and begin its span."""
        try:
            enter_run(claim)
            self._meter.began(claim)
            if self._spans is not None:
                self._spans.began(claim)
            else:
                follow(claim)
        except Exception as error:  # noqa: BLE001 - no run may feel it
            self._tell(error)

    def raised(self, claim: Claim, error: BaseException) -> None:
        """Note an error."""
        if self._spans is not None:
            try:
                self._spans.raised(claim, error)
            except Exception as failure:  # noqa: BLE001 - no run may feel it
                self._tell(failure)

    def ended(self, claim: Claim, outcome: Outcome) -> None:
        """Count how it ended and end its span."""
        try:
            self._meter.ended(claim, outcome)
            if self._spans is not None:
                self._spans.ended(claim, outcome)
        except Exception as error:  # noqa: BLE001 - no run may feel it
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            log.error("telemetry failed; runs go on, and this is told once", exc_info=error)
        self._told = True


def _tracing(settings: Settings) -> "Tracing | None":
    wanted = settings.telemetry
    if not wanted.otlp_endpoint:
        return None
    needed = ("opentelemetry.sdk", "opentelemetry.exporter")
    if any(importlib.util.find_spec(name) is None for name in needed):
        raise SpansNotInstalled
    from infrastructure.telemetry.tracing import Tracing

    return Tracing(wanted.otlp_endpoint, wanted.trace_ratio, settings.store.namespace)
