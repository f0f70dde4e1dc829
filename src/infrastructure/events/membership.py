"""One member of a group on the streams that its topics need: what it can ask of the store."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from infrastructure.events.options import BATCH, EventBusOptions
from infrastructure.events.streams import Streams
from infrastructure.events.wire import Entry, entry, stream_id

Mark = tuple[str, bytes]
"""What tells an entry from all others: its family and its id."""


@dataclass(slots=True)
class Delivery:
    """An entry that this member got, for the how-manieth time, and from which member it was taken over."""

    family: str
    entry: Entry
    tries: int = 1
    taken_from: str | None = None

    @property
    def mark(self) -> Mark:
        """Return what tells it from all others."""
        return self.family, self.entry.raw_id


class Attendance(NamedTuple):
    """How a group stands in one family."""

    family: str
    made: bool
    """It was not there and had to be made."""
    lost: int
    """Entries that were trimmed before it read them, since this was asked last."""
    at: str
    """The last entry that it read."""


class Membership:
    """A group's name, this member's name and the streams they are on."""

    def __init__(self, streams: Streams, group: str, member: str, families: Sequence[str], options: EventBusOptions):
        self.group = group
        self.families = tuple(families)
        self._streams = streams
        self._member = member
        self._options = options
        self._names = [streams.name(family) for family in families]
        self._idle_ms = round(options.visibility_s * 1000)

    async def attend(self, begin: Mapping[str, str]) -> list[Attendance]:
        """Make sure that the group exists on all streams, and tell what it missed there.

        ``begin`` is where it begins in a stream that lacks it: ``$``, ``0`` or an entry id, see ``attend.lua``.
        """
        places = [begin[family] for family in self.families]
        answer = await self._streams.run("attend", self._names, self.group, *places)
        return [
            Attendance(family, bool(made), lost, at.decode())
            for family, (made, lost, at) in zip(self.families, answer, strict=True)
        ]

    async def read(self, block_s: float) -> list[Delivery]:
        """Return entries that no member got yet, waiting for the first one."""
        rows = await self._streams.read_group(self.group, self._member, self.families, BATCH, block_s)
        return [Delivery(family, item) for family, item in rows]

    async def acknowledge(self, marks: Iterable[Mark]) -> None:
        """Tell that entries are done with. What another has taken over meanwhile is done with too."""
        for family, ids in by_family(marks).items():
            await self._streams.acknowledge(family, self.group, ids)

    async def retake(self, marks: Iterable[Mark]) -> tuple[list[Delivery], Counter[str]]:
        """Take up entries again that this member failed to handle; also count those trimmed meanwhile, by family."""
        found: list[Delivery] = []
        trimmed: Counter[str] = Counter()
        for family, ids in by_family(marks).items():
            for raw_id, fields, tries in await self._run("retake", family, *ids):
                _sort(found, trimmed, family, raw_id, fields, tries, None)
        return found, trimmed

    async def reclaim(self) -> tuple[list[Delivery], Counter[str]]:
        """Take over what was left unacknowledged for the visibility time; also count what of it was trimmed."""
        found: list[Delivery] = []
        trimmed: Counter[str] = Counter()
        for family in self.families:
            for raw_id, fields, tries, holder in await self._run("reclaim", family, self._idle_ms, BATCH):
                _sort(found, trimmed, family, raw_id, fields, tries, holder.decode(errors="replace"))
        return found, trimmed

    async def keep(self, marks: Iterable[Mark]) -> list[Mark]:
        """Say that entries are still being worked on; return those that another has taken over."""
        gone: list[Mark] = []
        for family, ids in by_family(marks).items():
            gone += [(family, raw_id) for raw_id in await self._run("keep", family, *ids)]
        return gone

    async def park(self, delivery: Delivery, reason: str) -> bool:
        """Set an entry aside and acknowledge it; False when it is not this group's to handle any more."""
        fields = [part for pair in delivery.entry.fields.items() for part in pair]
        keys = [self._streams.name(delivery.family), self._streams.parked]
        about = (self.group, delivery.entry.raw_id, self._options.parked_kept, delivery.family, reason, delivery.tries)
        return bool(await self._streams.run("park", keys, *about, *fields))

    async def leave(self, tried: Collection[Mark]) -> None:
        """Give back all that this member holds, to be reclaimed at once; ``tried`` had their try."""
        for family in self.families:
            ids = [raw_id for name, raw_id in tried if name == family]
            await self._run("leave", family, self._idle_ms, *ids)

    async def sweep(self) -> list[str]:
        """Delete the members that hold nothing and were silent for long; return their names."""
        idle_ms, names = round(self._options.idle_member_s * 1000), set[str]()
        for family in self.families:
            names |= {name.decode(errors="replace") for name in await self._run("sweep", family, idle_ms)}
        return sorted(names)

    async def _run(self, script: str, family: str, *args: bytes | float) -> Any:
        return await self._streams.run(script, [self._streams.name(family)], self.group, self._member, *args)


def by_family(marks: Iterable[Mark]) -> dict[str, list[bytes]]:
    """Sort marks into families, and there by their place in the stream."""
    found: dict[str, list[bytes]] = {}
    for family, raw_id in marks:
        found.setdefault(family, []).append(raw_id)
    for ids in found.values():
        ids.sort(key=stream_id)
    return found


def _sort(
    found: list[Delivery],
    trimmed: Counter[str],
    family: str,
    raw_id: bytes,
    fields: list[bytes] | bytes,
    tries: int,
    holder: str | None,
) -> None:
    if isinstance(fields, bytes):
        trimmed[family] += 1
    else:
        pairs = dict(zip(fields[::2], fields[1::2], strict=True))
        found.append(Delivery(family, entry(raw_id, pairs), tries, holder))
