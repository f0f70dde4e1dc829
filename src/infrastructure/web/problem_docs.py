"""Problems in the OpenAPI document: which ones each operation may answer with, each with an example."""

import http
from typing import Any

from domain.errors import NotConfirmedOnDisk, RoundsmanError, StoreFull, StoreUnavailable
from infrastructure.web.errors import InternalError, NotAuthenticated, RoleTooLow
from infrastructure.web.problems import MEDIA_TYPE, invalid_fields, problem_of

STORE_AWAY = StoreUnavailable(why="Connection refused")
STORE_FULL = StoreFull(why="command not allowed when used memory > 'maxmemory'.")
NOT_ON_DISK = NotConfirmedOnDisk(why="not within 5 s")
INVALID = invalid_fields([{"loc": ["query", "limit"], "msg": "Input should be greater than or equal to 1"}])

EVERYWHERE: tuple[RoundsmanError, ...] = (
    NotAuthenticated(),
    RoleTooLow(name="dashboard", found="a viewer", wanted="an operator"),
    INVALID,
    InternalError(error_id="5f2c1b7a90de"),
    STORE_AWAY,
    STORE_FULL,
    NOT_ON_DISK,
)


def problems(*errors: RoundsmanError, everywhere: tuple[RoundsmanError, ...] = EVERYWHERE) -> dict[int | str, Any]:
    """Return the ``responses`` of an operation that may meet ``errors``, besides those that any may meet."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for error in (*errors, *everywhere):
        problem = problem_of(error, "/api/v1/…")
        kind = problem.type.rpartition(":")[2]
        examples = by_status.setdefault(problem.status, {})
        examples[kind] = {"summary": problem.title, "value": problem.model_dump(exclude_none=True)}
    return {status: _response(int(status), by_status[status]) for status in sorted(by_status)}


def _response(status: int, examples: dict[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": "; ".join(example["summary"] for example in examples.values()),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
    }
    if status in (http.HTTPStatus.SERVICE_UNAVAILABLE, http.HTTPStatus.TOO_MANY_REQUESTS):
        response["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}, "example": 2}
        }
    return response
