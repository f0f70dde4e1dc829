"""The link checker finds what is dead, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_links.py"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "b c.md").write_text(
        "# One `two` *three*!\n\n## Same\n\n## Same\n\n<a id='x'></a><a name=\"named\"></a>\n"
    )
    (tmp_path / ".gitignore").write_text("/ignored/\n")
    return tmp_path


def check(project: Path, markdown: str) -> list[str]:
    (project / "docs" / "a.md").write_text(markdown)
    done = subprocess.run([sys.executable, SCRIPT, project], capture_output=True, text=True, timeout=60)
    *dead, summary = done.stdout.splitlines()
    assert summary == f"2 documents, {len(dead)} dead links", done.stderr
    assert done.returncode == (1 if dead else 0)
    return dead


def test_live_links_pass(project: Path) -> None:
    live = [
        "b%20c.md", "<b c.md>", "b%20c.md#one-two-three", "b%20c.md#same", "b%20c.md#same-1", "b%20c.md#named", "#here",
        "/docs/b%20c.md", "../docs/", "https://example.com/nothing#there", "mailto:a@example.com", "//example.com/x",
    ]  # fmt: skip
    lines = [f"[x]({target})" for target in live]
    assert check(project, "# Here\n" + "\n\n".join([*lines, "`[code](nothing.md)`", "```\n[x](nothing.md)\n```"])) == []


@pytest.mark.parametrize(
    ("markdown", "says"),
    [
        ("a\n\n[x](nothing.md)", "docs/a.md:3: nothing.md does not exist"),
        ("![x](nothing.png)", "docs/a.md:1: nothing.png does not exist"),
        ("[x][y]\n\n[y]: nothing.md", "docs/a.md:1: nothing.md does not exist"),
        ("| [x](nothing.md) |\n|---|\n", "nothing.md does not exist"),
        ("- a\n- **[x](/b.md)**", "docs/a.md:2: /b.md does not exist"),
        ("[x](#there)", "docs/a.md:1: #there has no such heading"),
        ("[x](b%20c.md#same-2)", "b%20c.md#same-2 has no such heading"),
        ("[x](../../)", "../../ is outside the project"),
    ],
)
def test_dead_links_are_named(project: Path, markdown: str, says: str) -> None:
    (dead,) = check(project, markdown)
    assert says in dead
