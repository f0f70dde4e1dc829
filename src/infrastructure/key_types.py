"""The type of each key in the store (docs/decisions/001): what is another type was written by somebody else."""

from collections.abc import Mapping

KEY_TYPES: Mapping[str, str] = {
    "meta": "hash",
    "schedules": "hash",
    "states": "hash",
    "stats": "hash",
    "due:": "zset",
    "run:": "hash",
    "ready:": "zset",
    "later": "zset",
    "leases:": "zset",
    "active:": "set",
    "backlog:": "list",
    "history:": "list",
    "oneshots": "zset",
    "done": "zset",
    "parked": "hash",
    "instances": "hash",
    "beats": "zset",
    "batch:": "string",
    "ev:": "stream",
    "mon:workers": "hash",
    "mon:worker_ids": "zset",
    "mon:meta": "hash",
    "mon:samples:": "stream",
    "mon:shapes:": "hash",
    "mon:alerts:": "hash",
    "mon:outbox": "hash",
    "mon:outbox_due": "zset",
    "mon:outbox_leases": "hash",
    "mon:orphans": "set",
}
"""A name ends in a colon when many keys begin so. Keys that are not here are not looked at."""
