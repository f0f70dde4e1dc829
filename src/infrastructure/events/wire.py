"""How an event looks in a stream (docs/decisions/002): fields in, events out."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from domain.events.errors import InvalidPayload
from domain.events.event import TOPIC, TOPIC_MAX_LENGTH, Event
from domain.events.topics import family as family_of

MAX_PAYLOAD_BYTES = 256 * 1024
"""Largest payload that ``publish`` takes."""
MAX_READ_BYTES = 1024 * 1024
"""Largest payload that readers parse: scripts may announce more than ``publish`` takes, but a parse must not hold the
event loop for long."""
MAX_NOTE_LENGTH = 256
"""Longest correlation id, in characters."""

TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
EVENT_ID = re.compile(rb"[a-z]{1,20}-(\d{1,20})-\d{1,20}")

StreamId = tuple[int, int]
"""An entry id as milliseconds and sequence, which compare as the store orders them."""


class Malformed(Exception):
    """An entry is not an event; the text says why."""


@dataclass(slots=True)
class Entry:
    """One entry of a stream, unparsed."""

    id: StreamId
    raw_id: bytes
    fields: dict[bytes, bytes]

    @property
    def only_for(self) -> bytes | None:
        """The one group this entry is for: it was requeued for it, and is nobody else's."""
        return self.fields.get(b"g")


def entry(raw_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    """Return what the store sent as an entry."""
    return Entry(stream_id(raw_id), raw_id, fields)


def stream_id(raw: bytes) -> StreamId:
    """Parse ``b"1796-0"``."""
    ms, _, seq = raw.partition(b"-")
    return int(ms), int(seq)


def encode(
    topic: str, payload: Mapping[str, Any], source: str, correlation_id: str | None, traceparent: str | None
) -> list[str]:
    """Return the fields of an entry, names and values in turn, for a checked topic; raises ``InvalidPayload``."""
    fields = ["t", topic, "d", _dump(topic, payload), "s", source]
    if correlation_id:
        if len(correlation_id) > MAX_NOTE_LENGTH or not correlation_id.isprintable():
            why = f"its correlation id is not printable text of up to {MAX_NOTE_LENGTH} characters"
            raise InvalidPayload(topic=topic, why=why)
        fields += ["c", correlation_id]
    if traceparent:
        if not TRACEPARENT.fullmatch(traceparent):
            why = "its traceparent is not of the W3C form 00-<32 hex>-<16 hex>-<2 hex>"
            raise InvalidPayload(topic=topic, why=why)
        fields += ["p", traceparent]
    return fields


def topic_of(family: str, fields: Mapping[bytes, bytes]) -> str:
    """Return the topic of an entry in the stream of ``family``, reading nothing else; raises ``Malformed``."""
    topic = fields.get(b"t")
    if topic is None:
        raise Malformed("it has no field t (topic)")
    known = _topic(family, topic)
    if known is None:
        raise Malformed(f"its topic {topic[:TOPIC_MAX_LENGTH]!r} does not belong in the stream '{family}'")
    return known


def decode(family: str, item: Entry) -> Event:
    """Return the event that an entry holds; raises ``Malformed``, and nothing else, for what is not one.

    Some 8 us. ``model_construct`` would be slower than the validating constructor, ``json.loads`` than ``from_json``.
    """
    fields = item.fields
    topic = topic_of(family, fields)
    try:
        event_id, ms = _identity(family, item)
        correlation_id, traceparent = fields.get(b"c"), fields.get(b"p")
        return Event(
            id=event_id,
            topic=topic,
            time=datetime.fromtimestamp(ms / 1000, UTC),
            source=fields[b"s"].decode(),
            data=_load(fields[b"d"]),
            correlation_id=correlation_id.decode() if correlation_id is not None else None,
            traceparent=traceparent.decode() if traceparent is not None else None,
            schema_version=int(fields.get(b"v", b"1")),
        )
    except KeyError as missing:
        raise Malformed(f"it has no field {missing.args[0].decode()}") from None
    except (ValueError, OverflowError, OSError) as error:
        raise Malformed(f"{type(error).__name__}: {error}"[:200]) from None


def _identity(family: str, item: Entry) -> tuple[str, int]:
    """Return an event's id and time in milliseconds: its entry's, or those it had before it was requeued."""
    origin = item.fields.get(b"i")
    if origin is None:
        return f"{family}-{item.id[0]}-{item.id[1]}", item.id[0]
    found = EVENT_ID.fullmatch(origin)
    if not found:
        raise Malformed("its field i is not an event id")
    return origin.decode(), int(found[1])


def _dump(topic: str, payload: Mapping[str, Any]) -> str:
    if not isinstance(payload, Mapping):
        raise InvalidPayload(topic=topic, why=f"it is a {type(payload).__name__}, not an object with named fields")
    try:
        text = json.dumps(dict(payload), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        data = text.encode()
        if len(data) <= MAX_PAYLOAD_BYTES:
            # What readers could not parse, such as 200 levels of nesting, must not be published.
            from_json(data, allow_inf_nan=False)
            return text
    except RecursionError:
        raise InvalidPayload(topic=topic, why="it is nested too deeply, or contains itself") from None
    except (TypeError, ValueError) as error:
        raise InvalidPayload(topic=topic, why=str(error)) from error
    raise InvalidPayload(topic=topic, why=f"it has {len(data)} bytes as JSON, and {MAX_PAYLOAD_BYTES} are the most")


def _load(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_READ_BYTES:
        raise Malformed(f"its data has {len(data)} bytes, and {MAX_READ_BYTES} are the most")
    parsed = from_json(data, allow_inf_nan=False)
    if type(parsed) is not dict:
        raise Malformed("its data is not a JSON object")
    return parsed


@lru_cache(maxsize=1000)
def _topic(family: str, raw: bytes) -> str | None:
    text = raw[: TOPIC_MAX_LENGTH + 1].decode("ascii", "replace")
    valid = len(text) <= TOPIC_MAX_LENGTH and TOPIC.fullmatch(text) and family_of(text) == family
    return text if valid else None
