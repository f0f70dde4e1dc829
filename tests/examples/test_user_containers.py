"""A user's own containers in our process: what ``background_jobs.containers`` may name, and what becomes of it."""

import sys

import pytest

from application.scheduling import ScheduledTaskDescriptor
from examples.embedding_kit import Prepare, Write
from examples.user_modules import BOTH, HEAD
from infrastructure.program import Program
from infrastructure.user_containers import ResourceFailed
from support import wait_until


async def sent(program: Program, told: list[str]) -> None:
    await program.services().bus.schedule_task(ScheduledTaskDescriptor(name="Send"))
    await wait_until(lambda: told.count("send") == 1, "the job")


async def test_resources_are_opened_in_order_before_the_first_job_and_closed_after_the_last(
    write: Write, prepare: Prepare
) -> None:
    """The async one is awaited once; jobs, and what is made of it, get the thing itself."""
    name = write(HEAD, BOTH)
    program = prepare(f"{name}:Container", modules=(name,))
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


async def test_resources_may_be_classes_and_stand_in_nested_containers(write: Write, prepare: Prepare) -> None:
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
    program = prepare(f"{name}:Container", modules=(name,))
    told = sys.modules[name].told
    await program.start()
    await sent(program, told)
    await program.stop()
    assert told == ["open pool", "open mail on pool", "send", "close mail", "close pool"]


async def test_singletons_made_of_a_resource_are_made_anew_after_a_restart(write: Write, prepare: Prepare) -> None:
    name = write(
        HEAD,
        """
        class Container(containers.DeclarativeContainer):
            pool = providers.Resource(open_pool)
            mail = providers.Singleton(Mail, pool)
        """,
    )
    program = prepare(f"{name}:Container", modules=(name,))
    for _ in range(2):
        await program.start()
        sys.modules[name].told.clear()
        await sent(program, sys.modules[name].told)
        await program.stop()


async def test_a_resource_that_does_not_open_ends_the_start_and_closes_those_opened(
    write: Write, prepare: Prepare
) -> None:
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
    program = prepare(f"{name}:Container", modules=(name,))
    with pytest.raises(ResourceFailed) as found:
        await program.start()
    assert str(found.value) == (
        "The resource Container.mail of background_jobs.containers did not open: OSError: no such mail server. What "
        "was open already was closed again. Mend that, and start again."
    )
    assert sys.modules[name].told == ["open pool", "close pool"]


async def test_a_resource_that_does_not_close_is_logged_and_the_others_are_closed(
    write: Write, prepare: Prepare, caplog: pytest.LogCaptureFixture
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
    program = prepare(f"{name}:Container", modules=(name,))
    await program.start()
    await program.stop()
    assert "the resource Container.mail did not close cleanly" in caplog.text
    assert sys.modules[name].told == ["open pool", "close pool"]


async def test_a_process_that_executes_nothing_opens_nothing(write: Write, prepare: Prepare) -> None:
    name = write(HEAD, BOTH)
    program = prepare(f"{name}:Container", modules=(name,), role="api")
    await program.start()
    await program.stop()
    assert sys.modules[name].told == []


async def test_a_resource_that_somebody_replaced_is_left_alone(write: Write, prepare: Prepare) -> None:
    name = write(
        HEAD,
        BOTH,
        """
        container = Container()
        container.pool.override(providers.Object(Pool("another")))
        """,
    )
    program = prepare(f"{name}:container", modules=(name,))
    told = sys.modules[name].told
    await program.start()
    await sent(program, told)
    await program.stop()
    assert told == ["open mail on another", "send", "close mail"]


async def test_a_service_of_the_container_gets_the_bus(write: Write, prepare: Prepare) -> None:
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
    program = prepare(f"{name}:container", modules=(name,))
    program.check_jobs()
    assert not sys.modules[name].container.bus.is_defined
    await program.start()
    assert sys.modules[name].container.bus() is program.services().bus
