"""Which tests provoke which error: read from the tests themselves, so that nothing has to be kept beside them.

A test counts for an error when it names its class (as ``pytest.raises`` does; making one by hand does not count), the
last word of its problem type, or four words in a row of its message that no other message has.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infrastructure.web.problems import problem_type_of
from scripts.make_errors import Kind, message

TESTS = Path(__file__).resolve().parents[1]
OWN = ("test_errors_page.py", "test_errors_provoked.py")
"""Tests of all errors alike, which provoke none."""
WORDS = 4


@dataclass(frozen=True)
class Test:
    """One test function: what it names, and the texts in it and in the constants that it uses."""

    __test__ = False

    where: str
    names: frozenset[str]
    texts: tuple[str, ...]


def all_tests(root: Path = TESTS) -> list[Test]:
    """Return the tests in all files below ``root``."""
    return [test for file in sorted(root.rglob("test_*.py")) if file.name not in OWN for test in tests_of(file, root)]


def tests_of(file: Path, root: Path) -> Iterator[Test]:
    """Yield the tests of one file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    shared = {name: node for node in tree.body for name in _defined(node)}
    said = {name: _said(node) for name, node in shared.items()}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            own = _said(node)
            parts = [own, *(said[name] for name in sorted(own.variables & shared.keys()))]
            names = frozenset[str]().union(*(part.names for part in parts))
            texts = tuple(text for part in parts for text in part.texts)
            yield Test(f"{file.relative_to(root)}::{node.name}", names, texts)


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement of a module gives to a constant or to a helper."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [] if node.name.startswith("test") else [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


@dataclass(frozen=True)
class Said:
    """What stands in a part of a module: its variables, what it names without making it, and its texts."""

    variables: set[str]
    names: set[str]
    texts: list[str]


def _said(part: ast.AST) -> Said:
    nodes = list(ast.walk(part))
    made = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    found = Said(set(), set(), [])
    for node in nodes:
        if isinstance(node, ast.Name):
            found.variables.add(node.id)
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in made:
            found.names.add(node.id if isinstance(node, ast.Name) else node.attr)
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            text = node.value if isinstance(node.value, str) else node.value.decode(errors="replace")
            found.texts.append(" ".join(text.replace("\\", "").split()))
    return found


class Provocations:
    """The tests of each error."""

    def __init__(self, kinds: list[Kind], tests: list[Test]) -> None:
        self._tests: dict[str, set[str]] = {}
        """What a test may name -> the tests that name it."""
        for test in tests:
            for what in test.names | {word for text in test.texts for word in _evidence(text)}:
                self._tests.setdefault(what, set()).add(test.where)
        count = Counter(phrase for kind in kinds for phrase in set(_phrases(message(kind))))
        self._own = {kind: [phrase for phrase in _phrases(message(kind)) if count[phrase] == 1] for kind in kinds}

    def of(self, kind: Kind) -> list[str]:
        """Return the tests that provoke it."""
        named = [kind.__name__, f"problem {problem_type_of(kind).rpartition(':')[2]}", *self._own[kind]]
        return sorted(set().union(*(self._tests.get(what, set()) for what in named)))


def _evidence(text: str) -> Iterator[str]:
    if " " not in text:
        yield f"problem {text.rpartition(':')[2]}"
    yield from _phrases(text)


def _phrases(text: str) -> Iterator[str]:
    """Yield all runs of four words between the facts of a message."""
    for piece in re.split(r"\{[^}]*\}", text):
        words = [word.strip("\"'.,:;()") for word in piece.split()]
        yield from (" ".join(words[at : at + WORDS]) for at in range(len(words) - WORDS + 1))
