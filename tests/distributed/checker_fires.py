"""Hold against every fire that was due what is told of it: a run, an announcement, or nothing."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from distributed.checker_evidence import Event, Evidence
from distributed.checker_lives import Life
from distributed.checker_runs import Verdict, due_of, milliseconds_of

WITHDRAWN = frozenset({"changed", "paused", "parked", "stopped"})
UNTOLD_MS = 2_000
"""What becomes late while a change is on its way to the store is not in the count that it carries."""


@dataclass(frozen=True)
class FireRun:
    """A run of a fire, with what its first event tells and how it was judged."""

    run_id: str
    due: int
    missed: int
    queued_at: int
    verdict: Verdict


@dataclass(frozen=True)
class Judged:
    """One fire, its class and why; ``run_id`` where it had a run."""

    schedule_id: str
    due: int
    kind: str
    why: str = ""
    run_id: str = ""
    late_ms: int = 0
    """For a withdrawn fire: how late it was already."""


class FireJudge:
    """Judge the fires of one incarnation."""

    def __init__(self, life: Life, evidence: Evidence) -> None:
        self._life = life
        self._told: dict[int, list[tuple[str, str, str]]] = defaultdict(list)
        self._wrong: list[Judged] = []
        self._announced: set[int] = set()
        self._planned = [segment.planned() for segment in life.segments]
        self._place = {due: (s, i) for s, dues in enumerate(self._planned) for i, due in enumerate(dues)}
        self._until = evidence.until

    def knows(self, due: int) -> bool:
        """Tell whether ``due`` is a fire of this incarnation."""
        return due in self._place

    def tell_run(self, run: FireRun) -> None:
        """Note a run, and the fires before it that it stands for."""
        removed_at = self._life.removed_at
        if removed_at is not None and run.queued_at > removed_at:
            self._blame(run.due, "its run was made after its schedule was removed", run.run_id)
        if not self.knows(run.due):
            self._blame(run.due, "it has a run, but no such fire was due", run.run_id)
            return
        self._told[run.due].append((run.verdict.kind, run.verdict.why, run.run_id))
        self._tell(run.due, -run.missed, "coalesced", run.run_id)

    def tell_skip(self, due: int, count: int) -> None:
        """Note a fire that overlap skipped, with those before it that it stands for."""
        if not self.knows(due):
            self._blame(due, "it was announced as skipped, but no such fire was due")
            return
        self._told[due].append(("skipped", "", ""))
        self._tell(due, 1 - count, "skipped")

    def tell_missed(self, since: int, count: int) -> None:
        """Note fires that nobody could take in time."""
        self._told[since].append(("missed", "", ""))
        self._tell(since, count - 1, "missed")

    def hear_withdrawn(self, since: int, count: int, why: str) -> bool:
        """Note fires that a change took away while they were late; return whether there were such."""
        if why == "stopped":  # the state that a removal met is not in its event
            last = self._life.segments[-1]
            ended_at = last.ended_at or 0
            return since in takewhile(lambda due: last.look(due) <= ended_at, last.dues())
        late = sorted(due for due in self._life.withdrawn() if due >= since)
        if not late or late[0] != since:
            return False
        self._announced.update(late[:count])
        return True

    def judged(self) -> list[Judged]:
        """Return every fire once, and what is wrong besides."""
        found = [Judged(self._life.id, 0, kind, why) for kind, why in self._life.faults]
        for segment, dues in zip(self._life.segments, self._planned, strict=True):
            told = [due for due in dues if due in self._told]
            if segment.cut_short():
                self._blame(segment.ended_at or 0, "it was ended, but there was a further fire")
            known = segment.stop is not None or segment.whole
            sure = dues[-1] if known and dues else max([*told, segment.at_least - 1])
            found.extend(self._judge(due, due <= sure) for due in dues)
        withdrawn = self._life.withdrawn()
        for due, late in withdrawn.items():
            if late > UNTOLD_MS and due not in self._announced:
                self._blame(due, f"it was {late} ms late when a change took it away, and nobody was told")
            found.append(Judged(self._life.id, due, "withdrawn", late_ms=late))
        if self._life.segments and self._life.segments[-1].ended_at is None:
            why = "nobody planned it, and nothing took it away"
            late = self._life.segments[-1].overdue(self._until)
            found.extend(Judged(self._life.id, due, "unexplained", why) for due in late)
        return [*found, *self._wrong]

    def _judge(self, due: int, must_be_told: bool) -> Judged:
        told = self._told.get(due, [])
        if not told:
            if must_be_told:
                return Judged(self._life.id, due, "unexplained", "it was planned: no run, no announcement")
            return Judged(self._life.id, due, "withdrawn")
        if len(told) > 1:
            runs = [run_id for kind, _, run_id in told if run_id and kind != "coalesced"]
            what = ", ".join(f"{kind} {run_id}".strip() for kind, _, run_id in told)
            kind = "doubled" if len(runs) > 1 else "wrong"
            return Judged(self._life.id, due, kind, f"told of twice: {what}", next(iter(runs), ""))
        ((kind, why, run_id),) = told
        return Judged(self._life.id, due, kind, why, run_id)

    def _tell(self, due: int, others: int, kind: str, run_id: str = "") -> None:
        """Note the fires beside ``due``, as many before (negative) or after it as ``others`` says."""
        segment, place = self._place[due]
        dues = self._planned[segment]
        first, last = (place + others, place - 1) if others < 0 else (place + 1, place + others)
        for i in range(first, last + 1):
            if 0 <= i < len(dues):
                self._told[dues[i]].append((kind, "", run_id))
            else:
                self._blame(due, f"it stands for {abs(others)} others, but there are not so many", run_id)
                return

    def _blame(self, due: int, why: str, run_id: str = "") -> None:
        self._wrong.append(Judged(self._life.id, due, "wrong", why, run_id))


def judge_fires(
    evidence: Evidence, lives: Sequence[Life], queued: Mapping[str, Event], verdicts: Mapping[str, Verdict]
) -> list[Judged]:
    """Return every fire of every life, judged; ``queued`` is the first event of each run."""
    judges: dict[str, list[FireJudge]] = defaultdict(list)
    by_incarnation: dict[tuple[str, str], FireJudge] = {}
    for life in lives:
        judge = FireJudge(life, evidence)
        judges[life.id].append(judge)
        by_incarnation[life.id, life.incarnation] = judge
    strangers: list[Judged] = []
    for run_id, event in queued.items():
        if event.data["reason"] in ("fire", "catch_up"):
            run = FireRun(run_id, due_of(event), event.data.get("missed", 0), event.at, verdicts[run_id])
            found = by_incarnation.get((event.data["job_id"], incarnation_of(run_id)))
            if found is None:
                strangers.append(Judged(event.data["job_id"], run.due, "wrong", "a run of no known schedule", run_id))
            else:
                found.tell_run(run)
    for event in evidence.events:
        if event.topic == "schedule.fire_skipped":
            strangers.extend(_tell_skipped(event, judges[event.data["id"]], by_incarnation))
    return [*(one for found in judges.values() for judge in found for one in judge.judged()), *strangers]


def _tell_skipped(
    event: Event, judges: list[FireJudge], by_incarnation: Mapping[tuple[str, str], FireJudge]
) -> list[Judged]:
    schedule_id, count = event.data["id"], event.data["count"]
    if event.data["why"] == "overlap":
        judge = by_incarnation.get((schedule_id, incarnation_of(event.data["run_id"])))
        due = due_of(event)
        if judge is not None:
            judge.tell_skip(due, count)
            return []
    else:
        due = milliseconds_of(event.data["since"])
        if event.data["why"] in WITHDRAWN:
            if any(judge.hear_withdrawn(due, count, event.data["why"]) for judge in judges):
                return []
            return [Judged(schedule_id, due, "wrong", f"announced as {event.data['why']}, but was not late then")]
        for judge in judges:
            if judge.knows(due):
                judge.tell_missed(due, count)
                return []
    return [Judged(schedule_id, due, "wrong", f"announced as {event.data['why']}, but no such fire was due")]


def incarnation_of(run_id: str) -> str:
    """Return the incarnation in a run's id, ``schedule@incarnation.due``."""
    return run_id.rpartition("@")[2].partition(".")[0]
