"""The data of a job: validated when it is scheduled, JSON on its way, the same values when it is loaded."""

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AfterValidator, BaseModel, Field, SecretStr

from application.scheduling import Injected, RecurrentBackgroundJob, backgroundjob
from domain.runs.errors import InvalidData
from domain.runs.job import JobDefinition
from domain.runs.payload import DATA_LIMIT


class Colour(Enum):
    RED = "red"


class Size(StrEnum):
    BIG = "big"


class Address(BaseModel):
    street: str
    number: int = 1


class Clock:
    """A dependency."""


def job(**annotations: Any) -> JobDefinition:
    """The definition of a job with these fields."""

    def run_every(self: Any) -> None: ...

    body = {"__annotations__": annotations, "run_every": run_every}
    found: JobDefinition = backgroundjob(task_type="recurrent")(  # type: ignore[attr-defined]
        type("Job", (RecurrentBackgroundJob,), body)
    ).__definition__
    return found


def refusal(definition: JobDefinition, data: Any) -> str:
    with pytest.raises(InvalidData) as caught:
        definition.dump(data)
    assert caught.value.__cause__ is None
    silent = caught.value.__suppress_context__ or caught.value.__context__ is None
    assert silent, "the validator's own error shows the values"
    return str(caught.value)


@pytest.mark.parametrize(
    ("hint", "given", "value"),
    [
        (int, "5", 5),
        (int, 2**80, 2**80),
        (float, 1, 1.0),
        (str, "ü\u2028\x00", "ü\u2028\x00"),
        (bool, True, True),
        (bytes, b"abc", b"abc"),
        (datetime, "2026-11-22T08:00:00+01:00", datetime(2026, 11, 22, 8, tzinfo=timezone(timedelta(hours=1)))),
        (datetime, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        (date, "2026-11-22", date(2026, 11, 22)),
        (time, time(8, 30), time(8, 30)),
        (timedelta, timedelta(seconds=1.5), timedelta(seconds=1.5)),
        (UUID, "12345678-1234-5678-1234-567812345678", UUID("12345678-1234-5678-1234-567812345678")),
        (Decimal, "0.10", Decimal("0.10")),
        (Path, "a/b", Path("a/b")),
        (Colour, "red", Colour.RED),
        (Size, Size.BIG, Size.BIG),
        (Literal["a", 1], 1, 1),
        (set[int], [3, 3], {3}),
        (tuple[int, str], (1, "a"), (1, "a")),
        (dict[str, list[int]], {"a": [1]}, {"a": [1]}),
        (dict[int, str], {1: "a"}, {1: "a"}),
        (Address, {"street": "s"}, Address(street="s")),
        (list[Address], [Address(street="s", number=2)], [Address(street="s", number=2)]),
        (Address | None, None, None),
        (Any, {"a": [1, None, "x"]}, {"a": [1, None, "x"]}),
        (Annotated[int, Field(gt=0, alias="other")], 1, 1),
        (Annotated[str, AfterValidator(str.upper)], "a", "A"),
    ],
)
def test_values_come_back_as_they_were_given(hint: Any, given: Any, value: Any) -> None:
    definition = job(field=hint)
    loaded = definition.load(definition.dump({"field": given}))
    assert loaded == {"field": value}
    assert type(loaded["field"]) is type(value)


def test_the_json_is_canonical_and_has_the_defaults() -> None:
    class WithDefaults(RecurrentBackgroundJob):
        label: str
        hold_s: float = 2.0
        clock: Injected[Clock]

        def run_every(self) -> None: ...

    definition: JobDefinition = backgroundjob(task_type="recurrent")(WithDefaults).__definition__
    assert definition.dump({"label": "a"}) == '{"label":"a","hold_s":2.0}'
    assert definition.dump({"hold_s": "2", "label": "a"}) == definition.dump({"label": "a"})


@pytest.mark.parametrize(
    ("hint", "given", "why"),
    [
        (int, "x", "field: Input should be a valid integer"),
        (int, 1.5, "field: Input should be a valid integer"),
        (Annotated[int, Field(gt=0)], 0, "field: Input should be greater than 0"),
        (Annotated[str, Field(max_length=2)], "abc", "field: String should have at most 2 characters"),
        (Colour, "blue", "field: Input should be 'red'"),
        (UUID, "1", "field: Input should be a valid UUID"),
        (Address, {"street": 1}, "field.street: Input should be a valid string"),
        (list[int], [1, "x"], "field.1: Input should be a valid integer"),
        (float, math.nan, "field: Input should be a finite number"),
        (float, math.inf, "field: Input should be a finite number"),
        (float, "nan", "field: Input should be a finite number"),
        (list[float], [-math.inf], "field.0: Input should be a finite number"),
        (Decimal, "NaN", "field: Input should be a finite number"),
        (Any, math.nan, "it holds NaN, which JSON does not know"),
        (dict[str, Any], {"a": [math.inf]}, "it holds Infinity, which JSON does not know"),
        (Any, object(), "Unable to serialize unknown type"),
        (bytes, b"\xff", "invalid utf-8"),
        (str, "\ud800", "surrogates not allowed"),
        (Any, "\ud800", "surrogates not allowed"),
    ],
)
def test_what_is_not_valid_is_refused_with_its_field_and_reason(hint: Any, given: Any, why: str) -> None:
    assert why in refusal(job(field=hint), {"field": given})


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({}, "label: Field required"),
        ({"label": "a", "labl": "b"}, "labl: Extra inputs are not permitted"),
        ({"label": "a", ".label": "b"}, "Extra inputs are not permitted"),
        ({1: "a"}, "1: Keys should be strings"),
        ([], "data: Input should be a valid dictionary"),
        (None, "data: Input should be a valid dictionary"),
        ("label", "data: Input should be a valid dictionary"),
    ],
)
def test_missing_extra_and_shapeless_data_are_refused(data: Any, why: str) -> None:
    assert why in refusal(job(label=str), data)


def test_a_dependency_cannot_be_given_as_data() -> None:
    assert "clock: Extra inputs" in refusal(job(label=str, clock=Injected[Clock]), {"label": "a", "clock": 1})


def test_every_wrong_field_is_named_at_once_and_as_data_too() -> None:
    definition = job(a=int, b=Address, c=str)
    with pytest.raises(InvalidData, match=r"'Job' is not valid: a: .*; b\.street: .*; c: ") as caught:
        definition.dump({"a": "x", "b": {}})
    assert [place["loc"] for place in caught.value.facts["errors"]] == [["a"], ["b", "street"], ["c"]]


@pytest.mark.parametrize("hint", [int, UUID, datetime, Annotated[str, Field(pattern="^a$")], list[int], Address])
def test_a_refusal_never_shows_the_value(hint: Any) -> None:
    assert "hunter2" not in refusal(job(password=hint), {"password": "hunter2"})


def test_a_secret_is_refused_instead_of_being_stored_as_asterisks() -> None:
    why = refusal(job(password=SecretStr), {"password": "hunter2"})
    assert "it holds a secret" in why
    assert "hunter2" not in why


def test_huge_data_is_refused() -> None:
    definition = job(text=str)
    room = DATA_LIMIT - len(definition.dump({"text": ""}))
    assert len(definition.dump({"text": "x" * room})) == DATA_LIMIT
    assert f"{DATA_LIMIT} are allowed" in refusal(definition, {"text": "x" * (room + 1)})
    assert f"{DATA_LIMIT} are allowed" in refusal(definition, {"text": "ü" * (room // 2 + 1)})


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"a": found}
    return found


def test_data_that_is_too_deep_to_be_read_again_is_refused() -> None:
    definition = job(tree=dict[str, Any])
    assert definition.load(definition.dump({"tree": nested(100)})) == {"tree": nested(100)}
    for depth in (210, 300, 100_000):
        assert refusal(definition, {"tree": nested(depth)})


def test_data_that_holds_itself_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    assert "Circular reference" in refusal(job(tree=dict[str, Any]), {"tree": circle})


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"label":1}', '{"label":"a","gone":2}', '{"a":"\\ud800"}'])
def test_stored_data_that_does_not_load_is_a_clear_error(text: str) -> None:
    with pytest.raises(InvalidData, match="The data of 'Job' is not valid: "):
        job(label=str).load(text)


def test_a_validator_that_is_not_its_own_inverse_is_found_when_scheduling() -> None:
    """It takes what callers give, but not what it has made of it: the run would not load."""

    def shorten(text: str) -> str:
        if len(text) < 2:
            raise ValueError("too short")
        return text[1:]

    definition = job(text=Annotated[str, AfterValidator(shorten)])
    assert "too short" in refusal(definition, {"text": "ab"})
