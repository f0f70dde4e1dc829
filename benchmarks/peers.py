"""The environments of the contestants: ours is the project's, each peer has its own, pinned by hashes."""

import shutil
import subprocess
import sys
from pathlib import Path

from scripts.set_up import uv_environment

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / "benchmarks" / ".venvs"
LOCKS = ROOT / "benchmarks" / "requirements"
OURS = "roundsman"
PEER_OF = {"apscheduler_memory": "apscheduler", "apscheduler_redis": "apscheduler", "docket": "docket"}
"""Contestant -> the peer whose environment it needs."""
CONTESTANTS = (OURS, *PEER_OF)
JOB_PEER_OF = {
    "arq": "arq",
    "saq": "saq",
    "taskiq": "taskiq",
    "taskiq_list": "taskiq",
    "streaq": "streaq",
    "docket": "docket",
    "dramatiq": "dramatiq",
    "celery": "celery",
}
"""The same for the benchmark of jobs."""
JOB_CONTESTANTS = (OURS, *JOB_PEER_OF)


def python_of(contestant: str) -> Path:
    """Return the Python that runs a contestant; make its environment first, if it is not there or out of date."""
    if contestant.startswith(OURS):  # also what measures a part of it
        return Path(sys.executable)
    peer = {**PEER_OF, **JOB_PEER_OF}[contestant]
    python = VENVS / peer / "bin" / "python"
    lock = LOCKS / f"{peer}.txt"
    installed = VENVS / peer / "installed.txt"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        print(f"Setting up {peer} ...", file=sys.stderr, flush=True)
        _install(peer, python, lock)
        shutil.copyfile(lock, installed)
    return python


def _install(peer: str, python: Path, lock: Path) -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        sys.exit("The peers' environments are made with uv, which is not in .venv: run 'make setup' again.")
    environment = uv_environment()
    for command in (
        ["venv", "--quiet", "--clear", "--python", sys.executable, str(VENVS / peer)],
        [
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            str(python),
            "--require-hashes",
            "-r",
            str(lock),
        ],
    ):
        subprocess.run([uv, *command], env=environment, check=True)
