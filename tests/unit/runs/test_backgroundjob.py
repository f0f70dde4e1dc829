"""What @backgroundjob makes of a class: a keyword-only dataclass, split into data and dependencies."""

import dataclasses
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import pytest

from application.runs.context import JobContext
from application.scheduling import (
    Inject,
    Injected,
    RecurrentBackgroundJob,
    RetryPolicy,
    ScheduledBackgroundJob,
    backgroundjob,
)
from domain.runs.errors import JobDefinitionError
from domain.runs.fields import split
from domain.runs.job import DependencySpec
from unit.runs.job_kit import Clock, Ledger, Runs, definition, recurrent


@backgroundjob(task_type="recurrent")
class Report(RecurrentBackgroundJob):
    label: str
    hold_s: float = 0.0
    clock: Injected[Clock]
    tags: list[str] = field(default_factory=list)
    ledger: Annotated[Ledger, Inject("main_ledger")]

    limit: ClassVar[int] = 3
    seen: int = field(default=7, init=False)

    async def run_every(self, ctx: JobContext) -> str:
        return self.label


def data_names(cls: Any) -> list[str]:
    return [one.alias or name for name, one in definition(cls).data_model.model_fields.items()]


def test_fields_with_and_without_defaults_mix_and_are_keywords() -> None:
    clock = Clock()
    job = Report(label="a", clock=clock, ledger=object())  # type: ignore[arg-type]  # a stand-in
    assert (job.label, job.hold_s, job.clock, job.tags, job.seen) == ("a", 0.0, clock, [], 7)
    with pytest.raises(TypeError, match="positional"):
        Report("a", clock=clock, ledger=object())  # type: ignore[misc,arg-type]  # the mistake


def test_fields_are_split_into_data_and_dependencies() -> None:
    assert data_names(Report) == ["label", "hold_s", "tags"]
    assert definition(Report).dependencies == {
        "clock": DependencySpec(Clock),
        "ledger": DependencySpec(Ledger, "main_ledger"),
    }
    assert "limit" not in split(Report, "Report").data
    assert Report.__dependencies__ == {"clock": Clock, "ledger": Ledger}


def test_the_definition_says_what_the_decorator_was_told() -> None:
    retry = RetryPolicy(max_retries=3)

    @backgroundjob(task_type="scheduled", name="Sweep", version=4, retry=retry, timeout_s=9)
    class Anything(ScheduledBackgroundJob):
        def run_at(self) -> None: ...

    found = definition(Anything)
    assert (found.name, found.task_type, found.version, found.retry, found.timeout_s) == (
        "Sweep",
        "scheduled",
        4,
        retry,
        9,
    )
    assert (found.lane, found.body, found.cls) == ("Sweep@4", "run_at", Anything)
    assert (definition(Report).name, definition(Report).lane, definition(Report).body) == (
        "Report",
        "Report@1",
        "run_every",
    )


def test_a_default_factory_makes_a_new_value_each_time() -> None:
    assert definition(Report).load('{"label":"a"}')["tags"] is not definition(Report).load('{"label":"a"}')["tags"]


def test_a_default_of_a_dependency_is_allowed() -> None:
    @recurrent()
    class Quiet(Runs):
        clock: Injected[Clock] = Clock()

    assert isinstance(Quiet().clock, Clock)
    assert definition(Quiet).dependencies == {"clock": DependencySpec(Clock)}


def test_a_child_has_its_parents_fields_and_a_definition_of_its_own() -> None:
    @recurrent(version=2)
    class Weekly(Report):
        week: int
        hold_s: float = 1.0

    assert data_names(Weekly) == ["label", "hold_s", "tags", "week"]
    assert set(definition(Weekly).dependencies) == {"clock", "ledger"}
    assert (definition(Weekly).lane, definition(Report).lane) == ("Weekly@2", "Report@1")
    assert definition(Weekly).load('{"label":"a","week":1}')["hold_s"] == 1.0
    assert data_names(Report) == ["label", "hold_s", "tags"]


def test_a_child_may_be_made_of_mixins_and_of_dataclass_bases() -> None:
    @dataclass
    class Sized:
        size: int = 1

    @dataclass
    class Base(RecurrentBackgroundJob):
        label: str
        limit: ClassVar[int] = 3

        def run_every(self) -> None: ...

    class Between(Base):
        bound: "ClassVar[int]" = 4

    @recurrent()
    class Child(Sized, Between):
        clock: Injected[Clock]
        last: int

    assert data_names(Child) == ["label", "size", "last"]
    assert definition(Child).takes == "nothing"


def test_fields_of_a_base_that_is_no_dataclass_do_not_get_lost_in_silence() -> None:
    class Base(RecurrentBackgroundJob):
        label: str

        def run_every(self) -> None: ...

    with pytest.raises(JobDefinitionError, match=r"its base Base has fields \(label\); put @dataclass\(kw_only=True\)"):
        recurrent()(type("Child", (Base,), {}))


def test_a_generic_job_can_be_derived_from() -> None:
    item = TypeVar("item")

    class Handles(RecurrentBackgroundJob, Generic[item]):
        def handle(self, one: item) -> item:
            return one

    @recurrent()
    class HandlesNumbers(Handles[int]):
        count: int

        def run_every(self) -> int:
            return self.handle(self.count)

    assert HandlesNumbers(count=2).run_every() == 2


def test_slots_are_kept_and_the_definition_is_that_of_the_slotted_class() -> None:
    @recurrent(slots=True)
    class Slim(Runs):
        label: str = "x"
        clock: Injected[Clock]

    assert definition(Slim).cls is Slim
    assert Slim.__slots__ == ("label", "clock")  # type: ignore[attr-defined]  # made by the dataclass
    assert Slim(clock=Clock()).label == "x"


@pytest.mark.parametrize("stacked", [dataclass, dataclass(kw_only=True), dataclass(frozen=True), dataclass(slots=True)])
def test_a_stacked_dataclass_is_fine_whatever_its_order_of_fields(stacked: Any) -> None:
    @recurrent()
    @stacked
    class Stacked(Runs):
        hold_s: float = 0.0
        label: str
        clock: Injected[Clock]
        tags: list[str] = field(default_factory=list)

    assert data_names(Stacked) == ["hold_s", "label", "tags"]
    assert Stacked(label="a", clock=Clock()).tags == []
    assert definition(Stacked).load('{"label":"a"}')["tags"] == []


def test_a_dataclass_stacked_above_is_fine_too() -> None:
    @dataclass(kw_only=True)
    @recurrent()
    class Stacked(Runs):
        hold_s: float = 0.0
        label: str

    assert definition(Stacked).cls is Stacked
    assert Stacked(label="a").hold_s == 0.0


def test_init_vars_are_data_and_private_fields_too() -> None:
    @recurrent()
    class Odd(Runs):
        seed: InitVar[int] = 3
        _hidden: str = "h"
        _clock: Injected[Clock]
        grown: int = field(init=False)

        def __post_init__(self, seed: int) -> None:
            self.grown = seed + 1

    assert data_names(Odd) == ["seed", "_hidden"]
    values = definition(Odd).load(definition(Odd).dump({"seed": 4, "_hidden": "i"}))
    job = Odd(**values, _clock=Clock())
    assert (job.grown, job._hidden) == (5, "i")


RESERVED = ["copy", "json", "dict", "schema", "model_config", "model_dump", "model_fields", "self", "cls", "f_x", "_"]


@pytest.mark.parametrize("name", RESERVED)
def test_a_field_may_have_a_name_that_pydantic_keeps_for_itself(name: str) -> None:
    cls = type("Named", (Runs,), {"__annotations__": {name: int}})
    job = definition(recurrent()(cls))
    assert job.load(job.dump({name: 5})) == {name: 5}
    assert list(job.data_model.model_json_schema()["properties"]) == [name]


def test_a_class_can_be_made_by_hand_in_a_test_without_a_container() -> None:
    assert dataclasses.asdict(Report(label="a", clock=Clock(), ledger=object()))["label"] == "a"  # type: ignore[arg-type]


def test_marks_can_be_written_in_all_plausible_ways() -> None:
    @recurrent()
    class Marked(Runs):
        plain: Annotated[Clock, Inject]
        quoted: Injected["Clock"]
        renamed: Annotated[Injected[Clock], Inject("wall")]
        documented: Annotated[Injected[Clock], "a word about it"]

    assert definition(Marked).dependencies == {
        "plain": DependencySpec(Clock),
        "quoted": DependencySpec(Clock),
        "renamed": DependencySpec(Clock, "wall"),
        "documented": DependencySpec(Clock),
    }


async def test_the_base_bodies_do_nothing_but_say_so() -> None:
    for body in (RecurrentBackgroundJob().run_every, ScheduledBackgroundJob().run_at):
        with pytest.raises(NotImplementedError):
            body()
