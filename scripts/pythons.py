"""Find the Python versions that the program supports, and try the test kit on each: ``make pythons``.

Each gets an environment of its own under ``.pythons``, with the locked packages, made once. It prints which were found,
and ends with an error if one of them did not pass.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = ("3.11", "3.12", "3.13")
SMOKE = ROOT / "tests" / "testkit" / "smoke.py"
ENVIRONMENTS = ROOT / ".pythons"


def find(version: str) -> Path | None:
    """Return an interpreter of a version that runs: from where pyenv keeps them, or from the PATH.

    In this order, as what pyenv puts on the PATH is a slow script that may know no such version.
    """
    named = shutil.which(f"python{version}")
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = sorted(kept.glob(f"{version}.*/bin/python{version}"), reverse=True)
    candidates += [Path(named)] if named else []
    return next((candidate for candidate in candidates if version_of(candidate).startswith(f"{version}.")), None)


def version_of(python: Path) -> str:
    """Return the whole version of an interpreter; '' for one that does not run."""
    code = "import platform; print(platform.python_version())"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def environment(version: str) -> Path | None:
    """Return the Python of the environment that was made for a version, or None."""
    python = ENVIRONMENTS / version / "bin" / "python"
    return python if python.exists() and version_of(python) else None


def make(version: str, python: Path) -> Path:
    """Make or complete an environment with what the program needs, at the locked versions."""
    uv = str(ROOT / ".venv" / "bin" / "uv")
    made = ENVIRONMENTS / version
    if environment(version) is None:
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", str(python), str(made)], check=True)
    lock = str(ROOT / "requirements" / "runtime.txt")
    target = str(made / "bin" / "python")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", target, "--require-hashes", "-r", lock], check=True)
    return made / "bin" / "python"


def smoke(python: Path) -> subprocess.CompletedProcess[str]:
    """Run the smoke test on an interpreter, warnings being errors; it prints the version."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [str(python), "-W", "error", str(SMOKE)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)


def found() -> list[str]:
    """Return the versions of the interpreters that were found."""
    return [version_of(python) for version in SUPPORTED if (python := find(version))]


def main() -> int:
    """Try each, and say what came of it."""
    failed = 0
    for version in SUPPORTED:
        python = find(version)
        if python is None:
            print(f"Python {version}: not found")
            continue
        done = smoke(make(version, python))
        failed += done.returncode != 0
        print(f"Python {version}: {done.stdout.strip()} passed" if done.returncode == 0 else done.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
