"""The server itself: addresses, base paths, its end."""

import socket

import httpx2
import pytest
from fastapi import FastAPI

from api_kit import API_KEYS, Api
from infrastructure.settings import ServerSettings
from infrastructure.web.app import create_web_app
from infrastructure.web.server import AddressNotUsable, listen

REPORT = {"id": "r", "name": "Report", "data": {"team": "ops"}, "trigger": {"interval_s": 60}}


def test_a_port_in_use_is_told_and_nothing_is_left_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(AddressNotUsable, match=rf"(?s){port}.*in use.*server\.port"):
            listen(ServerSettings(port=port))


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid", "256.1.1.1"])
def test_an_address_that_is_not_ours_is_told(host: str) -> None:
    with pytest.raises(AddressNotUsable, match=host):
        listen(ServerSettings(host=host, port=0, api_keys=API_KEYS))


def test_localhost_means_the_same_port_in_each_family() -> None:
    listeners = listen(ServerSettings(host="localhost", port=0))
    try:
        assert listeners[0].family == socket.AF_INET
        assert len({listener.getsockname()[1] for listener in listeners}) == 1
    finally:
        for listener in listeners:
            listener.close()


async def test_answers_do_not_wait_for_the_client_to_acknowledge_the_first_half(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api:
        await api.get("/health/live")
        (connection,) = api.server.server_state.connections
        transport = connection.transport
        assert transport is not None
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_below_a_base_path_all_is_there_with_and_without_it(redis_url: str, namespace: str) -> None:
    """Some proxies take the base path away, others keep it."""
    async with Api(redis_url, namespace, base_path="/ops/roundsman") as api:
        for base in ("", "/ops/roundsman"):
            made = await api.http.post(f"{base}/api/v1/schedules", json=REPORT)
            assert made.headers["location"] == "/ops/roundsman/api/v1/schedules/r"
            assert (await api.http.get(f"{base}/health/live")).status_code == 200
            page = (await api.http.get(f"{base}/docs")).text
            assert 'src="/ops/roundsman/docs/start.js"' in page
            assert (await api.http.get(f"{base}/docs/swagger-ui.css")).status_code == 200
            document = (await api.http.get(f"{base}/openapi.json")).json()
            assert document["servers"] == [{"url": "/ops/roundsman"}]
            assert (await api.http.get(f"{base}/")).headers["location"] == "/ops/roundsman/docs"
            missing = (await api.http.get(f"{base}/api/v1/none")).json()
            assert missing["instance"] == f"{base}/api/v1/none"
            assert (await api.http.put(f"{base}/api/v1/schedules")).headers["allow"] == "GET, POST"
        assert (await api.http.get("/ops/roundsmanx/health/live")).status_code == 404


async def test_the_start_page_leads_to_the_documentation(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api:
        answer = await api.http.get("/", follow_redirects=True)
        assert answer.url.path == "/docs"
        assert answer.status_code == 200


async def test_what_the_lifespan_does_not_start_is_not_served(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api:
        await api.stop()
        assert api.stopped
        with pytest.raises(httpx2.ConnectError):
            await api.http.get("/health/live")


async def test_services_may_be_given_as_they_are(redis_url: str, namespace: str) -> None:
    api = Api(redis_url, namespace)
    app = create_web_app(api.services, api.settings)
    assert isinstance(app, FastAPI)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        assert (await http.get("/health/ready")).json()["status"] == "ok"
    await api.instance.store.close()


async def test_no_answer_names_the_server_software(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api:
        assert "server" not in (await api.get("/health/live")).headers
