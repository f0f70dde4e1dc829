"""A process that executes jobs until one of them ends it: ``python deadly_worker.py REDIS_URL NAMESPACE``."""

import asyncio
import os
import sys

from application.scheduling import ScheduledBackgroundJob, backgroundjob
from cluster import Instance
from sample_jobs import Ledger

DIES_WITH = 7
TAKEOVERS = 2


@backgroundjob(task_type="scheduled")
class Deadly(ScheduledBackgroundJob):
    """End the process, as a fault in a C library would; or not, when it is ``mended``."""

    mended: bool = False

    async def run_at(self) -> str:
        if not self.mended:
            os._exit(DIES_WITH)
        return "survived"


async def work(url: str, namespace: str) -> None:
    worker = Instance(
        url, namespace, f"w{os.getpid()}", Ledger(), jobs=(Deadly,), lease_ms=400, takeover_limit=TAKEOVERS
    )
    await worker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
