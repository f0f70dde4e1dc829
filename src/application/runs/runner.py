"""Hold claimed runs, execute them within their time, and leave what they ended with to be settled."""

import asyncio
import contextvars
import functools
import logging
import threading
from collections.abc import Callable, Iterable
from datetime import datetime

from application.runs.attempt import Attempts, error_text, failure, utc_now
from application.runs.context import StopSign
from application.runs.execution import Execution, final, reason_of
from application.runs.injection import Injector
from application.runs.observer import UNOBSERVED, RunObserver
from application.runs.registry import JobRegistry
from application.runs.store import Settlements
from application.runs.threads import BodyThreads
from application.tasks import end_task
from domain.runs.outcome import Cancelled, Failed, Lost, Outcome, Released
from domain.runs.run import Claim

log = logging.getLogger(__name__)

CLEAN_UP_S = 5.0
"""How long a body may take to end once it was cancelled; then it is left behind and its run is settled without it."""
ARMED_AFTER_S = 0.05
"""A run gets a timer for its timeout when it has lasted so long, in seconds: most end sooner, and timers are dear."""


class JobRunner:
    """The heart: every claimed run of this instance is held, executed and finished here.

    ``held`` maps run ids to claims from the claim until the store has settled them: what must be renewed, and what
    fills the slots. The tick's thread adds to it, the event loop takes away. Whatever a body does, its claim is
    finished once: a body that ignores its cancellation is left behind, counted, and keeps a slot until it ends.
    """

    def __init__(
        self,
        registry: JobRegistry,
        injector: Injector,
        settlements: Settlements,
        *,
        concurrency: int,
        clean_up_s: float = CLEAN_UP_S,
        observer: RunObserver = UNOBSERVED,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settlements = settlements
        self.concurrency = concurrency
        """How many slots there are."""
        self._clean_up_s = clean_up_s
        self.held: dict[str, Claim] = {}
        self.threads = BodyThreads()
        self.observer = observer
        self._attempts = Attempts(registry, injector, self.threads, observer, now)
        self._executing: dict[str, Execution] = {}
        self._left_behind: set[Execution] = set()
        self._young: list[Execution] = []
        self._arming: asyncio.TimerHandle | None = None
        self.freed: Callable[[], None] = lambda: None
        """Called when a slot became free; on the event loop."""
        self._beginning = threading.Lock()
        """Held for microseconds: what one thread withdraws, the loop must not begin."""
        self._settling: set[Claim] = set()

    @property
    def free_slots(self) -> int:
        """How many runs may be claimed now. Any thread may ask.

        A run whose body has ended needs no slot while its outcome is on its way to the store; but only so many as there
        are slots may be on their way, so that a store that is slow is not buried in them.
        """
        held = len(self.held)  # first: what the loop settles between the two must not count for nothing
        executing = held - min(len(self._settling), self.concurrency)
        return max(self.concurrency - executing - self.abandoned, 0)

    @property
    def abandoned(self) -> int:
        """How many bodies still run, in threads or on the loop, though their run is over. Any thread may ask."""
        return self.threads.abandoned + len(self._left_behind)

    def hold(self, claims: Iterable[Claim]) -> None:
        """Count claims as ours from now on; called by the thread that made them, before ``start``."""
        for claim in claims:
            self.held[claim.spec.run_id] = claim

    def start(self, claims: Iterable[Claim]) -> None:
        """Begin to execute held claims; on the event loop."""
        for claim in claims:
            with self._beginning:
                if self.held.get(claim.spec.run_id) is not claim or claim in self._settling:
                    continue  # lost, withdrawn or given back before it began
                older = self._executing.get(claim.spec.run_id)
                if older is not None:
                    self._end(older, Lost("this instance itself has taken it over, with a newer claim"))
                    self._leave_behind(older)
                self._begin(claim)

    def refuse(self, claim: Claim) -> None:
        """Give back a held run that there is no slot for; on the event loop, before ``start``."""
        if self.held.get(claim.spec.run_id) is claim:
            self._finish(claim, Released(started=False))

    def withdraw(self) -> list[Claim]:
        """Take back every held claim whose body has not begun, and return them: they will not begin here.

        For another thread, while the event loop is blocked. The caller gives them back to the store.
        """
        with self._beginning:
            waiting = [
                claim
                for claim in list(self.held.values())
                if claim not in self._settling and not self._has_begun(claim)
            ]
            for claim in waiting:
                del self.held[claim.spec.run_id]
        return waiting

    def revoke(self, run_id: str, why: str) -> None:
        """Cancel the body of a run that is no longer ours; its outcome is dropped."""
        claim = self.held.get(run_id)
        if claim is None or claim in self._settling:
            return
        execution = self._execution(claim)
        if execution is None:
            self._finish(claim, Lost(why))
        else:
            self._end(execution, Lost(why))

    async def drain(self, grace_s: float, hurry: asyncio.Event | None = None) -> None:
        """Let bodies end for ``grace_s`` seconds, or until ``hurry``, then cancel them and give their runs back.

        Returns when every held claim is finished: at the latest ``clean_up_s`` after the grace. A body that came to
        its end in that time counts.
        """
        for claim in list(self.held.values()):
            if self._execution(claim) is None and claim not in self._settling:
                self._finish(claim, Released(started=False))
        await self._wait(grace_s, hurry or asyncio.Event())
        for execution in list(self._executing.values()):
            self._end(execution, Released(started=True))
        await self._wait(self._clean_up_s, asyncio.Event())  # by then each has ended, or was left behind
        await asyncio.sleep(0)  # whoever ended in the last moment is finished by its callback

    def forget(self, claims: Iterable[Claim]) -> None:
        """Free the slots of claims that the store has answered for."""
        for claim in claims:
            self._settling.discard(claim)
            if self.held.get(claim.spec.run_id) is claim:
                del self.held[claim.spec.run_id]

    def _execution(self, claim: Claim) -> Execution | None:
        """Return the execution of this very claim, not that of another claim of the same run."""
        execution = self._executing.get(claim.spec.run_id)
        return execution if execution is not None and execution.claim is claim else None

    def _has_begun(self, claim: Claim) -> bool:
        execution = self._execution(claim)
        return execution is not None and (execution.begun or execution.ending is not None)

    def _begin(self, claim: Claim) -> None:
        loop = asyncio.get_running_loop()
        stopped = StopSign()

        def report(percent: float, message: str) -> None:
            if not stopped.raised:
                loop.call_soon_threadsafe(self._settlements.progress, claim, percent, message)

        execution = Execution(claim, loop.time() + claim.spec.timeout_s, stopped)
        # An empty context: what a container keeps per context is made anew for this run, and leaks into no other.
        execution.task = loop.create_task(
            self._attempt(execution, report),
            name=f"run {claim.spec.run_id}",
            context=contextvars.Context(),
        )
        self._executing[claim.spec.run_id] = execution
        if claim.spec.timeout_s < 2 * ARMED_AFTER_S:
            self._arm(execution)
            return
        self._young.append(execution)
        if self._arming is None:
            self._arming = loop.call_later(ARMED_AFTER_S, self._arm_young)

    def _arm_young(self) -> None:
        """Give those a timer that began lately and have not ended, and finish what others cancelled before it began."""
        young, self._young, self._arming = self._young, [], None
        for execution in young:
            if self._execution(execution.claim) is not execution or execution.ending is not None:
                continue
            if execution.task.done():
                self._never_began(execution, execution.task)
            else:
                self._arm(execution)

    def _arm(self, execution: Execution) -> None:
        loop = asyncio.get_running_loop()
        execution.timer = loop.call_at(execution.deadline, self._strike, execution.claim)

    async def _attempt(self, execution: Execution, report: Callable[[float, str], None]) -> None:
        """Execute a claim and finish it, unless it was taken back before it began."""
        claim = execution.claim
        with self._beginning:
            execution.begun = (
                self._executing.get(claim.spec.run_id) is execution and self.held.get(claim.spec.run_id) is claim
            )
        outcome: Outcome
        if not execution.begun:
            outcome = Lost("it was taken back before it began")
        else:
            try:
                self.observer.began(claim)
                outcome = await self._attempts.execute(claim, execution.stopped, report)
            except asyncio.CancelledError:
                outcome = Cancelled("the body was cancelled")
            except Exception as error:
                log.exception("an attempt ended with an error of the program's own")
                outcome = Failed(error_text(error))
        self._ended(execution, outcome)

    def _strike(self, claim: Claim) -> None:
        """Cancel a body whose time is up."""
        execution = self._execution(claim)
        if execution is not None:
            error = TimeoutError(f"the body did not end within its timeout of {claim.spec.timeout_s:g} s")
            self._end(execution, failure(claim, error, error))

    def _end(self, execution: Execution, ending: Outcome) -> None:
        """Cancel a body from outside. The first word stands, but for a loss: nothing may be settled then."""
        if execution.ending is None:
            execution.stopped.raised = True
            execution.disarm()
            execution.timer = asyncio.get_running_loop().call_later(self._clean_up_s, self._leave_behind, execution)
            if not execution.begun:  # then its coroutine will never run, and cannot finish it
                execution.task.add_done_callback(functools.partial(self._never_began, execution))
            execution.task.cancel(reason_of(ending))
        if execution.ending is None or isinstance(ending, Lost):
            execution.ending = ending

    def _never_began(self, execution: Execution, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            self._ended(execution, Cancelled("the body was cancelled"))

    def _ended(self, execution: Execution, outcome: Outcome) -> None:
        """Finish a claim whose body has ended, however it came to that."""
        execution.stopped.raised = True
        execution.disarm()
        if execution in self._left_behind:
            self._left_behind.discard(execution)
            log.warning("the body of run %s, which was left behind, ended: %s", execution.claim.spec.run_id, outcome)
            return
        if self._execution(execution.claim) is execution:
            self._forget_body(execution)
        self._finish(execution.claim, final(outcome, execution.ending))

    def _leave_behind(self, execution: Execution) -> None:
        """Finish a claim whose body does not end, though it was cancelled."""
        assert execution.ending is not None  # noqa: S101 - only what was ended is left behind
        execution.disarm()
        execution.task.cancel()  # once more: until Python 3.12 asyncio.wait_for may swallow the first
        self._forget_body(execution)
        self._left_behind.add(execution)
        self._finish(execution.claim, execution.ending)

    def _forget_body(self, execution: Execution) -> None:
        del self._executing[execution.claim.spec.run_id]
        if not self._executing and self._arming is not None:
            self._arming.cancel()
            self._arming = None
            self._young.clear()

    def _finish(self, claim: Claim, outcome: Outcome) -> None:
        self.observer.ended(claim, outcome)
        if self.held.get(claim.spec.run_id) is not claim and isinstance(outcome, Lost):
            return  # taken back, or replaced by a newer claim: whoever did that has said so
        if isinstance(outcome, Lost):
            log.warning("run %s, attempt %d, was lost: %s", claim.spec.run_id, claim.attempt, outcome.why)
            self.forget([claim])
        else:
            self._settling.add(claim)
            self._settlements.add(claim, outcome)
            self.freed()

    async def _wait(self, timeout_s: float, cut_short: asyncio.Event) -> None:
        """Wait until all bodies have ended, for ``timeout_s`` seconds at most, or until somebody cuts it short."""
        tasks = [execution.task for execution in self._executing.values()]
        if not tasks:
            return
        ended = asyncio.create_task(asyncio.wait(tasks, timeout=timeout_s))
        cut = asyncio.create_task(cut_short.wait())
        try:
            await asyncio.wait([ended, cut], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_task(ended)
            await end_task(cut)
