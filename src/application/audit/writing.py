"""Make a note of what somebody asked for, for the store to keep with the change."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from application.runs.asking import Actor, Note, asking
from application.scheduling.deeds import Deed
from domain.audit.differences import Differences

LONGEST_REASON = 1000
LONGEST_NAME = 200
LARGEST = 16_384
"""Characters of one entry's JSON; what is larger loses its differences, and says so."""
ENCODER = json.JSONEncoder(separators=(",", ":"), default=str)
PROGRAM = "program"
CHANGES, JOBS = ("audit", "changes"), ("audit", "jobs")
"""One-shots have a log of their own: a program that submits thousands must not push out who paused what."""


@dataclass(frozen=True)
class AuditRetention:
    """How long entries are kept: at most so many in each of the two logs, and at most for so long."""

    entries_kept: int = 10_000
    kept_s: float = 90 * 86_400.0


class AuditWriter:
    """Turn deeds into notes. ``write_down`` of the scheduler, and of whatever else changes things for somebody."""

    def __init__(self, instance_id: str, retention: AuditRetention, hidden: Iterable[str] = ()) -> None:
        self._instance = instance_id
        self._kept = retention.entries_kept
        self._age_ms = round(retention.kept_s * 1000)
        self._differences = Differences(hidden)

    def __call__(self, deed: Deed) -> Note:
        """Return the note of a deed: pure but for who asks, which the current task knows."""
        actor = self._actor(deed)
        facts: dict[str, Any] = {"via": actor.via}
        if actor.client is not None:
            facts["client"] = actor.client
        if actor.run_id is not None:
            facts["run_id"] = actor.run_id
        if deed.reason:
            facts["reason"] = self._differences.without_secrets(deed.reason[:LONGEST_REASON])
        if deed.facts:
            facts["facts"] = {name: self._differences.shown(name, value) for name, value in deed.facts.items()}
        text = _dump({**facts, "changes": self._differences.between(deed.before, deed.after)})
        if len(text) > LARGEST:
            text = _dump({**facts, "facts": {"too_large": f"{len(text)} characters of differences are left out"}})
        words = (self._kept, self._age_ms, deed.action, deed.target, actor.name, text)
        return Note(JOBS if deed.of_job else CHANGES, words)

    def _actor(self, deed: Deed) -> Actor:
        """Return who asks: by name whom the caller named, else whom the task serves, else this instance."""
        known = asking() or Actor(self._instance, "program")
        if deed.by in (None, "", PROGRAM):
            return known
        return Actor(_named(str(deed.by)), known.via, known.client, known.run_id)


def _named(text: str) -> str:
    """Return a name as the store can keep it: whatever it is, a change must not fail for it."""
    return text[:LONGEST_NAME].encode("utf-8", "backslashreplace").decode()


def _dump(facts: dict[str, Any]) -> str:
    return ENCODER.encode({name: value for name, value in facts.items() if value})
