"""Become the Valkey server, in a way that it ends with the program that launched it.

Run as ``python -I -S launch_shim.py MODE PARENT_PID WATCH_FD SERVER [ARGUMENT...]``; imports nothing of ours.
The process that execs the server is the one the launcher waits for, so its pid is the server's.

MODE ``deathsig`` (Linux): the kernel sends SIGTERM when the launching *thread* ends, however it ends.
MODE ``watchdog`` (elsewhere): a child process reads the pipe WATCH_FD; its end of file means that the launcher is gone.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent ends; survives exec."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def leave_a_watchdog(watch_fd: int) -> None:
    """Fork a process that waits for the pipe to close and then ends the server, if that still lives.

    The fork is the watchdog and the caller goes on, so that the server keeps the pid that the launcher waits for.
    """
    server_pid = os.getpid()
    if os.fork():
        os.close(watch_fd)
        return
    for fd in (0, 1, 2):
        os.close(fd)
    os.read(watch_fd, 1)
    if os.getppid() == server_pid:
        os.kill(server_pid, signal.SIGTERM)
    os._exit(0)


def main(mode: str, parent_pid: str, watch_fd: str, *command: str) -> None:
    """Tie this process's life to the parent's, then exec ``command``."""
    if mode == "deathsig":
        die_with_parent()
    else:
        leave_a_watchdog(int(watch_fd))
    # The parent may have died before it was watched; then nobody would ever tell.
    if os.getppid() != int(parent_pid):
        sys.exit("the program that launched this server has ended")
    try:
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
