"""Renew the leases of this instance from a thread of its own, and watch the event loop from there."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from application.runs.runner import JobRunner
from domain.errors import RoundsmanError
from domain.runs.outcome import Released
from domain.runs.run import Claim
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.runs.loop_watch import PULSE_S, LoopWatch
from infrastructure.runs.presence import Presence, Stopwatch
from infrastructure.runs.scripts import Retention, source
from infrastructure.runs.settling import settle_arguments

log = logging.getLogger(__name__)

GIVEN_BACK = 10**9
"""Numbers of settle batches that this thread sends begin here; the settlement queue counts from 1."""


class Renewal:
    """Keep what this instance holds, however busy its event loop is.

    Every ``renew_every_s`` seconds one call renews all runs and announces the instance: ``announcement`` returns its
    facts. Runs that turn out to be lost are revoked on the loop. ``loop_blocked`` is true while the loop does not turn:
    nothing new is claimed then, and what was claimed and has not begun is given back to the others.
    """

    def __init__(
        self,
        store: RedisStore,
        instance_id: str,
        runner: JobRunner,
        lease_ms: int,
        renew_every_s: float,
        retention: Retention,
        announcement: Callable[[], dict[str, Any]],
    ) -> None:
        self._client = store.threaded()
        self._prefix = f"{store.prefix}:"
        self._instance = instance_id
        self._runner = runner
        self._lease_ms = lease_ms
        self._renew_every_s = renew_every_s
        self.presence = Presence(instance_id, lease_ms, lambda: {**announcement(), "loop_blocked": self.loop_blocked})
        self._renew, self._sweep, self._leave = (
            self._client.register_script(source(name, retention)) for name in ("renew", "sweep", "leave")
        )
        self._settle = self._client.register_script(source("settle", retention))
        self._given_back = 0
        self.watch = LoopWatch()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._down = False
        self.loop_blocked = False
        self.renewed = self.failed = self.losses = 0
        """Renewals that went through and that did not, and times the store was lost, since the start."""

    def start(self) -> None:
        """Announce the instance and begin to renew; on the event loop, which is watched from now on."""
        self._loop = asyncio.get_running_loop()
        self.watch.start()
        self._thread = threading.Thread(target=self._work, name="renewal", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End the thread; the instance says that it leaves."""
        if self._thread is None:
            return
        self._stop.set()
        await asyncio.to_thread(self._thread.join)
        self._thread = None
        self.watch.stop()

    def _work(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(min(due - time.monotonic(), PULSE_S), 0.0)):
            self.loop_blocked = self.watch.look()
            if self.loop_blocked:
                self._give_back()
            if time.monotonic() < due:
                continue
            due = time.monotonic() + self._renew_every_s
            self._renew_once()
            if time.monotonic() < due:  # a store that is slow is for renewals alone
                self._sweep_once()
        self._say_goodbye()

    def _renew_once(self) -> None:
        args = self.presence.words()
        claims = list(self._runner.held.values())
        for claim in claims:
            args.extend([claim.spec.run_id, claim.lane, claim.token])
        try:
            with store_errors():
                watch = Stopwatch()
                reply = self._renew(keys=[self._prefix], args=args)
            self.presence.heard(watch, reply)
        except RoundsmanError as error:
            self.failed += 1
            if not self._down:
                self.losses += 1
                log.warning("leases cannot be renewed now: %s", error)
            self._down = True
            return
        except Exception:
            self.failed += 1
            log.exception("a renewal failed")
            return
        self._down = False
        self.renewed += 1
        if (lost := reply[3]) and self._loop is not None:
            gone = frozenset(lost)
            self._loop.call_soon_threadsafe(self._revoke, [claim for claim in claims if claim.spec.run_id in gone])

    def _sweep_once(self) -> None:
        words = self.presence.sweep_words()
        if words is None or self._down:
            return
        try:
            with store_errors():
                self.presence.swept(self._sweep(keys=[self._prefix], args=words))
        except RoundsmanError as error:
            log.debug("nothing is swept now: %s", error)  # the next renewal warns
        except Exception:
            log.exception("a sweep failed")

    def _revoke(self, lost: list[Claim]) -> None:
        for claim in lost:
            if self._runner.held.get(claim.spec.run_id) is not claim:
                continue  # settled while the renewal was under way; there may be a newer claim, which is good
            self._runner.revoke(claim.spec.run_id, "the store says that another instance owns it, or that it is over")

    def _give_back(self) -> None:
        """Give back what was claimed and has not begun: it would wait for the job that blocks the loop."""
        claims = self._runner.withdraw()
        if not claims:
            return
        self._given_back += 1
        args: list[Any] = [self._instance, GIVEN_BACK + self._given_back]
        for claim in claims:
            args.extend(settle_arguments(claim, Released(started=False, why="a job blocks its instance's event loop")))
        try:
            with store_errors():
                self._settle(keys=[self._prefix], args=args)
        except RoundsmanError as error:
            log.warning("%d runs could not be given back and lapse: %s", len(claims), error)
        except Exception:
            log.exception("%d runs could not be given back and lapse", len(claims))
        else:
            log.warning("%d runs that had not begun were given back to other instances", len(claims))

    def _say_goodbye(self) -> None:
        try:
            with store_errors():
                if not self._down:  # else it would be one more timeout, and others find out by themselves
                    self._leave(keys=[self._prefix], args=[self._instance])
        except RoundsmanError as error:
            log.warning("this instance leaves without saying so: %s", error)
        self._client.close()
