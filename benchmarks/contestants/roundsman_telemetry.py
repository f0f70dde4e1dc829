"""Roundsman with more or less telemetry: what ``BENCHMARK_TELEMETRY`` says, see ``benchmarks.telemetry``."""

import asyncio
import os
from typing import Any

from application.runs.observer import UNOBSERVED
from benchmarks.contestants.interface import Case, Recorder
from benchmarks.contestants.roundsman import Roundsman

SCRAPE_S = 1.0
"""Fifteen times as often as Prometheus does by default: what it costs becomes visible."""
VARIANT = "BENCHMARK_TELEMETRY"
ENDPOINT = "BENCHMARK_OTLP_ENDPOINT"
RATIOS = {"spans": 1.0, "one span in a hundred": 0.01}


def create(case: Case, recorder: Recorder) -> "Observed":
    """Return the contestant."""
    return Observed(case, recorder)


class Observed(Roundsman):
    """The same program under the same load."""

    def __init__(self, case: Case, recorder: Recorder) -> None:
        self._variant = os.environ[VARIANT]
        super().__init__(case, recorder)
        if self._variant == "nothing":
            self._program.telemetry.observer = UNOBSERVED  # type: ignore[assignment]  # what no setting turns off
        self._scraping: asyncio.Task[None] | None = None

    def sections(self) -> dict[str, Any]:
        """Return settings beside the defaults."""
        if self._variant not in RATIOS:
            return {}
        return {"telemetry": {"otlp_endpoint": os.environ[ENDPOINT], "trace_ratio": RATIOS[self._variant]}}

    async def start(self) -> None:
        """Start all services, and scrape if that is wanted."""
        await super().start()
        if self._variant == "scraped each second":
            self._scraping = asyncio.create_task(self._scrape())

    async def stop(self) -> None:
        """Stop them."""
        if self._scraping is not None:
            self._scraping.cancel()
            await asyncio.wait([self._scraping])
        await super().stop()

    async def _scrape(self) -> None:
        metrics = self._program.services().metrics
        assert metrics is not None
        while True:
            await metrics.render()
            await asyncio.sleep(SCRAPE_S)
