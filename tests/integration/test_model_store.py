"""The store against a plain model of it: two instances take the protocol's steps in any order, late, twice and stale.

More examples: ``MODEL_EXAMPLES=5000 pytest tests/integration/test_model_store.py -o timeout=9999 --hypothesis-seed=1``.
A short run always has the same examples, and shows one that fails as it is, since to shrink it may take longer than a
test may last. ``MODEL_SHRINK=1`` and the same timeout have it shrunk.
"""

import asyncio
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from application.scheduling import states
from application.scheduling.store import Stored
from domain.runs.outcome import Cancelled, Failed, Outcome, Released, Retry, Succeeded, Terminated
from domain.runs.run import Claim, RunReason
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.policy import SchedulePolicy
from integration.model_play import Play, Sketch, Taken, pick

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))
SHRINK = (Phase.shrink,) if EXAMPLES or os.environ.get("MODEL_SHRINK") else ()
PARTS = range(1 if EXAMPLES else 4)
"""Of a short run; each has the time of a test, and a process of its own where there are several."""


def often(*common: object, rarely: tuple[object, ...]) -> st.SearchStrategy:
    """Choose one of ``common`` four times out of five or so."""
    return st.sampled_from([*common * (4 * len(rarely) // len(common) + 1), *rarely])


hands = st.integers(0, 1)
jobs = often("s", rarely=("t", "o"))
old = st.sampled_from([False, False, True])
stale = often(False, rarely=(True,))
recent = st.integers(0, 5)
"""Which of the things that were held so far, counted from the newest."""
outcomes = st.sampled_from(
    [
        Succeeded('{"n":1}'),
        Retry("no luck", 0.0),
        Retry("no luck", 3600.0),
        Retry("no luck", 3600.0),
        Failed("broken"),
        Failed("unknown", unloadable=True),
        Cancelled("asked"),
        Terminated("enough"),
        Released(started=True),
        Released(started=False),
    ]
)
sketches = st.builds(
    Sketch,
    caught_up=often(0, rarely=(1, 3)),
    fires=often(True, rarely=(False,)),
    missed=often(0, rarely=(2,)),
    dropped=often(0, rarely=(5,)),
    ends=st.sampled_from([False] * 19 + [True]),
)
definitions = st.fixed_dictionaries(
    {
        "interval": st.sampled_from([3600, 7200]),
        "version": often(1, rarely=(2,)),
        "policy": st.builds(SchedulePolicy, overlap=st.sampled_from(["skip", "queue_one", "allow(2)", "allow(3)"])),
    }
)


def step(times: int, name: str, **arguments: st.SearchStrategy[Any]) -> list[st.SearchStrategy[tuple[str, Any]]]:
    """Return a step so many times: as other strategies each, since hypothesis leaves out the same ones."""
    return [st.tuples(st.just(name), st.fixed_dictionaries(arguments)) for _ in range(times)]


STEPS = st.one_of(
    *step(2, "retry_and_fire", hand=hands, index=recent, sketch=sketches),
    *step(3, "overtake", hand=hands, after_silence=often(False, rarely=(True,))),
    *step(2, "put", hand=hands, job=jobs, definition=definitions, late=stale, index=recent),
    *step(1, "rest", hand=hands, job=jobs, what=often("pause", rarely=("park", "resume")), late=stale, index=recent),
    *step(1, "remove", hand=hands, job=jobs, late=stale, index=recent),
    *step(
        8,
        "fire",
        hand=hands,
        due=st.lists(jobs, min_size=1, max_size=2),
        hide=st.booleans(),
        now=often(True, rarely=(False,)),
        sketch=sketches,
        second=sketches,
        free=st.sampled_from([0, 0, 1, 9]),
    ),
    *step(
        1,
        "commit_late",
        hand=hands,
        plans=st.lists(st.tuples(recent, sketches), min_size=1, max_size=2),
        free=st.sampled_from([0, 9]),
    ),
    *step(
        1,
        "submit_one_shot",
        hand=hands,
        job=often("o", rarely=("p", "s")),
        what=st.sampled_from("xxy"),
        delayed=st.booleans(),
    ),
    *step(
        4,
        "submit",
        hand=hands,
        job=jobs,
        reason=st.sampled_from([RunReason.RUN_NOW, RunReason.BACKFILL]),
        late=stale,
        index=recent,
    ),
    *step(1, "cancel", hand=hands, indexes=st.lists(recent, min_size=1, max_size=2), executing=st.booleans()),
    *step(1, "unpark", hand=hands, job=jobs),
    *step(6, "claim", hand=hands, limit=often(9, rarely=(0, 1, 2)), takeovers=st.sampled_from([0, 1, 9, 9])),
    *step(
        7,
        "settle",
        hand=hands,
        ends=st.lists(st.tuples(recent, outcomes, old), min_size=1, max_size=3),
        by_owner=often(True, rarely=(False,)),
    ),
    *step(1, "settle_again", hand=hands, index=recent, outcome=outcomes, same=st.booleans()),
    *step(
        2,
        "renew",
        hand=hands,
        chosen=st.lists(st.tuples(recent, old), max_size=3),
        by_owner=often(True, rarely=(False,)),
    ),
    *step(
        2, "time_passes", what=often("leases", rarely=("one lease", "waits", "silence", "nobody waits")), index=recent
    ),
)
"""One strategy instead of a rule a step: hypothesis would turn some rules off in each example, and a run needs most."""


class StoreMachine(RuleBasedStateMachine):
    """The steps, and what they hold from earlier ones: schedules that were read or taken, and claims."""

    url = ""
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.play = Play(self.url, self.runner)
        self.reads: list[Stored] = []
        self.takes: list[Taken] = []

    def teardown(self) -> None:
        try:
            self.play.let_all_end()
        finally:
            self.play.close()

    @invariant()
    def model_and_store_agree(self) -> None:
        self.play.compare()

    @rule(step=STEPS)
    def play_one(self, step: tuple[str, dict[str, Any]]) -> None:
        name, arguments = step
        getattr(self, name)(**arguments)

    # Schedules.

    @initialize(definition=definitions)
    def begin(self, definition: dict[str, object]) -> None:
        self._put(0, "s", definition, None)

    def put(self, hand: int, job: str, definition: dict[str, object], late: bool, index: int) -> None:
        before = self._read(hand, job, late, index)
        self._put(hand, before.definition.id if before else job, definition, before)

    def _put(self, hand: int, job: str, definition: dict[str, object], before: Stored | None) -> None:
        wanted = RecurrentTaskDescriptor.model_validate({"id": job, "name": "Note", **definition})
        after = states.put(wanted, before, self.play.hands[hand].now())
        self.play.change(hand, before, after, wanted, "schedule.changed" if before else "schedule.created")

    def _read(self, hand: int, job: str, late: bool, index: int) -> Stored | None:
        """Read a schedule, or remember what was read of any one."""
        if late and self.reads:
            return pick(self.reads, index)  # type: ignore[no-any-return]
        stored = self.play.hands[hand].get(job)
        assert (stored is None) == (job not in self.play.model.schedules)
        if stored is not None:
            self.reads.append(stored)
        return stored

    def rest(self, hand: int, job: str, what: str, late: bool, index: int) -> None:
        before, now = self._read(hand, job, late, index), self.play.hands[hand].now()
        if before is None:
            return
        if what == "park":
            held = before.state.incarnation, before.state.generation
            after, topic = states.parked(before, now, "it does not load", *held), "schedule.changed"
        elif what == "pause" and not before.state.parked and not before.state.paused:
            after, topic = states.paused(before, now, "somebody", "for a test"), "schedule.paused"
        elif before.state.parked or before.state.paused:
            after, topic = states.resumed(before, now), "schedule.resumed"
        else:
            return
        if after is not None:
            self.play.change(hand, before, after, before.definition, topic)

    def remove(self, hand: int, job: str, late: bool, index: int) -> None:
        before = self._read(hand, job, late, index)
        if before is not None:
            self.play.change(hand, before, None, before.definition, "schedule.removed")

    # Fires.

    def fire(self, hand: int, due: list[str], hide: bool, now: bool, sketch: Sketch, second: Sketch, free: int) -> None:
        for job in due:
            standing = self.play.model.schedules.get(job)
            if standing is not None and standing.look is None:  # it would rest for most of the example
                self.rest(hand, job, "resume", late=False, index=0)
            self.play.comes_due(job)
        taken = self.play.take(hand, hide)
        self.takes += taken
        if taken and now:
            self.play.commit(hand, [*zip(taken, (sketch, second), strict=False)], free)

    def commit_late(self, hand: int, plans: list[tuple[int, Sketch]], free: int) -> None:
        if self.takes:
            self.play.commit(hand, [(pick(self.takes, index), sketch) for index, sketch in plans], free)

    # Runs that somebody asks for.

    def submit_one_shot(self, hand: int, job: str, what: str, delayed: bool) -> None:
        self.play.submit_one_shot(hand, job, what, delayed)

    def submit(self, hand: int, job: str, reason: RunReason, late: bool, index: int) -> None:
        stored = self._read(hand, job, late, index)
        if stored is not None:
            kind = f"now.{self.play.next_order()}" if reason is RunReason.RUN_NOW else f"backfill.{index}"
            self.play.submit(hand, stored, reason, kind)

    def cancel(self, hand: int, indexes: list[int], executing: bool) -> None:
        known = [*self.play.model.runs] or ["nothing"]
        self.play.cancel(hand, list(dict.fromkeys(pick(known, index) for index in indexes)), executing)

    def unpark(self, hand: int, job: str) -> None:
        self.play.unpark(hand, job)

    # Claims.

    def claim(self, hand: int, limit: int, takeovers: int) -> None:
        self.play.claim(hand, limit, takeovers)

    def settle(self, hand: int, ends: list[tuple[int, Outcome, bool]], by_owner: bool) -> None:
        if not self.play.claims:
            return
        batch = [(self._claim(index, late), outcome) for index, outcome, late in ends]
        self.play.settle(self.play.owner_of(batch[0][0]) if by_owner else hand, batch)

    def retry_and_fire(self, hand: int, index: int, sketch: Sketch) -> None:
        if self.play.live():
            claim = self._claim(index, late=False)
            self.play.settle(self.play.owner_of(claim), [(claim, Retry("no luck", 3600.0))])
            self.play.compare()
            self.fire(hand, [claim.spec.job_id], hide=True, now=True, sketch=sketch, second=sketch, free=0)

    def overtake(self, hand: int, after_silence: bool) -> None:
        self.time_passes("leases", 0)
        if after_silence:
            self.play.silence()
        self.play.compare()
        self.play.claim(hand, 9, 9)

    def _claim(self, index: int, late: bool) -> Claim:
        wanted = self.play.overtaken() if late else self.play.live()
        return pick(wanted or self.play.claims, index)  # type: ignore[no-any-return]

    def settle_again(self, hand: int, index: int, outcome: Outcome, same: bool) -> None:
        if self.play.claims:
            self.play.settle_again(hand, [] if same else [(self._claim(index, late=False), outcome)])

    def renew(self, hand: int, chosen: list[tuple[int, bool]], by_owner: bool) -> None:
        if self.play.claims:
            claims = [self._claim(index, late) for index, late in chosen]
            self.play.renew(self.play.owner_of(claims[0]) if claims and by_owner else hand, claims)

    # Time.

    def time_passes(self, what: str, index: int) -> None:
        leased = [run for run in self.play.model.runs.values() if run.place == "leased"]
        if what == "silence":
            self.play.silence()
        elif what == "nobody waits":
            self.play.hands[index % 2].call_too_late()
        elif what == "waits":
            self.play.ripen()
        else:
            self.play.lapse([pick(leased, index)] if leased and what == "one lease" else leased)


@pytest.mark.parametrize("part", PARTS)
def test_the_store_does_what_the_model_says(redis_url: str, part: int) -> None:
    with asyncio.Runner() as runner:
        machine = type("Machine", (StoreMachine,), {"url": redis_url, "runner": runner})
        chosen = settings(
            max_examples=EXAMPLES or 80 // len(PARTS),
            stateful_step_count=60,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            phases=[Phase.generate, *SHRINK],
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(machine if EXAMPLES else seed(part)(machine), settings=chosen)
