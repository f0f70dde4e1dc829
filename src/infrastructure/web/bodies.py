"""Request bodies: JSON as strict as it is stored, of a size that is read in one piece."""

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from email.message import Message as Header
from typing import Any, NoReturn

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import RoundsmanError
from infrastructure.web.errors import BodyTooLarge, BodyTooSlow, MalformedJson, UnsupportedMediaType

MAX_BODY_BYTES = 1_048_576
LARGER: dict[str, int] = {"/api/v1/jobs/bulk": 16 * MAX_BODY_BYTES}
"""How much a body may have at paths that take many things at once."""
IN_A_THREAD_BYTES = MAX_BODY_BYTES // 4
"""Larger bodies are checked beside the event loop, which would stand still for that long."""
READ_AND_DROPPED_BYTES = 32 * MAX_BODY_BYTES
"""A client that is still sending does not hear an answer, so this much of a body that is too large is read."""
BODY_TIMEOUT_S = 30.0
MAX_DEPTH = 64
"""Deeper JSON is an attack: what serialises it further on recurses."""

WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Bodies:
    """Read each body, check it, and hand it on whole. Nothing is read for a caller who is unknown."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or raise what is wrong with its body."""
        if scope["type"] != "http" or scope["method"] not in WITH_BODY or not _has_body(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        identity = scope["state"]["identity"]
        if isinstance(identity, RoundsmanError):
            raise identity
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await _read(receive, _limit_at(scope))
        except TimeoutError:
            raise BodyTooSlow(limit_s=BODY_TIMEOUT_S) from None
        if body:
            _check_type(Headers(scope=scope))
            if len(body) > IN_A_THREAD_BYTES:
                await asyncio.to_thread(check_json, body)
            else:
                check_json(body)
        await self._app(scope, _replay(body, receive), send)


def check_json(body: bytes) -> None:
    """Raise ``MalformedJson`` for what is not JSON in UTF-8, or is ambiguous, or cannot be stored.

    Refused too: NaN and infinities, numbers beyond what is counted with, a name twice in one object, half a surrogate
    pair, more than ``MAX_DEPTH`` levels.
    """
    try:
        value = _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise MalformedJson(why=f"it is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(why=f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise MalformedJson(why=_TOO_DEEP) from None
    except ValueError:
        raise MalformedJson(why="a number in it has too many digits") from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _check_depth(value)
    if SURROGATE.search(body):
        _check_text(value)


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _limit_at(scope: Scope) -> int:
    return LARGER.get(scope["path"].removeprefix(scope.get("root_path", "")), MAX_BODY_BYTES)


async def _read(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    more = True
    while more and size <= READ_AND_DROPPED_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            chunks.clear()
        else:
            chunks.append(chunk)
        more = message.get("more_body", False)
    if size > limit:
        raise BodyTooLarge(limit=limit)
    return b"".join(chunks)


def _check_type(headers: Headers) -> None:
    header = Header()
    header["content-type"] = headers.get("content-type", "")
    kind = header.get_content_type()
    if headers.get("content-type") is None or not re.fullmatch(r"application/([!-~]+\+)?json", kind):
        raise UnsupportedMediaType(found=headers.get("content-type", "unknown")[:100])


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


def _refuse(name: str) -> NoReturn:
    raise MalformedJson(why=f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise MalformedJson(why=f"the number {text[:20]} is too large")
    return number


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise MalformedJson(why=f"the name {json.dumps(twice)[:100]} is there twice in one object")
    return found


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item) if isinstance(child, dict | list)]
        if not level:
            return
    raise MalformedJson(why=_TOO_DEEP)


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _check_text(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise MalformedJson(why="a text in it has half a surrogate pair, which is no character") from None


_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"
_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_no_doubles)
