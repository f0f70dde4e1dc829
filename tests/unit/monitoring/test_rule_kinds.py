"""Rules of all kinds, their selectors, escalations and words; silences and acknowledgements by themselves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from domain.monitoring.rule import AlertRule
from domain.monitoring.selector import fits_one, has_all, has_any
from domain.monitoring.severity import SEVERITIES, rank
from domain.monitoring.silence import Ack, AckRequest, Matchers, Silence, SilenceRequest
from domain.monitoring.wording import MAX_TEMPLATE, MAX_TEXT, PLACEHOLDERS, render, template_problems
from domain.monitoring.worker import Worker

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
CPU: dict[str, Any] = {"id": "cpu", "metric": "cpu_utilization", "fire": 0.9}
STATUS: dict[str, Any] = {"id": "s", "metric": "status", "statuses": ["unreachable"]}
DOWN: dict[str, Any] = {"id": "d", "metric": "provider_down"}


def worker(**labels: str) -> Worker:
    return Worker(id="w1", name="one", provider="local", labels=labels, status_since=NOW, created_at=NOW)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({**STATUS, "statuses": []}, "statuses: a status rule needs statuses, checks or both"),
        ({**STATUS, "statuses": ["terminated"]}, "'terminated' cannot be watched for"),
        ({**STATUS, "statuses": ["unknown"]}, "'unknown' cannot be watched for"),
        ({**STATUS, "statuses": ["burning"]}, "statuses"),
        ({**STATUS, "checks": ["heart"]}, "there is no check 'heart'; use system, instance"),
        ({**STATUS, "fire": 1}, "fire: a status rule has statuses and checks instead"),
        ({**CPU, "statuses": ["stopped"]}, "statuses: only a status rule has it"),
        ({**CPU, "min_workers": 3}, "min_workers: only a provider_down rule has it"),
        ({**DOWN, "min_workers": 0}, "min_workers"),
        ({**DOWN, "labels": {"env": "prod"}}, "labels: a provider_down rule is about a provider's region"),
        ({**DOWN, "silent_min_s": 3}, "silent_min_s: a provider_down rule has min_workers and for_s instead"),
        ({**CPU, "repeat_s": 0}, "repeat_s"),
        ({**CPU, "escalate": [{"severity": "warning", "fire": 0.95}]}, "'warning' must be worse than the one before"),
        ({**CPU, "escalate": [{"severity": "critical"}]}, "escalate.0: say from when on it is worse"),
        ({**CPU, "escalate": [{"severity": "critical", "fire": 0.5}]}, "0.5 must not be below the rule's fire (0.9)"),
        ({**CPU, "escalate": [{"severity": "critical", "fire": 9}]}, "escalate.0.fire: 9 is not between 0 and 1"),
        ({**CPU, "escalate": [{"severity": "critical", "after_s": 0}]}, "after_s"),
        ({**STATUS, "escalate": [{"severity": "critical", "fire": 1}]}, "only a rule for a metric has levels"),
        ({**CPU, "labels": {"env": []}}, "labels"),
        ({**CPU, "message": "{worker.__class__}"}, "there is no placeholder '{worker.__class__}'"),
        ({**CPU, "message": "{0}"}, "there is no placeholder '{0}'"),
        ({**CPU, "message": "{}"}, "there is no placeholder '{}'"),
        ({**CPU, "message": "{value!r}"}, "takes neither a format (':') nor a conversion ('!')"),
        ({**CPU, "message": "{value:>99999999}"}, "takes neither a format"),
        ({**CPU, "message": "100 } percent"}, "a brace that is meant as one is written twice"),
        ({**CPU, "message": "  "}, "message: it is empty"),
        ({**CPU, "message": "x" * (MAX_TEMPLATE + 1)}, f"at most {MAX_TEMPLATE}"),
    ],
)
def test_what_does_not_go_together_is_refused_and_named(rule: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AlertRule.model_validate(rule)
    assert says in str(caught.value)


def test_what_does_not_go_together_is_named_beside_a_field_that_is_wrong() -> None:
    with pytest.raises(ValidationError) as caught:
        AlertRule.model_validate({**CPU, "fire": 90, "for_s": "soon", "clear": 95, "message": "{x}"})
    for what in ("for_s", "fire: 90 is not between", "clear: 95", "no placeholder '{x}'"):
        assert what in str(caught.value)
    with pytest.raises(ValidationError):
        AlertRule.model_validate({**CPU, "escalate": 5, "metric": 7})
    with pytest.raises(ValidationError):
        AlertRule.model_validate("no rule at all")


@pytest.mark.parametrize(
    "rule", [CPU, STATUS, DOWN, {"id": "n", "metric": "no_data", "escalate": [{"severity": "critical", "after_s": 60}]}]
)
def test_a_rule_of_each_kind_is_dumped_and_loaded(rule: dict[str, Any]) -> None:
    made = AlertRule.model_validate(rule)
    assert AlertRule.model_validate_json(made.model_dump_json()) == made


def test_labels_select_by_value_or_by_one_of_several_and_leave_out() -> None:
    rule = AlertRule.model_validate(
        {**CPU, "labels": {"env": ["prod", "staging"], "role": "db"}, "except_labels": {"tier": "test", "old": ["1"]}}
    )
    assert rule.selects(worker(env="prod", role="db"))
    assert rule.selects(worker(env="staging", role="db", tier="live"))
    assert not rule.selects(worker(env="dev", role="db"))
    assert not rule.selects(worker(role="db"))
    assert not rule.selects(worker(env="prod", role="db", tier="test"))
    assert not rule.selects(worker(env="prod", role="db", old="1"))
    assert AlertRule.model_validate(CPU).selects(worker())
    assert not AlertRule.model_validate(DOWN).selects(worker())
    assert has_all({}, {})
    assert not has_any({}, {})
    assert fits_one("web-1", ())
    assert fits_one("web-1", ("db*", "web-?"))
    assert not fits_one("web-10", ("db*", "web-?"))


def test_severity_follows_value_and_time_whatever_comes_first() -> None:
    rule = AlertRule.model_validate(
        {
            **CPU,
            "severity": "info",
            "escalate": [{"severity": "warning", "fire": 0.95}, {"severity": "critical", "fire": 0.99, "after_s": 60}],
        }
    )
    found = [rule.severity_at(value, at_s) for value, at_s in ((0.91, 0), (0.96, 0), (0.999, 0), (0.91, 60), (None, 5))]
    assert found == ["info", "warning", "critical", "critical", "info"]
    falling = AlertRule.model_validate(
        {**CPU, "comparison": "<", "fire": 0.2, "escalate": [{"severity": "critical", "fire": 0.1}]}
    )
    assert [falling.severity_at(value, 0) for value in (0.15, 0.05)] == ["warning", "critical"]
    assert [rank(severity) for severity in SEVERITIES] == [0, 1, 2]


def test_words_are_put_in_once_and_never_read_again() -> None:
    facts = dict.fromkeys(PLACEHOLDERS, "x") | {"worker": "{rule} {0.__class__} %s", "rule": "r"}
    assert render("{{{worker}}} on {rule}", facts) == "{{rule} {0.__class__} %s} on r"
    assert render("{subject}!", {}) == "!"
    assert len(render("{worker}" * 9, {"worker": "w" * 500})) == MAX_TEXT
    assert template_problems("plain {{text}} with {worker} and {since}") == []


@pytest.mark.parametrize(
    ("given", "is_meant"),
    [
        ({"rule_ids": ["cpu"]}, True),
        ({"rule_ids": ["mem", "c*"]}, True),
        ({"rule_ids": ["mem"]}, False),
        ({"worker_ids": ["w?"], "severities": ["warning"]}, True),
        ({"worker_ids": ["w?"], "severities": ["critical"]}, False),
        ({"labels": {"env": "prod"}}, True),
        ({"labels": {"env": ["dev"]}}, False),
        ({"worker_ids": ["*"]}, True),
    ],
)
def test_matchers_say_which_alerts_are_meant(given: dict[str, Any], is_meant: bool) -> None:
    assert Matchers.model_validate(given).match("cpu", "w1", "warning", {"env": "prod"}) == is_meant


@pytest.mark.parametrize(
    "given", [{}, {"rule_ids": ["[abc]"]}, {"worker_ids": [""]}, {"severities": ["bad"]}, {"regions": ["x"]}]
)
def test_matchers_that_mean_nothing_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Matchers.model_validate(given)


def test_a_silence_holds_from_its_start_to_before_its_end() -> None:
    end = NOW + timedelta(hours=1)
    one = Silence(
        id="s", matchers=Matchers(worker_ids=("*",)), starts_at=NOW, ends_at=end, reason="r", author="a", created_at=NOW
    )
    moments = (NOW - timedelta(seconds=1), NOW, end - timedelta(seconds=1), end)
    assert [one.is_active(at) for at in moments] == [False, True, True, False]
    assert [one.state(at) for at in moments] == ["scheduled", "active", "active", "expired"]
    assert Silence.model_validate_json(one.model_dump_json()) == one


def test_all_that_is_wrong_with_the_times_of_a_silence_is_named() -> None:
    wish = SilenceRequest(
        matchers=Matchers(worker_ids=("*",)), starts_at=NOW, ends_at=NOW - timedelta(days=1), reason="r"
    )
    assert wish.problems(NOW) == ["ends_at: it must be after starts_at", "ends_at: it is past already"]
    with pytest.raises(ValidationError, match="no timezone"):
        SilenceRequest.model_validate({"matchers": {"worker_ids": ["*"]}, "ends_at": "2030-01-01T00:00", "reason": "r"})
    with pytest.raises(ValidationError):
        SilenceRequest.model_validate({"matchers": {"worker_ids": ["*"]}, "for_s": 60, "reason": " "})
    with pytest.raises(ValidationError):
        AckRequest(for_s=0)


def test_an_acknowledgement_covers_up_to_its_severity_until_its_time() -> None:
    ack = Ack(by="ann", at=NOW, until=NOW + timedelta(hours=1), severity="warning")
    assert [ack.covers(severity, NOW) for severity in SEVERITIES] == [True, True, False]
    assert not ack.covers("info", NOW + timedelta(hours=1))
