"""The one Valkey that all contestants use, and what it says about them."""

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import redis

from infrastructure.redis.embedded import EmbeddedValkey


@dataclass(frozen=True)
class Reading:
    """What the server has done so far. CPU includes the children that rewrite its log.

    ``calls``: command -> how many, and how many µs in all. Commands within scripts count too, under their own names.
    """

    cpu_s: float
    calls: dict[str, tuple[int, int]]

    def since(self, before: "Reading") -> "Reading":
        """Return the difference."""
        calls = {
            name: (count - before.calls.get(name, (0, 0))[0], spent - before.calls.get(name, (0, 0))[1])
            for name, (count, spent) in self.calls.items()
        }
        return Reading(self.cpu_s - before.cpu_s, calls)


class Server:
    """The embedded server, with an append-only file that is synced each second."""

    def __init__(self, directory: Path) -> None:
        self._valkey = EmbeddedValkey(directory)

    def __enter__(self) -> "Server":
        self._valkey.open()
        self._client = redis.Redis.from_url(self.url, decode_responses=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._valkey.close()

    @property
    def url(self) -> str:
        """Where the contestants connect."""
        return self._valkey.url

    @property
    def version(self) -> str:
        """The server's version."""
        info = self._info("server")
        return str(info.get("valkey_version") or info["redis_version"])

    def reset(self) -> None:
        """Empty it, its log too, and wait until that is done: each case begins with the same server."""
        self._client.flushall()
        self._client.config_resetstat()
        self.rest()
        self._client.bgrewriteaof()
        self.rest()

    def rest(self) -> None:
        """Wait until no log is being rewritten."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            state = self._info("persistence")
            if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
                return
            time.sleep(0.02)
        raise TimeoutError("the server rewrites its log for more than a minute")

    def memory(self) -> int:
        """Return the bytes that all keys take which hold no events."""
        keys = [key for key in self._client.scan_iter(count=1000) if self._client.type(key) != "stream"]
        return sum(int(self._client.memory_usage(key, samples=0) or 0) for key in keys)

    def held(self) -> int:
        """Return the bytes that all keys take with the tables that list them: no connections, buffers or scripts."""
        stats: dict[str, Any] = self._client.memory_stats()
        return int(stats["dataset.bytes"]) + sum(int(size) for size in stats.get("db.0", {}).values())

    def used(self) -> dict[str, int]:
        """Return the bytes that it has in use by its own count, and those that the system counts as its memory."""
        found = self._info("memory")
        return {"used": int(found["used_memory"]), "rss": int(psutil.Process(self._valkey.pid).memory_info().rss)}

    def events(self) -> int:
        """Return the bytes of all streams: in our case those of the event bus."""
        found = self._client.scan_iter(count=1000, _type="stream")
        return sum(int(self._client.memory_usage(key, samples=0) or 0) for key in found)

    def reading(self) -> Reading:
        """Return what it has done until now."""
        cpu = psutil.Process(self._valkey.pid).cpu_times()
        calls = {
            name.removeprefix("cmdstat_"): (int(values["calls"]), int(values["usec"]))
            for name, values in self._info("commandstats").items()
        }
        return Reading(cpu.user + cpu.system + cpu.children_user + cpu.children_system, calls)

    def _info(self, section: str) -> dict[str, Any]:
        found: dict[str, Any] = self._client.info(section)
        return found
