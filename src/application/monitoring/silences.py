"""The silences as people make, see and end them."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from application.monitoring.alert_rules import Clock
from application.monitoring.policy import MAX_SILENCES, Change, Policies, PolicyBook
from application.runs.asking import asking
from application.scheduling.deeds import Deed, WriteDown, unwritten
from domain.monitoring.errors import InvalidSilence, SilenceNotFound
from domain.monitoring.silence import Matchers, Silence, SilenceRequest
from domain.scheduling.policy import aware_utc

TRIES = 20
KEPT = timedelta(days=7)
"""How long a silence is shown after its end."""


class SilenceView(BaseModel):
    """A silence, and whether it is ``scheduled``, ``active`` or ``expired``."""

    model_config = ConfigDict(frozen=True)

    id: str
    state: str
    matchers: Matchers
    starts_at: datetime
    ends_at: datetime
    reason: str
    author: str
    created_at: datetime

    @classmethod
    def of(cls, silence: Silence, now: datetime) -> "SilenceView":
        """Return it as it is now."""
        return cls(state=silence.state(now), **dict(silence))


class Silences:
    """Make, list and end silences; all raise ``StoreUnavailable``. They hold on all instances with the next look."""

    def __init__(self, policies: Policies, book: PolicyBook, now: Clock, write_down: WriteDown = unwritten) -> None:
        self._policies = policies
        self._book = book
        self._now = now
        self._write_down = write_down

    async def create(self, request: SilenceRequest) -> SilenceView:
        """Make a silence; raises ``InvalidSilence`` with all that is wrong, and ``TooManySilences``."""
        now = aware_utc(await self._now())
        problems = request.problems(now)
        end = request.end(now)
        if problems or end is None:
            raise InvalidSilence(why="; ".join(problems), problems=problems)
        actor = asking()
        silence = Silence(
            id=f"silence-{uuid4().hex[:12]}",
            matchers=request.matchers,
            starts_at=max(request.starts_at or now, now),
            ends_at=end,
            reason=request.reason,
            author=request.author or (actor.name if actor else "program"),
            created_at=now,
        )
        await self._change(None, "", silence, "alert.silence.created", by=request.author)
        return SilenceView.of(silence, now)

    async def list(self, *, include_expired: bool = False) -> list[SilenceView]:
        """Return silences, those that end first first; with the expired ones of the last days if wanted."""
        now = await self._now()
        found = (await self._book.load()).silences.values()
        views = [SilenceView.of(one, now) for one in found if include_expired or one.state(now) != "expired"]
        return sorted(views, key=lambda view: (view.ends_at, view.id))

    async def get(self, silence_id: str) -> SilenceView:
        """Return one; raises ``SilenceNotFound``."""
        return SilenceView.of((await self._stored(silence_id))[0], await self._now())

    async def expire(self, silence_id: str, by: str | None = None) -> SilenceView:
        """End a silence now: what it held back is told. Twice is fine. Raises ``SilenceNotFound``."""
        while True:
            before, text = await self._stored(silence_id)
            now = aware_utc(await self._now())
            if before.state(now) == "expired":
                return SilenceView.of(before, now)
            start = min(before.starts_at, now)
            after = before.model_copy(update={"starts_at": start, "ends_at": now})
            if await self._change(before, text, after, "alert.silence.ended", by=by):
                return SilenceView.of(after, now)

    async def purge(self) -> int:
        """Forget the silences that ended days ago; return how many."""
        now = await self._now()
        old = [one.id for one in (await self._policies.current()).silences if one.ends_at < now - KEPT]
        if old:
            await self._book.forget_silences(old)
            await self._policies.load()
        return len(old)

    async def _change(self, before: Silence | None, text: str, after: Silence, topic: str, by: str | None) -> bool:
        new = _facts(after)
        deed = Deed(topic, after.id, before=_facts(before) if before else None, after=new, by=by, reason=after.reason)
        change = Change(after.id, text, after, topic, {"silence_id": after.id, **new}, MAX_SILENCES)
        return await self._book.change_silence(change, self._write_down(deed))

    async def _stored(self, silence_id: str) -> tuple[Silence, str]:
        stored = await self._book.load()
        found = stored.silences.get(silence_id)
        if found is None:
            raise SilenceNotFound(silence_id=silence_id)
        return found, stored.texts.get(f"silence:{silence_id}", "")


def _facts(silence: Silence) -> dict[str, Any]:
    return silence.model_dump(mode="json", exclude={"id", "created_at"}, exclude_defaults=True)
