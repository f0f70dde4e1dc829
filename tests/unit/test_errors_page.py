"""docs/errors.md is what the code makes, and every message in it says how to mend what it tells."""

import re
from pathlib import Path

import pytest

from domain.errors import RoundsmanError
from infrastructure.cli.errors import RefusedByServer
from scripts import make_errors
from scripts.make_errors import Kind

KINDS = make_errors.kinds()
names = [kind.__name__ for kind in KINDS]


@pytest.fixture
def stranger() -> Kind:
    """An error class that belongs to no feature."""
    return type("StrangerError", (RoundsmanError,), {"__doc__": "It is {what}.", "__module__": "domain.nowhere"})


def test_the_page_is_what_the_code_makes() -> None:
    assert make_errors.main(["--check"]) == 0, "docs/errors.md is stale: run scripts/make_errors.py"


def test_a_page_that_was_changed_by_hand_is_called_stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed = tmp_path / "errors.md"
    changed.write_text(make_errors.page() + "One more word.\n")
    monkeypatch.setattr(make_errors, "PAGE", changed)
    assert make_errors.main(["--check"]) == 1
    assert changed.read_text().endswith("One more word.\n")
    assert make_errors.main([]) == 0
    assert make_errors.main(["--check"]) == 0


def test_an_error_that_belongs_nowhere_has_no_group(stranger: Kind) -> None:
    assert make_errors.group_of(stranger) is None
    assert stranger not in make_errors.kinds(), "one that a test makes is not the program's"


def test_names_are_told_apart() -> None:
    assert len(set(names)) == len(names) > 100


@pytest.mark.parametrize("kind", KINDS, ids=names)
def test_a_message_has_facts_and_goes_on_with_what_to_do(kind: Kind) -> None:
    text = make_errors.message(kind)
    assert make_errors.group_of(kind) is not None
    if kind is RefusedByServer:
        return
    assert make_errors.remedy(kind), f"{kind.__name__} says what was wrong and not how to mend it: {text}"
    assert re.search(r"[.\-}]$", text)
    assert len(text) < 420, "nobody reads more than this at 3 a.m."


@pytest.mark.parametrize("kind", KINDS, ids=names)
def test_a_message_is_filled_in_whole(kind: Kind) -> None:
    facts = {name: _Fact() for name in re.findall(r"\{(\w+)[^}]*\}", make_errors.message(kind))}
    if kind is RefusedByServer:
        facts = {"text": _Fact(), "exit_status": 4, "problem": {}}  # type: ignore[dict-item]
    said = str(kind(**facts))
    assert "{" not in said
    assert said.count("FACT") >= min(1, len(facts))


class _Fact:
    """A value for any place in a message."""

    def __format__(self, spec: str) -> str:
        return "FACT"
