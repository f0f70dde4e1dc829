"""Each run gets its own scope: one database session, say, shared by all that the run touches, and by no other run.

Give such a thing as a ``ContextLocalSingleton``. If it is a context manager, it is entered before the body and left
after it, with the exception that ended the body: so it can commit, or roll back.
"""

from types import TracebackType

from dependency_injector import containers, providers

from application.scheduling import Injected, ScheduledBackgroundJob, ScheduledTaskDescriptor, backgroundjob
from fundamentals.conftest import App

ENDINGS: dict[int, str] = {}
"""How each session ended, by the order in which they were opened."""


class Session:
    """Stands for the session of a database."""

    def __init__(self) -> None:
        self.number = len(ENDINGS)
        ENDINGS[self.number] = "open"

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ENDINGS[self.number] = "rolled back" if error else "committed"


class Orders:
    def __init__(self, session: Session) -> None:
        self.session = session


class Customers:
    def __init__(self, session: Session) -> None:
        self.session = session


@backgroundjob(task_type="scheduled")
class Bill(ScheduledBackgroundJob):
    """Uses two repositories, and never sees the session."""

    fail: bool = False
    orders: Injected[Orders]
    customers: Injected[Customers]

    async def run_at(self) -> int:
        assert self.orders.session is self.customers.session
        assert ENDINGS[self.orders.session.number] == "open"
        if self.fail:
            raise ValueError("the customer has moved")
        return self.orders.session.number


class Container(containers.DeclarativeContainer):
    session = providers.ContextLocalSingleton(Session)
    orders = providers.Factory(Orders, session)
    customers = providers.Factory(Customers, session)


async def test_a_run_has_one_session_and_the_next_run_has_another(app: App) -> None:
    for task_id in ("first", "second"):
        await app.bus.schedule_task(ScheduledTaskDescriptor(id=task_id, name="Bill"))
    first, second = await app.end_of("first"), await app.end_of("second")
    assert (first.status, second.status) == ("succeeded", "succeeded")
    assert first.result != second.result
    assert ENDINGS[first.result] == ENDINGS[second.result] == "committed"


async def test_a_body_that_fails_rolls_its_session_back(app: App) -> None:
    await app.bus.schedule_task(ScheduledTaskDescriptor(id="failing", name="Bill", data={"fail": True}))
    run = await app.end_of("failing")
    assert (run.status, run.error) == ("failed", "ValueError: the customer has moved")
    assert ENDINGS[max(ENDINGS)] == "rolled back"
