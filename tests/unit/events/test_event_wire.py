"""Events on the wire: what may be written, and what readers make of whatever they meet."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events.errors import InvalidPayload
from infrastructure.events.wire import (
    MAX_NOTE_LENGTH,
    MAX_PAYLOAD_BYTES,
    MAX_READ_BYTES,
    Malformed,
    decode,
    encode,
    entry,
    stream_id,
)

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
GOOD = {b"t": b"job.started", b"d": b"{}", b"s": b"i1"}

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


def as_stored(fields: list[str]) -> dict[bytes, bytes]:
    """The same fields as the store returns them."""
    return {name.encode(): value.encode() for name, value in zip(fields[::2], fields[1::2], strict=True)}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=10), JSON, max_size=5))
def test_any_json_object_arrives_as_it_was(payload: dict[str, Any]) -> None:
    fields = as_stored(encode("job.started", payload, "i1", None, None))
    assert decode("job", entry(b"5-0", fields)).data == payload


def test_all_facts_of_an_event_arrive() -> None:
    fields = as_stored(encode("job.started", {"a": [1]}, "i1", "corr-1", TRACEPARENT))
    event = decode("job", entry(b"1795331713531-7", fields))
    assert event.id == "job-1795331713531-7"
    assert event.topic == "job.started"
    assert event.time == datetime(2026, 11, 22, 7, 15, 13, 531000, tzinfo=UTC)
    assert (event.source, event.correlation_id, event.traceparent) == ("i1", "corr-1", TRACEPARENT)
    assert (event.data, event.schema_version) == ({"a": [1]}, 1)


def test_what_is_not_known_is_not_written() -> None:
    assert set(encode("job.started", {}, "i1", None, "")[::2]) == {"t", "d", "s"}


REFUSED: dict[str, Any] = {
    "NaN": {"a": math.nan},
    "infinity": {"a": [math.inf]},
    "a set": {"a": {1, 2}},
    "bytes": {"a": b"bytes"},
    "a time": {"a": datetime(2026, 1, 1, tzinfo=UTC)},
    "a key that is no text": {("a", "b"): 1},
    "half a surrogate": {"a": "\ud800"},
    "half a surrogate as key": {"\udfff": 1},
    "an endless number": {"a": 10**5000},
    "too large": {"a": "x" * MAX_PAYLOAD_BYTES},
    "too large in bytes": {"a": "ü" * (MAX_PAYLOAD_BYTES // 2)},
    "too deep for readers": nested(300),
    "too deep for writers": nested(3000),
    "a list": [1, 2],
    "a text": "text",
    "nothing": None,
    "a number": 7,
}


@pytest.mark.parametrize("payload", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_json_or_too_much_is_refused_with_the_reason(payload: Any) -> None:
    with pytest.raises(InvalidPayload) as refused:
        encode("job.started", payload, "i1", None, None)
    assert "job.started" in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_payload_that_contains_itself_is_refused() -> None:
    payload: dict[str, Any] = {}
    payload["me"] = payload
    with pytest.raises(InvalidPayload):
        encode("job.started", payload, "i1", None, None)


def test_the_largest_payload_passes() -> None:
    text = "x" * (MAX_PAYLOAD_BYTES - len('{"a":""}'))
    fields = as_stored(encode("job.started", {"a": text}, "i1", None, None))
    assert decode("job", entry(b"5-0", fields)).data["a"] == text


@pytest.mark.parametrize("correlation_id", ["x" * (MAX_NOTE_LENGTH + 1), "line\nbreak", "\ud800", "\x00"])
def test_a_correlation_id_is_short_printable_text(correlation_id: str) -> None:
    with pytest.raises(InvalidPayload, match="correlation id"):
        encode("job.started", {}, "i1", correlation_id, None)


@pytest.mark.parametrize("traceparent", ["00", TRACEPARENT.upper(), TRACEPARENT + "-00", "x" * 1000])
def test_a_traceparent_is_of_the_w3c_form(traceparent: str) -> None:
    with pytest.raises(InvalidPayload, match="traceparent"):
        encode("job.started", {}, "i1", None, traceparent)


HOSTILE: dict[str, dict[bytes, bytes]] = {
    "nothing of ours": {b"\xff\xfe": b"\x00"},
    "no data": {b"t": b"job.started", b"s": b"i1"},
    "no source": {b"t": b"job.started", b"d": b"{}"},
    "no topic": {b"d": b"{}", b"s": b"i1"},
    "topic of another family": GOOD | {b"t": b"worker.started"},
    "topic that is a pattern": GOOD | {b"t": b"job.*"},
    "topic of bytes": GOOD | {b"t": b"job.\xff"},
    "endless topic": GOOD | {b"t": b"job." + b"x" * 10_000},
    "not JSON": GOOD | {b"d": b"{"},
    "empty": GOOD | {b"d": b""},
    "not an object": GOOD | {b"d": b"[]"},
    "null": GOOD | {b"d": b"null"},
    "NaN": GOOD | {b"d": b'{"a":NaN}'},
    "Infinity": GOOD | {b"d": b'{"a":-Infinity}'},
    "not UTF-8": GOOD | {b"d": b'{"a":"\xff"}'},
    "half a surrogate": GOOD | {b"d": b'{"a":"\\ud800"}'},
    "UTF-16": GOOD | {b"d": "{}".encode("utf-16")},
    "an endless number": GOOD | {b"d": b'{"a":' + b"9" * 10_000 + b"}"},
    "too deep": GOOD | {b"d": b'{"a":' + b"[" * 100_000},
    "too large": GOOD | {b"d": b'{"a":"' + b"x" * MAX_READ_BYTES + b'"}'},
    "source of bytes": GOOD | {b"s": b"\xff"},
    "version that is no number": GOOD | {b"v": b"one"},
    "origin that is no event id": GOOD | {b"i": b"job"},
    "correlation id of bytes": GOOD | {b"c": b"\xff"},
}


@pytest.mark.parametrize("fields", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_not_an_event_is_told_apart_and_why(fields: dict[bytes, bytes]) -> None:
    with pytest.raises(Malformed) as told:
        decode("job", entry(b"5-0", fields))
    assert 0 < len(str(told.value)) < 300


def test_an_entry_id_beyond_all_calendars_is_malformed() -> None:
    with pytest.raises(Malformed):
        decode("job", entry(b"18446744073709551615-0", GOOD))


def test_what_the_hostile_entries_were_made_from_is_good() -> None:
    assert decode("job", entry(b"5-0", GOOD)).topic == "job.started"


def test_an_unknown_version_is_for_the_handler_to_judge() -> None:
    assert decode("job", entry(b"5-0", GOOD | {b"v": b"2"})).schema_version == 2


def test_a_requeued_event_keeps_its_id_and_time() -> None:
    event = decode("job", entry(b"9000-0", GOOD | {b"i": b"job-5000-3", b"g": b"history"}))
    assert event.id == "job-5000-3"
    assert event.time == datetime.fromtimestamp(5, UTC)


def test_events_of_readers_are_as_good_as_validated_ones() -> None:
    event = decode("job", entry(b"5-0", GOOD | {b"d": b'{"a":{"b":[1,null]}}'}))
    assert type(event).model_validate_json(event.model_dump_json()) == event
    assert json.loads(event.model_dump_json())["data"] == {"a": {"b": [1, None]}}


def test_entry_ids_compare_as_the_store_orders_them() -> None:
    assert stream_id(b"9-10") < stream_id(b"10-2") < stream_id(b"10-11")
