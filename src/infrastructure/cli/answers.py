"""Answers of the API, and of whatever else may listen at its address."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infrastructure.cli.address import Address
from infrastructure.cli.errors import NOT_FOUND, REFUSED, UNREACHABLE, RefusedByServer, UnexpectedAnswer

if TYPE_CHECKING:
    import httpx2

EXCERPT = 60


@dataclass(frozen=True)
class Answer:
    """A status and a JSON object."""

    status: int
    body: dict[str, Any]


def read_answer(response: "httpx2.Response", address: Address, has_key: bool, is_fine: Callable[[int], bool]) -> Answer:
    """Return what was answered; raises ``RefusedByServer`` for an error, ``UnexpectedAnswer`` for what is no API."""
    body, status = _json_object(response), response.status_code
    is_problem = "problem+json" in response.headers.get("content-type", "")
    if is_fine(status) and not is_problem and body is not None:
        return Answer(status, body)
    if status < 400 or (status == 404 and not is_problem):
        # A 404 of some other server must not look like a thing of ours that is gone.
        raise UnexpectedAnswer(url=address.shown, why=f"it answered {_status(response)} with {_describe(response)}")
    text = read_problem(body or {}) or f"{address.shown} answered {_status(response)} with {_describe(response)}"
    raise RefusedByServer(
        exit_status=exit_status_of(status),
        text=_with_hint(response, text, has_key),
        problem={"type": "about:blank", "title": response.reason_phrase, "status": status, **(body or {})},
    )


def exit_status_of(status: int) -> int:
    """Return what a command ends with that was answered with this HTTP status."""
    return UNREACHABLE if status >= 500 else NOT_FOUND if status == 404 else REFUSED


def read_problem(problem: dict[str, Any]) -> str:
    """Return the lines a person reads of an RFC 9457 problem: what is wrong, then each wrong field."""
    detail, title = problem.get("detail"), problem.get("title")
    first = next((text for text in (detail, title) if isinstance(text, str) and text.strip()), "")
    errors = problem.get("errors")
    said = " ".join(first.split())
    found = [_field(error) for error in errors] if isinstance(errors, list) else []
    # The server's own sentence names the first fields already, by their path or by their last name.
    lines = [f"  {where}: {what}" if where else f"  {what}" for where, what in found if not _is_told(where, what, said)]
    return "\n".join([said, *lines]).strip("\n")


def _field(error: Any) -> tuple[str, str]:
    if not isinstance(error, dict):
        return "", str(error)
    where = next((error[name] for name in ("loc", "pointer", "field", "name") if error.get(name)), "")
    what = next((error[name] for name in ("msg", "detail", "message", "reason") if error.get(name)), "is wrong")
    return ".".join(str(part) for part in where) if isinstance(where, list) else str(where), str(what)


def _is_told(where: str, what: str, said: str) -> bool:
    return f"{where.rpartition('.')[2]}: {what}" in said


def _with_hint(response: "httpx2.Response", text: str, has_key: bool) -> str:
    if response.status_code == 401:
        mend = "Set ROUNDSMAN_API_KEY to another key." if has_key else "Set ROUNDSMAN_API_KEY."
        return text if "ROUNDSMAN_API_KEY" in text else f"{text}\n{mend}"
    wait = response.headers.get("retry-after")
    return f"{text}\nTry again in {wait} s." if wait and wait.isdigit() else text


def _json_object(response: "httpx2.Response") -> dict[str, Any] | None:
    if response.status_code == 204 or (response.is_success and not response.content):
        return {}
    try:
        found = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _describe(response: "httpx2.Response") -> str:
    kind = response.headers.get("content-type", "").partition(";")[0] or "something without a type"
    start = " ".join(response.content[: 4 * EXCERPT].decode(errors="replace").split())[:EXCERPT]
    return f"{kind} ('{start}')" if start else f"{kind}, empty"


def _status(response: "httpx2.Response") -> str:
    where = response.headers.get("location")
    return f"{response.status_code} {response.reason_phrase}".strip() + (f" to {where}" if where else "")
