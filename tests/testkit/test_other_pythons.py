"""The kit, and what it takes from asyncio, on each supported Python for which there is an environment.

``make pythons`` makes the environments and tries them all; what is not tried here says why in the test report.
"""

import platform
import sys
from pathlib import Path

import pytest

from scripts import pythons


def interpreter(version: str) -> Path:
    """Return an interpreter with the program's packages, or skip."""
    if platform.python_version().startswith(f"{version}."):
        return Path(sys.executable)
    made = pythons.environment(version)
    if made is not None:
        return made
    if (python := pythons.find(version)) is None:
        pytest.skip(f"no Python {version} was found")
    pytest.skip(f"Python {pythons.version_of(python)} was found, and 'make pythons' has not tried it yet")


@pytest.mark.parametrize("version", pythons.SUPPORTED)
def test_the_smoke_test_passes(version: str) -> None:
    answer = pythons.smoke(interpreter(version))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(f"{version}.")


def test_a_smoke_test_that_fails_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "smoke.py"
    broken.write_text(pythons.SMOKE.read_text().replace("timeout_s=60", "timeout_s=61"))
    monkeypatch.setattr(pythons, "SMOKE", broken)
    answer = pythons.smoke(Path(sys.executable))
    assert answer.returncode != 0
    assert "AssertionError" in answer.stderr


def test_what_does_not_run_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert pythons.find("3.12") is None
    shim.write_text("#!/bin/sh\necho 3.12.99\n")
    assert pythons.find("3.12") == shim
