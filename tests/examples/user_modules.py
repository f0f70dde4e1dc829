"""Modules as users write them."""

HEAD = """
from collections.abc import AsyncIterator, Iterator
from dependency_injector import containers, providers
from application.scheduling import BackgroundTasksBus, Injected, ScheduledBackgroundJob, backgroundjob

told = []

class Pool:
    def __init__(self, name="pool"):
        self.name = name

class Mail:
    def __init__(self, pool=None):
        self.pool = pool

async def open_pool() -> AsyncIterator[Pool]:
    told.append("open pool")
    yield Pool()
    told.append("close pool")

def open_mail(pool) -> Iterator[Mail]:
    told.append(f"open mail on {pool.name}")
    yield Mail(pool)
    told.append("close mail")

@backgroundjob(task_type="scheduled")
class Send(ScheduledBackgroundJob):
    pool: Injected[Pool]
    mail: Injected[Mail]
    def run_at(self) -> None:
        assert self.mail.pool is self.pool
        told.append("send")
"""
BOTH = """
class Container(containers.DeclarativeContainer):
    pool = providers.Resource(open_pool)
    mail = providers.Resource(open_mail, pool)
"""
