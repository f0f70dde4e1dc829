"""A user's own containers in our process: what ``background_jobs.containers`` may name, and what becomes of it."""

import itertools
import logging
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import main
from application.scheduling import ScheduledTaskDescriptor
from cli_support import roundsman
from domain.runs.errors import AmbiguousDependency, JobDefinitionError, UnsatisfiedDependency
from infrastructure.program import Program
from infrastructure.redis.connection import RedisStore
from infrastructure.settings import Settings
from infrastructure.user_containers import InvalidContainer, ResourceFailed
from support import wait_until

HEAD = """
from collections.abc import AsyncIterator, Iterator
from dependency_injector import containers, providers
from application.scheduling import BackgroundTasksBus, Injected, ScheduledBackgroundJob, backgroundjob

told = []

class Pool:
    def __init__(self, name="pool"):
        self.name = name

class Mail:
    def __init__(self, pool=None):
        self.pool = pool

async def open_pool() -> AsyncIterator[Pool]:
    told.append("open pool")
    yield Pool()
    told.append("close pool")

def open_mail(pool) -> Iterator[Mail]:
    told.append(f"open mail on {pool.name}")
    yield Mail(pool)
    told.append("close mail")

@backgroundjob(task_type="scheduled")
class Send(ScheduledBackgroundJob):
    pool: Injected[Pool]
    mail: Injected[Mail]
    def run_at(self) -> None:
        assert self.mail.pool is self.pool
        told.append("send")
"""
BOTH = """
class Container(containers.DeclarativeContainer):
    pool = providers.Resource(open_pool)
    mail = providers.Resource(open_mail, pool)
"""
names = itertools.count()

Write = Callable[..., str]
Make = Callable[..., Program]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module that nobody has imported yet; return its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def one(*parts: str) -> str:
        name = f"users_module_{next(names)}"
        (tmp_path / f"{name}.py").write_text("\n".join(dedent(part) for part in parts))
        return name

    return one


@pytest.fixture
async def make(redis_url: str, namespace: str, store: RedisStore) -> AsyncIterator[Make]:
    """Make programs on the store of this test; stop what the test left running."""
    made: list[Program] = []

    def one(*containers: str, modules: tuple[str, ...] = (), role: Any = "all") -> Program:
        tables = {
            "store": {"redis_url": redis_url, "namespace": namespace},
            "background_jobs": {"modules": modules, "containers": containers},
            "monitoring": {"local_worker": False},
        }
        made.append(Program(Settings.model_validate(tables), role))
        return made[-1]

    yield one
    for program in made:
        await program.stop()


async def sent(program: Program, told: list[str]) -> None:
    await program.services().bus.schedule_task(ScheduledTaskDescriptor(name="Send"))
    await wait_until(lambda: told.count("send") == 1, "the job")


async def test_resources_are_opened_in_order_before_the_first_job_and_closed_after_the_last(
    write: Write, make: Make
) -> None:
    """The async one is awaited once; jobs, and what is made of it, get the thing itself."""
    name = write(HEAD, BOTH)
    program = make(f"{name}:Container", modules=(name,))
    told = sys.modules[name].told
    program.check_jobs()
    assert told == []
    for _ in range(2):
        await program.start()
        assert told == ["open pool", "open mail on pool"]
        await sent(program, told)
        await program.stop()
        assert told == ["open pool", "open mail on pool", "send", "close mail", "close pool"]
        told.clear()


async def test_resources_may_be_classes_and_stand_in_nested_containers(write: Write, make: Make) -> None:
    name = write(
        HEAD,
        """
        from dependency_injector import resources

        class LaterPool(resources.AsyncResource):
            async def init(self) -> Pool:
                told.append("open pool")
                return Pool()

            async def shutdown(self, pool) -> None:
                told.append("close pool")

        class Below(containers.DeclarativeContainer):
            pool = providers.Resource(LaterPool)

        class Container(containers.DeclarativeContainer):
            below = providers.Container(Below)
            mail = providers.Resource(open_mail, below.pool)
        """,
    )
    program = make(f"{name}:Container", modules=(name,))
    told = sys.modules[name].told
    await program.start()
    await sent(program, told)
    await program.stop()
    assert told == ["open pool", "open mail on pool", "send", "close mail", "close pool"]


async def test_singletons_made_of_a_resource_are_made_anew_after_a_restart(write: Write, make: Make) -> None:
    name = write(
        HEAD,
        """
        class Container(containers.DeclarativeContainer):
            pool = providers.Resource(open_pool)
            mail = providers.Singleton(Mail, pool)
        """,
    )
    program = make(f"{name}:Container", modules=(name,))
    for _ in range(2):
        await program.start()
        sys.modules[name].told.clear()
        await sent(program, sys.modules[name].told)
        await program.stop()


async def test_a_resource_that_does_not_open_ends_the_start_and_closes_those_before(write: Write, make: Make) -> None:
    name = write(
        HEAD,
        """
        def fail(pool) -> Iterator[Mail]:
            raise OSError("no such mail server")
            yield

        class Container(containers.DeclarativeContainer):
            pool = providers.Resource(open_pool)
            mail = providers.Resource(fail, pool)
        """,
    )
    program = make(f"{name}:Container", modules=(name,))
    with pytest.raises(ResourceFailed) as found:
        await program.start()
    assert str(found.value) == (
        "The resource Container.mail of background_jobs.containers did not open: OSError: no such mail server. What "
        "was open already was closed again."
    )
    assert sys.modules[name].told == ["open pool", "close pool"]


async def test_a_resource_that_does_not_close_is_logged_and_the_others_are_closed(
    write: Write, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    name = write(
        HEAD,
        """
        def stuck(pool) -> Iterator[Mail]:
            yield Mail(pool)
            raise OSError("on purpose")

        class Container(containers.DeclarativeContainer):
            pool = providers.Resource(open_pool)
            mail = providers.Resource(stuck, pool)
        """,
    )
    program = make(f"{name}:Container", modules=(name,))
    await program.start()
    await program.stop()
    assert "the resource Container.mail did not close cleanly" in caplog.text
    assert sys.modules[name].told == ["open pool", "close pool"]


async def test_a_process_that_executes_nothing_opens_nothing(write: Write, make: Make) -> None:
    name = write(HEAD, BOTH)
    program = make(f"{name}:Container", modules=(name,), role="api")
    await program.start()
    await program.stop()
    assert sys.modules[name].told == []


async def test_a_resource_that_somebody_replaced_is_left_alone(write: Write, make: Make) -> None:
    name = write(
        HEAD,
        BOTH,
        """
        container = Container()
        container.pool.override(providers.Object(Pool("another")))
        """,
    )
    program = make(f"{name}:container", modules=(name,))
    told = sys.modules[name].told
    await program.start()
    await sent(program, told)
    await program.stop()
    assert told == ["open mail on another", "send", "close mail"]


async def test_a_service_of_the_container_gets_the_bus(write: Write, make: Make) -> None:
    name = write(
        HEAD,
        """
        class Container(containers.DeclarativeContainer):
            bus = providers.Dependency(instance_of=BackgroundTasksBus)
            pool = providers.Singleton(Pool)
            mail = providers.Singleton(Mail, pool)

        container = Container()
        """,
    )
    program = make(f"{name}:container", modules=(name,))
    program.check_jobs()
    assert not sys.modules[name].container.bus.is_defined
    await program.start()
    assert sys.modules[name].container.bus() is program.services().bus


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
    write: Write, make: Make, code: str, why: str
) -> None:
    name = write(code)
    with pytest.raises(InvalidContainer) as found:
        make(f"{name}:Container")
    assert str(found.value).startswith(
        f"background_jobs.containers names '{name}:Container', which cannot be used: {why}"
    )


async def test_one_container_is_named_once(write: Write, make: Make) -> None:
    name = write(HEAD, BOTH, "container = Container()\nagain = container")
    with pytest.raises(InvalidContainer, match="it is named twice; name it once"):
        make(f"{name}:Container", f"{name}:Container")
    with pytest.raises(InvalidContainer, match=f"it is the same as '{name}:container'; name it once"):
        make(f"{name}:container", f"{name}:again")


async def test_two_containers_that_give_the_same_type_are_both_named(write: Write, make: Make) -> None:
    name = write(HEAD, BOTH, "class Second(containers.DeclarativeContainer):\n    pool = providers.Factory(Pool)")
    program = make(f"{name}:Container", f"{name}:Second", modules=(name,))
    with pytest.raises(AmbiguousDependency) as found:
        program.check_jobs()
    said = str(found.value)
    assert "'pool: Pool', and these providers give it equally: Container.pool, Second.pool" in said
    assert 'Annotated[Pool, Inject("<provider>")]' in said
    assert "background_jobs.containers" in said


async def test_a_provider_that_does_not_say_what_it_gives_is_named(write: Write, make: Make) -> None:
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
        make(f"{name}:Container", modules=(name,)).check_jobs()
    assert "(known: Mail; Container.pool: annotate what it returns, or yields)" in str(found.value)


async def test_what_is_async_and_no_resource_is_refused_with_what_to_write(write: Write, make: Make) -> None:
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
    program = make(f"{name}:Container", modules=(name,))
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
