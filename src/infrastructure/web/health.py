"""How the program is doing: named checks, asked at the same time, each for a limited time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from domain.errors import RoundsmanError

log = logging.getLogger(__name__)

CHECK_TIMEOUT_S = 2.0


class HealthStatus(StrEnum):
    """How a component stands, from good to bad."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


SEVERITY = list(HealthStatus)


@dataclass(frozen=True)
class Finding:
    """What a check found. ``facts`` are JSON, for people who may see details."""

    status: HealthStatus = HealthStatus.OK
    detail: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """Ask one component. What raises or takes too long is down, or ``at_worst``: what the program can do without."""

    name: str
    ask: Callable[[], Awaitable[Finding]]
    at_worst: HealthStatus = HealthStatus.DOWN


@dataclass(frozen=True)
class HealthReport:
    """All findings by name, and the worst of them."""

    status: HealthStatus
    components: dict[str, Finding]


class Health:
    """The checks of one program."""

    def __init__(self, checks: Iterable[Check], timeout_s: float = CHECK_TIMEOUT_S) -> None:
        """Take the checks; ``timeout_s`` is for each, and as they are asked together for all."""
        self._checks = tuple(checks)
        self._timeout_s = timeout_s

    async def look(self) -> HealthReport:
        """Ask all components and return what they said. Never raises."""
        findings = await asyncio.gather(*(self._ask(check) for check in self._checks))
        worst = max((finding.status for finding in findings), key=SEVERITY.index, default=HealthStatus.OK)
        return HealthReport(worst, {check.name: found for check, found in zip(self._checks, findings, strict=True)})

    async def _ask(self, check: Check) -> Finding:
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await check.ask()
        except TimeoutError:
            found = Finding(HealthStatus.DOWN, f"it did not answer within {self._timeout_s:g} s")
        except RoundsmanError as error:
            found = Finding(HealthStatus.DOWN, " ".join(str(error).split()))
        except Exception as error:
            log.exception("the health check of '%s' failed", check.name)
            found = Finding(HealthStatus.DOWN, f"its check failed: {type(error).__name__}")
        status = min(found.status, check.at_worst, key=SEVERITY.index)
        return Finding(status, found.detail, found.facts)
