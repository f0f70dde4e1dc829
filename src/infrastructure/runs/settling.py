"""Settle what attempts ended with, in batches, again and again until the store has answered."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable

from application.tasks import end_task
from domain.errors import StoreUnavailable
from domain.runs.outcome import Cancelled, Failed, Lost, Outcome, Released, Retry, Succeeded, Terminated
from domain.runs.run import Claim
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.runs.scripts import Retention, source

log = logging.getLogger(__name__)

GATHER_S = 0.004
"""How long outcomes are gathered: one call for many, at the price of these milliseconds."""
BATCH = 250
SETTLE_ARGUMENTS = 5
PROGRESS_S = 0.25
RETRY_S = (0.05, 1.0)
"""First and longest wait after the store did not answer."""


class SettlementQueue:
    """Own the outcomes of this instance until they are in the store. One task sends them, one batch at a time.

    ``settled`` is called with claims whose slots are free, ``ready`` when settling made other runs ready, ``park``
    with the claim of a fire whose payload does not load.
    """

    def __init__(self, store: RedisStore, instance_id: str, retention: Retention) -> None:
        self._prefix = f"{store.prefix}:"
        self._instance = instance_id
        self._settle = store.command.register_script(source("settle", retention))
        self._progress = store.command.register_script(source("progress", retention))
        self._outcomes: list[tuple[Claim, Outcome]] = []
        self._reports: dict[str, tuple[Claim, float, str]] = {}
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._number = 0
        self._task: asyncio.Task[None] | None = None
        self._reporter: asyncio.TimerHandle | None = None
        self.settled: Callable[[Iterable[Claim]], None] = lambda claims: None
        self.ready: Callable[[], None] = lambda: None
        self.park: Callable[[Claim, str], None] = lambda claim, why: None

    def add(self, claim: Claim, outcome: Outcome) -> None:
        """Take an outcome; on the event loop."""
        self._outcomes.append((claim, outcome))
        self._idle.clear()
        self._wanted.set()

    def progress(self, claim: Claim, percent: float, message: str) -> None:
        """Take the latest progress of a run; on the event loop."""
        self._reports[claim.spec.run_id] = (claim, percent, message)
        if self._reporter is None:
            self._reporter = asyncio.get_running_loop().call_later(PROGRESS_S, self._wanted.set)

    async def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._send_all(), name="settlements")

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Send what is left, for at most ``timeout_s`` seconds, and end."""
        if self._task is None:
            return
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            log.error("the store does not answer: not all outcomes could be settled, and these runs will run again")  # noqa: TRY400
        if self._reporter is not None:
            self._reporter.cancel()
        await end_task(self._task)
        self._task = None

    async def _send_all(self) -> None:
        while True:
            await self._wanted.wait()
            await asyncio.sleep(GATHER_S)
            self._wanted.clear()
            while self._outcomes:
                batch, self._outcomes = self._outcomes[:BATCH], self._outcomes[BATCH:]
                await self._send(batch)
            self._idle.set()
            await self._send_progress()

    async def _send(self, batch: list[tuple[Claim, Outcome]]) -> None:
        try:
            *verdicts, ready = await self._insist(self._batch(batch))
        except Exception:
            if len(batch) > 1:  # one outcome must not cost the others theirs
                log.warning("the store refused %d outcomes together; each is settled by itself", len(batch))
                for one in batch:
                    await self._send([one])
                return
            log.exception("the outcome of run %s was refused; it lapses and is taken over", batch[0][0].spec.run_id)
            verdicts, ready = ["refused"], 0
        self.settled([claim for claim, _ in batch])
        for (claim, outcome), verdict in zip(batch, verdicts, strict=True):
            if verdict == "lost":
                log.warning("run %s, attempt %d, was not ours to settle any more", claim.spec.run_id, claim.attempt)
            elif isinstance(outcome, Failed) and outcome.unloadable and claim.spec.incarnation:
                self.park(claim, outcome.error)
        if ready or any(isinstance(outcome, Retry) for _, outcome in batch):  # the tick then learns when it is due
            self.ready()

    def _batch(self, batch: list[tuple[Claim, Outcome]]) -> list[str | int]:
        self._number += 1
        args: list[str | int] = [self._instance, self._number]
        for claim, outcome in batch:
            args.extend(settle_arguments(claim, outcome))
        return args

    async def _insist(self, args: list[str | int]) -> list[str | int]:
        wait = RETRY_S[0]
        while True:
            try:
                with store_errors():
                    reply: list[str | int] = await self._settle(keys=[self._prefix], args=args)
            except StoreUnavailable as error:
                if wait == RETRY_S[0]:
                    log.warning("cannot settle %d runs now: %s", (len(args) - 2) // SETTLE_ARGUMENTS, error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, RETRY_S[1])
            else:
                return reply

    async def _send_progress(self) -> None:
        if not self._reports:
            return
        reports, self._reports, self._reporter = self._reports, {}, None
        args: list[str | float] = [self._instance]
        try:
            for claim, percent, message in reports.values():
                args.extend([claim.spec.run_id, claim.token, percent, _text(message[:500])])
            with store_errors():
                await self._progress(keys=[self._prefix], args=args)
        except StoreUnavailable as error:
            log.debug("progress of %d runs was not noted: %s", len(reports), error)
        except Exception:  # settling goes on: what a body says of itself must not stop the others
            log.exception("progress of %d runs could not be noted", len(reports))


def settle_arguments(claim: Claim, outcome: Outcome) -> tuple[str, str, str, str, str]:
    """Return the arguments that settle.lua reads for one attempt."""
    return (claim.spec.run_id, claim.token, *_ending(claim, outcome))


def _text(said: str) -> str:
    """Return a text as JSON that every reader takes: half a surrogate pair, which Lua refuses, becomes a '?'."""
    return json.dumps(said.encode("utf-8", "replace").decode())


def _ending(claim: Claim, outcome: Outcome) -> tuple[str, str, str]:
    match outcome:
        case Succeeded(result):
            return "succeeded", f',"result":{result}', ""
        case Retry(error, delay_s):
            text = _text(error)
            return "retry", f',"error":{text}', f'{{"delay_ms":{round(delay_s * 1000)},"error":{text}}}'
        case Failed(error, unloadable):
            text = _text(error)
            return "unloadable" if unloadable else "failed", f',"error":{text}', f'{{"error":{text}}}'
        case Cancelled(why):
            return "cancelled", f',"why":{_text(why)}', ""
        case Terminated(why):
            definition = _text(f"{claim.spec.incarnation} {claim.spec.generation}")
            return "terminated", f',"why":{_text(why)}', f'{{"definition":{definition}}}'
        case Released(started, why):
            return "released" if started else "unstarted", f',"why":{_text(f"given back: {why}")}', ""
        case Lost():
            raise ValueError("a lost run has nothing to settle")
