"""Say of every fire, every one-shot and every run what became of it, from evidence alone.

``check(evidence)`` is pure. Classes that are fine: ``settled`` (once), ``again`` (settled after its owner crashed,
froze, was cut off or gave it back), ``skipped`` (overlap), ``coalesced`` (its follower says so in ``missed``),
``missed`` (nobody could take it in time), ``withdrawn`` (late when its schedule was changed, paused or stopped: the
change tells), ``cancelled``, ``parked``, ``waiting`` (after the end of observation), ``store_lost`` (the store was
killed and lost what it had acknowledged a moment before). Classes that must be empty: ``doubled``, ``lost``,
``unexplained`` (due, and nothing is told of it), ``stuck`` (should be over by now), ``wrong`` (whatever else
contradicts itself).
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from distributed.checker_evidence import SETTLED, Event, Evidence, RunAsked, Step
from distributed.checker_fires import Judged, judge_fires
from distributed.checker_lives import lives_of, unanswered
from distributed.checker_runs import BAD, RunStory, Verdict, gone_with_the_store

SHOWN = 20
ACCEPTED = ("created", "changed", "unchanged")
UNSETTLED = ("queued", "running", "retrying")


@dataclass(frozen=True)
class Finding:
    """Something that must not be, with all that is known of it, a line each."""

    kind: str
    subject: str
    why: str
    story: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it for people."""
        return "\n".join([f"{self.kind.upper()} {self.subject}: {self.why}", *(f"    {line}" for line in self.story)])


@dataclass
class Report:
    """What became of everything; ``ok`` if nothing bad did."""

    fires: Counter[str] = field(default_factory=Counter)
    one_shots: Counter[str] = field(default_factory=Counter)
    extra_runs: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    crashed_attempts: int = 0
    withdrawn_late_ms: int = 0
    """How late a withdrawn fire was at the most."""

    @property
    def ok(self) -> bool:
        """Whether nothing is lost, doubled, unexplained, stuck or wrong."""
        return not self.findings

    def count(self, kind: str) -> int:
        """Return how many findings there are of a kind."""
        return sum(finding.kind == kind for finding in self.findings)

    def text(self) -> str:
        """Return it for people: the counts, then the first findings with their stories."""
        rows = [("fires", self.fires), ("one-shots", self.one_shots), ("runs now, backfills", self.extra_runs)]
        lines = [f"{name}: {sum(counts.values())} checked; {_counts(counts)}" for name, counts in rows]
        lines.append(f"attempts that ended with a crash, a lost lease or a release: {self.crashed_attempts}")
        lines.append(f"withdrawn fires were late by {self.withdrawn_late_ms / 1000:.1f} s at the most")
        lines.append("; ".join(f"{kind} {self.count(kind)}" for kind in BAD))
        lines.extend(finding.text() for finding in self.findings[:SHOWN])
        if len(self.findings) > SHOWN:
            lines.append(f"... and {len(self.findings) - SHOWN} more")
        return "\n".join(lines)


def check(evidence: Evidence) -> Report:
    """Judge all that the evidence tells of."""
    return _Check(evidence).report()


class _Check:
    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._report = Report()
        self._events: dict[str, list[Event]] = defaultdict(list)
        self._steps: dict[str, list[Step]] = defaultdict(list)
        self._schedule_events: dict[str, list[Event]] = defaultdict(list)
        for event in evidence.events:
            if event.topic.startswith("job."):
                self._events[event.data["run_id"]].append(event)
            else:
                self._schedule_events[event.data["id"]].append(event)
        for step in evidence.ledger:
            self._steps[step.run_id].append(step)
        for run_id in [run_id for run_id in self._events if ".backfill." in run_id]:
            self._part(run_id)
        self._verdicts: dict[str, Verdict] = {}

    def report(self) -> Report:
        evidence, report = self._evidence, self._report
        if evidence.trimmed:
            self._find("wrong", "the evidence", f"{evidence.trimmed} events were trimmed: keep more of them")
        for run_id in sorted({*self._events, *self._steps, *evidence.open_runs}):
            verdict = RunStory(evidence, run_id, self._events[run_id], self._steps[run_id]).verdict()
            self._verdicts[run_id] = verdict
            report.crashed_attempts += verdict.crashes
        self._judge_fires()
        self._judge_other_runs()
        self._judge_answers()
        return report

    def _part(self, run_id: str) -> None:
        """Part what was asked for again: a backfill that is over is forgotten, and then made anew with the same id."""
        asked = [one for one in self._evidence.asked if (one.kind, one.run_id) == ("submit", run_id)]
        for n in range(1, sum(one.answer in ("created", "") for one in asked)):
            events = self._events[run_id]
            ends = [i for i, event in enumerate(events) if event.topic in SETTLED]
            if not ends or ends[0] + 1 == len(events) or events[ends[0] + 1].data["attempt"]:
                return
            cut = events[ends[0] + 1]
            self._events[f"{run_id}#{n}"], self._events[run_id] = events[: ends[0] + 1], events[ends[0] + 1 :]
            steps = self._steps[run_id]
            self._steps[f"{run_id}#{n}"] = [step for step in steps if step.at < cut.at]
            self._steps[run_id] = [step for step in steps if step.at >= cut.at]

    def _judge_fires(self) -> None:
        queued = {run_id: events[0] for run_id, events in self._events.items() if events}
        for judged in judge_fires(self._evidence, lives_of(self._evidence), queued, self._verdicts):
            if judged.due:
                self._report.fires[judged.kind] += 1
            self._report.withdrawn_late_ms = max(self._report.withdrawn_late_ms, judged.late_ms)
            if judged.kind in BAD:
                self._find_fire(judged)

    def _judge_other_runs(self) -> None:
        for run_id, verdict in self._verdicts.items():
            reason = self._events[run_id][0].data["reason"] if self._events[run_id] else ""
            if reason in ("fire", "catch_up"):
                continue
            counts = self._report.one_shots if reason == "one_shot" else self._report.extra_runs
            counts[verdict.kind] += 1
            if verdict.kind in BAD:
                self._find(verdict.kind, f"run {run_id} ({reason or 'unknown'})", verdict.why, run_id)

    def _judge_answers(self) -> None:
        """What was acknowledged must be told of, or be gone with the store."""
        for change in unanswered(self._evidence):
            self._find_unless_gone(
                change.at, f"{change.topic} of {change.id}", "it was acknowledged, no event tells of it"
            )
        for asked in self._evidence.asked:
            topics = {event.topic for event in self._events[asked.run_id]}
            if asked.kind == "submit" and asked.answer in ACCEPTED and "job.queued" not in topics:
                self._find_unless_gone(
                    asked.at, f"run {asked.run_id} ({asked.reason})", "it was accepted, but never queued"
                )
                self._counts_of(asked)["lost"] += 1
            if asked.kind == "cancel" and asked.answer in UNSETTLED and "job.cancelled" not in topics:
                self._find_unless_gone(asked.at, f"run {asked.run_id}", "its cancellation was acknowledged in vain")

    def _counts_of(self, asked: RunAsked) -> Counter[str]:
        return self._report.one_shots if asked.reason == "one_shot" else self._report.extra_runs

    def _find_unless_gone(self, at: int, subject: str, why: str) -> None:
        if gone_with_the_store(self._evidence, at):
            self._report.extra_runs["store_lost"] += 1
        else:
            self._find("lost", subject, why)

    def _find_fire(self, judged: Judged) -> None:
        where = f"schedule {judged.schedule_id}"
        subject = f"fire of {where} at {moment(judged.due)} ({judged.due})" if judged.due else where
        self._find(judged.kind, subject, judged.why, judged.run_id, judged.schedule_id)

    def _find(self, kind: str, subject: str, why: str, run_id: str = "", schedule_id: str = "") -> None:
        story = tuple(self._story(run_id, schedule_id))
        self._report.findings.append(Finding(kind, subject, why, story))

    def _story(self, run_id: str, schedule_id: str) -> list[str]:
        lines = [(event.at, told(event)) for event in self._schedule_events.get(schedule_id, [])[-SHOWN:]]
        lines += [(event.at, told(event)) for event in self._events.get(run_id, ())]
        lines += [
            (step.at, f"ledger: {step.phase} of attempt {step.attempt}, process {step.pid}")
            for step in self._steps.get(run_id, ())
        ]
        return [f"{moment(at)} {text}" for at, text in sorted(lines, key=lambda line: line[0])]


def told(event: Event) -> str:
    """Return an event in one line."""
    facts = {key: value for key, value in event.data.items() if key not in ("run_id", "job_id", "name", "result")}
    return f"{event.topic} {' '.join(f'{key}={value}' for key, value in facts.items())}"


def moment(at: int) -> str:
    """Return a time of day, UTC, to the millisecond."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%H:%M:%S.%f")[:-3] if at else "(no time)   "


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {n}" for kind, n in sorted(counts.items())) or "none"
