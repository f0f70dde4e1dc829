"""The Lua scripts of runs and schedules: each is one atomic step of the protocol (docs/decisions/001)."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from domain.runs.run import TRANSITIONS
from infrastructure.events.lua import emit_prelude

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
ABOUT_INSTANCES = frozenset({"announce", "renew", "leave"})
"""The scripts that are given what instances.lua defines."""

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


@cache
def source(name: str, retention: Retention, *, allow_oom: bool = False) -> str:
    """Return the whole text of a script. By its shebang a server without memory refuses it whole, if it brings work."""
    flags = " flags=allow-oom" if allow_oom or name in ALLOWED_OUT_OF_MEMORY else ""
    allowed = ",".join(f"['{old}>{new}']=true" for old, targets in TRANSITIONS.items() for new in targets)
    head = (
        f"#!lua{flags}\n"
        "local PREFIX, SOURCE = KEYS[1], ARGV[1]\n"
        f"local ALLOWED = {{{allowed}}}\n"
        f"local EVENTS_KEPT, HISTORY_KEPT = {retention.events_kept}, {retention.runs_kept_per_schedule}\n"
        f"local DONE_KEPT, DONE_TTL_MS = {retention.finished_jobs_kept}, {retention.finished_jobs_ttl_s * 1000:.0f}\n"
        f"local DEAD_KEPT, DEAD_TTL_MS = {retention.dead_jobs_kept}, {retention.dead_jobs_ttl_s * 1000:.0f}\n"
        f"local EXPORTED_AT_MOST = {retention.exported_at_most}\n"
    )
    texts = [
        emit_prelude(),
        *(_text("infrastructure.runs", part) for part in ("prelude", "runs", "lifecycle")),
        _text("infrastructure.scheduling", "schedules"),
        *([_text("infrastructure.runs", "instances")] if name in ABOUT_INSTANCES else []),
        f"local function main()\n{_text(WHERE[name], name)}\nend",
        "local done, reply = pcall(main)\nflush()\nif not done then error(reply, 0) end\nreturn reply\n",
    ]
    return head + "\n".join(texts)


def _text(package: str, name: str) -> str:
    return files(package).joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
