"""The garbage collector leaves what lasts alone, and still finds what does not."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path
from textwrap import dedent

from infrastructure.garbage import THRESHOLDS, lasting_objects_spared, start_and_exit_spared
from infrastructure.settings import Settings
from main import create_app


class Ring:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_there_is_not_looked_at_again_until_the_end() -> None:
    thresholds, seen = gc.get_threshold(), len(gc.get_objects())
    with lasting_objects_spared():
        assert gc.get_freeze_count() >= seen * 0.9
        assert len(gc.get_objects()) < seen * 0.1
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == thresholds


def test_cycles_that_come_later_are_still_freed() -> None:
    with lasting_objects_spared():
        first = weakref.ref(Ring())
        for _ in range(2 * THRESHOLDS[0]):
            Ring()
        assert first() is None


def test_while_a_process_starts_it_looks_less_often() -> None:
    before = gc.get_threshold()
    with start_and_exit_spared():
        assert gc.get_threshold() == THRESHOLDS
    assert gc.get_threshold() == before


def test_nothing_is_looked_at_when_the_interpreter_ends() -> None:
    script = """
        from infrastructure.garbage import start_and_exit_spared
        class Ring:
            def __init__(self):
                self.itself = self
            def __del__(self):
                print("looked at")
        with {block}:
            Ring()
        Ring()
    """
    assert _said(script.format(block="start_and_exit_spared()")) == ""
    assert "looked at" in _said(script.format(block="open(__file__)")), "the exit looks at nothing anyway"


def _said(script: str) -> str:
    source = str(Path(__file__).parents[2] / "src")
    lines = f"import sys\nsys.path.insert(0, {source!r})\n__file__ = {__file__!r}\n{dedent(script)}"
    return subprocess.run([sys.executable, "-c", lines], capture_output=True, check=True, text=True).stdout


async def test_the_program_does_so_while_it_runs(tmp_path: Path) -> None:
    app = create_app(Settings.model_validate({"data_dir": tmp_path, "monitoring": {"local_worker": False}}))
    before = gc.get_threshold()
    async with app.router.lifespan_context(app):
        assert gc.get_threshold() == THRESHOLDS
    assert gc.get_threshold() == before
