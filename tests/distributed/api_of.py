"""The HTTP API of a process of the fleet, for tests."""

from types import TracebackType
from typing import Any

import httpx2

from distributed.fleet import Fleet, Member
from support import NO_AUTHORITIES


class ApiOf:
    """Call one process's API, waiting for it to come up first."""

    def __init__(self, fleet: Fleet, member: Member) -> None:
        base = fleet.wait(lambda: member.address, "the API's address")
        self.base: str = base
        self._http = httpx2.Client(base_url=base, trust_env=False, timeout=30, verify=NO_AUTHORITIES)

    def call(self, method: str, path: str, status: int = 200, body: Any = None) -> Any:
        """Call, and fail unless the answer has this status; return the body."""
        response = self._http.request(method, f"/api/v1{path}", **({} if body is None else {"json": body}))
        assert response.status_code == status, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def get(self, path: str) -> Any:
        """Read."""
        return self.call("GET", path)

    def health(self) -> dict[str, Any]:
        """Return the components of the readiness probe."""
        components: dict[str, Any] = self._http.get("/health/ready").json()["components"]
        return components

    def instances(self) -> dict[int, dict[str, Any]]:
        """Return all instances by process id."""
        return {found["pid"]: found for found in self.get("/instances?limit=500")["items"]}

    def __enter__(self) -> "ApiOf":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
