"""Do for many at once what many coroutines ask for, each for one, at the same moment."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

from application.tasks import end_task

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

Work = Callable[[Sequence[K]], Awaitable[Mapping[K, T | Exception]]]
"""Answers each of the keys that it is given; what it raises is the answer for them all."""


class Together(Generic[K, T]):
    """Gather keys while those before them are worked on; one after another, and up to ``most`` at once.

    What is asked for while it is being worked on is worked on once more: the answer is never older than the question.
    """

    def __init__(self, work: Work[K, T], most: int) -> None:
        self._work = work
        self._most = most
        self._waiting: dict[K, list[asyncio.Future[T]]] = {}
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, key: K) -> T:
        """Return the answer for one key. Who stops waiting harms nobody else."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        if self._worker is None:
            # In a context of its own: it serves many, and outlives the one that happened to be first.
            self._worker = asyncio.get_running_loop().create_task(self._serve(), context=contextvars.Context())
        return await future

    async def stop(self) -> None:
        """End what works; who still waits is cancelled. Twice is fine, and it may be asked again afterwards."""
        await end_task(self._worker)
        self._worker = None
        _cancel(self._waiting)
        self._waiting = {}

    async def _serve(self) -> None:
        batch: dict[K, list[asyncio.Future[T]]] = {}
        try:
            while self._waiting:
                batch = {key: self._waiting.pop(key) for key in list(islice(self._waiting, self._most))}
                for key, answer in (await self._answers(list(batch))).items():
                    _give(batch.pop(key), answer)
        finally:
            _cancel(batch)
            self._worker = None

    async def _answers(self, keys: Sequence[K]) -> Mapping[K, T | Exception]:
        try:
            return await self._work(keys)
        except Exception as error:  # noqa: BLE001 - told to each who waits
            return dict.fromkeys(keys, error)


def _give(futures: "list[asyncio.Future[T]]", answer: T | Exception) -> None:
    for future in futures:
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def _cancel(waiting: "Mapping[K, list[asyncio.Future[T]]]") -> None:
    for futures in waiting.values():
        for future in futures:
            future.cancel()
