"""What ``roundsman doctor`` finds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How a finding is meant. Only ``wrong`` makes the exit status other than 0."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what it is, how it stands, and what to do when it is wrong."""

    area: str
    name: str
    level: Level
    says: str
    mend: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def as_json(self) -> dict[str, Any]:
        """Return it as JSON; ``mend`` is null where there is nothing to mend."""
        known = {"area": self.area, "name": self.name, "level": self.level.value}
        return {**known, "says": self.says, "mend": self.mend or None, "facts": dict(self.facts)}


@dataclass(frozen=True)
class Area:
    """Makes the findings of one area."""

    name: str

    def ok(self, name: str, says: str, **facts: Any) -> Finding:
        """Return that something is well."""
        return Finding(self.name, name, Level.OK, says, facts=facts)

    def note(self, name: str, says: str, **facts: Any) -> Finding:
        """Return something to know, which needs no mending."""
        return Finding(self.name, name, Level.NOTE, says, facts=facts)

    def wrong(self, name: str, says: str, mend: str, **facts: Any) -> Finding:
        """Return something that somebody must mend, and how."""
        return Finding(self.name, name, Level.WRONG, " ".join(says.split()), mend, facts)
