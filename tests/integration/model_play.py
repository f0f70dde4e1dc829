"""Every step is done in the real store first, then in its model; what the store answers must be what the model says."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from application.scheduling import states
from application.scheduling.store import Change, Stored
from domain.runs.outcome import Outcome, Succeeded
from domain.runs.run import Claim, RunReason
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.schedule import ScheduleState
from integration.model_comparison import compare
from integration.model_hands import LANES, ModelHand, Planned, Seen, Shared, TakenPlan, spec
from integration.model_of_runs import MRun, MSchedule
from integration.model_of_store import StoreModel

HOUR_MS = 3_600_000
LASTING = {"meta", "instances", "beats", "lanes", "done", "dead", "pace"}
"""What stays in a store in which nothing is scheduled; beside batches and events."""


@dataclass(frozen=True)
class Sketch:
    """What a plan is to be."""

    caught_up: int = 0
    fires: bool = True
    missed: int = 0
    dropped: int = 0
    ends: bool = False


@dataclass(frozen=True)
class Taken:
    """A schedule that was taken, as it was then."""

    text: str
    definition: RecurrentTaskDescriptor


class Play:
    """One store, its model, and two instances ``a`` and ``b``; the second knows fewer jobs."""

    def __init__(self, url: str, runner: asyncio.Runner) -> None:
        self.shared = Shared(url, f"m{uuid.uuid4().hex[:10]}", runner)
        self.hands = [ModelHand(self.shared, "a", LANES), ModelHand(self.shared, "b", LANES[::2])]
        self.model = StoreModel()
        self.claims: list[Claim] = []
        self.sent: list[list[tuple[Claim, Outcome]]] = [[], []]
        self.order = 0
        self.seen: Seen = self.shared.look([])

    def compare(self) -> None:
        self.seen = compare(self.shared, self.model)

    # Schedules and their fires.

    def change(
        self,
        hand: int,
        before: Stored | None,
        after: ScheduleState | None,
        definition: RecurrentTaskDescriptor,
        topic: str,
    ) -> None:
        job, model = definition.id, self.model
        look = states.look(definition, after) if after else None
        change = Change(job, before, after, topic, {"id": job, "why": "a test"}, definition, look)
        changed = self.hands[hand].change(change)
        standing = model.schedules.get(job)
        if not _is_expected(standing, before, after):
            if standing is not None and before is not None and after is not None:
                model.outrun(standing, before.state)
            current = changed.current.text if changed.current else None
            assert (changed.done, current) == (False, standing.text if standing and after else None)
        elif before is None and model.one_shot(job):
            assert (changed.done, changed.one_shot) == (False, True)
        elif after is None:
            assert set(changed.running) == set(model.remove(job))
        else:
            assert changed.done
            model.write(after, definition, topic)

    def comes_due(self, job: str) -> None:
        schedule = self.model.schedules.get(job)
        if schedule is not None and schedule.look is not None:
            self.shared.comes_due(job, schedule.state.lane)
            schedule.look = "now"

    def take(self, hand: int, hide: bool) -> list[Taken]:
        taken = self.hands[hand].take(60_000 if hide else 0, 10)
        assert set(taken) == self.model.take(self.hands[hand].lanes, hide)
        return [Taken(text, self.model.schedules[schedule_id].definition) for schedule_id, text in taken]

    def commit(self, hand: int, sketched: Sequence[tuple[Taken, Sketch]], free: int) -> None:
        made = {taken.definition.id: self._plan(taken, sketch) for taken, sketch in sketched}  # each once in a call
        refused, claims = self.hands[hand].commit([*made.values()], free)
        taker = self.hands[hand].id
        assert refused == self.model.commit(taker, [*made.values()], free)
        for claim in claims:
            self._owned(claim, taker)

    def _plan(self, taken: Taken, sketch: Sketch) -> TakenPlan:
        state = ScheduleState.model_validate_json(taken.text)
        after = None if sketch.ends else state.model_copy(update={"due": state.due + HOUR_MS})
        stem = f"{taken.definition.id}@{state.incarnation}."
        late = [state.due - n - 1 for n in reversed(range(sketch.caught_up))]
        planned = [Planned(f"{stem}catch_up.{due}", RunReason.CATCH_UP, self.next_order()) for due in late]
        if sketch.fires:
            planned.append(Planned(f"{stem}{state.due}", RunReason.FIRE, self.next_order(), sketch.missed))
        return TakenPlan(taken.definition, taken.text, after, planned, sketch.dropped)

    def next_order(self) -> int:
        self.order += 1
        return self.order

    # Runs that somebody asks for.

    def submit_one_shot(self, hand: int, job: str, what: str, delayed: bool) -> None:
        due = 4_000_000_000_000 if delayed else None
        made = spec(job, job, RunReason.ONE_SHOT)
        data = f'{{"what":"{what}{delayed}"}}'
        answer = self.shared.wait(self.hands[hand].runs.submit(made, data, due_ms=due))
        expected = self.model.submit_one_shot(job, "Once@1", f"{what}{delayed}", delayed)
        assert (answer.verdict, answer.status) == expected

    def submit(self, hand: int, stored: Stored, reason: RunReason, kind: str) -> None:
        job, state = stored.definition.id, stored.state
        made = spec(f"{job}@{state.incarnation}.{kind}", job, reason, state.incarnation, state.generation)
        made = made.model_copy(update={"version": stored.definition.version})
        limit = stored.definition.policy.overlap_limit
        answer = self.shared.wait(self.hands[hand].runs.submit(made, "{}", limit=limit, state=stored.text))
        standing, known = self.model.schedules.get(job), self.model.runs.get(made.run_id)
        if known is not None:
            assert (answer.verdict, answer.status) == ("unchanged", known.status)
        elif standing is None or _identity(standing.state) != _identity(state):
            assert answer.verdict == "stale"
        else:
            verdict, running = self.model.submit(job, made.run_id, reason, self._is_gone)
            assert (answer.verdict, set(answer.running)) == (verdict, set(running))

    def _is_gone(self, run_id: str) -> bool:
        return not self.shared.client.exists(f"{self.shared.prefix}run:{run_id}")

    def cancel(self, hand: int, run_ids: Sequence[str], executing: bool) -> None:
        answer = self.shared.wait(self.hands[hand].runs.cancel(run_ids, "a test", executing=executing))
        assert answer == self.model.cancel(run_ids, executing)

    def unpark(self, hand: int, job: str) -> None:
        assert set(self.shared.wait(self.hands[hand].runs.unpark(job))) == self.model.unpark(job)

    # Claims.

    def claim(self, hand: int, limit: int, takeovers: int) -> None:
        scores, owner = self.seen.scores, self.hands[hand]
        now, claims = owner.claim(limit, takeovers)
        expected = self.model.claim(owner.id, owner.lanes, limit, takeovers, scores, now)
        assert [claim.spec.run_id for claim in claims] == expected
        for claim in claims:
            self._owned(claim, owner.id)

    def _owned(self, claim: Claim, owner: str) -> None:
        run = self.model.runs[claim.spec.run_id]
        assert (run.owner, run.attempt, run.retries, run.lane) == (owner, claim.attempt, claim.retries, claim.lane)
        assert int(claim.token) > int(run.token)
        run.token = claim.token
        self.claims.append(claim)

    def live(self) -> list[Claim]:
        """Return the claims that hold."""
        tokens = {run.token for run in self.model.runs.values() if run.status == "running"}
        return [claim for claim in self.claims if claim.token in tokens]

    def overtaken(self) -> list[Claim]:
        """Return the claims of runs that execute by another claim."""
        tokens = {run.id: run.token for run in self.model.runs.values() if run.status == "running"}
        return [claim for claim in self.claims if tokens.get(claim.spec.run_id, claim.token) != claim.token]

    def owner_of(self, claim: Claim) -> int:
        run = self.model.runs.get(claim.spec.run_id)
        return "ab".index(run.owner) if run is not None and run.owner else 0

    def settle(self, hand: int, batch: list[tuple[Claim, Outcome]]) -> None:
        self.hands[hand].batch += 1
        self.sent[hand] = batch
        self._send(hand, batch)

    def settle_again(self, hand: int, changed: list[tuple[Claim, Outcome]]) -> None:
        """Send the last batch again; even if it held something else, its number has been answered."""
        if self.sent[hand]:
            self._send(hand, changed or self.sent[hand])

    def _send(self, hand: int, batch: list[tuple[Claim, Outcome]]) -> None:
        owner = self.hands[hand]
        assert owner.settle(owner.batch, batch) == self.model.settle(owner.id, owner.batch, batch)

    def renew(self, hand: int, claims: list[Claim]) -> None:
        owner = self.hands[hand]
        assert owner.renew(claims) == self.model.renew(owner.id, claims)

    # Time.

    def lapse(self, leased: list[MRun]) -> None:
        self.shared.lapse([(run.id, run.lane) for run in leased])
        self.model.quiet = False
        for run in leased:
            run.lapsed = True

    def ripen(self) -> None:
        """Let the time of all that waits for a time have come."""
        self.shared.ripen()
        for run in self.model.runs.values():
            run.ripe = run.place == "later"

    def silence(self) -> None:
        self.shared.silence()
        self.model.silent = True

    # The end.

    def let_all_end(self) -> None:
        """Remove every schedule, let every run end, and see that the store is as empty as it was."""
        for schedule in list(self.model.schedules.values()):
            before = Stored(schedule.text, schedule.state, schedule.definition)
            self.change(0, before, None, schedule.definition, "schedule.removed")
        while left := [run for run in self.model.runs.values() if run.place != "done"]:
            self._move_on(left)
            still = [run for run in self.model.runs.values() if run.place != "done"]
            assert len(still) < len(left), f"nothing moves any more: {still}"
        kept = {"runs", "payloads"} if self.model.runs else set()
        stray = {key for key in self.shared.all_keys() if key.partition(":")[0] not in {"ev", "batch", "audit"}}
        assert stray - LASTING - kept == set()

    def _move_on(self, left: list[MRun]) -> None:
        for job in {run.job for run in left}:
            self.unpark(0, job)
        self.ripen()
        self.renew(0, [])  # a beat, after which no silence forbids taking over
        self.lapse([run for run in left if run.place == "leased"])
        self.compare()
        known = len(self.claims)
        self.claim(0, 100, 9)
        self.settle(0, [(claim, Succeeded()) for claim in self.claims[known:]])
        self.compare()

    def close(self) -> None:
        self.shared.close()


def _is_expected(standing: MSchedule | None, before: Stored | None, after: ScheduleState | None) -> bool:
    """Tell whether a change is made: what was read must stand, but a removal asks for the incarnation alone."""
    if standing is None or before is None:
        return standing is None and before is None
    if after is None:
        return standing.state.incarnation == before.state.incarnation
    return standing.text == before.text


def _identity(state: ScheduleState) -> tuple[str, int]:
    return state.incarnation, state.generation


def pick(held: Sequence[Any], index: int) -> Any:
    """Return one of what is held, counted from the newest."""
    return held[-1 - index % len(held)]
