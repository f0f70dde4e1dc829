"""What a chaos run measured: how long it took until interrupted runs began again elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from distributed.chaos_stage import Struck
from distributed.checker_evidence import Event, Evidence, Step

CRASHES = ("kill", "freeze", "black hole", "reset", "down")
LEAVES = ("terminate", "roll")


@dataclass(frozen=True)
class Recovery:
    """A run that was in flight when a fault hit its process, and began again elsewhere ``ms`` later."""

    kind: str
    run_id: str
    ms: int
    alone: bool
    """Whether no other fault was going on meanwhile, of those that concern executing processes."""


def recoveries(evidence: Evidence, struck: Sequence[Struck]) -> list[Recovery]:
    """Return how long each interrupted run waited; each is counted for the first fault that hit it."""
    begun: dict[str, list[Step]] = {}
    closed: dict[tuple[str, int, int], int] = {}
    for step in evidence.ledger:
        if step.phase == "begin":
            begun.setdefault(step.run_id, []).append(step)
        else:
            closed[step.run_id, step.attempt, step.pid] = step.at
    handed_on = {handed for event in evidence.events if (handed := _handed_on(event)) is not None}
    found: dict[tuple[str, int], Recovery] = {}
    for fault in sorted((one for one in struck if one.pid), key=lambda one: one.at):
        for run_id, steps in begun.items():
            for step in steps:
                key = (run_id, step.attempt)
                in_flight = step.pid == fault.pid and step.at <= fault.at < closed.get((*key, step.pid), fault.at + 1)
                again = _begun_again(steps, step) if in_flight and key in handed_on else None
                if again is not None and again >= fault.at and key not in found:
                    alone = _alone(fault, again, struck)
                    found[key] = Recovery(fault.kind, run_id, again - fault.at, alone)
    return list(found.values())


def _handed_on(event: Event) -> tuple[str, int] | None:
    """Return the attempt that an event took from its owner."""
    given_back = event.topic == "job.queued" and event.data["attempt"] and "given back" in event.data.get("why", "")
    if event.topic == "job.lost" or given_back:
        return event.data["run_id"], event.data["attempt"]
    return None


def _begun_again(steps: Sequence[Step], interrupted: Step) -> int | None:
    later = [step.at for step in steps if step.attempt > interrupted.attempt and step.pid != interrupted.pid]
    return min(later, default=None)


def _alone(fault: Struck, until: int, struck: Sequence[Struck]) -> bool:
    return not any(other is not fault and other.at <= until and other.ended_at >= fault.at - 1_000 for other in struck)


def quantiles(found: Sequence[Recovery]) -> str:
    """Return p50, p95 and the greatest in seconds, and of how many."""
    if not found:
        return "none"
    times = sorted(one.ms for one in found)
    p50, p95 = (times[min(len(times) - 1, int(len(times) * part))] for part in (0.50, 0.95))
    return f"p50 {p50 / 1000:.2f} s, p95 {p95 / 1000:.2f} s, max {times[-1] / 1000:.2f} s of {len(times)}"


def figures(found: Sequence[Recovery]) -> list[str]:
    """Return the figures of a run, a line each."""
    crashed = [one for one in found if one.kind in CRASHES]
    lines = [
        f"recovery after a crash, a freeze or a partition: {quantiles(crashed)}",
        f"    while no other fault was going on: {quantiles([one for one in crashed if one.alone])}",
    ]
    for kind in CRASHES:
        lines.append(f"    {kind}: {quantiles([one for one in crashed if one.kind == kind])}")
    lines.append(f"recovery after SIGTERM: {quantiles([one for one in found if one.kind in LEAVES])}")
    return lines
