"""What the documents show is what the examples do: each block of code is in one of their files, which the tests run."""

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from domain.runs.errors import AmbiguousDependency, UnsatisfiedDependency
from examples.example_kit import ROOT
from infrastructure.embedding import STILL_TURNS, NotRunning, OnAnotherLoop
from infrastructure.process import DirectoryTakenHere, WorkersNeedRedis
from infrastructure.user_containers import ARGUMENT, SETTING, InvalidContainer, ResourceFailed

EMBED = ROOT / "docs/how-to/embed.md"
EXAMPLES = ROOT / "examples"
DOCUMENTS = [EMBED, *sorted(EXAMPLES.glob("*/README.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path, language: str) -> Iterator[str]:
    for _, kind, code in FENCE.findall(document.read_text()):
        if kind == language:
            yield dedent(code)


def indented(code: str, text: str) -> bool:
    """Tell whether ``text`` has these lines, perhaps further in."""
    lines = code.strip("\n").splitlines()
    return any("\n".join(f"{' ' * depth}{line}" if line else "" for line in lines) in text for depth in (0, 4, 8))


def sources(pattern: str) -> list[str]:
    return [file.read_text() for file in EXAMPLES.glob(pattern)]


def test_each_block_of_python_is_in_a_file_of_an_example_or_of_a_test() -> None:
    found = list(blocks(EMBED, "python"))
    assert len(found) == 7
    tested = [*sources("*/*.py"), (Path(__file__).parent / "test_embedded_caller.py").read_text()]
    for code in found:
        assert any(indented(code, text) for text in tested), code


def test_each_block_of_settings_is_in_a_file_of_an_example() -> None:
    (code,) = blocks(EMBED, "toml")
    assert any(indented(code, text) for text in sources("*/settings.toml"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.parent.name)
def test_each_server_that_a_document_starts_is_started_by_a_test(document: Path) -> None:
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_example_*.py"))
    commands = [line for code in blocks(document, "sh") for line in code.splitlines()]
    started = [line for line in commands if line.startswith(("uvicorn ", "gunicorn "))]
    started += [line for line in commands if line in ("roundsman run", "roundsman check")]
    assert started
    for command in started:
        assert f'"{command}"' in tests, command


MESSAGES = [
    InvalidContainer(source=SETTING, name="jobs:Container", why="it is none"),
    UnsatisfiedDependency(job="Send", field="pool", type="Pool", known="there are no providers"),
    AmbiguousDependency(job="Send", field="pool", type="Pool", providers="A.pool, B.pool"),
    ResourceFailed(name="Container.pool", why="OSError: no"),
    InvalidContainer(source=ARGUMENT, name="0: int", why="it is none"),
    NotRunning(why="it was not started, or it was stopped"),
    OnAnotherLoop(**STILL_TURNS),
    DirectoryTakenHere(data_dir="var"),
]
"""One for each row of the table of messages."""


def test_the_messages_are_as_the_program_says_them() -> None:
    rows = re.findall(r"^\| `(.*?)` \|", EMBED.read_text(), re.MULTILINE)
    for row, error in zip(rows, MESSAGES, strict=True):
        assert says(row, f"{error}"), row


def test_what_workers_say_is_as_the_document_has_it() -> None:
    (shown,) = (code for code in blocks(EMBED, "") if "WorkersNeedRedis" in code)
    said = f"WorkersNeedRedis: {WorkersNeedRedis(data_dir='var', pid=7)}"
    assert says(" ".join(shown.split()), said)


def says(pattern: str, message: str) -> bool:
    """Tell whether a message begins with ``pattern``, in which ``…`` stands for anything."""
    return re.match(re.escape(pattern).replace("…", ".*"), message) is not None
