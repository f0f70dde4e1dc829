"""What many ask for at once is worked on together, and each has an answer of its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from application.monitoring.together import Together


class Desk:
    """Answers with how many rounds there were; holds a round until it is let go."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.go = asyncio.Event()
        self.errors: dict[str, Exception] = {}
        self.fails: Exception | None = None

    async def work(self, keys: Sequence[str]) -> dict[str, int | Exception]:
        self.rounds.append(list(keys))
        round_number = len(self.rounds)
        await self.go.wait()
        if self.fails is not None:
            raise self.fails
        return {key: self.errors.get(key, round_number) for key in keys}


@pytest.fixture
async def desk() -> Desk:
    return Desk()


@pytest.fixture
async def together(desk: Desk) -> AsyncIterator[Together[str, int]]:
    made = Together(desk.work, most=3)
    yield made
    await made.stop()


def ask(together: Together[str, int], *keys: str) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(together.ask(key)) for key in keys]


async def begun(desk: Desk, rounds: int = 1) -> None:
    async with asyncio.timeout(5):
        while len(desk.rounds) < rounds:
            await asyncio.sleep(0)


async def test_those_who_ask_at_once_share_rounds_of_no_more_than_the_most(
    desk: Desk, together: Together[str, int]
) -> None:
    desk.go.set()
    assert await asyncio.gather(*ask(together, "a", "b", "a", "c", "d")) == [1, 1, 1, 1, 2]
    assert desk.rounds == [["a", "b", "c"], ["d"]]


async def test_what_is_asked_for_while_it_is_worked_on_is_worked_on_again(
    desk: Desk, together: Together[str, int]
) -> None:
    first = ask(together, "a", "b")
    await begun(desk)
    second = ask(together, "a")
    await asyncio.sleep(0)
    desk.go.set()
    assert await asyncio.gather(*first, *second) == [1, 1, 2]


async def test_an_error_of_one_is_no_error_of_another(desk: Desk, together: Together[str, int]) -> None:
    desk.errors["b"] = ValueError("no b")
    desk.go.set()
    good, bad = await asyncio.gather(*ask(together, "a", "b"), return_exceptions=True)
    assert (good, str(bad)) == (1, "no b")


async def test_what_fails_whole_fails_for_each_and_the_next_is_tried(desk: Desk, together: Together[str, int]) -> None:
    desk.fails = OSError("away")
    desk.go.set()
    found = await asyncio.gather(*ask(together, "a", "b"), return_exceptions=True)
    assert [str(one) for one in found] == ["away", "away"]
    desk.fails = None
    assert await together.ask("a") == 2


async def test_who_waits_no_more_takes_nothing_from_the_others(desk: Desk, together: Together[str, int]) -> None:
    gone, other = ask(together, "a", "a")
    await begun(desk)
    gone.cancel()
    await asyncio.sleep(0)
    desk.go.set()
    assert await other == 1


async def test_to_stop_ends_the_work_and_cancels_who_waits(desk: Desk, together: Together[str, int]) -> None:
    under_way = ask(together, "a")
    await begun(desk)
    waiting = ask(together, "b")
    await asyncio.sleep(0)
    await together.stop()
    await together.stop()
    found = await asyncio.gather(*under_way, *waiting, return_exceptions=True)
    assert [type(one) for one in found] == [asyncio.CancelledError, asyncio.CancelledError]
    desk.go.set()
    assert await together.ask("c") == 2, "it can be asked again"
