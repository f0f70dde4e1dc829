"""Requests, queues and limits of jobs: what they take, and what tells one wish from another."""

from typing import Any

import pytest
from pydantic import ValidationError

from domain.jobs.errors import UnknownQueue
from domain.jobs.queue import DEFAULT_QUEUES, QueueRules, Queues
from domain.jobs.request import JobRequest
from domain.runs.limits import JobLimits, Limits


def request(**more: Any) -> JobRequest:
    return JobRequest.model_validate({"task": "Import", "params": {"customer": 1}, **more})


def test_the_queues_are_four_unless_the_settings_say_otherwise() -> None:
    assert list(DEFAULT_QUEUES) == ["free", "pro", "business", "enterprise"]
    assert [rules.weight for rules in DEFAULT_QUEUES.values()] == [1, 2, 4, 8]


def test_a_job_that_names_no_queue_goes_to_the_default_one() -> None:
    queues = Queues({"a": QueueRules(), "b": QueueRules()}, default="b")
    assert (queues.named(None), queues.named("a")) == ("b", "a")


def test_an_unknown_queue_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownQueue, match="no queue 'gold'; there are free, pro, business, enterprise"):
        Queues().named("gold")


def test_a_step_of_priority_is_worth_a_time_of_waiting() -> None:
    queues = Queues(priority_step_s=1.5)
    assert (queues.ahead_ms(0), queues.ahead_ms(2), queues.ahead_ms(-1)) == (0, 3000, -1500)


def test_only_queues_with_a_limit_are_counted() -> None:
    queues = Queues({"a": QueueRules(max_waiting=7), "b": QueueRules()}, default="a")
    assert queues.most_waiting(["a", "b"]) == {"a": 7}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", 101),
        ("priority", -101),
        ("priority", 1.5),
        ("priority", True),
        ("queue", "Gold!"),
        ("queue", ""),
        ("scheduled_at", "2026-11-22T08:00:00"),
        ("scheduled_at", "tomorrow"),
        ("expires_in_s", 0),
        ("expires_in_s", float("inf")),
        ("expires_in_s", 1e12),
        ("timeout_s", -1),
        ("timeout_s", True),
        ("timeout_s", "5"),
        ("timeout_s", float("nan")),
        ("max_retries", -1),
        ("max_retries", 1001),
        ("max_retries", 1.5),
        ("idempotency_key", ""),
        ("idempotency_key", "with space"),
        ("idempotency_key", "x" * 201),
        ("idempotency_key", "ü"),
        ("correlation_id", ""),
        ("correlation_id", "a\nb"),
        ("correlation_id", "x" * 201),
        ("user_id", " "),
        ("team_id", "x" * 201),
        ("task", ""),
        ("params", []),
        ("colour", "blue"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_field(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        request(**{field: value})
    assert [error["loc"][0] for error in refused.value.errors()] == [field]


def test_the_same_wish_has_the_same_digest_whatever_its_key_and_trace() -> None:
    first = request(idempotency_key="a", correlation_id="c1", priority=0)
    again = request(idempotency_key="b", correlation_id="c2")
    assert first.digest == again.digest


@pytest.mark.parametrize(
    "more",
    [
        {"params": {"customer": 2}},
        {"queue": "pro"},
        {"priority": 1},
        {"timeout_s": 5},
        {"max_retries": 0},
        {"scheduled_at": "2026-11-22T08:00:00Z"},
        {"task": "Export"},
        {"user_id": "u"},
        {"team_id": "t"},
        {"expires_in_s": 5},
    ],
)
def test_another_wish_has_another_digest(more: dict[str, Any]) -> None:
    assert request(**more).digest != request().digest


def test_the_order_of_params_makes_no_other_wish() -> None:
    assert (
        request(params={"a": 1, "b": {"c": 1, "d": 2}}).digest == request(params={"b": {"d": 2, "c": 1}, "a": 1}).digest
    )


def test_a_key_belongs_to_its_team_and_user() -> None:
    keys = {
        request(idempotency_key="k", **whose).scoped_key
        for whose in ({}, {"team_id": "t"}, {"user_id": "t"}, {"team_id": "t", "user_id": "u"})
    }
    assert len(keys) == 4
    assert request().scoped_key == ""


def test_limits_say_what_the_store_reads() -> None:
    assert Limits().as_rule() == {}
    assert Limits(max_running=3).as_rule() == {"limit": 3}
    assert Limits(rate_per_s=2.5).as_rule() == {"rate": 2.5, "burst": 2}
    assert Limits(rate_per_s=0.1).as_rule() == {"rate": 0.1, "burst": 1}
    assert Limits(rate_per_s=5, burst=9, max_running=1).as_rule() == {"limit": 1, "rate": 5, "burst": 9}


@pytest.mark.parametrize("wrong", [{"burst": 3}, {"max_running": 0}, {"rate_per_s": 0}, {"rate_per_s": float("inf")}])
def test_absurd_limits_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Limits.model_validate(wrong)


def test_one_field_or_several_tell_runs_apart() -> None:
    assert JobLimits().key_fields == ()
    assert JobLimits(one_per="customer").key_fields == ("customer",)
    assert JobLimits(one_per=("customer", "region")).key_fields == ("customer", "region")
