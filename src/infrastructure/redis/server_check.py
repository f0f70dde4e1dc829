"""Which servers will do, what is wrong with those that will not, and what an operator should know of the rest."""

import re
from collections.abc import Mapping
from typing import Any

from infrastructure.redis import errors

OLDEST_REDIS = (7, 0)
OLDEST_VALKEY = (7, 2)
OLDEST_WITH_WAITAOF = (7, 2)

Info = Mapping[str, Any]


def check_server(info: Info, address: str) -> None:
    """Raise the ``StoreError`` that says why this server cannot be used."""
    mode = info.get("server_mode", info.get("redis_mode", "standalone"))  # Valkey's name, and Redis's
    role = info.get("role", "master")
    if mode == "sentinel":
        raise errors.StoreIsSentinel(address=address)
    if "redis_version" not in info or mode not in ("standalone", "cluster"):
        raise errors.NotARedis(address=address, why=f"it runs in {mode} mode")
    if mode == "cluster":
        raise errors.StoreIsCluster(address=address)
    if _version(info) < (OLDEST_VALKEY if "valkey_version" in info else OLDEST_REDIS):
        raise errors.StoreTooOld(address=address, server=server_name(info))
    if role != "master":
        raise errors.StoreIsReplica(address=address)


def check_confirms(info: Info, address: str) -> None:
    """Raise ``DiskNotConfirmed`` if the server cannot say that a write is on disk."""
    if _version(info) < OLDEST_WITH_WAITAOF:
        raise errors.DiskNotConfirmed(address=address, why=f"{server_name(info)} has no WAITAOF; Redis 7.2 is needed")
    if not info.get("aof_enabled", 0):
        raise errors.DiskNotConfirmed(address=address, why="its append-only file is off; set appendonly yes")


def server_name(info: Info) -> str:
    """Return name and version of the server."""
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}"


def keeps_nothing(info: Info, saves: str | None) -> str:
    """Return what is wrong when the server's data does not outlive it; ``saves`` is its setting, None if unknown."""
    if info.get("aof_enabled", 1) or saves != "":
        return ""
    return "it writes nothing to disk, so that its restart loses everything: set appendonly yes"


def may_evict(info: Info) -> str:
    """Return what is wrong when the server may throw data away to make room."""
    policy = info.get("maxmemory_policy")
    if not int(info.get("maxmemory", 0)) or policy == "noeviction":
        return ""
    return f"it may evict schedules when memory is short: set maxmemory-policy noeviction (it is {policy})"


def keeps_little(info: Info, saves: str | None) -> str:
    """Return what an operator should know when only snapshots reach the disk."""
    if info.get("aof_enabled", 1) or saves == "":
        return ""
    how = "its snapshots are all" if saves else "snapshots, if it makes any, are all"
    return f"it has no append-only file, and {how} that outlives a restart: set appendonly yes"


def cannot_write(info: Info) -> str:
    """Return what is wrong when the server cannot write its log, and therefore refuses all writes."""
    if info.get("aof_last_write_status", "ok") == "ok":
        return ""
    return "it cannot write its append-only file, and refuses writes until it can: is its disk full?"


def is_replica(info: Info) -> str:
    """Return what is wrong when the server takes no writes because it follows another one."""
    if info.get("role", "master") == "master":
        return ""
    return "it is a read-only replica; the program connects again and again until the address leads to the primary"


def facts(info: Info) -> dict[str, Any]:
    """Return what health shows of the server."""
    return {
        "server": server_name(info),
        "append_only_file": bool(info.get("aof_enabled", 0)),
        "memory_used_bytes": info.get("used_memory"),
        "memory_limit_bytes": info.get("maxmemory") or None,
        "connections": info.get("connected_clients"),
        "connections_limit": info.get("maxclients"),
    }


def _version(info: Info) -> tuple[int, ...]:
    text = str(info.get("valkey_version", info["redis_version"]))
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])
