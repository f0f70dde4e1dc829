"""What @backgroundjob makes of a class: a keyword-only dataclass, split into data and dependencies."""

import dataclasses
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any, ClassVar, Generic, Protocol, TypeVar

import pytest
from pydantic import BaseModel, Field

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
from domain.runs.job import BackgroundJob, DependencySpec, JobDefinition


class Clock:
    """A dependency."""


class Ledger(Protocol):
    """Another."""


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


def definition(cls: Any) -> JobDefinition:
    found: JobDefinition = cls.__definition__
    return found


def data_names(cls: Any) -> list[str]:
    return [one.alias or name for name, one in definition(cls).data_model.model_fields.items()]


def recurrent(**options: Any) -> Any:
    return backgroundjob(task_type="recurrent", **options)


class Runs(RecurrentBackgroundJob):
    def run_every(self) -> None: ...


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


class Nested(BaseModel):
    clock: int


@pytest.mark.parametrize(
    ("annotations", "why"),
    [
        ({"clock": Clock}, "'clock' cannot travel as JSON .* write clock: Injected"),
        ({"clocks": list[Clock]}, "'clocks' cannot travel as JSON"),
        ({"ledger": Ledger}, "'ledger' cannot travel as JSON"),
        ({"clock": Injected[Clock] | None}, "'clock' hides Injected"),
        ({"clocks": list[Injected[Clock]]}, "'clocks' hides Injected"),
        ({"clock": Injected[Clock | None]}, "ask for one class"),
        ({"clock": Injected[Clock | Nested]}, "ask for one class"),
        ({"clock": Injected}, "'clock' does not say what"),
        ({"clock": "Cluck"}, "an annotation does not resolve: name 'Cluck' is not defined"),
        ({"clock": "list["}, "an annotation does not resolve"),
        ({"clock": "pytest.nothing"}, "an annotation does not resolve"),
    ],
)
def test_a_field_that_fits_neither_side_is_named(annotations: dict[str, Any], why: str) -> None:
    with pytest.raises(JobDefinitionError, match=rf"The background job 'Bad' is not usable: .*{why}"):
        recurrent()(type("Bad", (Runs,), {"__annotations__": annotations, "__module__": __name__}))


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


def bad_init() -> type:
    class Bad(Runs):
        clock: Injected[Clock] = field(init=False)

    return Bad


def bad_default() -> type:
    class Bad(Runs):
        count: int = "many"  # type: ignore[assignment]  # the mistake

    return Bad


def bad_pydantic_default() -> type:
    class Bad(Runs):
        count: int = Field(3, gt=0)

    return Bad


def bad_mutable_default() -> type:
    class Bad(Runs):
        tags: list[str] = []  # noqa: RUF012 - the mistake

    return Bad


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (bad_init, "'clock' has init=False"),
        (bad_default, "the default of 'count' is not valid: count: Input should be a valid integer"),
        (bad_pydantic_default, r"write count: Annotated\["),
        (bad_mutable_default, "mutable default .* use default_factory"),
    ],
)
def test_a_bad_default_is_found_when_the_class_is_made(make: Any, why: str) -> None:
    with pytest.raises(JobDefinitionError, match=why):
        recurrent()(make())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"name": ""}, "its name must be a Python identifier"),
        ({"name": "two words"}, "its name must be a Python identifier"),
        ({"name": "a@1"}, "its name must be a Python identifier"),
        ({"name": "x" * 201}, "at most 200"),
        ({"name": 5}, "its name must be a Python identifier"),
        ({"version": 0}, "versions are whole numbers"),
        ({"version": "1"}, "versions are whole numbers"),
        ({"version": 1.5}, "versions are whole numbers"),
        ({"version": True}, "versions are whole numbers"),
        ({"retry": 3}, "write retry=RetryPolicy"),
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"timeout_s": -1.0}, "timeout_s is -1.0"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"timeout_s": float("inf")}, "timeout_s is inf"),
        ({"timeout_s": 367 * 86_400}, "up to a year"),
        ({"timeout_s": "5"}, "timeout_s is '5'"),
        ({"task_type": "hourly"}, "use 'recurrent' or 'scheduled'"),
        ({"task_type": "scheduled"}, "a scheduled job must derive from ScheduledBackgroundJob"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], why: str) -> None:
    class Bad(RecurrentBackgroundJob):
        def run_every(self) -> None: ...

    with pytest.raises(JobDefinitionError, match=why):
        backgroundjob(**{"task_type": "recurrent", **options})(Bad)


def test_only_job_classes_are_decorated() -> None:
    for wrong in (Clock, BackgroundJob, lambda: None, ScheduledBackgroundJob):
        with pytest.raises(JobDefinitionError, match="must derive from RecurrentBackgroundJob"):
            recurrent()(wrong)


class Bodies:
    async def with_ctx(self, ctx: JobContext) -> None: ...

    async def with_another_name(self, context: JobContext, /) -> None: ...

    def without(self) -> None: ...

    def by_keyword(self, *, ctx: JobContext) -> None: ...

    def with_optional_ctx(self, ctx: JobContext | None = None, *, dry: bool = False) -> None: ...

    def with_anything(self, *args: Any, **kwargs: Any) -> None: ...

    def with_keywords(self, **kwargs: Any) -> None: ...

    def with_two(self, ctx: JobContext, other: int) -> None: ...

    def with_a_limit(self, limit: int = 10) -> None: ...

    def with_a_keyword(self, *, dry: bool) -> None: ...

    async def yielding(self) -> Any:
        yield 1

    def generating(self) -> Any:
        yield 1

    @staticmethod
    def static(ctx: JobContext) -> None: ...

    @classmethod
    def of_the_class(cls, ctx: JobContext) -> None: ...

    nothing = None


def with_body(name: str) -> Any:
    return recurrent()(type("Job", (RecurrentBackgroundJob,), {"run_every": Bodies.__dict__[name]}))


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("with_ctx", "positional"),
        ("with_another_name", "positional"),
        ("without", "nothing"),
        ("by_keyword", "keyword"),
        ("with_optional_ctx", "positional"),
        ("with_anything", "positional"),
        ("with_keywords", "nothing"),
    ],
)
def test_a_body_takes_its_context_in_any_way_or_leaves_it_out(name: str, takes: str) -> None:
    assert definition(with_body(name)).takes == takes


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("with_two", "run_every asks for other"),
        ("with_a_limit", "run_every asks for limit"),
        ("with_a_keyword", "run_every asks for dry"),
        ("yielding", "run_every yields"),
        ("generating", "run_every yields"),
        ("static", "run_every must be a plain method"),
        ("of_the_class", "run_every must be a plain method"),
        ("nothing", "run_every must be a plain method"),
    ],
)
def test_a_body_that_could_never_be_called_is_refused(name: str, why: str) -> None:
    with pytest.raises(JobDefinitionError, match=why):
        with_body(name)


def test_a_class_without_a_body_is_refused() -> None:
    with pytest.raises(JobDefinitionError, match="it does not define run_every"):
        recurrent()(type("Empty", (RecurrentBackgroundJob,), {}))


async def test_the_base_bodies_do_nothing_but_say_so() -> None:
    for body in (RecurrentBackgroundJob().run_every, ScheduledBackgroundJob().run_at):
        with pytest.raises(NotImplementedError):
            body()
