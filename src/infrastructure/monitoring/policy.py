"""Alert rules and silences in Redis: two hashes, changed by compare-and-set, under one version."""

import json
import logging
from collections.abc import Sequence
from typing import TypeVar, cast

from pydantic import BaseModel, ValidationError

from application.monitoring.policy import Change, PolicyBook, StoredPolicy, StoredRule
from application.runs.asking import Note
from domain.monitoring.errors import TooManyRules, TooManySilences
from domain.monitoring.silence import Silence
from domain.runs.payload import describe
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.redis.connection import store_errors

log = logging.getLogger(__name__)

RULES, SILENCES = "alert_rules", "silences"

M = TypeVar("M", bound=BaseModel)


class RedisPolicyBook(PolicyBook):
    """Rules and silences by id. What cannot be read, as a newer version may have written it, is left out and logged."""

    def __init__(self, scripts: MonitoringScripts) -> None:
        self._scripts = scripts
        self._redis = scripts.store.command
        self._told: set[str] = set()

    async def version(self) -> str:
        """Return the version."""
        with store_errors():
            return cast(str | None, await self._redis.get(self._scripts.key("policy"))) or "0"

    async def load(self) -> StoredPolicy:
        """Return everything, as it was at one moment."""
        with store_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.get(self._scripts.key("policy"))
            pipe.hgetall(self._scripts.key(RULES))
            pipe.hgetall(self._scripts.key(SILENCES))
            version, rules, silences = await pipe.execute()
        texts = {f"rule:{name}": text for name, text in rules.items()}
        texts |= {f"silence:{name}": text for name, text in silences.items()}
        return StoredPolicy(version or "0", self._read(StoredRule, rules), self._read(Silence, silences), texts)

    async def change_rule(self, change: Change, note: Note | None) -> bool:
        """Change one rule."""
        count = await self._change(RULES, change, note)
        if count > change.most:
            raise TooManyRules(count=count - 1, most=change.most)
        return count >= 0

    async def change_silence(self, change: Change, note: Note | None) -> bool:
        """Change one silence."""
        count = await self._change(SILENCES, change, note)
        if count > change.most:
            raise TooManySilences(count=count - 1, most=change.most)
        return count >= 0

    async def forget_silences(self, silence_ids: Sequence[str]) -> None:
        """Take old silences away."""
        if silence_ids:
            with store_errors():
                await self._redis.hdel(self._scripts.key(SILENCES), *silence_ids)

    async def _change(self, kind: str, change: Change, note: Note | None) -> int:
        """Return how many there are then; more than the most when it is refused, -1 when somebody was faster."""
        after = change.after.model_dump_json() if change.after else ""
        event = json.dumps(change.facts)
        args: list[str | int] = [kind, change.id, change.before, after, change.topic, event, change.most]
        return int(await self._scripts.run("change_policy", args, note))

    def _read(self, model: type[M], found: dict[str, str]) -> dict[str, M]:
        read = {}
        for name, text in found.items():
            try:
                read[name] = model.model_validate_json(text)
            except ValidationError as error:
                self._tell(model.__name__, name, text, describe(error))
        return read

    def _tell(self, kind: str, name: str, text: str, why: str) -> None:
        """Log what cannot be read, once as long as it stays so."""
        if text not in self._told:
            self._told.add(text)
            log.error("%s %s in the store cannot be read and does not count: %s", kind, name, why)
