"""When a failed attempt is tried again."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.runs.errors import PermanentError, TransientError
from domain.runs.retry import MAX_RETRY_AFTER_S, RetryPolicy

FAILURE = RuntimeError("boom")


def delays(policy: RetryPolicy, count: int) -> list[float | None]:
    return [policy.decide(FAILURE, retries).delay_s for retries in range(count)]


def test_without_a_word_nothing_is_retried() -> None:
    assert delays(RetryPolicy(), 1) == [None]


def test_retries_end_after_their_number() -> None:
    policy = RetryPolicy(max_retries=2, jitter=False)
    assert [delay is None for delay in delays(policy, 4)] == [False, False, True, True]
    assert policy.decide(FAILURE, 0).why == "retry 1 of 2"
    assert policy.decide(FAILURE, 2).why == "2 of 2 retries are spent"


def test_backoff_grows_to_its_ceiling() -> None:
    policy = RetryPolicy(max_retries=9, backoff_s=3, factor=2, max_backoff_s=20, jitter=False)
    assert delays(policy, 5) == [3, 6, 12, 20, 20]
    assert delays(RetryPolicy(max_retries=3, backoff_s=0), 3) == [0, 0, 0]
    assert delays(RetryPolicy(max_retries=1, backoff_s=50, max_backoff_s=7, jitter=False), 1) == [7]


def test_a_thousand_retries_of_factor_ten_do_not_overflow() -> None:
    policy = RetryPolicy(max_retries=1000, factor=10, backoff_s=86_400, max_backoff_s=604_800, jitter=False)
    assert policy.decide(FAILURE, 999).delay_s == 604_800


policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(1, 1000),
    backoff_s=st.floats(0, 86_400),
    factor=st.floats(1, 10),
    max_backoff_s=st.floats(0, 604_800),
)


@given(policies, st.integers(0, 999))
def test_jitter_stays_between_nothing_and_the_ceiling(policy: RetryPolicy, retries: int) -> None:
    decided = policy.decide(FAILURE, retries).delay_s
    ceiling = policy.model_copy(update={"jitter": False}).decide(FAILURE, retries).delay_s
    assert (decided is None) == (ceiling is None) == (retries >= policy.max_retries)
    if decided is not None and ceiling is not None:
        assert 0 <= decided <= ceiling <= policy.max_backoff_s


def test_jitter_spreads_over_the_whole_of_it() -> None:
    policy = RetryPolicy(max_retries=1, backoff_s=100, jitter=True)
    drawn = [policy.decide(FAILURE, 0).delay_s or 0.0 for _ in range(200)]
    assert min(drawn) < 25 < 75 < max(drawn)  # fails by chance once in 10^24


def test_a_permanent_error_is_final_whatever_the_policy_says() -> None:
    decision = RetryPolicy(max_retries=9).decide(PermanentError("no such bucket"), 0)
    assert decision.delay_s is None
    assert "PermanentError" in decision.why


def test_a_transient_error_is_retried_by_the_policy_or_when_it_says() -> None:
    policy = RetryPolicy(max_retries=1, backoff_s=5, jitter=False)
    assert policy.decide(TransientError("later"), 0).delay_s == 5
    assert policy.decide(TransientError("later", retry_after_s=40), 0).delay_s == 40
    assert policy.decide(TransientError("later", retry_after_s=0), 0).delay_s == 0
    assert policy.decide(TransientError("later", retry_after_s=40), 1).delay_s is None


@pytest.mark.parametrize(
    ("asked", "delay"),
    [
        (-5.0, 0.0),
        (1e12, MAX_RETRY_AFTER_S),
        (math.inf, MAX_RETRY_AFTER_S),
        (-math.inf, 0.0),
        (math.nan, 5),
        ("120", 120.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 5),
        ([], 5),
    ],
)
def test_what_a_server_asks_for_is_held_within_bounds(asked: Any, delay: float) -> None:
    policy = RetryPolicy(max_retries=1, backoff_s=5, jitter=False)
    assert policy.decide(TransientError(retry_after_s=asked), 0).delay_s == delay


def test_a_subclass_that_forgets_its_parents_init_is_no_accident() -> None:
    class Throttled(TransientError):
        def __init__(self) -> None:
            pass

    assert RetryPolicy(max_retries=1, backoff_s=5, jitter=False).decide(Throttled(), 0).delay_s == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_retries": -1},
        {"max_retries": 1001},
        {"max_retries": 1.5},
        {"backoff_s": -1},
        {"backoff_s": math.nan},
        {"backoff_s": math.inf},
        {"factor": 0.5},
        {"factor": math.inf},
        {"max_backoff_s": 604_801},
        {"retries": 3},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RetryPolicy(**wrong)
