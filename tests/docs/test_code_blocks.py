"""Every block of code in README.md, docs/ and examples/ is run, or says in ``declared.py`` who runs it, or why not."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from docs.blocks import PAGES, ROOT, Block, blocks, commands
from docs.declared import ELSEWHERE, INSTEAD, MAY_FAIL, NOT_RUN, OTHER_OUTPUT
from docs.reader import Reader, Unread
from docs.started import Guide
from infrastructure.settings import InvalidSettings

ALL = [block for page in PAGES for block in blocks(page)]
COMMANDS = [one.text for block in ALL if block.language in ("sh", "bash", "console") for one in commands(block)]

pytestmark = pytest.mark.usefixtures("no_server_left")


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guide]:
    """The program that a page means which starts none."""
    made = Guide(tmp_path_factory.mktemp("guide"))
    yield made
    made.end()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_a_reader_can_do_what_the_page_says(page: str, tmp_path: Path, guide: Guide) -> None:
    with Reader(tmp_path, guide) as reader:
        for block in blocks(page):
            reader.read(block)


WRONG = {
    "```python\n1 / 0\n```": ZeroDivisionError,
    "```python\n# saved.py\nthis is no Python\n```": SyntaxError,
    "```python\nawait bus.nothing()\n```": KeyError,
    "```toml\n[server]\nprot = 1\n```": InvalidSettings,
    "```json\n{'a': 1}\n```": ValueError,
    "```sh\nroundsman check --no-such-option\n```": AssertionError,
    "```sh\nmake no-such-target\n```": AssertionError,
    "```sh\ntrue\nfalse  # not the first\n```": AssertionError,
    "- indented\n\n  ```console\n  $ echo one\n  two\n  ```": AssertionError,
    "```console\nno command\n```": AssertionError,
    "```rust\nfn main() {}\n```": Unread,
    "```\nwhat is this?\n```": Unread,
    "text\n\n    indented code\n": Unread,
}


@pytest.mark.parametrize("text", WRONG)
def test_a_block_that_is_wrong_or_that_nothing_runs_is_found(text: str, tmp_path: Path, guide: Guide) -> None:
    (block,) = blocks("new.md", text)
    with Reader(tmp_path, guide) as reader, pytest.raises(WRONG[text]):
        reader.read(block)


def test_who_is_said_to_run_a_block_is_a_test_that_names_its_page() -> None:
    for (page, language), test in ELSEWHERE.items():
        assert any((block.page, block.language) == (page, language) for block in ALL), f"{page}: no {language} any more"
        assert Path(page).name in (ROOT / test).read_text(), f"{test} does not name {page}"


@pytest.mark.parametrize("start", NOT_RUN)
def test_what_is_not_run_is_still_there(start: str) -> None:
    assert any(text.startswith(start) for text in [*COMMANDS, *(block.text for block in ALL)])


@pytest.mark.parametrize("pattern", [pattern for pattern, *_ in INSTEAD])
def test_what_is_run_instead_is_still_needed(pattern: str) -> None:
    assert any(re.search(pattern, text) for text in COMMANDS)


@pytest.mark.parametrize("start", [*OTHER_OUTPUT, *MAY_FAIL])
def test_what_may_end_otherwise_is_still_there(start: str) -> None:
    assert any(text.startswith(start) for text in COMMANDS)


def the_block(start: str) -> Block:
    (found,) = (block for block in ALL if block.text.startswith(start))
    return found


def test_a_server_knows_the_directives_that_a_redis_should_have(redis_url: str) -> None:
    with Redis.from_url(redis_url, decode_responses=True) as server:
        for line in the_block("appendonly yes").text.splitlines():
            assert server.config_get(line.split()[0]), line


def test_the_files_in_the_drawing_of_the_internals_are_there() -> None:
    named = re.findall(r"[\w/]+\.(?:py|lua)", the_block("tick (").text)
    assert len(named) > 6
    for name in named:
        assert list((ROOT / "src").rglob(name if "/" not in name else Path(name).name)), name
        assert "/" not in name or (ROOT / "src" / name).exists(), name
