"""Text from elsewhere does not steer the terminal, and nothing odd breaks a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.cli.answers import read_problem
from infrastructure.cli.output import amount, percent, pick, shown
from infrastructure.cli.texts import printable


def test_plain_text_stays() -> None:
    assert printable("Größe 日本 🚑") == "Größe 日本 🚑"


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb", "a\\rb"),
        ("a\nb", "a\\nb"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_what_steers_a_terminal_is_written_out(hostile: str, harmless: str) -> None:
    assert printable(hostile) == harmless


def test_line_breaks_are_kept_where_lines_are_meant() -> None:
    assert printable("a\n\x1bb", lines=True) == "a\n\\x1bb"


@given(st.text())
def test_nothing_gets_through_that_steers(text: str) -> None:
    found = printable(text)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in found)
    assert printable(found) == found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (0.5, "0.5"),
        ({"label": "a"}, '{"label": "a"}'),
        (["\x1b"], '["\\u001b"]'),
    ],
)
def test_a_cell_shows_its_value(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.123, "12.3 %"), (0, "0.0 %"), (None, "-"), ("much", "-")])
def test_a_fraction_is_shown_in_percent(value: object, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 kiB"),
        (3_435_973_837, "3.2 GiB"),
        (None, "-"),
        ([], "-"),
        (10**18, "909495 TiB"),
    ],
)
def test_bytes_are_shown_in_the_unit_that_suits(value: object, text: str) -> None:
    assert amount(value, "B") == text


@pytest.mark.parametrize("odd", [None, 5, [], "text", {"a": None}, {"a": []}, {"a": {"c": 1}}])
def test_a_path_into_an_odd_shape_leads_to_nothing(odd: object) -> None:
    assert pick(odd, "a.b") is None


def test_a_problem_is_read_with_each_wrong_field() -> None:
    found = read_problem(
        {
            "title": "Invalid request",
            "detail": "The request is not valid. body.name: Field required; label: too long. At most 5.0",
            "errors": [
                {"loc": ["body", "name"], "msg": "Field required"},
                {"loc": ["body", "data", "label"], "msg": "too long. At most 5.0"},
                {"loc": ["body", "data", "size"], "msg": "at most 5.0"},
                {"loc": ["body", "items", 0], "msg": "too large"},
            ],
        }
    )
    assert found.splitlines() == [
        "The request is not valid. body.name: Field required; label: too long. At most 5.0",
        "  body.data.size: at most 5.0",
        "  body.items.0: too large",
    ]


@pytest.mark.parametrize(
    ("odd", "text"),
    [
        ({}, ""),
        ({"title": "Conflict"}, "Conflict"),
        ({"detail": 5, "title": "Conflict"}, "Conflict"),
        ({"detail": "a\n  b", "errors": "none"}, "a b"),
        ({"detail": "x", "errors": ["y", {"field": "z"}, {"msg": "w"}]}, "x\n  y\n  z: is wrong\n  w"),
    ],
)
def test_an_odd_problem_is_read_as_far_as_it_goes(odd: dict[str, object], text: str) -> None:
    assert read_problem(odd) == text
