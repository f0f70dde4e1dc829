"""A sample says why a value is missing, and never makes one up."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from domain.monitoring.sample import METRICS, Metrics, MetricSample
from unit.monitoring.waveforms import START, sample


def test_the_payload_has_exactly_the_fields_of_the_contract() -> None:
    payload = sample(START).model_dump(mode="json")
    assert list(payload) == [
        "worker_id",
        "worker_name",
        "provider",
        "region",
        "observed_at",
        "collected_at",
        "status",
        "status_checks",
        "metrics",
        "missing",
    ]
    assert set(payload["status_checks"]) == {"system", "instance"}
    assert set(payload["metrics"]) == {
        "cpu_utilization",
        "memory_utilization",
        "memory_limit_bytes",
        "load_1m",
        "filesystems",
        "disk_read_bytes_per_s",
        "disk_write_bytes_per_s",
        "network_rx_bytes_per_s",
        "network_tx_bytes_per_s",
        "uptime_s",
        "process_count",
    }


@pytest.mark.parametrize("field", [*METRICS, "region", "status_checks.system"])
def test_a_null_without_a_reason_is_refused(field: str) -> None:
    facts = sample(START, cpu=None).model_dump()
    facts["status_checks"]["system"] = None
    facts["missing"]["status_checks.system"] = "not asked"
    MetricSample.model_validate(facts)
    facts["missing"][field] = " "
    with pytest.raises(ValidationError, match=f"null without a reason in 'missing': {field}"):
        MetricSample.model_validate(facts)


@pytest.mark.parametrize("field", ["cpu_utilization", "cpu", "filesystems./"])
def test_a_reason_for_what_is_known_is_refused(field: str) -> None:
    facts = sample(START, filesystems={"/": 0.5}).model_dump()
    facts["missing"][field] = "why"
    with pytest.raises(ValidationError, match=f"a reason for what is not null: {field}"):
        MetricSample.model_validate(facts)


def test_a_mount_that_did_not_answer_may_say_so() -> None:
    facts = sample(START, filesystems={"/": 0.5}).model_dump()
    facts["missing"]["filesystems./data"] = "it did not answer within 5 s"
    assert MetricSample.model_validate(facts).metrics.filesystems == {"/": 0.5}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cpu_utilization", 1.2),
        ("cpu_utilization", -0.1),
        ("memory_utilization", float("nan")),
        ("filesystems", {"/": 55}),
        ("filesystems", {f"/{n}": 0.5 for n in range(65)}),
        ("load_1m", float("inf")),
        ("disk_read_bytes_per_s", -1),
        ("uptime_s", float("nan")),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        Metrics.model_validate({name: value})


def test_values_are_rounded_once_and_for_all() -> None:
    found = Metrics(cpu_utilization=0.123456, load_1m=1.2345, disk_read_bytes_per_s=10.6, uptime_s=1.2)
    assert (found.cpu_utilization, found.load_1m, found.disk_read_bytes_per_s, found.uptime_s) == (0.1235, 1.23, 11, 1)


def test_times_are_whole_milliseconds_in_utc() -> None:
    local = datetime(2026, 11, 22, 9, 0, 0, 123_987, tzinfo=timezone(timedelta(hours=1)))
    found = sample(local)
    assert found.observed_at == datetime(2026, 11, 22, 8, 0, 0, 123_000, tzinfo=UTC)
    assert found.model_dump(mode="json")["observed_at"] == "2026-11-22T08:00:00.123000Z"
    assert found.time_ms == 1795334400123


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValidationError, match="no timezone"):
        sample(datetime(2026, 11, 22, 9))  # noqa: DTZ001 - the point of the test


def test_a_source_is_told_where_it_is_not_the_usual_one() -> None:
    facts = {**sample(START).model_dump(), "sources": {"cpu_utilization": "cgroup"}}
    assert MetricSample.model_validate(facts).model_dump()["sources"] == {"cpu_utilization": "cgroup"}


def test_checks_of_disks_are_left_out_where_they_do_not_apply_and_need_a_reason_when_null() -> None:
    facts = sample(START).model_dump()
    assert "attached_ebs" not in facts["status_checks"]
    assert MetricSample.model_validate(facts).status_checks.attached_ebs == "not_applicable"
    facts["status_checks"]["attached_ebs"] = "impaired"
    assert MetricSample.model_validate(facts).model_dump()["status_checks"]["attached_ebs"] == "impaired"
    facts["status_checks"]["attached_ebs"] = None
    with pytest.raises(ValidationError, match=r"null without a reason in 'missing': status_checks\.attached_ebs"):
        MetricSample.model_validate(facts)


def test_silence_counts_from_when_a_newer_value_could_be_had() -> None:
    look = sample(START)
    assert look.heard_until_ms == look.time_ms
    assert look.apart_s(5.0) == 5.0
    late = START + timedelta(seconds=130)
    of_a_period = look.model_copy(update={"period_s": 300.0, "collected_at": late})
    assert of_a_period.heard_until_ms == look.time_ms + 430_000
    assert (of_a_period.apart_s(5.0), of_a_period.apart_s(600.0)) == (300.0, 600.0)
    assert of_a_period.model_dump()["period_s"] == 300.0
    assert "period_s" not in look.model_dump()
