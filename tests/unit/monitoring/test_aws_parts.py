"""The parts of the provider of EC2 that need no AWS: periods, settings, words, labels."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.monitoring.found import ImportFilters
from domain.monitoring.worker import WorkerRequest
from infrastructure.monitoring.aws.buckets import closed_end, is_closed, window
from infrastructure.monitoring.aws.search import filters_for, label_of
from infrastructure.monitoring.aws.settings import AwsSettings
from infrastructure.monitoring.aws.trouble import Kind, explain, scrub

NOW = datetime(2026, 11, 22, 8, 7, 30, tzinfo=UTC)
ROLE = "arn:aws:iam::123456789012:role/watcher"


def at(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")


def test_a_period_is_closed_when_its_delay_is_over() -> None:
    assert at(closed_end(NOW, 300, 120)) == "08:05:00"
    assert at(closed_end(NOW - timedelta(seconds=31), 300, 120)) == "08:00:00", "08:05 ended 119 s before"
    assert at(closed_end(NOW - timedelta(seconds=30), 300, 120)) == "08:05:00"
    assert at(closed_end(NOW, 60, 120)) == "08:05:00"
    assert at(closed_end(NOW, 60, 0)) == "08:07:00"


def test_one_window_has_the_closed_periods_of_both_lengths() -> None:
    start, end = window(NOW, {60, 300}, 60)
    assert (at(start), at(end)) == ("07:50:00", "08:06:00")


@given(st.integers(0, 10_000_000), st.sampled_from([60, 300]), st.floats(0, 900))
def test_what_is_read_is_closed_and_what_is_closed_is_in_the_window(second: int, period: int, delay_s: float) -> None:
    now = NOW + timedelta(seconds=second)
    start, end = window(now, {period}, delay_s)
    assert end + delay_s <= now.timestamp() < end + delay_s + period
    assert (end - start) % period == 0
    assert is_closed(datetime.fromtimestamp(end - period, UTC), period, end)
    assert not is_closed(datetime.fromtimestamp(end, UTC), period, end)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"accounts": [{"name": "a"}, {"name": "a"}]}, r"\[0\] and \[1\] have the same name"),
        ({"accounts": [{"name": "a b"}]}, "accounts.0.name"),
        ({"accounts": [{"name": "a", "role_arn": "watcher"}]}, "role_arn"),
        ({"accounts": [{"name": "a", "external_id": "xx"}]}, "give role_arn too"),
        ({"accounts": [{"name": "a", "role_arn": ROLE, "external_id": "x"}]}, "external_id"),
        ({"accounts": [{"name": "a", "aws_secret_access_key": "x"}]}, "Extra inputs are not permitted"),
        ({"regions": ["Dublin"]}, "regions.0"),
        ({"interval_s": 0.5}, "interval_s"),
        ({"delay_s": -1}, "delay_s"),
        ({"delay_s": True}, "must be a number"),
        ({"filesystems_per_worker": 21}, "filesystems_per_worker"),
        ({"calls_at_once": 0}, "calls_at_once"),
        ({"endpoint_url": "ftp://x"}, "endpoint_url"),
        ({"endpoint_url": "http://user:word@x"}, "endpoint_url"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        AwsSettings.model_validate(values)


@pytest.mark.parametrize(
    ("names", "first"), [([], "default"), (["b", "a"], "b"), (["b", "default"], "default")], ids=str
)
def test_workers_that_name_no_account_are_in_the_first(names: list[str], first: str) -> None:
    settings = AwsSettings.model_validate({"accounts": [{"name": name} for name in names]})
    assert settings.first_account == first
    assert set(settings.known_accounts) == set(names or ["default"])


@pytest.mark.parametrize(
    ("tag", "label"),
    [
        ("team", "team"),
        ("aws:autoscaling:groupName", "aws_autoscaling_groupName"),
        ("2nd", "_2nd"),
        ("größe", "gr__e"),
        ("", "_"),
        ("x" * 128, "x" * 63),
    ],
)
def test_tags_become_labels_that_a_worker_may_have(tag: str, label: str) -> None:
    assert label_of(tag) == label
    WorkerRequest(name="x", provider="aws", labels={label: ""})


@given(st.text(max_size=128))
def test_any_tag_becomes_a_label(tag: str) -> None:
    WorkerRequest(name="x", provider="aws", labels={label_of(tag): ""})


def test_filters_leave_out_what_is_going() -> None:
    (filters,) = filters_for(ImportFilters())
    assert filters == [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
    parts = list(filters_for(ImportFilters(instance_ids=tuple(f"i-{n:08x}" for n in range(401)))))
    assert [len(part[-1]["Values"]) for part in parts] == [200, 200, 1]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("no key here: i-0123456789abcdef0", "no key here: i-0123456789abcdef0"),
        ("AKIAIOSFODNN7EXAMPLE is bad", "… is bad"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEYX!", "…!"),
        ("No. Encoded authorization failure message: abc", "No."),
        ("word " * 100, "word " * 60 + "…"),
    ],
)
def test_messages_are_shown_without_keys(said: str, shown: str) -> None:
    assert scrub(said) == shown


def test_an_error_that_nobody_knows_is_told_as_it_is() -> None:
    trouble = explain(ValueError("odd"), "DescribeInstances", "default", "eu-west-1")
    assert trouble.kind is Kind.REFUSED
    assert trouble.why == "DescribeInstances failed in region eu-west-1 (account 'default'): ValueError: odd"


def test_a_program_without_ec2_workers_imports_nothing_of_aws() -> None:
    source = Path(__file__).resolve().parents[3] / "src"
    ours = "main, infrastructure.program, infrastructure.monitoring.aws.provider"
    code = f"import sys, {ours}; print([name for name in sys.modules if 'boto' in name])"
    found = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
