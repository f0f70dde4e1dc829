"""The program as it watches a fleet, in a process of its own: ``python -m benchmarks.contestants.monitoring CASE``.

It says ``opened``, and then hears what to do, a line of JSON each, and answers each with ``done``: ``import``,
``start``, ``watch``, ``tell``, ``close``.
"""

import asyncio
import json
import os
import resource
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import psutil

from benchmarks.contestants.interface import say
from benchmarks.contestants.run import PERIOD_S, hear
from domain.monitoring.found import ImportRequest
from domain.monitoring.rule import DEFAULT_RULES
from infrastructure.garbage import lasting_objects_spared
from infrastructure.program import Program
from infrastructure.settings import Settings

NO_FILE = "/nonexistent"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIABENCHMARKBENCHMA",
    "AWS_SECRET_ACCESS_KEY": "a-key-that-opens-nothing-0123456789abcdef",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": NO_FILE,
    "AWS_SHARED_CREDENTIALS_FILE": NO_FILE,
}


@dataclass(frozen=True)
class MonitoringCase:
    """What one process is asked to do. ``contestant`` says whose Python runs it."""

    redis_url: str
    aws_url: str
    webhook_url: str
    interval_s: int
    contestant: str = "roundsman"


def settings_of(case: MonitoringCase) -> Settings:
    """Return default settings, but for the high CPU that is told at once, the receiver, and no look at this machine."""
    rules = [rule.model_copy(update={"for_s": 0.0}) if rule.id == "high-cpu" else rule for rule in DEFAULT_RULES]
    channel = {"name": "receiver", "type": "webhook", "url": case.webhook_url, "secret": "benchmark-" * 4}
    return Settings.model_validate(
        {
            "store": {"redis_url": case.redis_url},
            "monitoring": {
                "local_worker": False,
                "aws": {"endpoint_url": case.aws_url, "interval_s": case.interval_s},
            },
            "alerts": {"rules": [rule.model_dump(exclude_defaults=True) for rule in rules], "channels": [channel]},
            "history": {"enabled": False},
        }
    )


class Watched:
    """The program, and what is asked of it."""

    def __init__(self, case: MonitoringCase) -> None:
        os.environ.update(CREDENTIALS)
        self._program = Program(settings_of(case))
        self._watching: asyncio.Task[None] | None = None
        self._stalls: list[float] = []
        self._cpu_s = 0.0
        self._ids: list[str] = []

    async def run(self) -> None:
        """Serve until ``close``."""
        await self._program.start()
        with ExitStack() as stack:
            stack.enter_context(lasting_objects_spared())
            say("opened", facts={"version": version("roundsman")})
            while (wish := await hear())["do"] != "close":
                match wish["do"]:
                    case "import":
                        say("done", **await self._import(wish["regions"]))
                    case "start":
                        say("done", **await self._start(wish["first"], wish["count"]))
                    case "watch":
                        await self._end_watch()
                        self._watching = asyncio.create_task(self._watch())
                        say("done")
                    case "tell":
                        say("done", **self._found())
            await self._end_watch()
        await self._program.stop()
        say("done")

    async def _import(self, regions: list[str]) -> dict[str, Any]:
        """Register all that the regions have."""
        registry, began = self._program.container.monitoring.registry(), time.perf_counter()
        found = [await registry.import_workers(ImportRequest(provider="aws", region=region)) for region in regions]
        self._ids = [item.id for one in found for item in one.items]
        return {"seconds": time.perf_counter() - began}

    async def _start(self, first: int, count: int) -> dict[str, Any]:
        """Begin to watch some of it, in one call."""
        began = time.perf_counter()
        answers = await self._program.container.monitoring.monitoring().start_many(self._ids[first : first + count])
        created = sum(answer.result == "created" for answer in answers)
        return {"started": created, "seconds": time.perf_counter() - began}

    async def _watch(self) -> None:
        """Measure how long the loop is held, from now on."""
        self._stalls, self._cpu_s = [], time.process_time()
        while True:
            began = time.perf_counter()
            await asyncio.sleep(PERIOD_S)
            self._stalls.append(time.perf_counter() - began - PERIOD_S)

    async def _end_watch(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def _found(self) -> dict[str, Any]:
        return {
            "cpu_s": time.process_time() - self._cpu_s,
            "stalls": sorted(self._stalls)[-len(self._stalls) // 100 :],
            "naps": len(self._stalls),
            "rss": psutil.Process().memory_info().rss,
            "rss_most": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


if __name__ == "__main__":
    asyncio.run(Watched(MonitoringCase(**json.loads(sys.argv[1]))).run())
