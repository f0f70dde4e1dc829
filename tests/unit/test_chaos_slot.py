"""What a chaos run holds against a process: errors it did not foresee, and nothing that a body or a fault explains."""

from pathlib import Path

from distributed.chaos_slot import Slot
from fault_proxy import FaultProxy

LOG = """\
11:00 ERROR   a.tick: half a pass failed
    Traceback (most recent call last):
11:01 ERROR   a.loop_watch: the loop is blocked
      File "main.py", line 1
11:02 INFO    a.attempt: run r failed
    Traceback (most recent call last):
"""


def test_an_error_with_a_traceback_counts_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "p0-1.log").write_text(LOG)
    (tmp_path / "p1-1.log").write_text(LOG)
    slot = Slot("p0", FaultProxy.__new__(FaultProxy), tmp_path, {})
    assert slot.errors() == ["p0-1.log: 11:00 ERROR   a.tick: half a pass failed"]
