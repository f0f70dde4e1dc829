"""The Lua scripts of the event bus, and the text that lets other scripts announce what they change."""

import hashlib
from functools import cache
from importlib.resources import files


@cache
def emit_prelude() -> str:
    """Return the text that defines ``emit(topic, data, correlation_id, traceparent)``, to be put before a script.

    It defines ``record(done, found)`` too, which writes down what somebody asked for.

    The order is: a shebang if there is one, the locals ``PREFIX`` (``"{ns}:"``), ``SOURCE`` and ``EVENTS_KEPT``, this
    prelude, the script's own text. ``emit`` returns the entry id of the event.
    """
    return f"{script('emit')}\n{script('record')}"


@cache
def script(name: str) -> str:
    """Return the text of ``lua/<name>.lua``; its first comment says what it does, takes and returns.

    Its first line says what it may when memory is out: what ends work or keeps it going passes.
    """
    return files("infrastructure.events").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


@cache
def digest(name: str) -> str:
    """Return the name under which a server that has seen the script remembers it."""
    return hashlib.sha1(script(name).encode(), usedforsecurity=False).hexdigest()
