"""A user's job module passes strict type checks by mypy and by pyright, and its mistakes are reported by both.

They check as a user would: in a project of its own, with the installed package and without our configuration.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = Path(__file__).parent / "typed"
STRICT = {"typeCheckingMode": "strict", "include": ["."], "pythonVersion": "3.11"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("good_jobs.py", "wrong_jobs.py"):
        shutil.copy(SAMPLES / name, tmp_path / name)
    return tmp_path


def expected(place: int) -> list[tuple[str, int, str]]:
    """Return the errors that the comments of the wrong module tell: in which line, and called what."""
    found = []
    for number, line in enumerate((SAMPLES / "wrong_jobs.py").read_text().splitlines(), 1):
        marks = re.search(r"  # ([a-z-]+) (report\w+)$", line)
        if marks:
            found.append(("wrong_jobs.py", number, marks[place]))
    assert len(found) > 10
    return found


def test_mypy(project: Path) -> None:
    kept = f"--cache-dir={ROOT / '.mypy_cache' / 'of_users'}"  # a minute without it, on a slow machine
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", kept, "good_jobs.py", "wrong_jobs.py"]
    answer = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=300)
    lines = re.findall(r"^(\S+):(\d+): error: .*\[(\S+)\]$", answer.stdout, re.MULTILINE)
    assert [(name, int(line), code) for name, line, code in lines] == expected(1), answer.stdout + answer.stderr


def test_pyright(project: Path) -> None:
    (project / "pyrightconfig.json").write_text(json.dumps(STRICT))
    checker = Path(sys.executable).with_name("basedpyright")
    command = [checker, "--pythonpath", sys.executable, "--outputjson"]
    answer = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=300)
    said = json.loads(answer.stdout)["generalDiagnostics"]
    found = [(Path(one["file"]).name, one["range"]["start"]["line"] + 1, one["rule"]) for one in said]
    follow_up = "reportUnknown"  # what is not there has no type either
    assert [one for one in found if not one[2].startswith(follow_up)] == expected(2), answer.stdout + answer.stderr
