"""What decides on alerts besides samples: the rules, from the settings and from the store, and the silences."""

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from application.runs.asking import Note
from domain.monitoring.rule import PROVIDER_DOWN, AlertRule, check_rules
from domain.monitoring.severity import SEVERITIES, Severity
from domain.monitoring.silence import Silence

log = logging.getLogger(__name__)

MAX_RULES = 1_000
MAX_SILENCES = 1_000


class StoredRule(BaseModel):
    """A rule that was made over the API. ``revision`` grows with each change of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rule: AlertRule
    revision: int
    changed_at: datetime
    changed_by: str


@dataclass(frozen=True)
class StoredPolicy:
    """What the store holds, as it was at one moment; ``version`` is another one after each change."""

    version: str
    rules: Mapping[str, StoredRule]
    silences: Mapping[str, Silence]
    texts: Mapping[str, str] = field(default_factory=dict)
    """Rules and silences by id as they are written: what a change compares with. Ids of silences have a ``silence-``
    that rules may have too, so each stands under its kind: ``rule:ID``, ``silence:ID``."""


@dataclass(frozen=True)
class Change:
    """One change of a rule or a silence by id: what it was, as it was written, and what it is to be, None for none.

    ``topic`` and ``facts`` tell it; ``most`` is how many there may be.
    """

    id: str
    before: str
    after: BaseModel | None
    topic: str
    facts: Mapping[str, object]
    most: int


class PolicyBook(Protocol):
    """Rules and silences in the store. Every method raises ``StoreUnavailable`` when it does not answer."""

    @abstractmethod
    async def version(self) -> str:
        """Return the version alone."""

    @abstractmethod
    async def load(self) -> StoredPolicy:
        """Return all of it."""

    @abstractmethod
    async def change_rule(self, change: Change, note: Note | None) -> bool:
        """Change a rule, tell it, and have all open alerts looked at again; False when it is no longer ``before``.

        Raises ``TooManyRules``.
        """

    @abstractmethod
    async def change_silence(self, change: Change, note: Note | None) -> bool:
        """Do the same with a silence; raises ``TooManySilences``."""

    @abstractmethod
    async def forget_silences(self, silence_ids: Sequence[str]) -> None:
        """Take silences away that ended long ago: nothing changes by it."""


@dataclass(frozen=True)
class Policy:
    """All rules and silences that hold, under the version that they were read with."""

    version: str
    rules: tuple[AlertRule, ...]
    silences: tuple[Silence, ...] = ()
    stored: StoredPolicy | None = field(default=None, compare=False)

    @cached_property
    def by_id(self) -> dict[str, AlertRule]:
        """Return the rules by id."""
        return {rule.id: rule for rule in self.rules}

    @cached_property
    def for_providers(self) -> list[AlertRule]:
        """Return the rules about providers."""
        return [rule for rule in self.rules if rule.kind == PROVIDER_DOWN]

    def silenced(
        self, rule_id: str, worker_id: str, labels: dict[str, str], now: datetime
    ) -> Mapping[Severity, datetime]:
        """Return until when an alert is silenced now, by its severity."""
        active = [silence for silence in self.silences if silence.is_active(now)]
        if not active:
            return {}
        ends = {
            severity: [one.ends_at for one in active if one.matchers.match(rule_id, worker_id, severity, labels)]
            for severity in SEVERITIES
        }
        return {severity: max(found) for severity, found in ends.items() if found}


class Policies:
    """The policy as this instance knows it: read anew when the store has another version, and only then.

    The version comes along with every reading of a worker's alerts, so asking costs no round trip of its own.
    """

    def __init__(self, book: PolicyBook, settings_rules: Sequence[AlertRule]) -> None:
        self._book = book
        self.settings_rules = check_rules(settings_rules)
        self._known: Policy | None = None

    async def at(self, version: str) -> Policy:
        """Return the policy; read again when the known one is of another version."""
        if self._known is None or self._known.version != version:
            return await self.load()
        return self._known

    async def current(self) -> Policy:
        """Return the policy as it is now."""
        return await self.at(await self._book.version())

    async def load(self) -> Policy:
        """Read the policy now."""
        stored = await self._book.load()
        own = {rule.id for rule in self.settings_rules}
        hidden = sorted(own & stored.rules.keys())
        if hidden and (self._known is None or self._known.version != stored.version):
            log.warning("the settings have rules %s: those of the store with these ids do not count", ", ".join(hidden))
        made = [one.rule for rule_id, one in sorted(stored.rules.items()) if rule_id not in own]
        silences = tuple(silence for _, silence in sorted(stored.silences.items()))
        self._known = Policy(stored.version, (*self.settings_rules, *made), silences, stored)
        return self._known
