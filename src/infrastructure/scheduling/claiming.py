"""What this instance claims: when there is reason to, with which words, and what the answers mean."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from application.runs.registry import JobRegistry
from application.runs.runner import JobRunner
from domain.runs.run import Claim
from infrastructure.redis.connection import COMMAND_TIMEOUT_S
from infrastructure.runs.records import join_spec
from infrastructure.scheduling.clock_watch import ClockWatch

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 1.0
"""A tick comes at least this often: a wake-up that was lost costs no more than this."""
LONGEST_BETWEEN_CLAIMS_S = 0.25
"""A pass claims when there is reason to, and at least this often: for lapsed leases, and wake-ups that were lost."""
MOST_OFFERED = 16
"""Slots that an instance offers at most, and half of those that are free: the tick needs some too."""
UNSURE_MS = 1_000
"""How much earlier than a call that got no answer its claims may be dated: the store's time is known by estimate."""


@dataclass(frozen=True)
class Pace:
    """How a tick takes and claims."""

    lease_ms: int = 5_000
    renewals_per_lease: int = 4
    batch: int = 1_000
    takeover_limit: int = 5
    default_timeout_s: float = 300.0

    @property
    def renew_every_s(self) -> float:
        """Return the seconds between two renewals."""
        return self.lease_ms / self.renewals_per_lease / 1000


class Claiming:
    """Claim for one instance. Two claim for it: the tick's passes, in their thread, and ``ClaimAtOnce``, on the loop.

    ``turn`` is held by whoever gives slots away, or gives back what the store counts as ours and nobody here knows: for
    a whole pass, or for one claim on the loop. Who does not get it leaves that to the other. So no slot is given away
    twice, and nothing is given back whose claim is being answered. All but ``runs_expected`` and what the event
    loop says is for who has the turn.

    What a claim leaves free is offered with it: see ``HandedJobs``.
    """

    def __init__(
        self,
        instance_id: str,
        registry: JobRegistry,
        runner: JobRunner,
        pace: Pace,
        may_claim: Callable[[], bool],
        rules: str = "",
    ) -> None:
        """``rules`` are weights and limits of queues and jobs, as claim.lua reads them."""
        self._instance = instance_id
        self._lanes = registry.lanes
        self._runner = runner
        self._pace = pace
        self._may_claim = may_claim
        self._rules = rules
        self._takes = _takes(registry.lanes, rules, pace.lease_ms)
        self._next = 0.0
        self.clock = ClockWatch()
        """Told by the tick."""
        self.turn = threading.Lock()
        self.released: Callable[[], None] = lambda: None
        """Called when the turn ends, by whoever had it."""
        self.heard: Callable[[], list[Claim]] = list
        """Returns jobs that were handed over and are held from now on: whoever has the turn begins them."""
        self.runs_expected = True
        """Whether somebody said that runs are ready; any thread may say so."""
        self.claims_left = False
        """Whether ready runs were left at the last claim for want of slots."""
        self.held_back = False
        """Whether a limit held back ready runs then: the end of a run may let another go."""
        self.asked = 0.0
        """When a claim that was answered was asked for, by this machine's monotonic clock."""
        self.taken_over = 0
        """Runs taken over, since the start."""
        self.unsure_since: int | None = None
        """Since when (ms of the store's clock) claims may have been made that nobody here has heard of."""
        self.given_back_until = 0
        """What was claimed until then (ms) and nobody here knew of was given back."""
        self.listens = self.was_deaf = False
        """Whether what is handed over is heard, and whether some may have been missed; said by the event loop."""

    @property
    def free_slots(self) -> int:
        """How many runs may become this instance's own now."""
        return self._runner.free_slots if self._may_claim() else 0

    def release(self) -> None:
        """End the turn."""
        self.turn.release()
        self.released()

    def due_in_s(self) -> float:
        """Return when there is reason to claim again; not above 0 when there is now."""
        return 0.0 if self.runs_expected or self.claims_left else self._next - time.monotonic()

    def begin(self) -> None:
        """Take the reason for done: who gives one from now on, or frees a slot, causes another claim."""
        self.runs_expected = False
        self.claims_left = True

    def words(self, slots: int, patience_s: float = COMMAND_TIMEOUT_S) -> list[Any]:
        """Return the arguments of claim.lua, for at most so many runs. The answer is waited for ``patience_s``."""
        pace = self._pace
        lease = self.clock.in_time(pace.lease_ms, patience_s)
        may_offer = self.listens and self.clock.ahead_ms is not None
        offer = (min(slots // 2, MOST_OFFERED), self._takes) if may_offer else (0, "")
        most = min(slots, pace.batch)
        return [self._instance, lease, most, pace.takeover_limit, self._rules, *offer, *self._lanes]

    def take(self, reply: Any, asked: float) -> tuple[list[Claim], float]:
        """Hold what claim.lua gave to a call of ``asked``; return it, and in how many seconds another is due."""
        now, next_look, left, rows, taken_over, blocked = reply
        claims = [claim for row in rows if (claim := _readable(row)) is not None]
        self._runner.hold(claims)
        self.asked = asked
        self.taken_over += taken_over
        self.claims_left = left > 0
        self.held_back = blocked > 0
        if left and self._runner.free_slots:
            return claims, 0.0
        wait_s = (int(next_look) - int(now)) / 1000 if next_look else LONGEST_WAIT_S
        self._next = asked + min(wait_s, LONGEST_BETWEEN_CLAIMS_S)
        return claims, wait_s

    def doubt(self, asked: float) -> None:
        """Remember that a call of ``asked`` got no answer: what it claimed is given back by the next pass."""
        if self.unsure_since is None and self.clock.ahead_ms is not None:
            self.unsure_since = round(asked * 1000) + self.clock.ahead_ms - UNSURE_MS

    def doubt_what_was_handed(self) -> None:
        """Remember that this instance may have been deaf: what has not lapsed since is given back by the next pass."""
        if self.was_deaf:
            self.was_deaf = False
            self.doubt(time.monotonic() - self._pace.lease_ms / 1000)

    def words_of_return(self, since_ms: int) -> list[Any]:
        """Return the arguments of reclaim.lua: what was claimed since then (ms) and is not known here."""
        known = list(self._runner.held)
        return [self._instance, since_ms, len(known), *known, *self._lanes]


def claimed(row: Sequence[Any]) -> Claim:
    """Return what a script says of a run that it gave to this instance; raise ``ValueError`` when it cannot be read."""
    tag, payload, lane, attempt, retries, token, *_ = row
    spec, data = join_spec(tag, payload)
    return Claim(spec=spec, data=data, lane=lane, attempt=attempt, retries=retries, token=token)


def _readable(row: Sequence[Any]) -> Claim | None:
    """Return one that can be read; others lapse, and other instances take them over."""
    try:
        return claimed(row)
    except ValueError as error:
        log.error("a claimed run is left to others: {%s} cannot be read: %s", row[0], error)  # noqa: TRY400
        return None


def _takes(lanes: Iterable[str], rules: str, lease_ms: int) -> str:
    """Return what is told with an offer (see instances.lua): what is bound by a limit has to be claimed."""
    known = json.loads(rules) if rules else {"queues": {}, "jobs": {}}
    limited = {
        kind: {name for name, rule in known[kind].items() if "limit" in rule or "rate" in rule} for kind in known
    }
    free = [lane for lane in lanes if lane.rpartition("@")[0] not in limited["jobs"]]
    return "\n".join([str(lease_ms), *free, *(f"#{queue}" for queue in sorted(limited["queues"])), ""])
