"""The Lua scripts of runs and schedules: each is one atomic step of the protocol (docs/decisions/001)."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from domain.runs.run import TRANSITIONS
from infrastructure.events.lua import emit_prelude
from infrastructure.runs.parts import Part, numbers_in, parts_of, program, with_numbers

WHERE = {
    "take": "infrastructure.scheduling",
    "commit": "infrastructure.scheduling",
    "change": "infrastructure.scheduling",
    "reindex": "infrastructure.scheduling",
    "claim": "infrastructure.runs",
    "reclaim": "infrastructure.runs",
    "renew": "infrastructure.runs",
    "settle": "infrastructure.runs",
    "submit": "infrastructure.runs",
    "cancel": "infrastructure.runs",
    "progress": "infrastructure.runs",
    "unpark": "infrastructure.runs",
    "announce": "infrastructure.runs",
    "sweep": "infrastructure.runs",
    "leave": "infrastructure.runs",
    "enqueue": "infrastructure.jobs",
    "rerun": "infrastructure.jobs",
    "exported": "infrastructure.jobs",
}
ALLOWED_OUT_OF_MEMORY = frozenset(
    {"claim", "reclaim", "renew", "settle", "cancel", "unpark", "announce", "leave", "exported"}
)
"""What ends work or keeps it alive must pass when the store is full; what brings new work must not."""


@dataclass(frozen=True)
class Retention:
    """How much is kept. All are counts, but the two times.

    ``dead_`` is of one-shots that failed for good. ``exported_at_most`` may wait for the history when they are over; 0:
    nobody writes one.
    """

    events_kept: int = 100_000
    runs_kept_per_schedule: int = 20
    finished_jobs_kept: int = 10_000
    finished_jobs_ttl_s: float = 86_400.0
    dead_jobs_kept: int = 10_000
    dead_jobs_ttl_s: float = 30 * 86_400.0
    exported_at_most: int = 0


CLOSING = {
    "plain_leases": "write_plain",
    "stats_changed": "write_stats",
    "dropped": "forget_dropped",
    "changed": "write_changed",
    "first_changed": "write_open",
    "gathered": "write_gathered",
    "retained": "trim_retained",
    "handed": "tell_handed",
}
"""What a script keeps in mind while it runs -> what writes that down when it has ended, in this order."""

RARE = {
    "change": frozenset({"keep_limit", "count", "remove", "cancel_waiting"}),
    "commit": frozenset({"commit_schedule", "count_missed"}),
    "claim": frozenset({"expire_overdue", "tell_story", "park", "count"}),
    "settle": frozenset({"settle", "note_pace", "write_pace"}),
    "submit": frozenset({"change_wish", "ask_of_schedule"}),
    "sweep": frozenset({"expire_overdue"}),
}
"""What hardly any call of a script does: what only that needs is made when it is called for."""


@cache
def source(name: str, retention: Retention, *, allow_oom: bool = False) -> str:
    """Return the whole text of a script. By its shebang a server without memory refuses it whole, if it brings work."""
    flags = " flags=allow-oom" if allow_oom or name in ALLOWED_OUT_OF_MEMORY else ""
    parts, numbers = _shared(retention)
    own = _text(WHERE[name], name)
    own = with_numbers(own, numbers | numbers_in([own]))
    return f"#!lua{flags}\n" + program(own, parts, CLOSING, RARE.get(name, frozenset()))


@cache
def _shared(retention: Retention) -> tuple[list[Part], dict[str, int]]:
    """Return what all scripts may need, and the numbers that have names there."""
    allowed = ",".join(f"['{old}>{new}']=true" for old, targets in TRANSITIONS.items() for new in targets)
    head = f"local PREFIX, SOURCE = KEYS[1], ARGV[1]\n\nlocal ALLOWED = {{{allowed}}}\n"
    runs = [_text("infrastructure.runs", name) for name in ("prelude", "runs", "lifecycle", "instances")]
    texts = [head, emit_prelude(), *runs, _text("infrastructure.scheduling", "schedules")]
    numbers = _numbers(retention) | numbers_in(texts)
    return [part for text in texts for part in parts_of(with_numbers(text, numbers))], numbers


def _numbers(retention: Retention) -> dict[str, int]:
    return {
        "EVENTS_KEPT": retention.events_kept,
        "HISTORY_KEPT": retention.runs_kept_per_schedule,
        "DONE_KEPT": retention.finished_jobs_kept,
        "DONE_TTL_MS": round(retention.finished_jobs_ttl_s * 1000),
        "DEAD_KEPT": retention.dead_jobs_kept,
        "DEAD_TTL_MS": round(retention.dead_jobs_ttl_s * 1000),
        "EXPORTED_AT_MOST": retention.exported_at_most,
    }


def _text(package: str, name: str) -> str:
    return files(package).joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
