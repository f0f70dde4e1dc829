"""APScheduler 3.11 with its Redis store."""

import redis
from apscheduler.jobstores.redis import RedisJobStore

from benchmarks.contestants.apscheduler_memory import APScheduler
from benchmarks.contestants.interface import Case, Recorder


def create(case: Case, recorder: Recorder) -> APScheduler:
    """Return the contestant; the store takes its connection in parts, not as a URL."""
    options = redis.ConnectionPool.from_url(case.redis_url).connection_kwargs
    connect = {"unix_socket_path": options["path"], "password": options["password"]}
    return APScheduler(case, recorder, RedisJobStore(**connect))
