"""Tests are dealt out whole, once each, with the long ones in the front of each part."""

from pathlib import Path

import pytest

from dealing import LONG, SLOW, deal, is_slow


def name(test: str) -> str:
    return test[0]


def cards(modules: str, size: int = 4) -> list[str]:
    return [f"{module}{n}" for module in modules for n in range(size)]


@pytest.mark.parametrize("parts", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("modules", ["", "A", "a", "abcdefgh", "ABCD", "AbcdBefghCij", "abcdefghiABC"])
def test_none_is_lost_and_none_comes_twice(modules: str, parts: int) -> None:
    dealt = deal(cards(modules), name, str.isupper, parts)
    assert sorted(dealt) == sorted(cards(modules))


def test_each_part_begins_with_long_tests_and_ends_with_quick_ones() -> None:
    tests = cards("abcdefghijABCD")
    dealt = deal(tests, name, str.isupper, 2)
    for part, long in ((dealt[:28], "AC"), (dealt[28:], "BD")):
        assert part[:4] == cards(long[0])
        assert [test for test in part if test[0].isupper()] == cards(long)
        assert not any(test[0].isupper() for test in part[-8:])


def test_modules_of_long_tests_stay_whole() -> None:
    dealt = deal(cards("aAbBcCdDeE", size=7), name, str.isupper, 3)
    for module in "ABCDE":
        first = dealt.index(f"{module}0")
        assert dealt[first : first + 7] == cards(module, size=7)


def test_the_order_within_a_part_is_that_which_was_given() -> None:
    tests = cards("dbca")
    assert deal(tests, name, str.isupper, 3) == tests


def test_what_is_said_to_be_slow_is_there() -> None:
    modules = [*Path(__file__).parents[1].rglob("test_*.py")]
    slow = [module for module in modules if is_slow(module)]
    assert {module.parent.name for module in slow} >= SLOW
    assert {module.stem.removeprefix("test_") for module in slow} >= LONG
    assert len(slow) < len(modules) / 4, "whoever is slow stands in the way of the others"
