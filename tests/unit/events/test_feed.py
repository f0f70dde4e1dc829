"""The buffer between the one reader of a stream and a listener."""

from domain.events.event import Event
from domain.events.topics import TopicFilter
from infrastructure.events.feed import Feed, Item
from infrastructure.events.positions import Position
from infrastructure.events.wire import decode, entry


def event(ms: int) -> Event:
    return decode("job", entry(f"{ms}-0".encode(), {b"t": b"job.started", b"d": b"{}", b"s": b"i1"}))


def place(ms: int) -> Position:
    return Position((ms, 0), ms)


def offer(feed: Feed, ms: int) -> None:
    feed.offer(Item("job", place(ms), event(ms)), place(ms - 1))


def following(limit: int, at: int = 0, tail: int = 0) -> Feed:
    feed = Feed(TopicFilter(["job.*"]), limit)
    feed.behind["job"] = place(at)
    feed.follow("job", place(at), place(tail))
    return feed


def waiting(feed: Feed) -> list[int]:
    return [item.at.ordinal for item in feed.waiting]


def test_it_takes_what_is_offered_in_order() -> None:
    feed = following(limit=5)
    for ms in (1, 2, 3):
        offer(feed, ms)
    assert waiting(feed) == [1, 2, 3]
    assert not feed.behind


def test_a_full_one_falls_behind_at_what_it_could_not_take_and_then_takes_nothing() -> None:
    feed = following(limit=2)
    for ms in (1, 2, 3, 4):
        offer(feed, ms)
    assert waiting(feed) == [1, 2]
    assert feed.behind == {"job": place(2)}


def test_one_that_is_behind_takes_nothing_until_it_follows_again() -> None:
    feed = following(limit=1)
    offer(feed, 1)
    offer(feed, 2)
    feed.waiting.clear()
    offer(feed, 3)
    assert not feed.waiting
    feed.follow("job", place(3), place(3))
    offer(feed, 4)
    assert waiting(feed) == [4]


def test_one_that_knows_more_than_the_tail_skips_what_it_knows() -> None:
    feed = following(limit=5, at=3, tail=1)
    for ms in (2, 3, 4, 5):
        offer(feed, ms)
    assert waiting(feed) == [4, 5]


def test_a_gap_passes_even_then() -> None:
    feed = following(limit=5, at=3, tail=1)
    feed.offer(Item("job", place(2), None, 1), place(1))
    assert [item.event for item in feed.waiting] == [None]


async def test_news_are_not_lost_between_looks() -> None:
    feed = following(limit=5)
    offer(feed, 1)
    await feed.news()
    await feed.news(within_s=0.001)
    feed.wake()
    await feed.news()
