"""Whole programs in this process on servers that the test spoils."""

from collections.abc import Awaitable, Callable
from typing import Any

from application.scheduling import RecurrentTaskDescriptor
from external_server import ExternalServer
from infrastructure.program import Program
from infrastructure.settings import Settings
from infrastructure.web.health import Finding, HealthStatus

Servers = Callable[..., ExternalServer]
Start = Callable[..., Awaitable[Program]]

HOLDING = RecurrentTaskDescriptor(id="holding", name="Greet", data={"label": "a", "hold": True}, interval=0.05)
QUICK = RecurrentTaskDescriptor(id="quick", name="Greet", data={"label": "a"}, interval=0.05)
ALWAYS_FIRING = {"id": "always", "metric": "cpu_utilization", "comparison": ">=", "fire": 0.0, "severity": "info"}
DEGRADED, OK = HealthStatus.DEGRADED, HealthStatus.OK


def make(server: ExternalServer, namespace: str, role: Any = "all", durability: str = "memory", **more: Any) -> Program:
    settings = {
        "store": {"redis_url": server.url, "namespace": namespace, "durability": durability},
        "background_jobs": {"modules": ["cli_jobs"], "shutdown_grace_s": 0, "lease_s": 2},
        **more,
    }
    return Program(Settings.model_validate(settings), role)


async def health(program: Program) -> Finding:
    return (await program.services().health.look()).components["store"]


async def says(program: Program, what: str) -> bool:
    found = await health(program)
    return found.status is not OK and what in found.detail


async def is_ok(program: Program) -> bool:
    return (await health(program)).status is OK


async def counts(program: Program, task_id: str) -> Any:
    return (await program.services().scheduler.get_task_info(task_id)).counts  # type: ignore[union-attr]
