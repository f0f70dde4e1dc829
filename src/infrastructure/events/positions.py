"""Places in streams: how a reader knows where it is, and whether something was trimmed before it came to it.

A stream remembers how many entries it was ever given (``entries-added``) and has no holes but at its beginning, as
entries leave it by trimming alone. So whoever counts what it reads knows the ordinal of each entry, and a gap is a
difference of two numbers. Comparing ids would not do: an id that is gone may have been the last one trimmed, and then
nothing is missing after it.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from domain.events.errors import InvalidCursor
from domain.events.event import FAMILIES
from infrastructure.events.wire import StreamId

CURSOR_PART = re.compile(r"([a-z]{1,20}):(\d{1,20})-(\d{1,20}):(\d{0,19})")
CURSOR_MAX_LENGTH = 500
ID_LIMIT = 2**64


class Position(NamedTuple):
    """After which entry a reader is, and the how-manieth of its stream that one was (0: none, the first is 1).

    Without an ordinal, after a store went back in time, it is found again with one of the next entries.
    """

    id: StreamId
    ordinal: int | None


class Extent(NamedTuple):
    """What one stream holds. An absent stream is an empty one that was given nothing."""

    last: StreamId
    """Id of the newest entry ever added."""
    first: StreamId | None
    """Id of the oldest entry that is still there."""
    length: int
    added: int
    """How many entries were ever added."""

    @property
    def trimmed(self) -> int:
        """How many entries are gone, which is the ordinal of the newest of them."""
        return self.added - self.length

    @property
    def end(self) -> Position:
        """The place behind all entries."""
        return Position(self.last, self.added)


class Verdict(NamedTuple):
    """Where a reader stands, corrected, and whether it missed something on the way."""

    at: Position
    is_gap: bool = False
    lost: int | None = 0


def judge(at: Position, read: Sequence[StreamId], extent: Extent) -> Verdict:
    """Return the true position before ``read``, the entries that followed ``at``, and whether some are missing there.

    ``extent`` was asked for after ``read`` arrived, so that some of ``read`` may be trimmed by now. If all of them are,
    and more entries have come, the loss cannot be counted yet, and the verdict on the next batch tells it.
    """
    if not read:
        return _judge_idle(at, extent)
    true = _ordinal_before(read, extent)
    if at.ordinal is None:
        return Verdict(Position(at.id, true))
    if at.ordinal + len(read) > extent.added or (true is not None and true < at.ordinal):
        # Fewer entries than were seen: the store went back in time or was emptied. Nobody can say what is missing.
        return Verdict(Position(at.id, true), is_gap=True, lost=None)
    if true is None:
        return Verdict(at)
    return Verdict(Position(at.id, true), true > at.ordinal, true - at.ordinal)


def _ordinal_before(read: Sequence[StreamId], extent: Extent) -> int | None:
    """Return how many entries the stream was given before the first of ``read``, if one of them tells."""
    if read[-1] == extent.last:
        return extent.added - len(read)
    oldest = len(read) if extent.first is None else bisect_left(read, extent.first)
    return extent.trimmed - oldest if oldest < len(read) and read[oldest] == extent.first else None


def _judge_idle(at: Position, extent: Extent) -> Verdict:
    if at.id > extent.last or (at.ordinal or 0) > extent.added:
        return Verdict(extent.end, is_gap=True, lost=None)
    if at.id == extent.last:
        return Verdict(extent.end)
    if extent.length == 0:
        return Verdict(extent.end, is_gap=True, lost=None if at.ordinal is None else extent.added - at.ordinal)
    return Verdict(at)


def after(at: Position, read: Sequence[StreamId]) -> Position:
    """Return the position behind ``read``, which began at ``at``."""
    if not read:
        return at
    return Position(read[-1], None if at.ordinal is None else at.ordinal + len(read))


def format_cursor(places: Mapping[str, Position]) -> str:
    """Write a place in several families as one string: ``job:1796-0:12,worker:1797-3:5``."""
    parts: Iterable[tuple[str, Position]] = ((name, places[name]) for name in FAMILIES if name in places)
    return ",".join(f"{name}:{at.id[0]}-{at.id[1]}:{'' if at.ordinal is None else at.ordinal}" for name, at in parts)


def parse_cursor(cursor: str) -> dict[str, Position]:
    """Read what ``format_cursor`` wrote; raises ``InvalidCursor`` for anything else."""
    places: dict[str, Position] = {}
    if len(cursor) <= CURSOR_MAX_LENGTH:
        for part in cursor.split(","):
            found = CURSOR_PART.fullmatch(part)
            if not found or found[1] not in FAMILIES or found[1] in places:
                break
            stream = (int(found[2]), int(found[3]))
            if max(stream) >= ID_LIMIT:
                break
            places[found[1]] = Position(stream, int(found[4]) if found[4] else None)
        else:
            return places
    raise InvalidCursor(cursor=cursor[:100])
