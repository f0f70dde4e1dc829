"""What prevents the start: a readable message, exit status 1 (5: no store), nothing left; ``check`` finds it before."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import main
from cli_support import Outcome, roundsman
from conftest import servers_below
from infrastructure.redis.embedded import EmbeddedValkey

NEEDY = """
from application.scheduling import Injected, ScheduledBackgroundJob, backgroundjob

class Clock: ...

@backgroundjob(task_type="scheduled")
class Needy(ScheduledBackgroundJob):
    clock: Injected[Clock]
    def run_at(self) -> None: ...
"""
BROKEN = "import sys\n\ndef load():\n    return 1 / 0\n\nload()\n"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Give the test runner its handlers back: the program takes the root logger for itself."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty directory, whose modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def start(command: str = "run", *args: str, **environ: str) -> Outcome:
    """Run a command that is expected to end at once, as it would in a process of its own."""
    port = ["--port", "0"] if command == "run" else []
    return roundsman(command, *port, *args, env=environ, run=main.run, check=main.check)


def refusal(command: str, *args: str, **environ: str) -> str:
    """Return what it says when it must refuse to start."""
    found = start(command, *args, **environ)
    assert (found.status, found.out) == (1, "")
    return found.err


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_broken_settings_file(tmp_path: Path, command: str) -> None:
    (tmp_path / "settings.toml").write_text("[server\nport = 8000")
    said = refusal(command)
    assert said.startswith("Error: The settings are not valid:\n- settings.toml is not valid TOML: ")
    assert "line 1" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", ["run", "check"])
def test_unknown_keys_in_the_file_and_in_the_environment_are_told_together(tmp_path: Path, command: str) -> None:
    (tmp_path / "settings.toml").write_text("[server]\nprot = 8000\n[monitorin]\ninterval_s = 5")
    said = refusal(command, ROUNDSMAN_STORE__REDIS_ULR="redis://127.0.0.1")
    assert "server.prot is not known: did you mean port?" in said
    assert "monitorin is not known: did you mean monitoring?" in said
    assert "ROUNDSMAN_STORE__REDIS_ULR is not known: did you mean ROUNDSMAN_STORE__REDIS_URL?" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", ["run", "check"])
def test_an_address_beyond_this_machine_without_keys(command: str) -> None:
    for said in (refusal(command, "--host", "0.0.0.0"), refusal(command, ROUNDSMAN_SERVER__HOST="0.0.0.0")):
        assert "0.0.0.0 can be reached from other machines: set server.api_keys, or use 127.0.0.1" in said
        assert "(in --host)" in said or "(in ROUNDSMAN_SERVER__HOST)" in said
        assert "Traceback" not in said


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_job_module_that_fails_is_shown_with_the_line_that_failed(tmp_path: Path, command: str) -> None:
    (tmp_path / f"broken_{command}.py").write_text(BROKEN)
    said = refusal(command, ROUNDSMAN_BACKGROUND_JOBS__MODULES=f'["broken_{command}"]')
    assert f'broken_{command}.py", line 4, in load' in said
    assert f"Error: The job module 'broken_{command}' did not import: ZeroDivisionError" in said
    assert "importlib" not in said
    assert "registry.py" not in said


def test_a_job_module_that_is_no_python_is_shown_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "no_python.py").write_text("x = 1\ndef f(:\n")
    said = refusal("check", ROUNDSMAN_BACKGROUND_JOBS__MODULES='["no_python"]')
    assert 'no_python.py", line 2' in said
    assert "def f(:" in said
    assert "Error: The job module 'no_python' did not import: SyntaxError" in said


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MODULES", "nowhere_at_all", "The job module 'nowhere_at_all' did not import: ModuleNotFoundError"),
        ("CONTAINERS", "nowhere_at_all:C", "names 'nowhere_at_all:C', which cannot be used: ModuleNotFoundError"),
        ("CONTAINERS", "json:Nothing", "names 'json:Nothing', which cannot be used: the module has no 'Nothing'"),
        ("CONTAINERS", "json:dumps", "names 'json:dumps', which cannot be used: it is no class"),
    ],
)
def test_a_module_or_container_that_is_not_there_needs_no_traceback(variable: str, value: str, said: str) -> None:
    told = refusal("check", **{f"ROUNDSMAN_BACKGROUND_JOBS__{variable}": f'["{value}"]'})
    assert said in told
    assert "Traceback" not in told


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_job_whose_dependency_nobody_gives(tmp_path: Path, command: str) -> None:
    (tmp_path / f"needy_{command}.py").write_text(NEEDY)
    said = refusal(command, ROUNDSMAN_BACKGROUND_JOBS__MODULES=f'["needy_{command}"]')
    assert said.startswith("Error: The background job 'Needy' asks for 'clock: Clock', and no provider")
    assert "background_jobs.containers" in said
    assert "Traceback" not in said
    assert servers_below(tmp_path) == []


def test_a_process_that_executes_nothing_needs_no_dependencies(tmp_path: Path) -> None:
    (tmp_path / "needy_api.py").write_text(NEEDY)
    url = {"ROUNDSMAN_STORE__REDIS_URL": "redis://127.0.0.1:1"}
    found = start("check", "--role", "api", ROUNDSMAN_BACKGROUND_JOBS__MODULES='["needy_api"]', **url)
    assert (found.status, found.err) == (0, "")
    assert "Needy" in found.out


def test_check_starts_and_makes_nothing(tmp_path: Path) -> None:
    found = start("check")
    assert found == Outcome(
        0, "settings are valid; background jobs: WorkerMetricsCollectionJob, WorkerSilenceCheckJob\n", ""
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("role", ["api", "scheduler"])
def test_a_role_that_shares_its_store_needs_one_to_share(role: str) -> None:
    for command in ("run", "check"):
        assert f"The role '{role}' shares its store with other processes" in refusal(command, "--role", role)


@pytest.mark.parametrize("name", ["file", "file/var"])
def test_a_data_directory_that_cannot_be(tmp_path: Path, name: str) -> None:
    file, directory = tmp_path / "file", tmp_path / name
    file.write_text("mine")
    said = refusal("run", ROUNDSMAN_DATA_DIR=str(directory))
    assert said.startswith(f"Error: The data directory {directory} cannot be made: {file} is a file. Move that away")
    assert "Traceback" not in said
    assert file.read_text() == "mine"


def test_a_port_that_is_taken_ends_the_embedded_server_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal("run", "--port", str(port))
    assert f"Error: The address 127.0.0.1 port {port} cannot be listened on: Address already in use." in said
    assert "Traceback" not in said
    assert servers_below(tmp_path) == []


def test_a_redis_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    url = f"redis://:hush@127.0.0.1:{port}"
    found = start(ROUNDSMAN_STORE__REDIS_URL=url, ROUNDSMAN_STORE__START_TIMEOUT_S="0")
    said = found.err
    assert (found.status, found.out) == (5, "")
    assert said.startswith(f"Error: No Redis can be reached at 127.0.0.1:{port}: ")
    assert "Traceback" not in said
    assert "hush" not in said


def test_a_redis_that_refuses_the_password(valkey: EmbeddedValkey) -> None:
    url = f"unix://:hush-hush@{valkey.socket_path}"
    said = refusal("run", ROUNDSMAN_STORE__REDIS_URL=url)
    assert "refuses the user or password of the setting store.redis_url" in said
    none = refusal("run", ROUNDSMAN_STORE__REDIS_URL=f"unix://{valkey.socket_path}")
    assert "asks for a password, and the setting store.redis_url has none" in none
    for text in (said, none):
        assert "Traceback" not in text
        assert "hush-hush" not in text


def test_what_answers_like_no_redis() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        said = refusal("run", ROUNDSMAN_STORE__REDIS_URL=f"redis://127.0.0.1:{port}")
    assert said.startswith(f"Error: What answers at 127.0.0.1:{port} is not a Redis that can be used: ")
    assert "Traceback" not in said


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Give the same answer to whatever is sent to a port."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer, args=(server, answer, over.is_set))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            socket.create_connection(server.getsockname()).close()
            thread.join()


def _answer(server: socket.socket, answer: bytes, over: Callable[[], bool]) -> None:
    kept = []
    while not over():
        connection, _ = server.accept()
        kept.append(connection)
        if connection.recv(1024):
            connection.sendall(answer)
    for connection in kept:
        connection.close()
