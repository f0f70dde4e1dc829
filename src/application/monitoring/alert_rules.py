"""The alert rules as people see and change them: those of the settings, which are fixed, and those of the store."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from application.monitoring.policy import MAX_RULES, Change, Policies, PolicyBook, StoredRule
from application.runs.asking import asking
from application.scheduling.deeds import Deed, WriteDown, unwritten
from domain.monitoring.errors import (
    AlertRuleChangedMeanwhile,
    AlertRuleFromSettings,
    AlertRuleNotFound,
    InvalidRule,
)
from domain.monitoring.rule import AlertRule
from domain.runs.payload import describe

TRIES = 20
Clock = Callable[[], Awaitable[datetime]]
"""Returns the store's time."""


class RuleView(BaseModel):
    """A rule with where it is from. ``revision`` is what ``If-Match`` compares; rules of the settings have none."""

    model_config = ConfigDict(frozen=True)

    rule: AlertRule
    source: Literal["settings", "store"]
    revision: int | None = None
    changed_at: datetime | None = None
    changed_by: str | None = None


@dataclass(frozen=True)
class PutRule:
    """What ``put`` did."""

    view: RuleView
    is_new: bool


class AlertRules:
    """List, make, change and delete rules. All raise ``StoreUnavailable``.

    A change holds on all instances with the next look at a worker. Alerts of a rule that is deleted, or that no longer
    selects their worker, are closed; those of a changed one go on under its new levels, or are closed when it watches
    something else.
    """

    def __init__(self, policies: Policies, book: PolicyBook, now: Clock, write_down: WriteDown = unwritten) -> None:
        self._policies = policies
        self._book = book
        self._now = now
        self._write_down = write_down

    async def list(self) -> list[RuleView]:
        """Return all rules that hold, those of the settings first."""
        policy = await self._policies.load()
        stored = policy.stored.rules if policy.stored else {}
        return [_view(rule, None if self._is_fixed(rule.id) else stored.get(rule.id)) for rule in policy.rules]

    async def get(self, rule_id: str) -> RuleView:
        """Return one rule; raises ``AlertRuleNotFound``."""
        for view in await self.list():
            if view.rule.id == rule_id:
                return view
        raise AlertRuleNotFound(rule_id=rule_id)

    async def put(self, rule_id: str, given: Mapping[str, Any], revision: int | None = None) -> PutRule:
        """Make or replace a rule; one that is as it was changes nothing.

        ``revision`` is the one it must have now, 0 for none. Raises ``InvalidRule`` with all that is wrong,
        ``AlertRuleFromSettings``, ``AlertRuleChangedMeanwhile`` and ``TooManyRules``.
        """
        rule = _validated(rule_id, given)
        self._check_fixed(rule_id)
        for _ in range(TRIES):
            before, text = await self._stored(rule_id)
            self._check_revision(rule_id, before, revision)
            if before is not None and before.rule == rule:
                return PutRule(_view(rule, before), is_new=False)
            after = StoredRule(
                rule=rule,
                revision=(before.revision if before else 0) + 1,
                changed_at=await self._now(),
                changed_by=_by(),
            )
            if await self._change(rule_id, before, text, after, "alert.rule.changed"):
                return PutRule(_view(rule, after), is_new=before is None)
        raise self._changed(rule_id, before, revision)

    async def delete(self, rule_id: str, revision: int | None = None) -> None:
        """Delete a rule; its alerts are closed. Raises as ``put``, and ``AlertRuleNotFound``."""
        self._check_fixed(rule_id)
        for _ in range(TRIES):
            before, text = await self._stored(rule_id)
            if before is None:
                raise AlertRuleNotFound(rule_id=rule_id)
            self._check_revision(rule_id, before, revision)
            if await self._change(rule_id, before, text, None, "alert.rule.removed"):
                return
        raise self._changed(rule_id, before, revision)

    async def _change(
        self, rule_id: str, before: StoredRule | None, text: str, after: StoredRule | None, topic: str
    ) -> bool:
        old, new = _facts(before), _facts(after)
        deed = Deed(topic, rule_id, before=old, after=new)
        shown = {"rule_id": rule_id, "rule": new or old, "by": _by()}
        change = Change(rule_id, text, after, topic, shown, MAX_RULES)
        return await self._book.change_rule(change, self._write_down(deed))

    async def _stored(self, rule_id: str) -> tuple[StoredRule | None, str]:
        found = await self._book.load()
        return found.rules.get(rule_id), found.texts.get(f"rule:{rule_id}", "")

    def _is_fixed(self, rule_id: str) -> bool:
        return any(rule.id == rule_id for rule in self._policies.settings_rules)

    def _check_fixed(self, rule_id: str) -> None:
        if self._is_fixed(rule_id):
            raise AlertRuleFromSettings(rule_id=rule_id)

    def _check_revision(self, rule_id: str, found: StoredRule | None, expected: int | None) -> None:
        if expected is not None and expected != (found.revision if found else 0):
            raise self._changed(rule_id, found, expected)

    def _changed(self, rule_id: str, found: StoredRule | None, expected: int | None) -> AlertRuleChangedMeanwhile:
        known = found.revision if found else 0
        return AlertRuleChangedMeanwhile(rule_id=rule_id, found=known, expected="any" if expected is None else expected)


def _validated(rule_id: str, given: Mapping[str, Any]) -> AlertRule:
    try:
        return AlertRule.model_validate({**given, "id": rule_id})
    except ValidationError as error:
        raise InvalidRule(why=describe(error)) from None


def _view(rule: AlertRule, stored: StoredRule | None) -> RuleView:
    if stored is None:
        return RuleView(rule=rule, source="settings")
    facts = stored.model_dump(exclude={"rule"})
    return RuleView(rule=rule, source="store", **facts)


def _facts(stored: StoredRule | None) -> dict[str, Any] | None:
    return None if stored is None else stored.rule.model_dump(mode="json", exclude_defaults=True)


def _by() -> str:
    actor = asking()
    return actor.name if actor else "program"
