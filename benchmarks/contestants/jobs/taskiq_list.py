"""taskiq at its barest: a list, no acknowledgement, no result. What a worker holds when it dies is lost."""

from taskiq_redis import ListQueueBroker  # type: ignore[import-not-found]

from benchmarks.contestants.jobs.interface import JobCase
from benchmarks.contestants.jobs.taskiq import CONNECTIONS, Taskiq


def create(case: JobCase) -> Taskiq:
    """Return the contestant."""
    return Taskiq(ListQueueBroker(case.redis_url, max_connection_pool_size=CONNECTIONS), "list, no results")
