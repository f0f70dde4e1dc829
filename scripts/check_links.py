"""Find dead links in the project's Markdown: files that are not there, headings that are not in them.

Offline: addresses on the web are left alone. Exits with 1 and one line for each dead link. ``check_links.py [ROOT]``.
"""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent


def main(root: Path = ROOT) -> int:
    """Check all documents that git knows or would know below ``root``; return the exit status."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    documents = [root / name for name in names if name and (root / name).exists()]
    dead = [problem for document in documents for problem in dead_links(document, root)]
    for problem in dead:
        print(problem)
    print(f"{len(documents)} documents, {len(dead)} dead links")
    return 1 if dead else 0


def dead_links(document: Path, root: Path) -> Iterator[str]:
    """Yield ``file:line: what is wrong`` for each dead link of a document."""
    for line, target in links(document):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        path = unquote(parts.path)
        file = document if not path else root / path.lstrip("/") if path.startswith("/") else document.parent / path
        where = f"{document.relative_to(root)}:{line}: {target}"
        if not file.exists():
            yield f"{where} does not exist"
        elif not file.resolve().is_relative_to(root.resolve()):
            yield f"{where} is outside the project"
        elif parts.fragment and file.suffix == ".md" and unquote(parts.fragment) not in anchors(file.resolve()):
            yield f"{where} has no such heading"


def links(document: Path) -> Iterator[tuple[int, str]]:
    """Yield line and target of each link and image."""
    for block in parse(document):
        for token in block.children or []:
            target = token.attrGet("href") or token.attrGet("src")
            if target and block.map:
                yield block.map[0] + 1, str(target)


@cache
def anchors(document: Path) -> frozenset[str]:
    """Return the anchors of a document's headings, as forges make them, and those that its HTML names."""
    blocks = parse(document)
    found: Counter[str] = Counter()
    names = {name for block in blocks for name in re.findall(r'(?:id|name)="([^"]+)"', block.content)}
    for opening, heading in pairwise(blocks):
        if opening.type == "heading_open":
            text = "".join(token.content for token in heading.children or [] if token.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            names.add(f"{slug}-{found[slug]}" if found[slug] else slug)
            found[slug] += 1
    return frozenset(names)


def parse(document: Path) -> list[Token]:
    """Return the blocks of a document."""
    return MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
