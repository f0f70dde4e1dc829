"""The events that groups could not handle: listed, and delivered again when a person says so."""

import re
from datetime import UTC, datetime

from domain.events.errors import NotParked
from domain.events.event import FAMILIES
from domain.events.parked import ParkedEvent
from infrastructure.events.options import EventBusOptions
from infrastructure.events.streams import Streams
from infrastructure.events.wire import Entry, Malformed, decode, stream_id

ID = re.compile(r"\d{1,19}-\d{1,19}")
OURS = frozenset({b"_group", b"_id", b"_family", b"_reason", b"_tries"})
PAGE = 100
RAW_MAX_LENGTH = 200
"""Characters shown of a field of an entry that is no event."""


class Parked:
    """The stream of parked entries: their own fields, then ours about them, see ``park.lua``."""

    def __init__(self, streams: Streams, options: EventBusOptions) -> None:
        self._streams = streams
        self._options = options

    async def newest(self, group: str | None, before: str | None, limit: int) -> list[ParkedEvent]:
        """Return up to ``limit`` parked events, the newest first, older than ``before``."""
        if before is not None and not ID.fullmatch(before):
            raise NotParked(id=before[:100])
        found: list[ParkedEvent] = []
        end = f"({before}" if before else "+"
        while len(found) < limit:
            page = await self._streams.parked_before(end, PAGE)
            found += [item for item in map(_describe, page) if item and group in (None, item.group)]
            if len(page) < PAGE:
                break
            end = f"({page[-1].raw_id.decode()}"
        return found[:limit]

    async def requeue(self, parked_id: str) -> None:
        """Put one back into its stream, for its group alone; raises ``NotParked``."""
        known = await self._streams.parked_before(parked_id, 1) if ID.fullmatch(parked_id) else []
        item = _describe(known[0]) if known and known[0].raw_id == parked_id.encode() else None
        if item is not None:
            event_id = item.event.id if item.event else f"{item.family}-{known[0].fields[b'_id'].decode()}"
            keys = [self._streams.parked, self._streams.name(item.family)]
            if await self._streams.run("requeue", keys, parked_id, item.group, event_id, self._options.events_kept):
                return
        raise NotParked(id=parked_id[:100])


def _describe(entry: Entry) -> ParkedEvent | None:
    """Return what an entry of the parked stream tells; None if nobody parked it."""
    fields = entry.fields
    try:
        about = {name: fields[name].decode(errors="replace") for name in OURS}
        original, tries = stream_id(fields[b"_id"]), int(fields[b"_tries"])
        family = about[b"_family"]
        if family not in FAMILIES:
            return None
        parked_at = datetime.fromtimestamp(entry.id[0] / 1000, UTC)
    except (KeyError, ValueError, OverflowError):
        return None
    own = {name: value for name, value in fields.items() if name not in OURS}
    try:
        event, raw = decode(family, Entry(original, fields[b"_id"], own)), {}
    except Malformed:
        event, raw = None, {_show(name): _show(value) for name, value in own.items()}
    return ParkedEvent(
        id=entry.raw_id.decode(),
        group=about[b"_group"],
        reason=about[b"_reason"],
        tries=tries,
        parked_at=parked_at,
        family=family,
        event=event,
        raw=raw,
    )


def _show(value: bytes) -> str:
    return value[:RAW_MAX_LENGTH].decode(errors="replace")
