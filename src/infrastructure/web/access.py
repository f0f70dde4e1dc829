"""Who calls, and what they may do: API keys with three roles, or what the application around this one says."""

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from application.runs.asking import Actor, ask_as, asking
from domain.errors import RoundsmanError
from infrastructure.settings import ApiKey, Role
from infrastructure.web.errors import KeyRefused, NotAuthenticated, RoleTooLow

RANK: dict[Role, int] = {"viewer": 1, "operator": 2, "admin": 3}
NAMES: dict[Role, str] = {"viewer": "a viewer", "operator": "an operator", "admin": "an admin"}
BEARER = re.compile(r"bearer +([!-~]{1,1000}) *", re.IGNORECASE)

LONGEST_CLIENT = 100
ANYBODY = "api"
"""What the caller is called where no keys are configured."""

CLI = re.compile(r"roundsman/\S{1,50} \(([!-~]{1,150})\)")
"""How the command line names itself and its user in ``User-Agent``."""


@dataclass(frozen=True)
class Caller:
    """Somebody who may call."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Tell whether the caller's role is ``role`` or above."""
        return RANK[self.role] >= RANK[role]


Identity = Caller | RoundsmanError | None
"""A caller, or the reason why there is none; None before the application around this one was asked.

A value, for some paths do not ask who calls.
"""


class Keyring:
    """The API keys of this program, as hashes. Without any, everybody who comes through the door is an admin."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = tuple((key.key_sha256.encode(), Caller(key.name, key.role)) for key in keys)

    @property
    def is_empty(self) -> bool:
        """Whether no key is configured."""
        return not self._keys

    def identify(self, authorization: str | None) -> Identity:
        """Return who sends this ``Authorization`` header.

        Each known hash is compared, in constant time, whichever matches: how long it takes says nothing about a key.
        """
        if self.is_empty:
            return Caller(ANYBODY, "admin")
        if authorization is None:
            return NotAuthenticated()
        presented = BEARER.fullmatch(authorization)
        if presented is None:
            return KeyRefused(why="the header is not of the form 'Bearer <key>'")
        digest = hashlib.sha256(presented[1].encode()).hexdigest().encode()
        matching = [caller for known, caller in self._keys if hmac.compare_digest(known, digest)]
        return matching[0] if matching else KeyRefused(why="it is none of those in server.api_keys")


def actor() -> str:
    """Return who caused what happens now: the name of the key of this request, or ``program`` outside of requests."""
    known = asking()
    return "program" if known is None else known.name


def act_as(identity: Identity, user_agent: str = "") -> None:
    """Let ``actor`` return this caller for the rest of the current task.

    Where no keys are configured, somebody at the command line goes by the name that it gives: who can reach this
    server may do everything anyway. Where there are keys, that name is noted beside the key's.
    """
    name = identity.name if isinstance(identity, Caller) else "nobody"
    found = CLI.fullmatch(user_agent)
    if found is None:
        ask_as(Actor(name, "api"))
    else:
        said = unquote(found[1], errors="replace")[:LONGEST_CLIENT]
        client = "".join(character if character.isprintable() else "?" for character in said)
        ask_as(Actor(client if name == ANYBODY else name, "cli", client))


def identity_of(request: Request) -> Identity:
    """Return who calls, as the door found out."""
    identity: Identity = request.scope["state"]["identity"]
    return identity


def told_by(caller: Callable[..., Any]) -> Any:
    """Return a dependency that lets the application's own one say who calls: a ``Caller``, or None for nobody."""

    async def identified(request: Request, found: Annotated[Caller | None, Depends(caller)]) -> None:
        identity: Identity = NotAuthenticated() if found is None else found
        request.scope["state"]["identity"] = identity
        act_as(identity, request.headers.get("user-agent", ""))

    return Depends(identified)


class Requires:
    """A dependency that lets callers of ``role`` and above pass."""

    def __init__(self, role: Role) -> None:
        self.role: Role = role

    async def __call__(self, request: Request) -> None:
        """Raise ``NotAuthenticated``, ``KeyRefused`` or ``RoleTooLow``."""
        identity = identity_of(request)
        if not isinstance(identity, Caller):
            raise identity or NotAuthenticated()
        if not identity.may(self.role):
            raise RoleTooLow(name=identity.name, found=NAMES[identity.role], wanted=NAMES[self.role])


_SCHEME = Security(
    HTTPBearer(
        auto_error=False,
        scheme_name="api_key",
        description="A key of `server.api_keys`; none while none is configured.",
    )
)

VIEWER = [_SCHEME, Depends(Requires("viewer"))]
OPERATOR = [_SCHEME, Depends(Requires("operator"))]
ADMIN = [_SCHEME, Depends(Requires("admin"))]
