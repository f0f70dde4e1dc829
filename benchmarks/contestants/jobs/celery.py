"""Celery: one prefork child, and a sync body, as it has no async ones."""

from collections.abc import Sequence
from importlib.metadata import version
from urllib.parse import urlsplit

from celery import Celery  # type: ignore[import-not-found]

from benchmarks.contestants.jobs.interface import JobCase, note

PREFETCH = 64
"""How many messages the child may have waiting; its default of 4 is meant for long tasks."""
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING")


def create(case: JobCase) -> "CeleryContestant":
    """Return the contestant."""
    return CeleryContestant(case)


def tick(index: int) -> None:
    """Note the run."""
    note(index)


class CeleryContestant:
    """One application, at both ends; its calls block, and nothing else is to be done meanwhile."""

    def __init__(self, case: JobCase) -> None:
        parts = urlsplit(case.redis_url)
        self._app = Celery("benchmark", broker=f"redis+socket://:{parts.password}@{parts.path}?virtual_host=0")
        self._app.conf.update(worker_prefetch_multiplier=PREFETCH, worker_hijack_root_logger=False)
        self._tick = self._app.task(tick, name="tick", ignore_result=True)

    async def open(self) -> None:
        """Do nothing: it connects by itself."""

    async def submit(self, indexes: Sequence[int]) -> None:
        """Submit one a call, through one producer: there is no other way."""
        with self._app.producer_or_acquire() as producer:
            for index in indexes:
                self._tick.apply_async((index,), producer=producer)

    async def submit_one(self, index: int) -> None:
        """Submit one."""
        self._tick.delay(index)

    async def close(self) -> None:
        """Disconnect."""
        self._app.close()

    def work(self) -> None:
        """Run a worker with one child."""
        self._app.worker_main(["worker", "--pool=prefork", "--concurrency=1", *QUIET])

    def facts(self) -> dict[str, str]:
        """Return versions and settings."""
        return {
            "version": version("celery"),
            "client": f"redis-py {version('redis')}",
            "set": f"prefork 1, sync body, prefetch {PREFETCH}, no results; submits one after another",
        }
