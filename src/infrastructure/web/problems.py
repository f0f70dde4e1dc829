"""Errors on the wire: RFC 9457, with a type that scripts can rely on."""

import http
import logging
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import RoundsmanError
from domain.problems import Problems
from infrastructure.web import errors

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
API = "/api/v1"
RETRY_AFTER_S = 2
"""The store is back, or known to be gone for longer, after about this time."""
SHOWN_ERRORS = 50
IN_REQUEST = "in_request"
"""The fact of an error that lists the wrong parts of a request, as ``FieldError`` has them."""
LONGEST_PART = 100


class FieldError(BaseModel):
    """One part of a request that is wrong."""

    loc: list[str | int] = Field(description="Where: `body`, `query`, `path` or `header`, then names and indexes.")
    msg: str = Field(description="What is wrong with it. Values are never repeated: they may be secrets.")


class Problem(BaseModel):
    """Why a request was not carried out (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Names the kind of problem, and stays as it is: what a script branches on.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wrong this time, and how to mend it.")
    instance: str | None = Field(default=None, description="The path that was asked for.")
    errors: list[FieldError] | None = Field(default=None, description="The parts of the request that are wrong.")
    error_id: str | None = Field(default=None, description="Finds the failure in the program's log.")


def problem_type_of(kind: type[RoundsmanError]) -> str:
    """Return what names a kind of error on the wire; it follows from the class's name."""
    return "urn:roundsman:problem:" + "-".join(_words(kind)).lower()


def _words(kind: type[RoundsmanError]) -> list[str]:
    return re.findall(r"[A-Z]+(?=[A-Z][a-z]|$)|[A-Z][a-z]*", kind.__name__)


def problem_of(error: RoundsmanError, path: str | None = None) -> Problem:
    """Return an error as it is told."""
    return Problem(
        type=problem_type_of(type(error)),
        title=" ".join(_words(type(error))).capitalize(),
        status=error.status,
        detail=" ".join(str(error).split()),
        instance=None if path is None else quote(path, safe="/:@!$&'()*+,;="),
        errors=error.facts.get(IN_REQUEST),
        error_id=error.facts.get("error_id"),
    )


def problem_response(error: RoundsmanError, path: str | None) -> Response:
    """Return the answer to a request that met ``error``."""
    headers = {}
    if error.status == http.HTTPStatus.UNAUTHORIZED:
        reason = ', error="invalid_token"' if isinstance(error, errors.KeyRefused) else ""
        headers["WWW-Authenticate"] = f'Bearer realm="roundsman"{reason}'
    if error.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if error.status == http.HTTPStatus.TOO_MANY_REQUESTS and "retry_after_s" in error.facts:
        headers["Retry-After"] = str(error.facts["retry_after_s"])
    if isinstance(error, errors.WrongMethod):
        headers["Allow"] = error.facts["allowed"]
    if isinstance(error, errors.BodyTooLarge | errors.BodyTooSlow):
        headers["Connection"] = "close"  # the rest of the body would be taken for the next request
    body = problem_of(error, path).model_dump(exclude_none=True)
    return JSONResponse(body, error.status, headers, MEDIA_TYPE)


def answer_error(error: Exception, scope: Scope) -> Response:
    """Return the answer to whatever was raised; what nobody expected is logged under an id and not shown."""
    if not isinstance(error, RoundsmanError):
        error_id = uuid4().hex[:12]
        log.error("%s %s failed (%s)", scope["method"], scope["path"], error_id, exc_info=error)
        error = errors.InternalError(error_id=error_id)
    elif error.status == http.HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("%s %s failed: %s", scope["method"], scope["path"], error)
    return problem_response(error, scope["path"])


class ErrorAnswers:
    """Answer what is raised below: the one place where an error becomes a response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. An error that comes when the answer has begun goes on to the server, which hangs up."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            log.debug("%s %s: the client hung up", scope["method"], scope["path"])
        except Exception as error:
            if has_begun:
                raise
            await answer_error(error, scope)(scope, receive, send)


async def on_invalid_request(request: Request, error: Exception) -> Response:
    """Say which parts of the request the framework found to be wrong."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    return problem_response(invalid(error.errors()), request.scope["path"])


async def on_http_error(request: Request, error: Exception) -> Response:
    """Say in our words what the framework itself refuses: paths, methods, bodies."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    path, base = request.scope["path"], request.scope.get("root_path", "")
    refusal: RoundsmanError
    if error.status_code == http.HTTPStatus.NOT_FOUND:
        refusal = errors.NoSuchPath(path=path, api=base + API, docs=f"{base}/docs")
    elif error.status_code == http.HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(_methods_at(path.removeprefix(base), request.app.routes)))
        refusal = errors.WrongMethod(method=request.method, path=path, allowed=allowed)
    elif request.app.state.is_guarded and error.status_code != http.HTTPStatus.BAD_REQUEST:
        return _of_the_application(error, path)
    else:
        refusal = errors.MalformedJson(why=str(error.detail))
    return problem_response(refusal, path)


def _of_the_application(error: HTTPException, path: str) -> Response:
    """Pass on how the application around this one refuses somebody, in the form of all errors here."""
    title = http.HTTPStatus(error.status_code).phrase
    told = {
        "type": "about:blank",
        "title": title,
        "status": error.status_code,
        "detail": error.detail,
        "instance": path,
    }
    return JSONResponse(told, error.status_code, error.headers, MEDIA_TYPE)


def _methods_at(path: str, routes: Sequence[BaseRoute]) -> set[str]:
    """Return what is possible at a path; the framework names the methods of the first route alone."""
    found: set[str] = set()
    for route in iter_route_contexts(routes):
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route.path or ""), path):
            found |= route.methods or set()
    return found


def invalid(
    found: Sequence[Any], rename: dict[tuple[str | int, ...], tuple[str | int, ...]] | None = None
) -> RoundsmanError:
    """Return the error for what pydantic found. ``rename`` maps places in a model to places in the request."""
    names = rename or {}
    every = [one for item in found for one in _each(item)]
    field_errors = [
        {"loc": [_part(part) for part in _renamed(tuple(item["loc"]), names)], "msg": _message(item)}
        for item in every[:SHOWN_ERRORS]
    ]
    return invalid_fields(field_errors, len(every))


def _each(item: Any) -> list[Any]:
    """Return what is wrong one by one, where a validator that saw a value whole found several things."""
    error = item.get("ctx", {}).get("error")
    if not isinstance(error, Problems):
        return [item]
    return [{"loc": (*item["loc"], *one["loc"]), "msg": one["msg"], "type": "value_error"} for one in error.places]


def invalid_fields(field_errors: list[dict[str, Any]], total: int | None = None) -> RoundsmanError:
    """Return the error that names the wrong parts, all in ``errors`` and the first ones in its message."""
    said = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in field_errors[:3])
    count = len(field_errors) if total is None else total
    more = f"; and {count - 3} more" if count > 3 else ""
    return errors.InvalidRequest(why=f"{said}{more}".rstrip("."), **{IN_REQUEST: field_errors})


def _renamed(
    loc: tuple[str | int, ...], names: dict[tuple[str | int, ...], tuple[str | int, ...]]
) -> tuple[str | int, ...]:
    for length in range(len(loc), -1, -1):
        if loc[:length] in names:
            return (*names[loc[:length]], *loc[length:])
    return loc


def _part(part: str | int) -> str | int:
    return part[:LONGEST_PART] if isinstance(part, str) else part


def _message(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return "this is not known here"
    return str(item["msg"]).removeprefix("Value error, ")
