"""The scope of a run: what lives in it, who shares it, and what its end sees."""

import asyncio
from types import TracebackType
from typing import Any

import pytest
from dependency_injector import containers, providers

from application.scheduling import Injected, JobTerminationException, RecurrentBackgroundJob, backgroundjob
from domain.runs.outcome import Failed, Succeeded, Terminated
from support import wait_until
from testing import run_job
from unit.runs.runner_kit import RunnerKit, forever

happened: list[str] = []


class Session:
    """A session as databases have them: one a run, entered and left."""

    numbers = 0

    def __init__(self) -> None:
        Session.numbers += 1
        self.number = Session.numbers
        self.saw: BaseException | None = None

    async def __aenter__(self) -> "Session":
        happened.append(f"open {self.number}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.saw = error
        happened.append(f"close {self.number} {kind.__name__ if kind else 'clean'}")


class Users:
    def __init__(self, session: Session) -> None:
        self.session = session


class Orders:
    def __init__(self, session: Session) -> None:
        self.session = session


class Lock:
    """A sync context manager."""

    def __enter__(self) -> "Lock":
        happened.append("locked")
        return self

    def __exit__(self, *seen: object) -> None:
        happened.append("unlocked")


class Pool:
    """A context manager that the program opened: not a run's to close."""

    async def __aenter__(self) -> "Pool":
        raise AssertionError("opened by a run")

    async def __aexit__(self, *seen: object) -> None:
        raise AssertionError("closed by a run")


class Container(containers.DeclarativeContainer):
    pool = providers.Singleton(Pool)
    session = providers.ContextLocalSingleton(Session)
    users = providers.Factory(Users, session)
    orders = providers.Factory(Orders, session)
    lock = providers.Factory(Lock)


@backgroundjob(task_type="recurrent")
class Books(RecurrentBackgroundJob):
    users: Injected[Users]
    orders: Injected[Orders]
    pool: Injected[Pool]
    how: str = "returns"

    async def run_every(self) -> list[int]:
        happened.append("body")
        if self.how != "returns":
            raise {"fails": RuntimeError, "ends": JobTerminationException, "quits": SystemExit}[self.how]("on purpose")
        await asyncio.sleep(0)
        return [self.users.session.number, self.orders.session.number]


@pytest.fixture(autouse=True)
def _clean() -> None:
    happened.clear()
    Session.numbers = 0


async def test_two_parameters_share_one_session_a_run_and_no_two_runs_do() -> None:
    kit = RunnerKit(Books, container=Container())
    claims = [kit.start(Books) for _ in range(3)]
    assert [await kit.outcome(claim) for claim in claims] == [Succeeded(f"[{n},{n}]") for n in (1, 2, 3)]
    assert await kit.run(Books) == Succeeded("[4,4]")


async def test_a_scope_is_entered_before_the_body_and_left_after_it() -> None:
    await run_job(Books, container=Container)
    assert happened == ["open 1", "body", "close 1 clean"]


@pytest.mark.parametrize(
    ("how", "outcome", "seen"),
    [
        ("fails", Failed("RuntimeError: on purpose"), "RuntimeError"),
        ("ends", Terminated("on purpose"), "JobTerminationException"),
        ("quits", Failed("SystemExit: on purpose"), "SystemExit"),
    ],
)
async def test_leaving_the_scope_sees_what_ended_the_body(how: str, outcome: Any, seen: str) -> None:
    run = await run_job(Books, {"how": how}, container=Container)
    assert run.outcome == outcome
    assert happened == ["open 1", "body", f"close 1 {seen}"]


@backgroundjob(task_type="recurrent")
class Waits(RecurrentBackgroundJob):
    session: Injected[Session]

    async def run_every(self) -> None:
        await forever()


async def test_leaving_the_scope_sees_a_timeout_and_a_revocation_as_cancellation() -> None:
    kit = RunnerKit(Waits, container=Container())
    assert isinstance(await kit.run(Waits, timeout_s=0.01), Failed)
    claim = kit.start(Waits)
    await wait_until(lambda: "open 2" in happened, "the session")
    kit.runner.revoke(claim.spec.run_id, "stopped")
    await wait_until(lambda: claim.spec.run_id not in kit.runner.held, "the slot")
    assert happened == ["open 1", "close 1 CancelledError", "open 2", "close 2 CancelledError"]


@backgroundjob(task_type="recurrent")
class Guarded(RecurrentBackgroundJob):
    lock: Injected[Lock]
    other: Injected[Lock]

    def run_every(self) -> bool:
        return self.lock is not self.other


async def test_what_a_factory_makes_for_the_job_is_entered_too_each_one_by_itself() -> None:
    assert (await run_job(Guarded, container=Container)).result is True
    assert happened == ["locked", "locked", "unlocked", "unlocked"]


class Unit:
    """Depends on a session, and must be closed before it."""

    def __init__(self, session: Session) -> None:
        self.session = session

    async def __aenter__(self) -> "Unit":
        happened.append("begin")
        return self

    async def __aexit__(self, *seen: object) -> None:
        happened.append("commit")


class Deep(containers.DeclarativeContainer):
    session = providers.ContextLocalSingleton(Session)
    unit = providers.ContextLocalSingleton(Unit, session)
    left = providers.Factory(Users, session=unit.provided.session)
    right = providers.Factory(Orders, session=session)
    both = providers.Factory(dict, left=left, right=right, unit=unit)


@backgroundjob(task_type="recurrent")
class Diamond(RecurrentBackgroundJob):
    both: Injected[dict]

    async def run_every(self) -> list[int]:
        return [self.both["left"].session.number, self.both["right"].session.number, self.both["unit"].session.number]


async def test_what_lives_per_run_far_below_is_entered_once_in_order() -> None:
    assert (await run_job(Diamond, container=Deep)).result == [1, 1, 1]
    assert happened == ["open 1", "begin", "commit", "close 1 clean"]


async def test_a_replaced_session_is_not_entered_but_a_replaced_factorys_product_is() -> None:
    class Fake:
        number = 99

        async def __aenter__(self) -> None:
            raise AssertionError("a test's own object is left alone")

        async def __aexit__(self, *seen: object) -> None:
            raise AssertionError("a test's own object is left alone")

    container = Container()
    kit = RunnerKit(Books, Guarded, container=container)
    await kit.run(Books)
    container.session.override(providers.Object(Fake()))
    container.lock.override(providers.Object(Fake()))
    assert await kit.run(Books) == Succeeded("[99,99]")
    assert await kit.run(Guarded) == Succeeded("false")
    container.lock.override(providers.Factory(Lock))
    assert await kit.run(Guarded) == Succeeded("true")


async def test_a_dependency_that_cannot_be_given_fails_the_run_with_its_name() -> None:
    outcome = await RunnerKit(Books).run(Books)
    assert isinstance(outcome, Failed)
    assert "'Books' asks for 'users: Users'" in outcome.error
