"""Keep Python's garbage collector from stopping the process: it walks through all objects while nothing else runs."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (20_000, 10, 10)
"""How many new objects until the young ones are looked through, and how often until the next generation is. Python's
default of 700 is reached some thirty times a second under load; 20,000 take a few milliseconds."""


@contextmanager
def start_and_exit_spared() -> Iterator[None]:
    """Let the collector look less often until the end of the block, and not at all when the interpreter ends.

    For a process that is all ours: a fifth of a start went to looking through modules that had just been made, and
    0.4 s of a processor at its exit to looking through them once more, to free what the system takes back anyway.
    """
    before = gc.get_threshold()
    atexit.register(gc.freeze)
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def lasting_objects_spared() -> Iterator[None]:
    """Take everything there is now out of the collector's sight, and let it look at the rest less often, until the end.

    For a process of the program's own, once it has started: it concerns the whole process. With 10,000 schedules a full
    collection looked at 165,000 objects, and stopped every thread for 60 to 500 ms. Most of them, modules and classes,
    live as long as the process. What reference counts free is freed as before; young cycles are still found.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
