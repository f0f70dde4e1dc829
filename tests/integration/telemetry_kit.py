"""A whole program with its HTTP server, in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from infrastructure.program import Program
from infrastructure.settings import Settings
from infrastructure.web.server import listen, make_server
from main import _app
from support import NO_AUTHORITIES, wait_until


class Served:
    """A program that serves: ``http`` calls it."""

    def __init__(self, program: Program, http: httpx2.AsyncClient) -> None:
        self.program = program
        self.http = http
        self.bus = program.container.scheduling.bus()

    async def scrape(self, **options: Any) -> dict[str, Metric]:
        """Return the families that Prometheus's own parser finds."""
        answer = await self.http.get("/metrics", **options)
        assert answer.status_code == 200, answer.text
        return {family.name: family for family in text_string_to_metric_families(answer.text)}

    async def value(self, name: str, **labels: str) -> float:
        """Return one sample; 0 for one that is not there."""
        return value(await self.scrape(), name, **labels)

    async def ended(self, task_id: str) -> Any:
        """Return a one-shot when it is over."""
        runs = self.program.container.scheduling.runs()

        async def look() -> Any:
            run = await runs.get(task_id)
            return run if run and run.status in ("succeeded", "failed", "cancelled") else None

        return await wait_until(look, f"the end of {task_id}")


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """Return one sample; 0 for one that is not there."""
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return found[0] if found else 0.0


@asynccontextmanager
async def served(url: str, namespace: str, role: Any = "all", **sections: Any) -> AsyncIterator[Served]:
    """Serve a program with ``telemetry_jobs`` on a port of its own."""
    settings = Settings.model_validate(
        {
            "server": {"port": 0, **sections.pop("server", {})},
            "store": {"redis_url": url, "namespace": namespace},
            "background_jobs": {"modules": ["telemetry_jobs"], "shutdown_grace_s": 0},
            "monitoring": {"local_worker": False},
            **sections,
        }
    )
    program = Program(settings, role)
    sockets = listen(settings.server)
    server = make_server(_app(program))
    serving = asyncio.create_task(server.serve(sockets))
    try:
        await wait_until(lambda: server.started or serving.done(), "the server")
        assert not serving.done() or serving.result()
        base = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        async with httpx2.AsyncClient(base_url=base, timeout=20, verify=NO_AUTHORITIES) as http:
            yield Served(program, http)
    finally:
        server.should_exit = True
        await serving
