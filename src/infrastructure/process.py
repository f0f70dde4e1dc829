"""What this process is to others: forked from one that runs the program already, or one worker beside others."""

import os
import platform
import secrets

import psutil

from domain.errors import RoundsmanError
from infrastructure.redis.errors import DataDirectoryInUse


class StartedBeforeFork(RoundsmanError):
    """The program was started in process {parent}, and this is process {here}, forked from it: neither threads nor
    connections survive that. Start it in each worker, as a lifespan does, and not while a module is imported that the
    server loads before it forks (gunicorn --preload)."""

    status = 500


class WorkersNeedRedis(RoundsmanError):
    """Several workers of one server cannot share the embedded Valkey in {data_dir}: it belongs to one process, and
    process {pid} has it. Set store.redis_url (ROUNDSMAN_STORE__REDIS_URL) to a Redis that all workers reach, or run one
    worker (uvicorn without --workers, gunicorn with -w 1)."""

    status = 500


class DirectoryTakenHere(RoundsmanError):
    """Another program in this very process has the data directory {data_dir}. Give each a directory of its own (setting
    data_dir), or let them share a Redis (setting store.redis_url)."""

    status = 500


def new_instance_id() -> str:
    """Return an id that no other start of the program has; for this process, not for those forked from it."""
    return f"{platform.node() or 'host'}-{os.getpid()}-{secrets.token_hex(3)}"


def refuse_fork(opened_in: int | None) -> None:
    """Raise ``StartedBeforeFork`` in a process that only inherited what was opened."""
    if is_forked(opened_in):
        raise StartedBeforeFork(parent=opened_in, here=os.getpid())


def is_forked(opened_in: int | None) -> bool:
    """Tell whether what was opened in that process is another process's."""
    return opened_in not in (None, os.getpid())


def explain(error: DataDirectoryInUse) -> RoundsmanError:
    """Return the error that says best why the data directory is taken."""
    pid, data_dir = str(error.facts["pid"]), error.facts["data_dir"]
    if pid == str(os.getpid()):
        return DirectoryTakenHere(data_dir=data_dir)
    return WorkersNeedRedis(data_dir=data_dir, pid=pid) if _is_worker_beside(pid) else error


def _is_worker_beside(pid: str) -> bool:
    """Tell whether a server has started both that process and this one, as workers."""
    try:
        other = psutil.Process(int(pid))
        parent = psutil.Process(os.getppid())
        return other.ppid() == parent.pid and _is_worker_of(parent)
    except (psutil.Error, ValueError):
        return False


def _is_worker_of(parent: psutil.Process) -> bool:
    """Tell a worker from a program that a shell or a supervisor has started: gunicorn forks, uvicorn spawns."""
    command = psutil.Process().cmdline()
    return command == parent.cmdline() or any("multiprocessing" in word for word in command)
