"""Errors as problems, and the document's words."""

import hmac
import json
from typing import Any

import pytest

from domain import errors as base_errors
from domain.errors import RoundsmanError, StoreUnavailable
from domain.monitoring import errors as monitoring_errors
from domain.runs.errors import InvalidData
from domain.scheduling.errors import ScheduleNotFound
from infrastructure.settings import ApiKey
from infrastructure.web import errors as web_errors
from infrastructure.web.access import Caller, Keyring
from infrastructure.web.errors import InternalError, KeyRefused, NotAuthenticated, WrongMethod
from infrastructure.web.openapi import schema_30
from infrastructure.web.problems import invalid, problem_of, problem_response


def test_the_type_is_the_class_in_words_and_the_detail_is_its_message() -> None:
    problem = problem_of(ScheduleNotFound(id="x"), "/api/v1/schedules/x y\x00")
    assert problem.type == "urn:roundsman:problem:schedule-not-found"
    assert problem.title == "Schedule not found"
    assert problem.status == 404
    assert problem.detail.startswith("There is no schedule or waiting one-shot 'x'.")
    assert problem.instance == "/api/v1/schedules/x%20y%00"


def test_all_types_are_different() -> None:
    """Scripts branch on them: two classes of one name would be one type."""

    def below(kind: type[RoundsmanError]) -> list[type[RoundsmanError]]:
        return [found for sub in kind.__subclasses__() for found in (sub, *below(sub))]

    assert web_errors, monitoring_errors
    kinds = [kind for kind in below(base_errors.RoundsmanError) if kind.__module__.split(".")[0] != "unit"]
    names = [kind.__name__ for kind in kinds if "cli" not in kind.__module__]
    assert len(names) > 30
    assert sorted(names) == sorted(set(names))


def test_a_fact_that_happens_to_be_called_errors_is_no_list_of_fields() -> None:
    class Odd(RoundsmanError):
        """It went wrong {errors} times."""

    assert problem_of(Odd(errors=3)).errors is None


def test_fields_of_data_are_told_only_by_who_knows_where_they_stand() -> None:
    assert problem_of(InvalidData(name="x", why="y", errors=[{"loc": ["a"], "msg": "b"}])).errors is None


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (NotAuthenticated(), {"www-authenticate": 'Bearer realm="roundsman"'}),
        (KeyRefused(why="x"), {"www-authenticate": 'Bearer realm="roundsman", error="invalid_token"'}),
        (StoreUnavailable(why="x"), {"retry-after": "2"}),
        (WrongMethod(method="PUT", path="/x", allowed="GET"), {"allow": "GET"}),
        (InternalError(error_id="17"), {}),
    ],
)
def test_headers_say_what_a_client_needs(error: RoundsmanError, headers: dict[str, str]) -> None:
    response = problem_response(error, "/x")
    assert response.status_code == error.status
    assert response.media_type == "application/problem+json"
    sent = dict(response.headers) | headers
    assert sent == dict(response.headers)
    assert json.loads(bytes(response.body))["status"] == error.status


def test_many_wrong_fields_are_counted_and_not_all_told() -> None:
    found = [{"loc": ("body", "x" * 1000), "msg": "wrong", "type": "missing"} for _ in range(1000)]
    problem = problem_of(invalid(found))
    assert "and 997 more" in problem.detail
    assert problem.errors is not None
    assert len(problem.errors) == 50
    assert len(problem.model_dump_json()) < 20_000


def test_every_key_is_compared_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [ApiKey.model_validate({"name": f"k{n}", "role": "viewer", "key": f"key-{n}"}) for n in range(5)]
    asked: list[bytes] = []

    def counting(one: bytes, other: bytes) -> bool:
        asked.append(one)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", counting)
    assert Keyring(keys).identify("Bearer key-0") == Caller("k0", "viewer")
    assert len(asked) == 5


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"const": 1}, {"enum": [1]}),
        ({"examples": [1, 2]}, {"example": 1}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True}),
        (
            {"anyOf": [{"$ref": "#/a"}, {"type": "null"}], "description": "d"},
            {"allOf": [{"$ref": "#/a"}], "description": "d", "nullable": True},
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}], "nullable": True},
        ),
        ({"$ref": "#/a", "default": 1}, {"allOf": [{"$ref": "#/a"}], "default": 1}),
        ({"exclusiveMinimum": 0}, {"minimum": 0, "exclusiveMinimum": True}),
        ({"ge": 0, "lt": 9}, {"minimum": 0, "maximum": 9, "exclusiveMaximum": True}),
        ({"type": "array", "items": {"const": 1}}, {"type": "array", "items": {"enum": [1]}}),
        (
            {"patternProperties": {"^a": {"const": 1}}, "propertyNames": {"pattern": "^a"}},
            {"additionalProperties": {"enum": [1]}},
        ),
        ({"properties": {"const": {"const": 1}}}, {"properties": {"const": {"enum": [1]}}}),
        ({"default": {"const": 1}, "enum": [{"const": 2}]}, {"default": {"const": 1}, "enum": [{"const": 2}]}),
    ],
)
def test_schemas_are_said_in_the_words_of_openapi_3_0(given: Any, wanted: Any) -> None:
    assert schema_30(given) == wanted
