"""Which jobs a program knows, and what is wrong with the modules that should hold them."""

import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from application.runs.registry import JobRegistry
from application.scheduling import RecurrentBackgroundJob, ScheduledBackgroundJob, backgroundjob
from domain.runs.errors import (
    DuplicateJob,
    JobDefinitionError,
    JobModuleError,
    UnknownJob,
    UnknownVersion,
    WrongTaskType,
)

JOB = """
from application.scheduling import RecurrentBackgroundJob, backgroundjob

@backgroundjob(task_type="recurrent")
class {name}(RecurrentBackgroundJob):
    async def run_every(self) -> None: ...
"""

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module that can be imported, and return its name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names: list[str] = []

    def module(name: str, text: str) -> str:
        name = f"sample_{name}"
        names.append(name)
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield module
    for name in names:
        sys.modules.pop(name, None)


@backgroundjob(task_type="recurrent", version=3)
class Ledger(RecurrentBackgroundJob):
    async def run_every(self) -> None: ...


@backgroundjob(task_type="scheduled")
class Once(ScheduledBackgroundJob):
    def run_at(self) -> None: ...


def test_jobs_are_found_in_modules_by_name(write: Write) -> None:
    registry = JobRegistry.from_modules([write("a", JOB.format(name="A")), write("b", JOB.format(name="B"))])
    assert list(registry.definitions) == ["A", "B"]
    assert registry.lanes == ("A@1", "B@1")
    assert registry.get("B").cls.__name__ == "B"


def test_a_registry_cannot_be_changed_from_outside() -> None:
    with pytest.raises(TypeError):
        JobRegistry([Ledger]).definitions["Other"] = Ledger.__definition__  # type: ignore[index]  # the mistake


def test_one_class_in_two_modules_and_under_two_names_is_one_job(write: Write) -> None:
    first = write("a", JOB.format(name="A"))
    second = write("b", f"from {first} import A\nAlias = A\n")
    assert list(JobRegistry.from_modules([first, second, first]).definitions) == ["A"]


def test_two_classes_of_one_name_are_refused_and_both_are_named(write: Write) -> None:
    modules = [write("a", JOB.format(name="A")), write("b", JOB.format(name="A"))]
    with pytest.raises(DuplicateJob) as caught:
        JobRegistry.from_modules(modules)
    assert "'A': sample_a.A and sample_b.A" in str(caught.value)


def test_a_module_without_jobs_is_warned_of(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    text = "from application.scheduling import RecurrentBackgroundJob\nclass A(RecurrentBackgroundJob): ...\n"
    assert JobRegistry.from_modules([write("empty", text)]).definitions == {}
    assert "sample_empty has no class with @backgroundjob" in caplog.text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = (\n", "SyntaxError: '(' was never closed (sample_broken.py, line 1)"),
        ("import sys\nsys.exit(2)\n", "SystemExit: 2"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        (JOB.format(name="A") + "    x: 'Nowhere'\n", "an annotation does not resolve: name 'Nowhere' is not defined"),
    ],
)
def test_a_module_that_does_not_import_says_why_with_its_own_traceback(write: Write, text: str, why: str) -> None:
    name = write("broken", text)
    with pytest.raises(JobModuleError) as caught:
        JobRegistry.from_modules([name])
    assert f"The job module '{name}' did not import" in str(caught.value)
    assert why in str(caught.value)
    assert f"{name}.py" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["sample_nowhere", "", ".relative", "two words", "a..b"])
def test_a_module_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(JobModuleError, match="did not import"):
        JobRegistry.from_modules([name])


def test_control_c_while_importing_is_no_fault_of_the_module(write: Write) -> None:
    with pytest.raises(KeyboardInterrupt):
        JobRegistry.from_modules([write("slow", "raise KeyboardInterrupt\n")])


def test_an_undecorated_child_does_not_pass_for_its_parent(write: Write) -> None:
    text = JOB.format(name="A") + "\nclass Child(A):\n    pass\n"
    registry = JobRegistry.from_modules([write("a", text)])
    assert list(registry.definitions) == ["A"]
    assert registry.get("A").cls.__name__ == "A"

    class Child(Ledger):
        pass

    with pytest.raises(JobDefinitionError, match="'Child' is not usable: it is not decorated"):
        JobRegistry([Child])


def test_a_class_that_another_decorator_replaced_is_told_apart() -> None:
    replaced = dataclass(slots=True)(Ledger)
    assert replaced is not Ledger
    with pytest.raises(JobDefinitionError, match="put @backgroundjob above all others"):
        JobRegistry([replaced])


def test_what_is_no_job_is_refused() -> None:
    with pytest.raises(JobDefinitionError, match="'int' is not usable: it is not decorated"):
        JobRegistry([int])


def test_an_unknown_job_names_the_nearest_ones() -> None:
    registry = JobRegistry([Ledger, Once])
    with pytest.raises(UnknownJob, match=r"No background job is named 'Leger'\. Did you mean Ledger\?"):
        registry.get("Leger")
    with pytest.raises(UnknownJob, match=r"Known are: Ledger, Once\."):
        registry.get("Quite different")
    with pytest.raises(UnknownJob, match=r"Known are: none\."):
        JobRegistry().get("Ledger")
    with pytest.raises(UnknownJob):
        registry.get("x" * 100_000)


def test_a_request_for_another_kind_or_version_is_refused() -> None:
    registry = JobRegistry([Ledger, Once])
    assert registry.expect("Ledger", "recurrent") is registry.expect("Ledger", "recurrent", 3)
    with pytest.raises(WrongTaskType, match="'Ledger' is a recurrent job and cannot be scheduled as a scheduled one"):
        registry.expect("Ledger", "scheduled")
    with pytest.raises(UnknownVersion, match="has version 2; this program knows version 3"):
        registry.expect("Ledger", "recurrent", 2)
    with pytest.raises(UnknownJob):
        registry.expect("Lodger", "recurrent")
