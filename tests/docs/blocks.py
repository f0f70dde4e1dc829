"""The fenced blocks of the documents, and the commands in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")),
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "examples").glob("*/README.md")),
]


@dataclass(frozen=True)
class Block:
    """One block of a page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def first(self) -> str:
        """Return its first line."""
        return self.text.partition("\n")[0]

    @property
    def file(self) -> str:
        """Return the name of the file that it is to be saved as: its first line, if that is nothing but a name."""
        found = re.fullmatch(r"# ([\w.-]+\.\w+)", self.first)
        return found[1] if found else ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a shell block, and what the page shows below it."""

    text: str
    shown: tuple[str, ...] = ()


@cache
def blocks(page: str, text: str | None = None) -> list[Block]:
    """Return all blocks of a page, indented ones included; of ``text`` instead of the file, if it is given."""
    text = (ROOT / page).read_text() if text is None else text
    return [
        Block(page, token.map[0] + 1, token.info.strip(), token.content)
        for token in MarkdownIt().parse(text)
        if token.type in ("fence", "code_block") and token.map
    ]


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a block: each line of ``sh``, each line behind a ``$`` of ``console``."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language != "console":
        yield from (Command(without_comment(line)) for line in lines if without_comment(line))
        return
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((without_comment(line.removeprefix("$ ")), []))
        elif line.strip():
            assert found, f"{block}: a console block begins with '$ ' and a command"
            found[-1][1].append(line)
    yield from (Command(text, tuple(shown)) for text, shown in found)


def without_comment(line: str) -> str:
    """Return a line of shell without the comment behind it."""
    return re.sub(r"(^|\s+)# .*$", "", line).strip()


def lacking(shown: tuple[str, ...], said: str) -> str | None:
    """Return the first line that a page shows and ``said`` does not have, in this order; ``…`` is anything."""
    rest = said.splitlines()
    for line in shown:
        pattern = re.compile(r"\s*".join(re.escape(word).replace("…", ".*") for word in line.split()) + r"\s*")
        at = next((index for index, one in enumerate(rest) if pattern.fullmatch(one)), None)
        if at is None:
            return line
        rest = rest[at + 1 :]
    return None
