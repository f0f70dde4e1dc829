"""Whatever answers at the address: the command says it in a line or two, and exits with the right status."""

import contextlib
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from cli_support import PROBLEM, Reply, problem, roundsman, scripted

WORKER = {"id": "w1", "name": "one"}
EMPTY = Reply({"items": [], "next_cursor": None})


@contextlib.contextmanager
def deaf() -> Iterator[str]:
    """Listen and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection instead of answering."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def talk_nonsense(handler: BaseHTTPRequestHandler) -> None:
    """Answer in another protocol."""
    handler.wfile.write(b"220 mail.example.com ESMTP ready\r\n")
    hang_up(handler)


def break_off(handler: BaseHTTPRequestHandler) -> None:
    """Promise more than is sent."""
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"items": [')
    hang_up(handler)


@pytest.mark.parametrize(
    ("reply", "status", "said"),
    [
        (problem(404, "There is no worker 'w1'."), 3, "Error: There is no worker 'w1'."),
        (problem(401, "This needs an API key."), 4, "Error: This needs an API key.\nSet ROUNDSMAN_API_KEY."),
        (problem(403, "The key 'v' is that of a viewer."), 4, "Error: The key 'v' is that of a viewer."),
        (problem(409, "'w1' is executing."), 4, "Error: 'w1' is executing."),
        (
            problem(422, "The request is not valid.", errors=[{"loc": ["body", "name"], "msg": "too short"}]),
            4,
            "Error: The request is not valid.\n  body.name: too short",
        ),
        (Reply({"detail": "slow down"}, 429, PROBLEM, {"Retry-After": "7"}), 4, "slow down\nTry again in 7 s."),
        (Reply("<html>go away", 403, "text/html"), 4, "answered 403 Forbidden with text/html ('<html>go away')"),
        (problem(500, "The program failed to answer. Its log tells why under the id 12ab."), 5, "under the id 12ab."),
        (problem(503, "The store did not answer."), 5, "Error: The store did not answer."),
        (Reply("<h1>502 Bad Gateway</h1>\nnginx", 502, "text/html"), 5, "502 Bad Gateway with text/html ('<h1>502"),
        (Reply("", 504, ""), 5, "answered 504 Gateway Timeout with something without a type, empty"),
    ],
)
def test_a_refusal_is_told_with_its_status(reply: Reply, status: int, said: str) -> None:
    with scripted(reply) as server:
        found = roundsman("workers", "show", "w1", url=server.url)
    assert (found.status, found.out) == (status, "")
    assert said in found.err
    assert "Traceback" not in found.err


@pytest.mark.parametrize(
    "reply",
    [
        Reply("<html>Welcome to nginx", 200, "text/html"),
        Reply("", 200),
        Reply("[1, 2]"),
        Reply('"text"'),
        Reply("{", 200),
        Reply(b"\xff\xfe\x00", 200),
        Reply("[" * 100_000, 200),
        Reply({"page": "not found"}, 404),
        Reply("<html>404", 404, "text/html"),
        Reply({}, 200, PROBLEM),
        Reply({}, 302, headers={"Location": "https://login.example.com/"}),
        Reply({"items": None}),
        Reply({"items": {"a": 1}}),
        Reply(b"\x1f\x8bbroken", 200, headers={"Content-Encoding": "gzip"}),
    ],
)
def test_what_is_not_roundsman_is_neither_success_nor_something_gone(reply: Reply) -> None:
    with scripted(reply) as server:
        found = roundsman("workers", "list", url=server.url)
    assert found.status == 1
    assert found.out == ""
    assert "does not answer like Roundsman" in found.err
    assert "Check --url or ROUNDSMAN_URL." in found.err


@pytest.mark.parametrize("answer", [hang_up, talk_nonsense, break_off])
def test_a_broken_conversation_is_unreachable(answer: object) -> None:
    with scripted(answer) as server:  # type: ignore[arg-type]  # parametrize says object
        found = roundsman("workers", "list", url=server.url)
    assert found.status == 5
    assert f"{server.url} cannot be reached" in found.err
    assert "Traceback" not in found.err


def test_of_a_change_that_was_sent_nobody_knows() -> None:
    with scripted(hang_up) as server:
        found = roundsman("schedules", "pause", "s1", url=server.url)
    assert found.status == 5
    assert "The change may or may not have been made" in found.err


def test_nobody_there_is_unreachable_and_says_how_to_start(nobody: str) -> None:
    for command in (["health"], ["workers", "list"], ["workers", "rm", "w1"]):
        found = roundsman(*command, url=nobody)
        assert found.status == 5
        assert found.out == ""
        assert found.err.startswith(f"Error: {nobody} cannot be reached: Connection refused. Is it running?")


def test_an_answer_that_does_not_come_is_unreachable() -> None:
    with deaf() as url:
        found = roundsman("--timeout", "100ms", "workers", "list", url=url)
    assert found.status == 5
    assert f"{url} cannot be reached: it did not answer in 0.1 s. Try again" in found.err


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("127.0.0.1:8000", "it must begin with http:// or https://"),
        ("ftp://127.0.0.1", "it must begin with http:// or https://"),
        ("http://", "it names no host"),
        ("http://127.0.0.1:port", "could not be cast"),
        ("http://127.0.0.1:99999", "out of range"),
        ("http://127.0.0.1:0", "port 0"),
        ("http://[::1", "Invalid IPv6"),
        ("http://127.0.0.1:8000/?a=1", "it must end with the path"),
        ("http://127.0.0.1:8000/#a", "it must end with the path"),
        ("http://a b", "blanks"),
        (f"http://{'a' * 64}.example", "too long"),
    ],
)
def test_an_address_that_is_none_is_wrong_usage(url: str, why: str) -> None:
    found = roundsman("workers", "list", url=url)
    assert found.status == 2
    assert "is no address of the API" in found.err
    assert why in found.err


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    found = roundsman("health", url="http://ops:geheim@127.0.0.1:8000")
    assert found.status == 2
    assert "the key goes into ROUNDSMAN_API_KEY" in found.err
    assert "geheim" not in found.err


@pytest.mark.parametrize("key", ["a\nb", "schlüssel", "\x1b[2J"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(key: str) -> None:
    found = roundsman("health", env={"ROUNDSMAN_API_KEY": key})
    assert found.status == 2
    assert "ROUNDSMAN_API_KEY cannot be a key" in found.err
    assert key not in found.err


def test_the_key_is_sent_as_bearer_without_its_line_break() -> None:
    with scripted(EMPTY) as server:
        roundsman("workers", "list", url=server.url, env={"ROUNDSMAN_API_KEY": "k-123\n"})
        roundsman("workers", "list", url=server.url, env={"ROUNDSMAN_API_KEY": ""})
    first, second = server.requests
    assert first.headers["Authorization"] == "Bearer k-123"
    assert "Authorization" not in second.headers


def test_with_a_key_that_is_refused_another_is_asked_for() -> None:
    with scripted(problem(401, "The API key is not known.")) as server:
        found = roundsman("workers", "list", url=server.url, env={"ROUNDSMAN_API_KEY": "old"})
    assert found.status == 4
    assert "Set ROUNDSMAN_API_KEY to another key." in found.err
    assert "old" not in found.err


def test_a_base_path_stands_before_everything() -> None:
    with scripted(EMPTY, Reply({"status": "ok"})) as server:
        roundsman("workers", "list", url=f"{server.url}/ops/")
        roundsman("health", url=f"{server.url}/ops")
    assert [request.path.partition("?")[0] for request in server.requests] == [
        "/ops/api/v1/workers",
        "/ops/health/ready",
    ]


def test_a_proxy_of_the_environment_is_not_asked_for_this_very_machine() -> None:
    with scripted(EMPTY) as server, scripted(Reply("<html>proxy", 502, "text/html")) as proxy:
        found = roundsman("workers", "list", url=server.url, env={"HTTP_PROXY": proxy.url, "http_proxy": proxy.url})
        assert found.status == 0
        assert proxy.requests == []
        far = roundsman("workers", "list", url="http://far.example", env={"http_proxy": proxy.url})
        assert far.status == 5
        assert len(proxy.requests) == 1


def test_a_proxy_that_is_none_is_wrong_usage() -> None:
    found = roundsman("health", url="http://far.example", env={"http_proxy": "gopher://proxy"})
    assert found.status == 2
    assert "the proxy or certificate that the environment names is not usable" in found.err


def test_what_an_error_says_does_not_steer_the_terminal() -> None:
    with scripted(problem(409, "busy \x1b[2J\x07")) as server:
        found = roundsman("workers", "rm", "w1", url=server.url)
    assert found.err == "Error: busy \\x1b[2J\\x07\n"


class TestJsonErrors:
    """With ``--json``, stderr is one JSON object in one line."""

    def test_a_problem_is_handed_on_with_the_exit_status(self) -> None:
        with scripted(problem(404, "There is no worker 'w1'.")) as server:
            found = roundsman("workers", "show", "w1", "--json", url=server.url)
        assert (found.status, found.out) == (3, "")
        assert found.problem == {
            "type": "urn:roundsman:problem:test",
            "title": "Test",
            "status": 404,
            "detail": "There is no worker 'w1'.",
            "exit_status": 3,
        }

    def test_an_answer_of_a_proxy_becomes_a_problem(self) -> None:
        with scripted(Reply("<html>", 502, "text/html")) as server:
            found = roundsman("workers", "list", "--json", url=server.url)
        assert found.status == 5
        assert found.problem["status"] == 502
        assert found.problem["exit_status"] == 5

    def test_a_refused_connection_becomes_a_problem(self, nobody: str) -> None:
        found = roundsman("health", "--json", url=nobody)
        assert found.status == 5
        assert found.problem["type"] == "urn:roundsman:cli:unreachable"
        assert found.problem["exit_status"] == 5
        assert nobody in found.problem["detail"]

    def test_wrong_usage_becomes_a_problem(self) -> None:
        found = roundsman("workers", "monitor", "w1", "--interval", "often", "--json")
        assert found.status == 2
        assert found.problem["title"] == "Usage"
        assert "'often' is not a duration" in found.problem["detail"]
