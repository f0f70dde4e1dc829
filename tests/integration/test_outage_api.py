"""What callers of the API are told when the store cannot do what they ask."""

import asyncio
from collections.abc import Callable

import pytest

from api_kit import Api, problem_type
from domain.errors import NotConfirmedOnDisk
from external_server import ExternalServer
from fault_proxy import FaultProxy
from infrastructure.redis import connection
from infrastructure.web.problems import problem_of

Servers = Callable[..., ExternalServer]

REPORT = {"id": "r", "name": "Report", "data": {"team": "ops"}, "trigger": {"interval_s": 3600}}


async def test_a_full_store_refuses_new_work_and_lets_it_be_stopped(external: Servers, namespace: str) -> None:
    server = external()
    async with Api(server.url, namespace) as api:
        assert (await api.post("/schedules", REPORT)).status_code == 201
        await asyncio.to_thread(server.tell, "CONFIG", "SET", "maxmemory", "1")
        for method, path, body in (
            ("POST", "/schedules", {**REPORT, "id": "r2"}),
            ("PATCH", "/schedules/r", {"trigger": {"interval_s": 60}}),
            ("POST", "/schedules/r/run", None),
        ):
            refused = await api.call(method, path, **({} if body is None else {"json": body}))
            assert (refused.status_code, problem_type(refused)) == (503, "store-full"), path
            assert "Nothing was changed" in refused.json()["detail"]
            assert int(refused.headers["retry-after"]) > 0
        for action in ("pause", "resume"):
            assert (await api.post(f"/schedules/r/{action}")).status_code == 200
        assert (await api.get("/schedules")).json()["items"][0]["id"] == "r"
        assert (await api.delete("/schedules/r")).json()["stopped"] is True


async def test_a_key_of_another_program_is_no_failure_of_ours(external: Servers, namespace: str) -> None:
    server = external()
    async with Api(server.url, namespace) as api:
        await asyncio.to_thread(server.tell, "SET", f"{{{namespace}}}:states", "theirs")
        for method, path in (("GET", "/schedules/r"), ("DELETE", "/schedules/r")):
            refused = await api.call(method, path)
            assert (refused.status_code, problem_type(refused)) == (503, "strange-key")
            assert "Health, and the log, name the key" in refused.json()["detail"]


@pytest.mark.parametrize("fault", ["black hole", "reset"])
async def test_no_answer_is_told_in_time_and_nothing_else_waits(
    fault: str, external: Servers, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "COMMAND_TIMEOUT_S", 0.5)
    async with FaultProxy(external()) as proxy, Api(proxy.url, namespace) as api:
        await proxy.set_fault(fault)  # type: ignore[arg-type]
        asking = [asyncio.create_task(api.get(f"/schedules/{number}")) for number in range(30)]
        assert (await api.get("/health/live")).status_code == 200
        for answer in await asyncio.gather(*asking):
            assert (answer.status_code, problem_type(answer)) == (503, "store-unavailable")
        await proxy.set_fault("none")
        assert (await api.post("/schedules", REPORT)).status_code == 201


def test_a_yes_that_is_not_sure_has_a_type_of_its_own() -> None:
    problem = problem_of(NotConfirmedOnDisk(why="not within 5 s"))
    assert (problem.status, problem.type) == (503, "urn:roundsman:problem:not-confirmed-on-disk")
    assert "It took effect in the store's memory" in problem.detail
    assert "Ask again" in problem.detail
