"""Mistakes in a job class: found when it is made, and named."""

from dataclasses import field
from typing import Any

import pytest
from pydantic import BaseModel, Field

from application.runs.context import JobContext
from application.scheduling import (
    Injected,
    RecurrentBackgroundJob,
    ScheduledBackgroundJob,
    backgroundjob,
)
from domain.runs.errors import JobDefinitionError
from domain.runs.job import BackgroundJob
from unit.runs.job_kit import Clock, Ledger, Runs, definition, recurrent


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
