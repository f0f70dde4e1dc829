"""What each example's README.md types in another shell works, in its order, beside the server that it starts."""

import shlex
import subprocess
from pathlib import Path

import pytest

from cli_support import environment
from docs.blocks import Block, blocks, commands
from examples.example_kit import Project, documented

SHOP, LIBRARY = "examples/fastapi-service/README.md", "examples/job-modules/README.md"
OTHER_WORKERS = "uvicorn main:app --port 8000 --workers 4"
"""How the block begins whose servers tests/examples/test_example_workers.py starts, on a Redis."""

pytestmark = pytest.mark.usefixtures("no_server_left")


def shells(page: str) -> list[Block]:
    found = blocks(page)
    assert {block.language for block in found} == {"sh"}, "say here what runs blocks of another language"
    return found


def type_all(block: Block, project: Project) -> list[str]:
    """Type a block's commands one after another, as somebody who waits for each; return what they said."""
    address = f"{project.http.base_url}".rstrip("/")
    said = []
    for command in commands(block):
        text = command.text.replace("http://127.0.0.1:8000", address)

        def done(text: str = text) -> subprocess.CompletedProcess[str] | None:
            extra = {"ROUNDSMAN_URL": address, **project.environ}
            found = subprocess.run(
                ["bash", "-c", text],
                cwd=project.directory,
                env=environment(extra=extra),
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            return found if found.returncode == 0 and "problem:" not in found.stdout and found.stdout else None

        if text.startswith("python "):  # it says nothing
            project.run(*shlex.split(text))
            continue
        said.append(project.wait(done, text).stdout)
    return said


def test_the_library(tmp_path: Path) -> None:
    server, other_shell = shells(LIBRARY)
    first, check, run = (command.text for command in commands(server))
    assert first == "export PYTHONPATH=."
    with Project("job-modules", tmp_path, PYTHONPATH=".") as library:
        library.run(*shlex.split(check))
        library.start([*documented(run, LIBRARY), "--port", "0"])
        made, shown, letters = type_all(other_shell, library)
    assert '"id":"reminders"' in made
    assert "RemindReaders" in shown
    assert "the postman comes" in letters


def test_the_shop(tmp_path: Path) -> None:
    server, other_shell, workers = shells(SHOP)
    (run,) = (command.text for command in commands(server))
    with Project("fastapi-service", tmp_path) as shop:
        shop.start(documented(run, SHOP))
        ordered, shown, schedule, listed = type_all(other_shell, shop)
    assert ordered == '{"order":1}'
    assert '"order":1' in shown
    assert '"id":"count-orders"' in schedule
    assert "count-orders" in listed
    assert [command.text for command in commands(workers)][1] == OTHER_WORKERS
    assert OTHER_WORKERS in (Path(__file__).parent / "test_example_workers.py").read_text()
