"""The store against a plain model of it: two instances take the protocol's steps in any order, late, twice and stale.

Every step is done in the real store first and then in the model; afterwards all that both know must be the same. More
examples: ``MODEL_EXAMPLES=5000 pytest tests/integration/test_model_store.py --hypothesis-seed=1``.
"""

import asyncio
import os
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from application.scheduling import states
from application.scheduling.store import Change, Stored
from domain.runs.outcome import Cancelled, Failed, Outcome, Released, Retry, Succeeded, Terminated
from domain.runs.run import Claim, RunReason
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.errors import InvalidTrigger, NotResumable
from domain.scheduling.policy import SchedulePolicy
from domain.scheduling.schedule import ScheduleState
from integration.model_hands import JOBS, LANES, ModelHand, Planned, Seen, Shared, TakenPlan, spec
from integration.model_of_store import MRun, MSchedule, StoreModel

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))
HOUR_MS = 3_600_000
LASTING = {"meta", "instances", "beats", "lanes", "done"}
"""What stays in a store in which nothing is scheduled; beside batches and events."""

hands = st.integers(0, 1)
jobs = st.sampled_from([*"sssst", *JOBS])
recent = st.integers(0, 6)
"""Which of the things that were held so far, counted from the newest; old ones are stale."""
outcomes = st.sampled_from(
    [
        Succeeded('{"n":1}'),
        Retry("no luck", 0.0),
        Retry("no luck", 3600.0),
        Failed("broken"),
        Failed("unknown", unloadable=True),
        Cancelled("asked"),
        Terminated("enough"),
        Released(started=True),
        Released(started=False),
    ]
)


@dataclass(frozen=True)
class Sketch:
    """What a plan is to be; ``index`` says of which take."""

    index: int
    caught_up: int
    fires: bool
    missed: int
    dropped: int
    ends: bool


plans = st.builds(
    Sketch,
    index=recent,
    caught_up=st.sampled_from([0, 0, 0, 1, 3]),
    fires=st.sampled_from([True] * 4 + [False]),
    missed=st.sampled_from([0, 0, 2]),
    dropped=st.sampled_from([0, 0, 5]),
    ends=st.sampled_from([False] * 9 + [True]),
)


def _is_expected(standing: MSchedule | None, before: Stored | None, after: ScheduleState | None) -> bool:
    """Tell whether a change is made: what was read must stand, but a removal asks for the incarnation alone."""
    if standing is None or before is None:
        return standing is None and before is None
    if after is None:
        return standing.state.incarnation == before.state.incarnation
    return standing.text == before.text


def _definition(state: ScheduleState) -> tuple[str, int]:
    return state.incarnation, state.generation


def pick(held: list[Any], index: int) -> Any:
    return held[-1 - index % len(held)]


class StoreMachine(RuleBasedStateMachine):
    """The steps, and what each holds: schedules that were read or taken, and claims."""

    url = ""
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.shared = Shared(self.url, f"m{uuid.uuid4().hex[:10]}", self.runner)
        self.hands = [ModelHand(self.shared, "a", LANES), ModelHand(self.shared, "b", LANES[::2])]
        self.model = StoreModel()
        self.reads: list[Stored] = []
        self.takes: list[tuple[str, str, RecurrentTaskDescriptor]] = []
        self.claims: list[Claim] = []
        self.sent: list[list[tuple[Claim, Outcome]]] = [[], []]
        self.order = 0
        self.ended: Counter[str] = Counter()
        self.seen: Seen = self.shared.look([])

    def teardown(self) -> None:
        try:
            self._let_all_end()
        finally:
            self.shared.close()

    # Schedules.

    @rule(
        hand=hands,
        job=jobs,
        overlap=st.sampled_from(["skip", "queue_one", "allow(2)", "allow(3)"]),
        interval=st.sampled_from([3600, 7200]),
        version=st.sampled_from([1, 1, 2]),
        stale=st.booleans(),
        index=recent,
    )
    def put(self, hand: int, job: str, overlap: str, interval: int, version: int, stale: bool, index: int) -> None:
        wanted = RecurrentTaskDescriptor(
            id=job, name="Note", interval=interval, version=version, policy=SchedulePolicy(overlap=overlap)
        )
        before = self.hands[hand].get(job)
        if stale and self.reads:
            before = pick(self.reads, index)
            wanted = wanted.model_copy(update={"id": before.definition.id})
        after = states.put(wanted, before, self.hands[hand].now())
        self._change(hand, before, after, wanted, "schedule.changed" if before else "schedule.created")

    @rule(hand=hands, job=jobs)
    def read(self, hand: int, job: str) -> None:
        stored = self.hands[hand].get(job)
        assert (stored is None) == (job not in self.model.schedules)
        if stored is not None:
            self.reads.append(stored)

    @precondition(lambda self: self.reads)
    @rule(hand=hands, index=recent)
    def pause(self, hand: int, index: int) -> None:
        before = pick(self.reads, index)
        after = states.paused(before, self.hands[hand].now(), "somebody", "for a test")
        if after is not None:
            self._change(hand, before, after, before.definition, "schedule.paused")

    @precondition(lambda self: self.reads)
    @rule(hand=hands, index=recent)
    def park(self, hand: int, index: int) -> None:
        before = pick(self.reads, index)
        held = (before.state.incarnation, before.state.generation)
        after = states.parked(before, self.hands[hand].now(), "does not load", *held)
        if after is not None:
            self._change(hand, before, after, before.definition, "schedule.changed")

    @precondition(lambda self: self.reads)
    @rule(hand=hands, index=recent)
    def resume(self, hand: int, index: int) -> None:
        before = pick(self.reads, index)
        try:
            after = states.resumed(before, self.hands[hand].now())
        except (NotResumable, InvalidTrigger):
            return
        self._change(hand, before, after, before.definition, "schedule.resumed")

    @precondition(lambda self: self.reads)
    @rule(hand=hands, index=recent)
    def remove(self, hand: int, index: int) -> None:
        before = pick(self.reads, index)
        self._change(hand, before, None, before.definition, "schedule.removed")

    def _change(
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

    @rule(job=jobs)
    def comes_due(self, job: str) -> None:
        schedule = self.model.schedules.get(job)
        if schedule is not None and schedule.look is not None:
            self.shared.comes_due(job, schedule.state.lane)
            schedule.look = "now"

    # Fires.

    @rule(hand=hands, hide=st.booleans())
    def take(self, hand: int, hide: bool) -> None:
        taken = self.hands[hand].take(60_000 if hide else 0, 10)
        assert set(taken) == self.model.take(self.hands[hand].lanes, hide)
        for schedule_id, text in taken:
            self.takes.append((schedule_id, text, self.model.schedules[schedule_id].definition))

    @precondition(lambda self: self.takes)
    @rule(hand=hands, plans=st.lists(plans, min_size=1, max_size=3), free=st.sampled_from([0, 0, 1, 9]))
    def commit(self, hand: int, plans: list[Sketch], free: int) -> None:
        made = {plan.schedule.id: plan for plan in map(self._plan, plans)}  # a tick takes a schedule once
        refused, claims = self.hands[hand].commit([*made.values()], free)
        taker = self.hands[hand].id
        assert refused == self.model.commit(taker, [*made.values()], free)
        for claim in claims:
            self._owned(claim, taker)

    def _plan(self, sketch: Sketch) -> TakenPlan:
        job, text, definition = pick(self.takes, sketch.index)
        state = ScheduleState.model_validate_json(text)
        after = None if sketch.ends else state.model_copy(update={"due": state.due + HOUR_MS})
        stem = f"{job}@{state.incarnation}."
        late = [state.due - n - 1 for n in reversed(range(sketch.caught_up))]
        planned = [Planned(f"{stem}catch_up.{due}", RunReason.CATCH_UP, self._order()) for due in late]
        if sketch.fires:
            planned.append(Planned(f"{stem}{state.due}", RunReason.FIRE, self._order(), sketch.missed))
        return TakenPlan(definition, text, after, planned, sketch.dropped)

    def _order(self) -> int:
        self.order += 1
        return self.order

    # Runs that somebody asks for.

    @rule(hand=hands, job=st.sampled_from(JOBS), what=st.sampled_from("xxy"), delayed=st.booleans())
    def submit_one_shot(self, hand: int, job: str, what: str, delayed: bool) -> None:
        due = 4_000_000_000_000 if delayed else None
        made = spec(job, job, RunReason.ONE_SHOT)
        data = f'{{"what":"{what}{delayed}"}}'
        answer = self.shared.wait(self.hands[hand].runs.submit(made, data, due_ms=due))
        expected = self.model.submit_one_shot(job, "Once@1", f"{what}{delayed}", delayed)
        assert (answer.verdict, answer.status) == expected

    @precondition(lambda self: self.reads)
    @rule(
        hand=hands,
        index=recent,
        reason=st.sampled_from([RunReason.RUN_NOW, RunReason.BACKFILL]),
        suffix=st.integers(1, 4),
    )
    def submit(self, hand: int, index: int, reason: RunReason, suffix: int) -> None:
        stored = pick(self.reads, index)
        job, state = stored.definition.id, stored.state
        kind = f"now.{self._order()}" if reason is RunReason.RUN_NOW else f"backfill.{suffix}"
        made = spec(f"{job}@{state.incarnation}.{kind}", job, reason, state.incarnation, state.generation)
        made = made.model_copy(update={"version": stored.definition.version})
        limit = stored.definition.policy.overlap_limit
        answer = self.shared.wait(self.hands[hand].runs.submit(made, "{}", limit=limit, state=stored.text))
        standing, known = self.model.schedules.get(job), self.model.runs.get(made.run_id)
        if known is not None:
            assert (answer.verdict, answer.status) == ("unchanged", known.status)
        elif standing is None or _definition(standing.state) != _definition(state):
            assert answer.verdict == "stale"
        else:
            gone = lambda run_id: not self.shared.client.exists(f"{self.shared.prefix}run:{run_id}")  # noqa: E731
            verdict, running = self.model.submit(job, made.run_id, reason, gone)
            assert (answer.verdict, set(answer.running)) == (verdict, set(running))

    @rule(hand=hands, indexes=st.lists(recent, min_size=1, max_size=2, unique=True))
    def cancel(self, hand: int, indexes: list[int]) -> None:
        known = [*self.model.runs] or ["nothing"]
        run_ids = list({pick(known, index) for index in indexes})
        assert self.shared.wait(self.hands[hand].runs.cancel(run_ids, "a test")) == self.model.cancel(run_ids)

    @rule(hand=hands, job=jobs)
    def unpark(self, hand: int, job: str) -> None:
        assert set(self.shared.wait(self.hands[hand].runs.unpark(job))) == self.model.unpark(job)

    # Claims.

    @rule(hand=hands, limit=st.sampled_from([0, 1, 2, 9, 9]), takeovers=st.sampled_from([1, 9]))
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

    @precondition(lambda self: self.claims)
    @rule(
        hand=hands,
        indexes=st.lists(recent, min_size=1, max_size=3),
        outcome=outcomes,
        as_owner=st.sampled_from([True] * 4 + [False]),
    )
    def settle(self, hand: int, indexes: list[int], outcome: Outcome, as_owner: bool) -> None:
        claims = [pick(self.claims, index) for index in indexes]
        if as_owner:
            run = self.model.runs.get(claims[0].spec.run_id)
            hand = hand if run is None or not run.owner else "ab".index(run.owner)
        self._settle(hand, [(claim, outcome) for claim in claims])

    def _settle(self, hand: int, batch: list[tuple[Claim, Outcome]]) -> None:
        owner = self.hands[hand]
        owner.batch += 1
        self.sent[hand] = batch
        assert owner.settle(owner.batch, batch) == self.model.settle(owner.id, owner.batch, batch)

    @rule(hand=hands)
    def settle_again(self, hand: int) -> None:
        owner, batch = self.hands[hand], self.sent[hand]
        if batch:
            assert owner.settle(owner.batch, batch) == self.model.settle(owner.id, owner.batch, batch)

    @precondition(lambda self: self.claims)
    @rule(hand=hands, indexes=st.lists(recent, max_size=3, unique=True))
    def renew(self, hand: int, indexes: list[int]) -> None:
        self._renew(hand, [pick(self.claims, index) for index in indexes])

    def _renew(self, hand: int, claims: list[Claim]) -> None:
        owner = self.hands[hand]
        assert owner.renew(claims) == self.model.renew(owner.id, claims)

    # Time.

    @rule(index=st.none() | recent)
    def leases_lapse(self, index: int | None) -> None:
        leased = [run for run in self.model.runs.values() if run.place == "leased"]
        if leased and index is not None:
            leased = [pick(leased, index)]
        self._lapse(leased)

    def _lapse(self, leased: list[MRun]) -> None:
        self.shared.lapse([(run.id, run.lane) for run in leased])
        self.model.quiet = False
        for run in leased:
            run.lapsed = True

    @rule()
    def what_waits_comes_due(self) -> None:
        self.shared.ripen()
        for run in self.model.runs.values():
            run.ripe = run.place == "later"

    @rule()
    def nobody_beats(self) -> None:
        self.shared.silence()
        self.model.silent = True

    # The comparison.

    @invariant()
    def model_and_store_agree(self) -> None:
        model, events = self.model, self.model.events
        about = {event["about"] for event in events}
        seen = self.seen = self.shared.look(sorted({*model.runs, *about}))
        model.events = []
        assert seen.states == {name: schedule.text for name, schedule in model.schedules.items()}
        assert seen.looks == {name: one.look for name, one in model.schedules.items() if one.look}
        self._compare_runs(seen)
        self._compare_statistics(seen)
        self._compare_events(seen.events, events)

    def _compare_runs(self, seen: Seen) -> None:
        model = self.model
        assert seen.places == {run.id: run.place for run in model.runs.values() if run.place != "done"}
        assert set(seen.runs) == set(model.runs)
        for run in model.runs.values():
            found = seen.runs[run.id]
            assert (found["status"], int(found["attempt"])) == (run.status, run.attempt), run
            assert int(found.get("retries", 0)) == run.retries, run
            assert int(found.get("takeovers", 0)) == run.takeovers, run
            if run.place != "done":
                assert found.get("owner", "") == run.owner, run
                assert ("stopped" in found) == run.stopped, run
        for job in JOBS:
            assert seen.backlog[job] == model.backlog.get(job, [])
            assert seen.active[job] == {run.id for run in model.active(job)}

    def _compare_statistics(self, seen: Seen) -> None:
        for job, schedule in self.model.schedules.items():
            counted = seen.statistics[job]
            assert counted.counts.model_dump() == {
                name: schedule.counts[name] for name in type(counted.counts).model_fields
            }
            assert counted.last_outcome == schedule.outcome
            assert seen.history[job] == schedule.history
        for job in {*JOBS} - {*self.model.schedules}:
            assert seen.history[job] == []

    def _compare_events(self, seen: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
        """Compare what was announced, in the order of each run and schedule; facts that the model names must agree."""
        by_about: dict[str, list[dict[str, Any]]] = {}
        for event in seen:
            about = event["id"] if event["topic"].startswith("schedule.") else event["run_id"]
            by_about.setdefault(f"{event['topic'][:3]} {about}", []).append(event)
        for event in expected:
            about = event.pop("about")
            found = by_about.get(f"{event['topic'][:3]} {about}") or [{}]
            assert found.pop(0).items() >= event.items(), (event, seen)
        assert not [rest for rest in by_about.values() if rest]

    # The end.

    def _let_all_end(self) -> None:
        """Remove every schedule, let every run end, and see that the store is as empty as it was."""
        for schedule in list(self.model.schedules.values()):
            before = Stored(schedule.text, schedule.state, schedule.definition)
            self._change(0, before, None, schedule.definition, "schedule.removed")
        while open_runs := [run for run in self.model.runs.values() if run.place != "done"]:
            before = len(open_runs)
            for job in {run.job for run in open_runs}:
                self.unpark(0, job)
            self.what_waits_comes_due()
            self._renew(0, [])  # a beat, after which no silence forbids taking over
            self._lapse([run for run in open_runs if run.place == "leased"])
            self.model_and_store_agree()
            first = len(self.claims)
            self.claim(0, 100, 9)
            self._settle(0, [(claim, Succeeded()) for claim in self.claims[first:]])
            self.model_and_store_agree()
            left = [run for run in self.model.runs.values() if run.place != "done"]
            assert len(left) < before, f"nothing moves any more: {left}"
        kept = {f"run:{run_id}" for run_id in self.model.runs}
        stray = {key for key in self.shared.all_keys() if key.partition(":")[0] not in {"ev", "batch"}}
        assert stray - LASTING - kept == set()


def test_the_store_does_what_the_model_says(redis_url: str) -> None:
    with asyncio.Runner() as runner:
        machine = type("Machine", (StoreMachine,), {"url": redis_url, "runner": runner})
        chosen = settings(
            max_examples=EXAMPLES or 60,
            stateful_step_count=50,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(machine, settings=chosen)
