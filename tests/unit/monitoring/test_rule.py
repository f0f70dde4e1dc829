"""Alert rules are validated whole, and say what is wrong with them."""

from typing import Any

import pytest
from pydantic import ValidationError

from domain.monitoring.errors import InvalidRules
from domain.monitoring.rule import DEFAULT_RULES, AlertRule, check_rules

CPU: dict[str, Any] = {"id": "cpu", "metric": "cpu_utilization", "fire": 0.9}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": "-cpu"}, "id"),
        ({"id": "a b"}, "id"),
        ({"id": "x" * 129}, "id"),
        (
            {"metric": "cpu"},
            "there is no 'cpu'; use no_data, status, provider_down or one of cpu_utilization, memory_utilization",
        ),
        ({"metric": "cpu_utilization.user"}, "only filesystems has parts, such as 'filesystems./data'"),
        ({"metric": "filesystems."}, "only filesystems has parts"),
        ({"comparison": "=="}, "comparison"),
        ({"fire": None}, "fire: a rule for a metric needs the level at which it fires"),
        ({"fire": 90}, "fire: 90 is not between 0 and 1; utilisation is a fraction (90 % is 0.9)"),
        ({"fire": float("nan")}, "fire"),
        ({"fire": float("inf")}, "fire"),
        ({"clear": 0.95}, "clear: 0.95 must not be above fire (0.9) when the comparison is '>'"),
        ({"comparison": "<", "clear": 0.8}, "clear: 0.8 must not be below fire (0.9) when the comparison is '<'"),
        ({"clear": -0.1}, "clear: -0.1 is not between 0 and 1"),
        ({"for_s": -1}, "for_s"),
        ({"for_s": 8 * 86_400}, "for_s"),
        ({"keep_firing_for_s": float("nan")}, "keep_firing_for_s"),
        ({"severity": "bad"}, "severity"),
        ({"labels": {"": "x"}}, "labels"),
        ({"labels": {"env": "x" * 256}}, "labels"),
        ({"silent_min_s": 5}, "silent_min_s: only a no_data rule has it"),
        ({"threshold": 1}, "threshold"),
        ({"metric": "no_data"}, "fire: a no_data rule has silent_intervals and silent_min_s instead"),
        ({"metric": "no_data", "fire": None, "for_s": 60}, "for_s: a no_data rule has silent_intervals"),
        ({"metric": "no_data", "fire": None, "silent_intervals": 0.5}, "silent_intervals"),
    ],
)
def test_what_is_wrong_is_refused_and_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AlertRule.model_validate({**CPU, **changes})
    assert says in str(caught.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        AlertRule.model_validate({**CPU, "fire": 90, "clear": 95})
    assert "must not be above" in str(caught.value)
    assert "fire: 90 is not between" in str(caught.value)
    assert "clear: 95 is not between" in str(caught.value)


def test_clear_is_fire_when_left_out() -> None:
    rule = AlertRule.model_validate(CPU)
    assert (rule.breaches(0.9), rule.is_calm(0.9)) == (False, True)
    assert (rule.breaches(0.901), rule.is_calm(0.901)) == (True, False)


def test_no_value_is_wrong_and_well_at_once() -> None:
    for comparison, fire, clear in [(">", 0.9, 0.8), (">=", 0.9, 0.9), ("<", 0.1, 0.2), ("<=", 0.1, 0.1)]:
        rule = AlertRule.model_validate({**CPU, "comparison": comparison, "fire": fire, "clear": clear})
        assert not any(rule.breaches(n / 100) and rule.is_calm(n / 100) for n in range(101))


def test_levels_of_other_metrics_are_free() -> None:
    assert AlertRule(id="load", metric="load_1m", fire=64).breaches(65)


@pytest.mark.parametrize("rule", DEFAULT_RULES, ids=lambda rule: rule.id)
def test_a_dumped_rule_loads(rule: AlertRule) -> None:
    assert AlertRule.model_validate_json(rule.model_dump_json()) == rule


def test_two_rules_of_one_id_are_refused() -> None:
    rule = AlertRule.model_validate(CPU)
    with pytest.raises(InvalidRules, match="more than one rule has the id 'cpu'"):
        check_rules([rule, rule])
    assert check_rules(iter(DEFAULT_RULES)) == DEFAULT_RULES
