"""Gather what many runs want to know of a region at the same moment, and look once for all of them.

The runs of one process wait for the same loader; the loaders of all processes share the board.
"""

import asyncio
import contextlib
import contextvars
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from application.tasks import end_task
from domain.errors import StoreUnavailable
from infrastructure.monitoring.aws.board import RegionBoard, read
from infrastructure.monitoring.aws.look import RegionLook
from infrastructure.monitoring.aws.seen import Seen
from infrastructure.monitoring.aws.trouble import AwsTrouble, Kind

log = logging.getLogger(__name__)

GATHER_S = 0.5
"""From the first question to the look: who asks meanwhile is looked at too."""
GATHER_MOST_S = 2.5
"""For so long a look waits for more that nobody expects, as while a fleet is started. It is less than a lease."""
QUIET_S = 0.45
"""When none of them came for so long, all are there: questions reach the board every ``POLL_S``."""
POLL_S = 0.2
LOOK_S = 14.0
"""For each part of a look, however many parts there are."""
A_PART = 1_000
"""Instances that are looked at together. What was seen of them is told before the next are looked at: in a large region
all of it takes longer than anybody waits. It fills whole calls."""
PATIENCE_S = 18.0
"""Less than the run has (``PROVIDER_TIMEOUT_S``), so that it is told why."""
SULK_S = 30.0
"""How long a process whose credentials do not do leaves looking to the others."""
SULK_PATIENCE_S = 6.0
"""For so long its runs wait for what others see: these may be gathering, and looking."""


class RegionLoader:
    """The questions of one process about one account and region."""

    def __init__(self, board: RegionBoard, look: RegionLook, where: str) -> None:
        self._board = board
        self._look = look
        self._where = where
        self._waiting: dict[str, set[asyncio.Future[Seen]]] = {}
        self._new: set[str] = set()
        self._worker: asyncio.Task[None] | None = None
        self._round: asyncio.Task[None] | None = None
        self._trouble: AwsTrouble | None = None
        self._sulks_until = 0.0
        self._strangers_at = 0.0
        """When somebody, in whatever process, asked for an instance that was not expected to be asked for."""

    async def load(self, instance_id: str) -> Seen:
        """Return what was seen of an instance within the last seconds, looking if nobody did.

        Raises ``AwsTrouble``. Who stops waiting harms nobody else who waits.
        """
        future: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(instance_id, set()).add(future)
        self._new.add(instance_id)
        if self._worker is None:
            # In a context of its own: it serves many runs, and outlives the one that happened to be first.
            self._worker = asyncio.get_running_loop().create_task(self._work(), context=contextvars.Context())
        try:
            async with asyncio.timeout(SULK_PATIENCE_S if self._sulks else PATIENCE_S):
                return await future
        except TimeoutError:
            slow = AwsTrouble(Kind.DOWN, f"{self._where} was not looked at within {PATIENCE_S:g} s")
            raise (self._trouble if self._sulks and self._trouble else slow) from None
        finally:
            self._forget(instance_id, future)

    async def stop(self) -> None:
        """End what works for this loader; who still waits is cancelled."""
        await end_task(self._worker)
        await end_task(self._round)  # after the other, which begins it, also while it is being cancelled
        self._worker = self._round = None
        await self._look.stop()
        for future in [future for futures in self._waiting.values() for future in futures]:
            future.cancel()
        self._waiting.clear()

    @property
    def is_idle(self) -> bool:
        """Tell whether nobody waits and nothing works."""
        return not self._waiting and self._worker is None

    @property
    def _sulks(self) -> bool:
        return time.monotonic() < self._sulks_until

    def _forget(self, instance_id: str, future: asyncio.Future[Seen]) -> None:
        futures = self._waiting.get(instance_id)
        if futures is not None:
            futures.discard(future)
            if not futures:
                del self._waiting[instance_id]

    async def _work(self) -> None:
        """Ask the board until nobody waits, and look when it says so."""
        try:
            while self._waiting or self._round is not None:
                if self._waiting:
                    await self._ask()
                if self._round is None:
                    await asyncio.sleep(POLL_S)
                else:
                    await asyncio.wait([self._round], timeout=POLL_S)
                if self._round is not None and self._round.done():
                    done, self._round = self._round, None
                    done.result()
        except Exception as error:  # noqa: BLE001 - told to each who waits
            self._fail_all(error)
        finally:
            self._worker = None

    async def _ask(self) -> None:
        new = sorted(self._new & self._waiting.keys())
        self._new.clear()
        may_fetch = self._round is None and not self._sulks
        answer = await self._board.ask(sorted(self._waiting), new=new, may_fetch=may_fetch)
        self._strangers_at = time.monotonic() - answer.expected_s
        self._tell(answer.seen)
        if answer.may_fetch:
            self._round = asyncio.get_running_loop().create_task(self._look_once())

    def _tell(self, seen: Mapping[str, Seen]) -> None:
        """Answer who waits."""
        for name, one in seen.items():
            for future in self._waiting.pop(name, ()):
                if not future.done():
                    future.set_result(one)

    async def _gather(self) -> None:
        """Wait for who asks in the same moment; longer while instances come that nobody could expect."""
        until = time.monotonic() + GATHER_MOST_S
        await asyncio.sleep(GATHER_S)
        while (left_s := min(until, self._strangers_at + QUIET_S) - time.monotonic()) > 0:  # noqa: ASYNC110 - questions set it
            await asyncio.sleep(left_s)

    async def _look_once(self) -> None:
        await self._gather()
        begun = await self._board.begin()
        if begun is None:
            return
        left, started = dict(begun.before), time.monotonic()
        async with self._renewing():
            is_last = False
            while not is_last:
                part = await _read(self._next_part(left))
                now = begun.now + timedelta(seconds=time.monotonic() - started)
                try:
                    seen = await self._seen(part, now)
                except AwsTrouble as trouble:
                    part = await _read(left)
                    seen = self._failed(part, trouble, now)
                left = {name: before for name, before in left.items() if name not in part}
                is_last = not left
                await self._board.publish(seen, is_last=is_last)
                # Who is new has to be on the board as one who asks, and is answered from there.
                self._tell({name: one for name, one in seen.items() if name not in self._new})

    def _next_part(self, left: Mapping[str, str]) -> dict[str, str]:
        """Return what is looked at next: first what runs of this process wait for."""
        chosen = sorted(left, key=lambda name: name not in self._waiting)[:A_PART]
        return {name: left[name] for name in chosen}

    async def _seen(self, part: Mapping[str, Seen | None], now: datetime) -> dict[str, Seen]:
        try:
            async with asyncio.timeout(LOOK_S):
                return await self._look.at(part, now)
        except TimeoutError:
            raise AwsTrouble(Kind.DOWN, f"{self._where} did not answer within {LOOK_S:g} s") from None

    def _failed(self, left: Mapping[str, Seen | None], trouble: AwsTrouble, now: datetime) -> dict[str, Seen]:
        """Return a failure as what was seen of all that is left.

        What may be this process's own fault is told to its runs alone, and nothing was seen.
        """
        log.warning("%d instances of %s could not be looked at: %s", len(left), self._where, trouble.why)
        if trouble.is_of_this_process:
            self._trouble, self._sulks_until = trouble, time.monotonic() + SULK_S
            self._fail_all(trouble)
            return {}
        return {name: Seen.failed(before, trouble, now) for name, before in left.items()}

    @asynccontextmanager
    async def _renewing(self) -> AsyncIterator[None]:
        async def renew() -> None:
            while True:
                await asyncio.sleep(self._board.lease_s / 3)
                with contextlib.suppress(StoreUnavailable):  # the publication meets it too, and tells
                    await self._board.renew()

        task = asyncio.get_running_loop().create_task(renew())
        try:
            yield
        finally:
            await end_task(task)

    def _fail_all(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, {}
        for futures in waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)


async def _read(before: Mapping[str, str]) -> dict[str, Seen | None]:
    """Return what was seen before, of texts as the board has them; None for '', which is never."""
    seen = await read({name: text for name, text in before.items() if text})
    return {name: seen.get(name) for name in before}
