"""Make or complete ``.venv``: everything at the locked versions, each file checked by its hash.

Run by any Python that will do; needs nothing but the standard library and pip. Safe to run again.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
LOCKS = ROOT / "requirements"
PIP_TO_UV = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}


def main() -> None:
    """Set everything up, or end with what to do."""
    started = time.monotonic()
    make_venv()
    if install_uv():
        environment = uv_environment()
        uv = [str(UV), "pip", "install", "--quiet", "--python", str(PYTHON)]
        run([*uv, "--compile-bytecode", "--require-hashes", "-r", str(LOCKS / "dev.txt")], environment)
        run([*uv, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], environment)
    else:
        print("uv could not be installed; falling back to pip, which is slower and checks the same hashes.", flush=True)
        run([*pip(), "--require-hashes", "-r", str(LOCKS / "dev.txt")])
        run([*pip(), "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    print(f"The environment is in {VENV.name} (Python {sys.version.split()[0]}, {time.monotonic() - started:.0f} s).")


def make_venv() -> None:
    """Make the environment, anew if the one that is there does not run or is of another Python version."""
    if PYTHON.exists() and version_of(PYTHON) == sys.version_info[:2]:
        return
    print(f"Making {VENV.name} with Python {sys.version.split()[0]} ...", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    # Without pip of its own: that of this Python installs into it just as well, and it is 3 s quicker.
    needs_pip = not has_pip()
    if needs_pip and importlib.util.find_spec("ensurepip") is None:
        sys.exit(f"{sys.executable} has no pip. Install it (on Debian and Ubuntu: python3-pip), then try again.")
    venv.create(VENV, symlinks=True, with_pip=needs_pip)


def version_of(python: Path) -> tuple[int, ...] | None:
    """Return major and minor version of an interpreter, None if it does not run."""
    code = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False)
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else None


def has_pip() -> bool:
    """Tell whether this Python has a pip that can install into another environment (22.3 or newer)."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", sys.executable, "--version"], capture_output=True, check=False
    )
    return done.returncode == 0


def pip() -> list[str]:
    """Return the command that installs into the environment."""
    if has_pip():
        return [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "--quiet"]
    return [str(PYTHON), "-m", "pip", "install", "--quiet"]


def install_uv() -> bool:
    """Install the pinned uv; it installs the rest several times as fast as pip."""
    command = [*pip(), "--require-hashes", "--only-binary", ":all:", "-r", str(LOCKS / "uv.txt")]
    return subprocess.run(command, check=False).returncode == 0 and UV.exists()


def uv_environment() -> dict[str, str]:
    """Tell uv where pip was told to look: it does not read pip's configuration.

    Each file is pinned by its hash, so it does not matter which index it comes from.
    """
    environment = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_PYTHON_DOWNLOADS": "never"}
    listing = subprocess.run([*pip()[:-2], "config", "list"], capture_output=True, text=True, check=False).stdout
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        if variable := PIP_TO_UV.get(name.rpartition(".")[2]):
            separator = "," if variable == "UV_FIND_LINKS" else " "
            environment[variable] = separator.join(value.strip("'\"").replace("\\n", " ").split())
    return {**environment, **os.environ}


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a step; end with its status when it fails."""
    status = subprocess.run(command, env=environment, check=False).returncode
    if status:
        sys.exit(f"Set-up failed: {' '.join(command[:4])} ... ended with status {status}.")


if __name__ == "__main__":
    main()
