"""The Lua text that lets a script announce what it changes, in the same atomic call."""

from functools import cache
from importlib.resources import files


@cache
def emit_prelude() -> str:
    """Return the text that defines ``emit(topic, data, correlation_id, traceparent)``, to be put before a script.

    The order is: a shebang if there is one, the locals ``PREFIX`` (``"{ns}:"``), ``SOURCE`` and ``EVENTS_KEPT``, this
    prelude, the script's own text. ``emit`` returns the entry id of the event.
    """
    return files("infrastructure.events").joinpath("emit.lua").read_text(encoding="utf-8")
