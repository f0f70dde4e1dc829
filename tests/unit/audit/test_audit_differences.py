"""What an entry of the audit shows of a change: what differs, bounded, without secrets."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit.differences import HIDDEN, LONGEST_VALUE, MOST_FIELDS, Differences

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def between(before: Any, after: Any, *hidden: str) -> dict[str, dict[str, Any]]:
    return Differences(hidden).between(before, after)


def test_only_what_differs_is_named_by_its_path() -> None:
    before = {"interval": 300.0, "policy": {"overlap": "skip", "catch_up": "one"}, "data": {"label": "a"}}
    after = {"interval": 60.0, "policy": {"overlap": "skip", "catch_up": "none"}, "data": {"label": "a", "team": "ops"}}
    assert between(before, after) == {
        "interval": {"before": 300.0, "after": 60.0},
        "policy.catch_up": {"before": "one", "after": "none"},
        "data.team": {"before": None, "after": "ops"},
    }


def test_what_is_new_or_gone_has_one_side() -> None:
    assert between(None, {"name": "Report"}) == {"name": {"before": None, "after": "Report"}}
    assert between({"name": "Report"}, None) == {"name": {"before": "Report", "after": None}}
    assert between(None, None) == {}


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "db_password",
        "PASSWORD",
        "apiKey",
        "api-key",
        "client_secret",
        "Authorization",
        "access_token",
        "dsn",
    ],
)
def test_a_secret_is_seen_to_change_and_never_shown(name: str) -> None:
    found = between({"data": {name: "hunter2"}}, {"data": {name: "hunter3"}})
    assert found == {f"data.{name}": {"before": HIDDEN, "after": HIDDEN}}


def test_a_secret_is_hidden_wherever_it_stands() -> None:
    data = {"targets": [{"host": "a", "password": "hunter2"}], "password": {"inner": {"value": "hunter2"}}}
    text = json.dumps(between(None, {"data": data}))
    assert "hunter2" not in text
    assert '"host": "a"' in text


def test_a_secret_behind_a_very_long_name_is_hidden_too() -> None:
    assert "hunter2" not in json.dumps(between({}, {"data": {"x" * 500: {"password": "hunter2"}}}))


def test_more_names_can_be_hidden() -> None:
    assert between({}, {"iban_of_team": "BE68"}, "IBAN") == {"iban_of_team": {"before": None, "after": HIDDEN}}
    assert between({}, {"iban_of_team": "BE68"})["iban_of_team"]["after"] == "BE68"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgresql://ann:hunter2@db/x", f"postgresql://{HIDDEN}@db/x"),
        ("see redis://:hunter2@r:6379/0 there", f"see redis://{HIDDEN}@r:6379/0 there"),
        ("Bearer abcdefgh12345", f"Bearer {HIDDEN}"),
        ("basic\tabcdefgh12345", f"basic {HIDDEN}"),
        ("a://b@", f"a://{HIDDEN}@"),
        ("https://example.com/a@b", "https://example.com/a@b"),
    ],
)
def test_a_password_in_a_url_and_a_token_of_a_header_are_hidden(value: str, shown: str) -> None:
    assert between({}, {"link": value})["link"]["after"] == shown


def test_what_no_answer_could_carry_is_made_into_text() -> None:
    found = between({}, {"odd": [float("nan"), float("-inf"), "a\ud800"], "nan": float("nan"), "\ud800": 1})
    assert found["odd"]["after"] == ["nan", "-inf", "a\\ud800"]
    assert found["nan"]["after"] == "nan"
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()


def test_long_values_are_cut_and_many_fields_are_counted() -> None:
    found = between(None, {"text": "x" * 10_000, "list": list(range(10_000))})
    assert found["text"]["after"] == "x" * LONGEST_VALUE + "… (10000 characters)"
    assert len(found["list"]["after"]) < LONGEST_VALUE + 40
    many = between(None, {f"f{number}": number for number in range(MOST_FIELDS + 5)})
    assert len(many) == MOST_FIELDS + 1
    assert many["…"]["after"] == "5 more fields differ"


@given(st.dictionaries(st.text(), JSON, max_size=5), st.dictionaries(st.text(), JSON, max_size=5))
def test_any_two_states_can_be_compared_and_equal_ones_do_not_differ(before: Any, after: Any) -> None:
    json.dumps(between(before, after))
    assert between(before, before) == {}
