"""The project in docs/how-to/test-a-job.md is written down as its reader would, and its tests run."""

import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "test-a-job.md"


def files() -> dict[str, str]:
    """Return the files of the guide: each block says its name in its first line."""
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    return {block.splitlines()[0].removeprefix("# "): block for block in blocks}


def test_every_example_of_the_guide_runs(tmp_path: Path) -> None:
    project = files()
    assert all(re.fullmatch(r"\w+\.py", name) for name in project)
    for name, text in project.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    tests = sum(text.count("def test_") for text in project.values())
    assert f"{tests} passed" in answer.stdout, answer.stdout + answer.stderr
