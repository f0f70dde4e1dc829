"""Decide a whole chaos run from its seed, before it begins: what is asked for when, and what breaks when."""

import random
from dataclasses import dataclass, field
from typing import Any, Literal

INTERVALS_S = (0.1, 0.2, 0.25, 0.5, 0.5, 1.0, 1.0, 1.5, 2.0)
OVERLAPS = ("skip", "skip", "queue_one", "allow(2)", "allow(3)")
CATCH_UPS = ("one", "one", "none", "all(3)", "all(10)")
JITTERS_S = (0.0, 0.0, 0.0, 0.3, 1.5)
MOODS = (
    "calm",
    "calm",
    "hold",
    "hold",
    "hold",
    "hold",
    "hold",
    "frail",
    "frail",
    "broken",
    "hopeless",
    "slow",
    "ending",
)

CONTROLS = {
    "one_shot": 8,
    "later": 4,
    "job": 6,
    "add": 4,
    "again": 1,
    "modify": 4,
    "pause": 2,
    "resume": 4,
    "stop": 1,
    "run_now": 4,
    "backfill": 2,
    "stop_one_shot": 1,
}
"""What people and programs ask for, and how often in comparison."""

FAULTS = {
    "kill": 4,
    "terminate": 2,
    "roll": 1,
    "freeze": 3,
    "black hole": 2,
    "reset": 1,
    "down": 2,
    "latency": 2,
    "store kill": 2,
    "store freeze": 1,
    "script flush": 2,
    "client kill": 2,
}
"""What breaks, and how often in comparison."""


@dataclass(frozen=True, order=True)
class Action:
    """Something that happens ``at`` seconds after the start. ``target`` is a process, a control side, or a schedule."""

    at: float
    kind: str
    target: str = ""
    facts: dict[str, Any] = field(default_factory=dict, compare=False)

    def text(self) -> str:
        """Return it in one line."""
        facts = " ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{self.at:8.2f} s  {self.kind} {self.target} {facts}".rstrip()


@dataclass(frozen=True)
class Scale:
    """How big a run is."""

    seconds: float
    processes: int = 3
    controls: int = 3
    schedules: int = 24
    lease_s: float = 2.0
    fault_every_s: float = 3.0
    control_every_s: float = 0.25
    longest_hold_s: float = 3.5
    roll_patience_s: float = 15.0
    """How long a rolling restart waits for one process before it goes on to the next."""
    durability: Literal["always", "everysec"] = "always"
    """When the store syncs: with ``always`` even a store that is killed loses nothing."""

    @property
    def store_loses_ms(self) -> int:
        """How much of what it acknowledged a killed store may have lost."""
        return 0 if self.durability == "always" else 2_500


@dataclass(frozen=True)
class Plan:
    """What a seed and a scale decide."""

    seed: int
    scale: Scale
    controls: tuple[Action, ...]
    faults: tuple[Action, ...]


def make_plan(seed: int, scale: Scale) -> Plan:
    """Return the plan of a seed: the same seed and scale, the same plan."""
    dice = random.Random(seed)  # noqa: S311 - the point is that it can be replayed
    return Plan(seed, scale, tuple(sorted(_controls(dice, scale))), tuple(sorted(_faults(dice, scale))))


def _controls(dice: random.Random, scale: Scale) -> list[Action]:
    names = [f"s{n}" for n in range(scale.schedules)]
    found = [Action(round(dice.uniform(0, 1), 3), "add", name, _descriptor(dice, scale)) for name in names]
    errands: list[str] = []
    at = 1.0
    while (at := at + dice.expovariate(1 / scale.control_every_s)) < scale.seconds:
        kind = dice.choices(list(CONTROLS), list(CONTROLS.values()))[0]
        target, facts = dice.choice(names), {}
        if kind in ("one_shot", "later"):
            target = f"o{len(errands)}"
            errands.append(target)
            facts = _errand(dice, scale, kind)
        elif kind == "job":
            facts = _job(dice, scale)
        elif kind == "stop_one_shot":
            target = dice.choice(errands[-5:] or ["o0"])
            facts = {"cancel_running": dice.random() < 0.5}
        elif kind in ("add", "modify"):
            facts = _descriptor(dice, scale)
        elif kind == "stop":
            facts = {"cancel_running": dice.random() < 0.5}
        elif kind == "backfill":
            facts = {"fires": dice.randint(1, 4)}
        found.append(Action(round(at, 3), kind, target, {**facts, "by": dice.randrange(scale.controls)}))
    return found


def _descriptor(dice: random.Random, scale: Scale) -> dict[str, Any]:
    mood = dice.choice(MOODS)
    facts: dict[str, Any] = {
        "name": dice.choice(("Chore", "Chore", "Chore", "ChoreSync")),
        "interval": dice.choice(INTERVALS_S),
        "mood": mood,
        "hold_s": round(dice.uniform(0.2, scale.longest_hold_s), 2) if mood == "hold" else 0.0,
        "overlap": dice.choice(OVERLAPS),
        # What takes long is not caught up at length, one after another: the end would have to wait for all of it.
        "catch_up": dice.choice(CATCH_UPS[:3] if mood in ("hold", "slow", "broken") else CATCH_UPS),
        "jitter_s": dice.choice(JITTERS_S),
        "max_retries": dice.choice((None, 0, 1, 3)),
        "timeout_s": dice.choice((1.0, 5.0, None)),
    }
    if dice.random() < 0.1:
        facts["start_in_s"] = round(dice.uniform(0.5, 4), 1)
    if dice.random() < 0.1:
        facts["end_in_s"] = round(dice.uniform(5, max(6.0, scale.seconds / 2)), 1)
    return facts


def _errand(dice: random.Random, scale: Scale, kind: str) -> dict[str, Any]:
    mood = dice.choice([mood for mood in MOODS if mood != "ending"])
    facts: dict[str, Any] = {
        "name": dice.choice(("Errand", "Errand", "ErrandSync")),
        "mood": mood,
        "hold_s": round(dice.uniform(0.2, scale.longest_hold_s), 2) if mood == "hold" else 0.0,
        "max_retries": dice.choice((None, 0, 3)),
        "timeout_s": dice.choice((1.0, 5.0, None)),
    }
    if kind == "later":
        facts["in_s"] = round(dice.uniform(0.2, 6), 2)
    return facts


def _job(dice: random.Random, scale: Scale) -> dict[str, Any]:
    """Return a job for the job service; some are cancelled soon."""
    facts = _errand(dice, scale, "job") | {"queue": dice.choice(("free", "pro", "enterprise"))}
    if dice.random() < 0.2:
        facts["cancel_after_s"] = round(dice.uniform(0, 0.5), 2)
    return facts


def _faults(dice: random.Random, scale: Scale) -> list[Action]:
    """Return faults at random times, also several at once; the first few seconds are for getting under way."""
    found = []
    processes = [f"p{n}" for n in range(scale.processes)]
    hands = [f"c{n}" for n in range(scale.controls)]
    at = min(4.0, scale.seconds / 5)
    while (at := at + dice.expovariate(1 / scale.fault_every_s)) < scale.seconds:
        kind = dice.choices(list(FAULTS), list(FAULTS.values()))[0]
        target, facts = "", {}
        if kind in ("kill", "terminate"):
            target, facts = dice.choice(processes), {"back_after_s": round(dice.uniform(0, 3), 2)}
        elif kind in ("freeze", "black hole", "reset", "down", "latency"):
            target = dice.choice(processes if kind == "freeze" else [*processes, *processes, *hands])
            facts = {"for_s": round(dice.uniform(0.3, 3) * scale.lease_s, 2)}
            if kind == "latency":
                facts["latency_s"] = dice.choice((0.02, 0.1, 0.4))
        elif kind == "store freeze":
            facts = {"for_s": round(dice.uniform(0.3, 2) * scale.lease_s, 2)}
        found.append(Action(round(at, 3), kind, target, facts))
    return found
