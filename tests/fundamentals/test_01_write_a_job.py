"""A background job is a class: it says what data it needs, which services it wants, and what it does.

``@backgroundjob`` makes it a dataclass with keyword-only fields. So a test needs nothing but the class: it constructs
the job with a fake in the place of the service, and calls the body.
"""

import pytest

from application.scheduling import Injected, RecurrentBackgroundJob, backgroundjob


class Mailer:
    """A service, as your application has many."""

    async def send(self, to: str, text: str) -> None:
        raise NotImplementedError


@backgroundjob(task_type="recurrent")
class SendReport(RecurrentBackgroundJob):
    """Send the report of a team. Whoever schedules it gives the team; the mailer is injected when it runs."""

    team: str
    greeting: str = "Hello"
    mailer: Injected[Mailer]

    async def run_every(self) -> dict[str, str]:
        text = f"{self.greeting}, all is well with {self.team}."
        await self.mailer.send(f"{self.team}@example.com", text)
        return {"sent": text}


class FakeMailer(Mailer):
    """What a test puts in its place."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    async def send(self, to: str, text: str) -> None:
        self.sent.append((to, text))


async def test_a_job_is_constructed_by_hand_and_run() -> None:
    mailer = FakeMailer()
    job = SendReport(team="blue", mailer=mailer)
    assert await job.run_every() == {"sent": "Hello, all is well with blue."}
    assert mailer.sent == [("blue@example.com", "Hello, all is well with blue.")]


def test_what_is_left_out_is_missed_like_any_argument() -> None:
    with pytest.raises(TypeError, match="mailer"):
        SendReport(team="blue")


def test_the_class_knows_which_of_its_fields_are_dependencies() -> None:
    assert SendReport.__dependencies__ == {"mailer": Mailer}
