"""A primary, its replicas, and Sentinels that watch them: real processes, and real fail-overs."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from external_server import ExternalServer, free_port
from infrastructure.redis.binary import find_server_binary
from support import wait_until_sync

DOWN_AFTER_MS = 300
NAME = "mymaster"


class SentinelProcess:
    """One Sentinel. ``options`` are further lines of its configuration."""

    def __init__(self, folder: Path, primary_port: int, quorum: int, *options: str) -> None:
        self.port = free_port()
        self._folder = folder
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor {NAME} 127.0.0.1 {primary_port} {quorum}",
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {NAME} 2000",
            *options,
        ]
        folder.mkdir()
        (folder / "sentinel.conf").write_text("\n".join([*lines, ""]))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "SentinelProcess":
        with (self._folder / "log").open("ab") as log:
            command = [find_server_binary(), self._folder / "sentinel.conf", "--sentinel"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(30)

    def state(self) -> dict[str, Any]:
        """Return what it knows of the primary; nothing while it does not answer."""
        with contextlib.suppress(redis.ConnectionError, redis.AuthenticationError), self.client() as client:
            words = client.execute_command("SENTINEL", "MASTER", NAME)
            return dict(zip(words[::2], words[1::2], strict=True))
        return {}

    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, decode_responses=True, protocol=2, retry=None)


class SentinelSet:
    """A primary with one replica, and Sentinels; started whole, ended whole."""

    def __init__(self, folder: Path, sentinels: int = 1, **options: Any) -> None:
        ports = [free_port(), free_port()]
        folder.mkdir()
        self.servers = [
            ExternalServer(folder / "a", port=ports[0], bind="127.0.0.1", repl_diskless_sync_delay=0, **options),
            ExternalServer(
                folder / "b",
                port=ports[1],
                bind="127.0.0.1",
                repl_diskless_sync_delay=0,
                replicaof=f"127.0.0.1 {ports[0]}",
                **options,
            ),
        ]
        self.ports = ports
        quorum = sentinels // 2 + 1
        self.sentinels = [SentinelProcess(folder / f"s{n}", ports[0], quorum) for n in range(sentinels)]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{NAME}"

    def start(self) -> "SentinelSet":
        for server in self.servers:
            server.start()
        wait_until_sync(lambda: self.link() == "up", "the replica")
        for sentinel in self.sentinels:
            sentinel.start()
        wait_until_sync(self._all_know, "the Sentinels to know each other and the replica")
        return self

    def link(self) -> Any:
        with self.servers[1].admin() as client:
            return client.info("replication").get("master_link_status")

    def kill_primary(self) -> None:
        """Kill the first server and return when the Sentinels have made the second one the primary."""
        self.servers[0].kill()
        wait_until_sync(lambda: self.led_to() == {self.ports[1]}, "the fail-over")

    def led_to(self) -> set[int]:
        return {int(state["port"]) for sentinel in self.sentinels if (state := sentinel.state())}

    def stop(self) -> None:
        for one in [*self.sentinels, *self.servers]:
            one.stop()

    def _all_know(self) -> bool:
        states = [sentinel.state() for sentinel in self.sentinels]
        others = str(len(self.sentinels) - 1)
        return all(s and s["num-slaves"] == "1" and s["num-other-sentinels"] == others for s in states)


@contextlib.contextmanager
def sentinel_set(folder: Path, **options: Any) -> Iterator[SentinelSet]:
    made = SentinelSet(folder, **options)
    try:
        yield made.start()
    finally:
        made.stop()
