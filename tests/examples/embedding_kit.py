"""What tests of applications that embed the program share."""

from collections.abc import Callable
from typing import Any

import httpx2
from fastapi import FastAPI

from application.scheduling import RecurrentTaskDescriptor
from infrastructure.embedding import Roundsman
from infrastructure.program import Program
from support import wait_until

Make = Callable[..., Roundsman]
Threads = Callable[[], set[str]]
Write = Callable[..., str]
Prepare = Callable[..., Program]


def client(app: FastAPI, address: str = "127.0.0.1") -> httpx2.AsyncClient:
    """Return a client of an application, which seems to call from ``address``."""
    transport = httpx2.ASGITransport(app, client=(address, 5))
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1")


async def writes(roundsman: Roundsman, office: Any, line: str) -> None:
    """Have a line written through the whole of it."""
    await roundsman.bus().schedule_task(
        RecurrentTaskDescriptor(id=line, name="Pass", data={"line": line}, interval=0.1)
    )
    await wait_until(lambda: line in office.notebook().lines, f"the line '{line}'")
