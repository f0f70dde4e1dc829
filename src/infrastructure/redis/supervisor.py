"""Keep the embedded server alive, from one thread that lives as long as it may run."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from infrastructure.redis.server_process import ServerProcess, describe_exit

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 10.0
TRIES_BEFORE_FAILED = 5
STABLE_AFTER_S = 10.0
"""A server that lived this long was healthy: its next death is restarted at once again."""

Launch = Callable[[Callable[[], bool]], ServerProcess]


class Supervisor:
    """Launch a server, restart it when it ends by itself, end it on request.

    Launches and restarts come from one thread: on Linux the server is killed with the *thread* that launched it, which
    must therefore be neither a pool's nor a caller's. The thread is a daemon, so that a program that forgets ``stop``
    still exits, and takes the server with it.
    """

    def __init__(self, launch: Launch) -> None:
        self.state = "starting"
        self.server: ServerProcess | None = None
        self._launch = launch
        self._stopping = threading.Event()
        self._launching = threading.Lock()
        self._first: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="embedded-valkey", daemon=True)

    def start(self) -> None:
        """Return when the server answers; raise why it does not."""
        self._thread.start()
        self._first.result()

    def stop(self, grace_s: float) -> None:
        """End the server, by force after ``grace_s``, and the thread with it; twice is fine, so is before start."""
        self._stopping.set()
        with self._launching:
            server = self.server
        if server is not None:
            server.terminate()
        if self._thread.ident is not None:
            self._thread.join(grace_s)
        if server is not None and self._thread.is_alive():
            log.warning("the embedded Valkey did not end within %g s and is killed", grace_s)
            server.kill()
            self._thread.join()
        self.state = "stopped"

    def _run(self) -> None:
        try:
            server = self._bring_up()
        except BaseException as error:  # noqa: BLE001 - handed to the caller of start()
            self._first.set_exception(error)
            return
        self._first.set_result(None)
        try:
            self._keep_up(server)
        except Exception as error:
            log.exception("the supervisor of the embedded Valkey ended")
            self.state = f"failed: {error!r}"

    def _keep_up(self, server: ServerProcess) -> None:
        failures = 0
        while True:
            status = server.wait()
            if self._stopping.is_set():
                return
            self.state = "restarting"
            failures = 0 if time.monotonic() - server.launched_at > STABLE_AFTER_S else failures + 1
            log.error("the embedded Valkey (pid %d) ended by itself, %s", server.pid, describe_exit(status))
            revived = self._revive(failures)
            if revived is None:
                return
            server, failures = revived

    def _revive(self, failures: int) -> tuple[ServerProcess, int] | None:
        """Try until a server is up again; None when stopped meanwhile. The first try comes at once."""
        while not self._stopping.wait(_delay(failures)):
            try:
                server = self._bring_up()
            except Exception as error:
                if self._stopping.is_set():
                    return None
                failures += 1
                log.exception("the embedded Valkey could not be restarted, try %d", failures)
                if failures >= TRIES_BEFORE_FAILED:
                    self.state = f"failed: {error}"
            else:
                log.warning("the embedded Valkey is back (pid %d)", server.pid)
                return server, failures
        return None

    def _bring_up(self) -> ServerProcess:
        with self._launching:
            if self._stopping.is_set():
                raise RuntimeError("stopped while starting")
            server = self.server = self._launch(self._stopping.is_set)
        server.wait_ready()
        self.state = "running"
        return server


def _delay(failures: int) -> float:
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** (failures - 1)) if failures > 1 else 0.0
