"""A Valkey that is not the program's: configured at will, killed and started again, with its data or without."""

import contextlib
import itertools
import os
import resource
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

from infrastructure.redis.binary import find_server_binary
from support import wait_until_sync

PORTS = range(20_000, 32_000)
"""Below those that a system gives to whoever connects, so that none is taken between the choice and the use."""
_ports = itertools.cycle([*PORTS[(first := os.getpid() * 101 % len(PORTS)) :], *PORTS[:first]])
"""Each process of tests begins elsewhere, and none asks for one twice."""


def free_port() -> int:
    """Return a TCP port that is free, and stays so until somebody asks for it."""
    for port in itertools.islice(_ports, len(PORTS)):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


class ExternalServer:
    """One server on a unix socket; ``options`` are lines of its configuration, with ``-`` written as ``_``."""

    def __init__(self, directory: Path, **options: object) -> None:
        directory.mkdir()
        self.directory = directory
        self.socket_path = directory / "s"
        self.options = {"appendonly": "yes", "appendfsync": "everysec", "save": '""', "maxmemory_policy": "noeviction"}
        self.options |= {name: str(value) for name, value in options.items()}
        self.password = ""
        """What the test's own client says to it, when that was changed."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"unix://{self.socket_path}?db=0"

    def start(self) -> "ExternalServer":
        """Launch it and return when it answers."""
        self.launch()
        wait_until_sync(self._answers, "the external server")
        return self

    def launch(self) -> None:
        """Launch it and wait for nothing."""
        lines = [f"{name.replace('_', '-')} {value}" for name, value in self.options.items()]
        own = ["port 0", f"unixsocket {self.socket_path}", f"dir {self.directory}", f"logfile {self.directory / 'log'}"]
        self.socket_path.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [find_server_binary(), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            restore_signals=False,  # a file that may not grow is an error then, and not the server's end
        )
        assert self._process.stdin is not None
        self._process.stdin.write("\n".join([*own, *lines, ""]).encode())
        self._process.stdin.close()

    def fill_disk(self, full: bool = True) -> None:
        """Let no file of the server grow any more, or let them grow again."""
        assert self._process is not None
        limit = 1 if full else resource.RLIM_INFINITY
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    @contextlib.contextmanager
    def admin(self) -> Iterator["redis.Redis"]:
        """Give a client that is nobody's but the test's."""
        password = self.password or None
        with redis.Redis.from_url(self.url, decode_responses=True, protocol=2, password=password, retry=None) as client:
            yield client

    def tell(self, *command: object) -> Any:
        """Send it one command."""
        with self.admin() as client:
            return client.execute_command(*command)

    def kill(self) -> None:
        """End it without a last word."""
        self._end(lambda process: process.kill())

    def stop(self) -> None:
        """End it as an operator would."""
        self._end(lambda process: process.terminate())

    def lose_data(self) -> None:
        """Remove what it has on disk; while it is down."""
        shutil.rmtree(self.directory / "appendonlydir", ignore_errors=True)
        (self.directory / "dump.rdb").unlink(missing_ok=True)

    def _end(self, how: "Callable[[subprocess.Popen[bytes]], None]") -> None:
        process, self._process = self._process, None
        if process is not None:
            how(process)
            process.wait(30)

    def is_loading(self) -> bool:
        """Tell whether it says that it is loading its data."""
        try:
            self.tell("PING")
        except redis.BusyLoadingError:
            return True
        except redis.ConnectionError:
            pass
        return False

    def _answers(self) -> bool:
        try:
            return bool(self.tell("PING"))
        except redis.AuthenticationError:
            return True
        except redis.ConnectionError:  # a LOADING server is one of these, too
            return False
