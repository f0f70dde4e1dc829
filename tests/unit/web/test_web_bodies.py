"""Which JSON is taken."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infrastructure.web.bodies import MAX_DEPTH, check_json
from infrastructure.web.errors import MalformedJson
from support import examples

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@settings(deadline=None, max_examples=examples(50))
@given(VALUES)
@example("\U0001f600 and \x00")
def test_all_json_is_taken_written_in_either_way(value: object) -> None:
    check_json(json.dumps(value).encode())
    check_json(json.dumps(value, ensure_ascii=False).encode())


@settings(deadline=None, max_examples=examples(200))
@given(st.binary())
@example(b"\xff\xfe1\x00")
@example(b"\xef\xbb\xbf{}")
def test_what_is_not_json_is_refused_and_nothing_else_happens(body: bytes) -> None:
    try:
        json.loads(body.decode())
        is_json = True
    except ValueError:
        is_json = False
    if not is_json:
        with pytest.raises(MalformedJson):
            check_json(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "line 1, column 1"),
        (b"{", "line 1, column 2"),
        (b'{"a": 1,\n "b": }', "line 2, column 7"),
        (b"{} {}", "Extra data"),
        (b"'a'", "line 1"),
        (b'"\xe9"', "not UTF-8 at byte 1"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b"1e999", "too large"),
        (b"[-1e999]", "too large"),
        (b"9" * 5000, "too many digits"),
        (b'{"a": 1, "a": 2}', '"a" is there twice'),
        (b'[{"x": {"b": 1, "c": 2, "b": 1}}]', '"b" is there twice'),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\uDFFF": 1}', "surrogate"),
        (b'["\\ud83d \\ude00"]', "surrogate"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "levels deep"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "levels deep"),
        (b"[" * 100_000, "levels deep"),
        (b"[" * 100_000 + b"]" * 100_000, "levels deep"),
    ],
)
def test_what_is_wrong_is_said(body: bytes, why: str) -> None:
    with pytest.raises(MalformedJson, match=why):
        check_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH,
        b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH,
        b"[" + b"{}," * 1000 + b"{}]",
        b'"\\ud83d\\ude00"',
        b'"\\\\ud800"',
        b'{"a": {"a": 1}, "b": {"a": 1}}',
    ],
)
def test_what_only_looks_wrong_is_taken(body: bytes) -> None:
    check_json(body)


def test_many_names_are_no_burden() -> None:
    names = ",".join(f'"{number}":0' for number in range(80_000))
    with pytest.raises(MalformedJson, match='"79999" is there twice'):
        check_json(f'{{{names},"79999":0}}'.encode())
