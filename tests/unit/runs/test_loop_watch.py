"""A loop that a task blocks is told from one that has much to do."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from infrastructure.runs.loop_watch import Blockage, LoopWatch
from support import wait_until


class Looker:
    """A thread that looks again and again, as the renewal thread does."""

    def __init__(self) -> None:
        self.watch = LoopWatch()
        self.seen: list[Blockage] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def start(self) -> None:
        self.watch.start()
        self._thread.start()

    def stop(self) -> None:
        self.watch.stop()
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            if self.watch.look() and self.watch.now is not None:
                self.seen.append(self.watch.now)


@pytest.fixture
async def looker() -> Iterator[Looker]:  # type: ignore[misc]  # pytest-asyncio runs it on the loop that is watched
    looker = Looker()
    looker.start()
    yield looker
    looker.stop()


async def test_a_task_that_blocks_is_named_and_remembered(looker: Looker) -> None:
    async def blocks() -> None:
        time.sleep(2)

    await asyncio.create_task(blocks(), name="run s1@1.7")
    await wait_until(lambda: looker.watch.last, "the end of it to be seen")
    assert looker.watch.now is None
    assert looker.watch.last is not None
    assert looker.watch.last.by == "run s1@1.7"
    assert looker.watch.last.lasted_s > 1
    assert {seen.by for seen in looker.seen} == {"run s1@1.7"}


async def test_many_tasks_that_leave_no_time_for_timers_block_nothing(looker: Looker) -> None:
    async def takes_its_time() -> None:
        time.sleep(0.05)

    await asyncio.gather(*(takes_its_time() for _ in range(50)))
    assert looker.seen == []
    assert looker.watch.last is None
