"""Gaps: told when entries were trimmed unread, and never otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events.errors import InvalidCursor
from infrastructure.events.positions import (
    CURSOR_MAX_LENGTH,
    Extent,
    Position,
    after,
    format_cursor,
    judge,
    parse_cursor,
)


class Stream:
    """A stream as the store has it: entries numbered by ordinal, trimmed at the front."""

    def __init__(self) -> None:
        self.added = 0
        self.trimmed = 0

    def read(self, at: Position, count: int) -> list[tuple[int, int]]:
        ids = [(ordinal * 10, 0) for ordinal in range(self.trimmed + 1, self.added + 1)]
        return [entry for entry in ids if entry > at.id][:count]

    def extent(self) -> Extent:
        first = ((self.trimmed + 1) * 10, 0) if self.trimmed < self.added else None
        return Extent((self.added * 10, 0), first, self.added - self.trimmed, self.added)


class Reader:
    """A reader that does what all readers of the bus do."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.at = stream.extent().end
        self.seen = 0
        self.lost = 0

    def step(self, count: int, added_between: int = 0, trimmed_between: int = 0) -> None:
        read = self.stream.read(self.at, count)
        self.stream.added += added_between
        self.stream.trimmed = min(self.stream.trimmed + trimmed_between, self.stream.added)
        verdict = judge(self.at, read, self.stream.extent())
        assert verdict.is_gap == (verdict.lost != 0)
        assert verdict.lost is not None, "a stream that only grows and is trimmed has countable gaps"
        self.lost += verdict.lost
        self.seen += len(read)
        self.at = after(verdict.at, read)


ACTIONS = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 8)),
    st.tuples(st.just("trim"), st.integers(1, 8)),
    st.tuples(st.just("read"), st.tuples(st.integers(1, 5), st.integers(0, 3), st.integers(0, 6))),
)


@given(st.integers(0, 5), st.lists(ACTIONS, max_size=40))
def test_every_entry_is_either_seen_or_counted_as_lost(before: int, actions: list[tuple[str, object]]) -> None:
    """Whatever is added, read and trimmed in whatever order, also between a read and the look at the stream."""
    stream = Stream()
    stream.added = before
    reader = Reader(stream)
    for action, amount in actions:
        if action == "add":
            stream.added += amount  # type: ignore[operator]
        elif action == "trim":
            stream.trimmed = min(stream.trimmed + amount, stream.added)  # type: ignore[operator]
        else:
            reader.step(*amount)  # type: ignore[misc]
        assert reader.seen + reader.lost <= stream.added - before, "no false gap"
    for _ in range(stream.added + 2):
        reader.step(10)
    assert reader.seen + reader.lost == stream.added - before
    assert reader.at == stream.extent().end


def test_the_last_entry_read_may_be_the_last_one_trimmed() -> None:
    stream = Stream()
    stream.added = stream.trimmed = 7
    assert not judge(Position((70, 0), 7), [], stream.extent()).is_gap
    stream.added = 9
    assert not judge(Position((70, 0), 7), stream.read(Position((70, 0), 7), 5), stream.extent()).is_gap


def test_an_entry_trimmed_unread_is_a_gap_of_one() -> None:
    stream = Stream()
    stream.added, stream.trimmed = 9, 7
    verdict = judge(Position((60, 0), 6), stream.read(Position((60, 0), 6), 5), stream.extent())
    assert (verdict.is_gap, verdict.lost) == (True, 1)
    assert verdict.at == Position((60, 0), 7), "who resumes there is not told again"


@pytest.mark.parametrize(
    ("at", "read"),
    [
        (Position((500, 0), 50), []),
        (Position((500, 0), 3), []),
        (Position((20, 0), 50), [(30, 0)]),
        (Position((30, 0), 50), []),
    ],
    ids=["emptied", "id from a lost future", "emptied and filled again", "more seen than there ever was"],
)
def test_a_store_that_lost_its_data_is_a_gap_that_cannot_be_counted(at: Position, read: list[tuple[int, int]]) -> None:
    extent = Extent((30, 0), (10, 0), 3, 3)
    verdict = judge(at, read, extent)
    assert (verdict.is_gap, verdict.lost) == (True, None)
    assert after(verdict.at, read) == extent.end


def test_a_stream_that_is_filled_anew_while_it_is_read_is_one_gap() -> None:
    """Whatever has come between each read and the look at the stream, also when no entry tells its ordinal at first."""
    for first_look in range(1, 6):
        at, gaps = Position((5, 0), 50), 0
        for seen, added in ((1, first_look), (2, 6), (3, 8), (8, 8)):
            ids = [(ordinal * 10, 0) for ordinal in range(1, added + 1)]
            read = [entry for entry in ids if entry > at.id][: max(seen - (at.id[0] // 10), 0)]
            verdict = judge(at, read, Extent(ids[-1], ids[0], added, added))
            gaps += verdict.is_gap
            at = after(verdict.at, read)
        assert gaps == 1
        assert at == Position((80, 0), 8)


def test_a_store_that_went_back_a_little_is_one_gap() -> None:
    """Its first entry is older than the reader's place, so that only the last one tells where it is."""
    at = Position((100, 0), 10)
    verdict = judge(at, [(200, 0)], Extent((300, 0), (10, 0), 10, 10))
    assert (verdict.is_gap, verdict.lost) == (True, None)
    at = after(verdict.at, [(200, 0)])
    assert at == Position((200, 0), None)
    verdict = judge(at, [(300, 0)], Extent((300, 0), (10, 0), 10, 10))
    assert not verdict.is_gap
    assert after(verdict.at, [(300, 0)]) == Position((300, 0), 10)


def test_an_absent_stream_at_its_beginning_is_no_gap() -> None:
    verdict = judge(Position((0, 0), 0), [], Extent((0, 0), None, 0, 0))
    assert not verdict.is_gap


def test_a_cursor_comes_back_as_it_was() -> None:
    places = {"worker": Position((1797, 3), 12), "job": Position((1796, 0), 4711)}
    assert format_cursor(places) == "job:1796-0:4711,worker:1797-3:12"
    assert parse_cursor(format_cursor(places)) == places
    assert parse_cursor("job:5-0:") == {"job": Position((5, 0), None)}
    assert format_cursor({"job": Position((5, 0), None)}) == "job:5-0:"


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "job",
        "job:1-0",
        "1796-0",
        "job:1-0:x",
        "job:-1-0:0",
        "job:1-0:0,",
        "job:1-0:0,job:2-0:0",
        "jobs:1-0:0",
        "job:1-0:0;worker:1-0:0",
        "job:18446744073709551616-0:0",
        "job:1-18446744073709551616:0",
        "job:1-0:99999999999999999999",
        "job:¹-0:0",
        "job:1-0:0\n",
        "{0}",
        "x" * (CURSOR_MAX_LENGTH + 1),
    ],
)
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursor) as refused:
        parse_cursor(cursor)
    assert len(str(refused.value)) < 300
