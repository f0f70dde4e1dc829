"""Sketches of durations: within 2 % of the truth, added and taken out again."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.jobs.statistics import MOST_GROUPS, Sketch, Tally, largest

durations = st.lists(st.integers(0, 10**11), min_size=1, max_size=200)


def sketch_of(values: list[int]) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


@given(durations, st.floats(0.01, 1))
def test_a_quantile_is_within_two_percent_of_the_nearest_rank(values: list[int], share: float) -> None:
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    assert sketch_of(values).quantile(share) == pytest.approx(exact, rel=0.0201)


@given(durations, durations)
def test_two_sketches_make_one_and_what_was_added_can_be_taken_out(first: list[int], second: list[int]) -> None:
    both = sketch_of(first)
    both.merge(sketch_of(second))
    assert str(both) == str(sketch_of(first + second))
    assert str(Sketch.parse(str(both))) == str(both)
    for value in second:
        both.add(value, -1)
    assert str(both) == str(sketch_of(first))


def test_of_nothing_nothing_is_told() -> None:
    assert Sketch().quantile(0.5) is None
    assert Sketch.parse(str(Sketch())).quantile(0.99) is None
    assert Tally().success_rate is None


def test_who_was_cancelled_counts_neither_as_success_nor_as_failure() -> None:
    tally = Tally()
    for status in ("succeeded", "succeeded", "failed", "expired", "cancelled"):
        tally.add(status, None, None)
    assert (tally.total, tally.success_rate) == (5, 0.5)


def test_the_groups_with_the_most_jobs_come_first() -> None:
    groups = {f"t{number:03}": Tally() for number in range(MOST_GROUPS + 5)}
    groups["t050"].add("failed", 1, 1)
    assert list(largest(groups))[:3] == ["t050", "t000", "t001"]
    assert len(largest(groups)) == MOST_GROUPS
