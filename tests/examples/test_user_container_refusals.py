"""A user's own containers in our process: what ``background_jobs.containers`` may not name, and what it says."""

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

import main
from cli_support import roundsman
from domain.runs.errors import AmbiguousDependency, JobDefinitionError, UnsatisfiedDependency
from examples.embedding_kit import Prepare, Write
from examples.user_modules import BOTH, HEAD
from infrastructure.user_containers import InvalidContainer

INVALID = [
    ("raise AttributeError('lost in import')", "AttributeError: lost in import"),
    ("1 / 0", "ZeroDivisionError: division by zero"),
    ("import sys; sys.exit(3)", "SystemExit: 3"),
    ("from nowhere_at_all import x", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ("Other = 1", "the module has no 'Container'"),
    ("Container = 5", "it is no class derived from dependency_injector's DeclarativeContainer, and no instance of one"),
    ("class Container: ...", "it is no class derived from"),
    (
        """
        from dependency_injector import containers, providers
        class Container(containers.DeclarativeContainer):
            config = providers.Configuration(ini_files=["/nowhere/at/all.ini"], strict=True)
        """,
        "it could not be made: ",
    ),
]


@pytest.mark.parametrize(("code", "why"), INVALID, ids=[why[:30] for _, why in INVALID])
async def test_what_is_no_container_is_told_with_the_setting_and_the_reason(
    write: Write, prepare: Prepare, code: str, why: str
) -> None:
    name = write(code)
    with pytest.raises(InvalidContainer) as found:
        prepare(f"{name}:Container")
    assert str(found.value).startswith(
        f"background_jobs.containers names '{name}:Container', which cannot be used: {why}"
    )


async def test_one_container_is_named_once(write: Write, prepare: Prepare) -> None:
    name = write(HEAD, BOTH, "container = Container()\nagain = container")
    with pytest.raises(InvalidContainer, match="it is named twice; name it once"):
        prepare(f"{name}:Container", f"{name}:Container")
    with pytest.raises(InvalidContainer, match=f"it is the same as '{name}:container'; name it once"):
        prepare(f"{name}:container", f"{name}:again")


async def test_two_containers_that_give_the_same_type_are_both_named(write: Write, prepare: Prepare) -> None:
    name = write(HEAD, BOTH, "class Second(containers.DeclarativeContainer):\n    pool = providers.Factory(Pool)")
    program = prepare(f"{name}:Container", f"{name}:Second", modules=(name,))
    with pytest.raises(AmbiguousDependency) as found:
        program.check_jobs()
    said = str(found.value)
    assert "'pool: Pool', and these providers give it equally: Container.pool, Second.pool" in said
    assert 'Annotated[Pool, Inject("<provider>")]' in said
    assert "background_jobs.containers" in said


async def test_a_provider_that_does_not_say_what_it_gives_is_named(write: Write, prepare: Prepare) -> None:
    name = write(
        HEAD,
        """
        def make_pool():
            return Pool()

        class Container(containers.DeclarativeContainer):
            pool = providers.Factory(make_pool)
            mail = providers.Factory(Mail, pool)
        """,
    )
    with pytest.raises(UnsatisfiedDependency) as found:
        prepare(f"{name}:Container", modules=(name,)).check_jobs()
    assert "(known: Mail; Container.pool: annotate what it returns, or yields)" in str(found.value)


async def test_what_is_async_and_no_resource_is_refused_with_what_to_write(write: Write, prepare: Prepare) -> None:
    name = write(
        HEAD,
        """
        async def make_pool() -> Pool:
            return Pool()

        class Container(containers.DeclarativeContainer):
            pool = providers.Singleton(make_pool)
            mail = providers.Resource(open_mail, pool)
        """,
    )
    program = prepare(f"{name}:Container", modules=(name,))
    with pytest.raises(JobDefinitionError) as found:
        await program.start()
    said = str(found.value)
    assert "'pool' needs Container.pool, which is async, and a job gets plain things" in said
    assert "Make it a Resource of a container in background_jobs.containers" in said
    assert sys.modules[name].told == []


@pytest.fixture
def _logging_as_before() -> Any:
    """Give the test runner its handlers back: the program takes the root logger for itself."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_logging_as_before")
def test_who_starts_the_program_sees_where_a_resource_failed(
    write: Write, redis_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = write(
        HEAD,
        """
        def fail() -> Iterator[Pool]:
            raise OSError("no such server")
            yield

        class Container(containers.DeclarativeContainer):
            pool = providers.Resource(fail)
            mail = providers.Resource(open_mail, pool)
        """,
    )
    env = {
        "ROUNDSMAN_STORE__REDIS_URL": redis_url,
        "ROUNDSMAN_STORE__NAMESPACE": namespace,
        "ROUNDSMAN_BACKGROUND_JOBS__CONTAINERS": f'["{name}:Container"]',
    }
    found = roundsman("run", "--port", "0", env=env, run=main.run, check=main.check)
    assert (found.status, found.out) == (1, "")
    assert f'{name}.py", line' in found.err
    assert "in fail" in found.err
    assert found.err.splitlines()[-1].startswith("Error: The resource Container.pool of background_jobs.containers")
