"""The seeded chaos run: real processes, random faults over random schedules, and the checker at the end.

``make chaos SEED=… MINUTES=…``. The seed decides the whole plan before anything starts; what is printed is enough to
replay it. Exit status 1 when anything is lost, doubled, unexplained, stuck or wrong.
"""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from application.scheduling import BackgroundTaskScheduler
from distributed.chaos_figures import Recovery, figures, recoveries
from distributed.chaos_hands import Hand
from distributed.chaos_jobs import JOBS, THREADED
from distributed.chaos_plan import Plan, Scale, make_plan
from distributed.chaos_slot import PATIENCE_S
from distributed.chaos_stage import Stage, Struck, now_ms
from distributed.checker import Report, check, moment
from distributed.checker_evidence import Evidence, collect, steps_of
from distributed.checker_journal import Journal, journaling_control
from domain.errors import StoreUnavailable
from domain.scheduling.errors import ScheduleNotFound
from infrastructure.redis.connection import RedisStore

NAMES = [job.__definition__.name for job in JOBS]


@dataclass
class Outcome:
    """What a run came to. ``problems`` are what the checker cannot see: processes that ended badly, and such."""

    plan: Plan
    report: Report
    evidence: Evidence
    struck: list[Struck]
    answers: Counter[str]
    recovered: list[Recovery]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing bad happened."""
        return self.report.ok and not self.problems

    def text(self) -> str:
        """Return it for people."""
        kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(Counter(one.kind for one in self.struck).items()))
        lines = [
            "",
            "faults that happened:",
            *(f"  {moment(one.at)} - {moment(one.ended_at)}  {one.kind} {one.target}" for one in self.struck),
            "",
            f"faults survived: {len(self.struck)} ({kinds})",
            "asked for: " + ", ".join(f"{answer} {n}" for answer, n in sorted(self.answers.items())),
            *figures(self.recovered),
            *self.notes,
            self.report.text(),
            *(f"PROBLEM {problem}" for problem in self.problems),
        ]
        return "\n".join(lines)


async def run_chaos(plan: Plan, directory: Path) -> Outcome:
    """Carry a plan out in ``directory`` and judge it."""
    journal = Journal(directory / "journal.jsonl")
    async with Stage(directory, plan.scale) as stage:
        store = stage.open_store()
        hands = [
            Hand(name, proxy.url, stage.namespace, journal, [one for one in plan.controls if _hand_of(one.facts) == n])
            for n, (name, proxy) in enumerate(stage.hands.items())
        ]
        try:
            await _started(stage)
            await _break_it(plan, stage, hands)
            return await _judge(plan, stage, hands, store, journal)
        finally:
            await asyncio.to_thread(lambda: [hand.stop() for hand in hands])
            await store.close()


async def _started(stage: Stage) -> None:
    """Wait for every process; nothing is broken yet, so none may end."""
    notes: list[str] = []

    async def done() -> bool:
        notes.extend(text for slot in stage.slots.values() for text in slot.ended_unasked)
        return bool(notes) or await _everyone(stage)

    await _until(done, "every process to start", notes)
    if notes:
        raise RuntimeError("; ".join(notes))


def _hand_of(facts: dict[str, object]) -> object:
    return facts.get("by", 0)


async def _break_it(plan: Plan, stage: Stage, hands: list[Hand]) -> None:
    began = time.monotonic()
    for hand in hands:
        hand.start(began)
    striking = []
    for action in plan.faults:
        await asyncio.sleep(max(0.0, action.at - (time.monotonic() - began)))
        striking.append(asyncio.create_task(stage.strike(action)))
    await asyncio.sleep(max(0.0, plan.scale.seconds - (time.monotonic() - began)))
    await asyncio.gather(*striking)
    await stage.heal()
    await asyncio.to_thread(lambda: [hand.stop() for hand in hands])


async def _judge(plan: Plan, stage: Stage, hands: list[Hand], store: RedisStore, journal: Journal) -> Outcome:
    notes: list[str] = []
    control = journaling_control(store, journal, JOBS, "end")
    await _until(lambda: _everyone(stage), "every process to be back", notes)
    until = now_ms()
    await _until(lambda: _planned(control, until), "all fires until the end to be planned", notes)
    # What waits behind the rhythm gets its turn now.
    await _until(lambda: _pause_all(control), "all schedules to be paused", notes)

    async def evidence() -> Evidence:
        kills = [one.at for one in stage.struck if one.kind == "store kill"]
        return await collect(
            store,
            steps_of(stage.ledger),
            until,
            journal.lines(),
            jobs=NAMES,
            threaded=THREADED,
            store_kills=kills,
            store_loses_ms=plan.scale.store_loses_ms,
        )

    await _settled(evidence, notes)
    await asyncio.gather(*(slot.terminate() for slot in stage.slots.values()))
    found = await evidence()
    slots = stage.slots.values()
    return Outcome(
        plan,
        check(found),
        found,
        sorted(stage.struck, key=lambda one: one.at),
        sum((hand.answers for hand in hands), Counter()),
        recoveries(found, stage.struck),
        problems=[
            *(text for hand in hands for text in hand.errors),
            *(one for slot in slots for one in [*slot.ended_badly, *slot.errors()]),
        ],
        notes=[*notes, *(f"restarted: {text}" for slot in slots for text in slot.ended_unasked)],
    )


async def _until(condition: Callable[[], Awaitable[bool]], what: str, notes: list[str], every_s: float = 0.1) -> None:
    """Wait for a condition; where it does not come, note it: the checker will say what that means."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if await condition():
                return
        except StoreUnavailable:
            pass  # a connection that a fault had spoiled; the next try has another
        await asyncio.sleep(every_s)
    notes.append(f"waited {PATIENCE_S:g} s in vain for {what}")


async def _settled(evidence: Callable[[], Awaitable[Evidence]], notes: list[str]) -> None:
    """Wait until no run is stuck; as long as they become fewer, what was asked for just takes its time."""
    stuck, deadline = sys.maxsize, 0.0
    while stuck:
        found = check(await evidence()).count("stuck")
        if found < stuck:
            deadline = time.monotonic() + PATIENCE_S
        elif time.monotonic() > deadline:
            notes.append(f"waited {PATIENCE_S:g} s in vain for {found} runs to be settled")
            return
        stuck = min(stuck, found)
        await asyncio.sleep(1.0 if stuck else 0.0)


async def _everyone(stage: Stage) -> bool:
    return await stage.announced([slot.pid for slot in stage.slots.values()])


async def _planned(control: BackgroundTaskScheduler, until: int) -> bool:
    page = await control.list_tasks(limit=10_000)
    return all(one.next_fire is None or one.next_fire.timestamp() * 1000 > until for one in page.items)


async def _pause_all(control: BackgroundTaskScheduler) -> bool:
    for one in (await control.list_tasks(limit=10_000)).items:
        if one.name not in NAMES:
            continue  # what the program does for itself goes on
        try:
            await control.pause(one.id, "the end of the run")
        except ScheduleNotFound:
            continue  # it ended by itself this moment
    return True


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Break a fleet of real processes at random, and check every fire.")
    parser.add_argument("--seed", type=int, default=None, help="default: a random one, which is printed")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--schedules", type=int, default=24)
    parser.add_argument("--lease", type=float, default=2.0, help="seconds")
    parser.add_argument("--fault-every", type=float, default=3.0, help="seconds between faults, on average")
    parser.add_argument("--durability", choices=("always", "everysec"), default="always", help="when the store syncs")
    parser.add_argument("--show-plan", action="store_true", help="print the whole plan before it begins")
    return parser.parse_args(words)


def _again(seed: int, minutes: float, words: Sequence[str]) -> str:
    """Return the command that makes the same plan."""
    others = [word for i, word in enumerate(words) if not {word, *words[max(i - 1, 0) : i]} & {"--seed", "--minutes"}]
    args = f' ARGS="{" ".join(others)}"' if others else ""
    return f"make chaos SEED={seed} MINUTES={minutes:g}{args}"


def main(words: Sequence[str]) -> int:
    """Run as a program; return the exit status."""
    options = _options(words)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    scale = Scale(
        seconds=options.minutes * 60,
        processes=options.processes,
        schedules=options.schedules,
        lease_s=options.lease,
        fault_every_s=options.fault_every,
        durability=options.durability,
    )
    plan = make_plan(seed, scale)
    print(f"chaos: seed {seed}, {scale}", flush=True)  # noqa: T201 - what a program is for
    for action in sorted([*plan.faults, *(plan.controls if options.show_plan else ())]):
        print(f"planned: {action.text()}", flush=True)  # noqa: T201
    directory = Path(tempfile.mkdtemp(prefix="chaos"))
    outcome = asyncio.run(run_chaos(plan, directory))
    print(outcome.text())  # noqa: T201
    if outcome.ok:
        shutil.rmtree(directory)
    else:
        print(f"ledger, journal and logs are kept in {directory}")  # noqa: T201
    print(f"{'passed' if outcome.ok else 'FAILED'}; the same plan: {_again(seed, options.minutes, words)}")  # noqa: T201
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
