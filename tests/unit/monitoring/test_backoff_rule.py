"""How much less often a failing worker is looked at, and when in its interval a worker of a batch is."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.monitoring.phases import EPOCH, aligned_start, is_aligned
from domain.monitoring.backoff import pause_s
from domain.scheduling.policy import YEAR_S

INTERVALS = st.floats(min_value=0.1, max_value=YEAR_S)


@pytest.mark.parametrize(
    ("interval", "pauses"),
    [
        (5, [0, 0, 10, 20, 40, 50, 50]),
        (60, [0, 0, 120, 240, 480, 600, 600]),
        (300, [0, 0, 600, 600, 600, 600, 600]),
        (600, [0] * 7),
        (86_400, [0] * 7),
    ],
)
def test_it_doubles_from_the_third_failure_to_a_tenth_or_ten_minutes(interval: float, pauses: list[float]) -> None:
    assert [pause_s(failures, interval) for failures in range(1, 8)] == pauses


@given(INTERVALS, st.integers(min_value=1, max_value=10**9))
def test_a_pause_is_never_shorter_than_the_interval_nor_than_the_one_before(interval: float, failures: int) -> None:
    pause = pause_s(failures, interval)
    assert pause == 0 or interval < pause <= min(interval * 10, 600)
    assert pause <= pause_s(failures + 1, interval)


@given(st.text(min_size=1), INTERVALS)
def test_a_batch_has_one_phase_of_its_own(batch: str, interval: float) -> None:
    start = aligned_start("aws", batch, interval)
    assert start == aligned_start("aws", batch, interval)
    assert EPOCH <= start <= EPOCH + timedelta(seconds=interval)
    assert is_aligned(start)


def test_batches_are_spread_over_the_interval() -> None:
    regions = [f"123456789012/region-{number}" for number in range(60)]
    offsets = sorted((aligned_start("aws", region, 60) - EPOCH).total_seconds() for region in regions)
    assert all(any(ten <= offset < ten + 10 for offset in offsets) for ten in range(0, 60, 10))
    assert sum(later - sooner > 0.1 for sooner, later in pairwise(offsets)) > 45, "few at the same moment"
    assert aligned_start("aws", "a", 60) != aligned_start("gcp", "a", 60)


def test_a_start_that_somebody_chose_is_not_ours() -> None:
    assert not is_aligned(datetime(2026, 1, 1, tzinfo=UTC))
    assert not is_aligned(EPOCH - timedelta(milliseconds=1))
