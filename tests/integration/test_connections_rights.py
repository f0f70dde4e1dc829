"""An ACL user: what it lacks is said at start, in the words that grant it; what is granted then is enough."""

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import infrastructure
from application.scheduling import RecurrentTaskDescriptor
from domain.errors import StoreUnavailable
from domain.events.event import Event
from external_server import ExternalServer
from infrastructure.program import Program
from infrastructure.redis import errors
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.redis.rights import COMMANDS
from infrastructure.settings import Settings
from integration.watched_kit import ALWAYS_FIRING, OK
from support import wait_until

GRANTED = [f"+{command}" for command in COMMANDS]
OWN = ["~{roundsman}:*", "&{roundsman}:*"]


@pytest.fixture
def server(external: Callable[..., ExternalServer]) -> ExternalServer:
    return external()


def user(server: ExternalServer, *rules: str, name: str = "weak") -> str:
    """Make the user anew and return the URL with it."""
    server.tell("ACL", "SETUSER", name, "reset", "on", ">s3cret", *rules)
    return f"unix://{name}:s3cret@{server.socket_path}?db=0"


async def denial(store: RedisStore) -> errors.StorePermissionDenied:
    with pytest.raises(errors.StorePermissionDenied) as failure:
        await store.open()
    assert "s3cret" not in str(failure.value)
    return failure.value


def grant(server: ExternalServer, error: errors.StorePermissionDenied) -> list[str]:
    """Do what the message says, word by word; return what was granted."""
    line = str(error).splitlines()[-1]
    assert line.startswith("ACL SETUSER weak ")
    server.tell(*line.split())
    return line.split()[3:]


@pytest.mark.parametrize(
    ("rules", "lacking"),
    [
        (["+@all", "-hget", "-xadd", *OWN], ["+hget", "+xadd"]),
        (["+@all", "-xgroup|setid", *OWN], ["+xgroup|setid"]),
        (["+@all", "-publish", "-subscribe", *OWN], ["+publish", "+subscribe", "&{roundsman}:*"]),
        (["+@all", "-hget", "-xadd", "-publish"], ["+hget", "+publish", "+subscribe", "+xadd", *OWN]),
        (["+@all", "~other:*", "&*"], ["~{roundsman}:*"]),
        (["+@all", "%R~{roundsman}:*", "&*"], ["~{roundsman}:*"]),
        (["+@all", "~*", "resetchannels"], ["+subscribe", "&{roundsman}:*"]),
        (["+@all", "-subscribe", *OWN], ["+subscribe"]),
        (["+@all", "-publish", *OWN], ["+publish"]),
        (["+@all", "-info", *OWN], ["+info"]),
        (["+@all", "-@dangerous", *OWN], ["+info"]),
        (["+@all", "-eval", *OWN], [*GRANTED, *OWN]),
        (["+ping"], [*GRANTED, *OWN]),
        ([], [*GRANTED, *OWN]),
    ],
    ids=lambda value: " ".join(value)[:40] or "nothing",
)
async def test_what_is_lacking_is_named_and_granting_it_is_enough(
    server: ExternalServer, rules: list[str], lacking: list[str]
) -> None:
    url = user(server, *rules)
    assert sorted(grant(server, await denial(RedisStore(url)))) == sorted(lacking)
    store = RedisStore(url)
    await store.open()
    await store.close()


async def test_a_database_and_the_disk_need_more(server: ExternalServer) -> None:
    url = user(server, *GRANTED, *OWN)
    assert grant(server, await denial(RedisStore(url, confirm_on_disk=True))) == ["+waitaof"]
    other = url.replace("db=0", "db=3")
    assert "+select" in grant(server, await denial(RedisStore(other)))
    for store in (RedisStore(url, confirm_on_disk=True), RedisStore(other)):
        await store.open()
        await store.close()


async def test_the_default_user_is_named_where_the_url_names_none(server: ExternalServer) -> None:
    user(server, "+@all", "~*", "&*", name="admin")
    server.tell("ACL", "SETUSER", "default", "-xadd")
    error = await denial(RedisStore(server.url))
    assert str(error).splitlines()[-1] == "ACL SETUSER default +xadd"


async def test_a_namespace_of_ones_own_is_in_the_grant(server: ExternalServer) -> None:
    error = await denial(RedisStore(user(server, "+@all"), "mine"))
    assert str(error).splitlines()[-1] == "ACL SETUSER weak +subscribe ~{mine}:* &{mine}:*"


async def test_a_wrong_password_and_no_password_have_their_own_words(server: ExternalServer) -> None:
    url = user(server, "+@all", *OWN)
    with pytest.raises(errors.StorePasswordRefused, match="invalid username-password pair") as failure:
        await RedisStore(url.replace("s3cret", "wrong")).open()
    assert ".." not in str(failure.value)
    server.tell("ACL", "SETUSER", "weak", "off")
    with pytest.raises(errors.StorePasswordRefused):
        await RedisStore(url).open()


async def test_a_command_that_was_renamed_away_is_named(external: Callable[..., ExternalServer]) -> None:
    server = external(rename_command='XADD ""')
    with pytest.raises(errors.NotARedis, match=r"it has no xadd \(did a rename-command"):
        await RedisStore(server.url).open()


async def test_rights_that_are_taken_away_make_the_store_unavailable(server: ExternalServer) -> None:
    store = RedisStore(user(server, "+@all", *OWN))
    await store.open()
    server.tell("ACL", "SETUSER", "weak", "-get")
    with pytest.raises(StoreUnavailable, match="no permissions"), store_errors():
        await store.command.get(store.key("a"))
    await store.close()


async def test_the_user_in_the_documents_has_what_is_needed_and_no_more(server: ExternalServer) -> None:
    text = (Path(infrastructure.__path__[0]).parents[1] / "docs/how-to/connect-to-redis.md").read_text()
    line = re.search(r"^ACL SETUSER roundsman on (.*?)```", text, re.MULTILINE | re.DOTALL)
    assert line is not None
    server.tell(*line[0].removesuffix("```").replace(">PASSWORD", ">s3cret").split())
    store = RedisStore(f"unix://roundsman:s3cret@{server.socket_path}")
    await store.open()
    await store.close()
    assert {word for word in line[0].split() if word[0] == "+"} == set(GRANTED)


def test_all_that_scripts_call_is_listed() -> None:
    called = {
        name.lower()
        for script in Path(infrastructure.__path__[0]).rglob("*.lua")
        for name in re.findall(r"redis\.p?call\('([A-Za-z]+)'", script.read_text())
    }
    assert len(called) > 30
    assert called <= {command.partition("|")[0] for command in COMMANDS}


@pytest.fixture
async def program(server: ExternalServer) -> AsyncIterator[Program]:
    """A program whose user may do what is listed and nothing else."""
    settings = {
        "store": {"redis_url": user(server, *GRANTED, *OWN)},
        "background_jobs": {"modules": ["cli_jobs"], "shutdown_grace_s": 0},
        "monitoring": {"interval_s": 0.1},
        "alerts": {"rules": [ALWAYS_FIRING]},
    }
    made = Program(Settings.model_validate(settings))
    await made.start()
    yield made
    await made.stop()


async def test_a_program_works_with_what_is_listed_and_asks_for_nothing_else(
    program: Program, server: ExternalServer
) -> None:
    services, heard = program.services(), []

    async def hear(event: Event) -> None:
        heard.append(event.topic)

    services.events.subscribe(["schedule.*", "job.*"], hear, group="rights")
    await services.bus.schedule_task(RecurrentTaskDescriptor(id="r", name="Greet", data={"label": "a"}, interval=0.05))
    await wait_until(lambda: "job.succeeded" in heard, "a run")
    await services.scheduler.pause("r")
    await services.scheduler.resume("r")
    await services.scheduler.stop_task("r")
    await wait_until(lambda: "schedule.removed" in heard, "the end of the schedule")
    await wait_until(services.alerts.list, "an alert")
    assert (await services.scheduler.list_tasks()).items
    assert (await services.health.look()).components["store"].status is OK
    log = server.tell("ACL", "LOG")
    denied = {dict(zip(entry[::2], entry[1::2], strict=True))["object"] for entry in log}
    assert denied <= {"config|get"}
