"""Each error that there is, is provoked by a test: an error that nobody has ever seen is one that nobody has read."""

from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest

from domain.errors import RoundsmanError
from domain.scheduling.errors import IdTaken, ScheduleNotFound
from scripts.make_errors import Kind, kinds
from unit.provocations import Provocations, all_tests

KINDS = kinds()


@cache
def provocations() -> Provocations:
    return Provocations(KINDS, all_tests())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_test_provokes_it(kind: Kind) -> None:
    assert provocations().of(kind), (
        f"no test provokes {kind.__module__}.{kind.__name__}: write one that meets it as a user would, and names its "
        "class, the last word of its problem type, or some words of its message"
    )


def test_an_error_that_no_test_provokes_is_found_out() -> None:
    made = type("UnheardOf", (RoundsmanError,), {"__doc__": "Nobody ever reads this sentence about {what}."})
    assert provocations_of(made, Path(__file__).parent / "web") == []


BY_CLASS = "def test_a():\n    with pytest.raises(IdTaken):\n        ask()\n"
BY_TYPE = 'def test_a():\n    assert problem_type(answer) == "id-taken"\n'
BY_MESSAGE = "SAID = \"'x' is taken by y. Choose another id.\"\n\ndef test_a():\n    assert SAID in answer\n"
MADE_BY_HAND = 'def test_a():\n    raise IdTaken(id="x", what="y")\n'
ELSEWHERE = "def helper():\n    return IdTaken\n\ndef test_a():\n    pass\n"
OTHERS = 'def test_a():\n    assert "There is no schedule or waiting one-shot" in answer\n'


@pytest.mark.parametrize(
    ("text", "counts"),
    [(BY_CLASS, 1), (BY_TYPE, 1), (BY_MESSAGE, 0), (MADE_BY_HAND, 0), (ELSEWHERE, 0), (OTHERS, 0)],
    ids=["class", "problem type", "three words", "made by hand", "in another function", "another error"],
)
def test_what_counts(text: str, counts: int, tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(text)
    assert len(provocations_of(IdTaken, tmp_path)) == counts


def test_four_words_count_wherever_the_test_has_them_from(tmp_path: Path) -> None:
    text = """
    SAID = "There is no schedule or waiting one-shot 'x'"

    def says(answer):
        return SAID in answer

    def test_a():
        assert says(ask())
    """
    (tmp_path / "test_x.py").write_text(dedent(text).replace("return SAID in", "return 'is no schedule or waiting' in"))
    assert provocations_of(ScheduleNotFound, tmp_path) == ["test_x.py::test_a"]


def provocations_of(kind: Kind, root: Path) -> list[str]:
    return Provocations([*KINDS, kind] if kind not in KINDS else KINDS, all_tests(root)).of(kind)
