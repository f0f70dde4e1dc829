"""What somebody sees who has just started the program: where it is, and the first samples of this machine."""

import asyncio
import logging
from importlib.metadata import version
from typing import Any, TextIO

from application.events.bus import EventBus
from domain.events.event import Event
from infrastructure.cli.texts import printable
from infrastructure.settings import Settings

log = logging.getLogger(__name__)

SAMPLES = 3
"""Samples that are shown; who wants more opens the API or runs 'roundsman workers show'."""


class FirstLook:
    """Print the program's address, then the first samples as they arrive."""

    def __init__(self, settings: Settings, bus: EventBus, port: int, out: TextIO) -> None:
        host = settings.server.host
        shown = f"[{host}]" if ":" in host else host
        self._address = f"http://{shown}:{port}{settings.server.base_path}"
        self._bus = bus
        self._out = out

    async def show(self) -> None:
        """Print; return after the first samples. Meant to be cancelled when the program stops.

        The program does not depend on anybody reading this: an output that is closed ends the show alone.
        """
        try:
            await self._show()
        except OSError as error:
            log.info("the first samples are not shown: %s", error)

    async def _show(self) -> None:
        self._say(f"Roundsman {version('roundsman')} is at {self._address}/   (Ctrl-C stops it)")
        self._say(f"  API and its documentation: {self._address}/docs   health: {self._address}/health/ready")
        seen = asyncio.Queue[Event]()
        subscription = self._bus.subscribe(["worker.metrics.collected"], seen.put)
        try:
            for _ in range(SAMPLES):
                self._say(_line((await seen.get()).data))
        finally:
            await subscription.close()

    def _say(self, line: str) -> None:
        print(printable(line), file=self._out, flush=True)


def _line(data: dict[str, Any]) -> str:
    metrics = data.get("metrics", {})
    parts = [
        f"cpu {_percent(metrics.get('cpu_utilization'))}",
        f"memory {_percent(metrics.get('memory_utilization'))}",
        f"load {_plain(metrics.get('load_1m'))}",
        f"processes {_plain(metrics.get('process_count'))}",
    ]
    clock = str(data.get("observed_at", ""))[11:19]
    return f"  {clock}  {data.get('worker_id')} ({data.get('worker_name')}): {', '.join(parts)}"


def _percent(value: float | None) -> str:
    return "not known yet" if value is None else f"{value:.0%}"


def _plain(value: float | None) -> str:
    return "not known" if value is None else f"{value:g}"
