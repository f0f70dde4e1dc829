"""One run of one job in a few lines."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from dependency_injector import providers

from application.scheduling import Injected, ScheduledBackgroundJob, backgroundjob, injected
from domain.runs.errors import DependencyNotGiven, InvalidData, UnsatisfiedDependency
from testing import JobKit, run_job, run_job_sync
from testing.errors import DataTwice, LoopRuns, NobodyAsks, NoJob
from testkit.sample_kit_jobs import Digest, MailContainer, Mailer, Reminder


async def test_a_constructed_job_runs_with_its_fakes() -> None:
    mailer = Mailer()
    run = await run_job(Digest(to="eve", mailer=mailer))
    assert run.result == {"sent": "eve"}
    assert mailer.sent == ["to eve, attempt 1"]


def test_a_test_that_is_not_async() -> None:
    run = run_job_sync(Reminder(text="tea", mailer=Mailer()))
    assert run.result == "tea"
    assert (run.record.progress, run.record.message) == (50.0, "half")


async def test_a_class_with_data_and_dependencies_by_name_or_type() -> None:
    for given in ({"mailer": Mailer()}, {Mailer: Mailer()}):
        run = await run_job(Digest, {"to": "eve"}, given=given)  # type: ignore[arg-type]  # a dict of either kind
        assert run.result == {"sent": "eve"}


async def test_a_container_with_an_override() -> None:
    container, fake = MailContainer(), Mailer()
    with container.mailer.override(providers.Object(fake)):
        await run_job(Digest, {"to": "eve"}, container=container)
    assert fake.sent == ["to eve, attempt 1"]
    assert container.mailer().sent == []


async def test_retries_are_waited_for_without_waiting() -> None:
    mailer = Mailer(fails=2)
    began = time.monotonic()
    run = await run_job(Digest(to="eve", takes_s=200, mailer=mailer))
    assert (run.result, run.attempt) == ({"sent": "eve"}, 3)
    assert time.monotonic() - began < 200
    assert run.record.ended_at == datetime(2026, 1, 5, 9, tzinfo=UTC) + timedelta(seconds=3 * 200 + 30 + 60)


async def test_what_a_body_raised_can_be_looked_at_and_is_shown() -> None:
    run = await run_job(Reminder(text="tea", mailer=Mailer(fails=2)))
    assert run.status == "failed"
    assert isinstance(run.exception, OSError)
    assert run.error == "OSError: the mail server does not answer"
    assert [attempt.error for attempt in run.record.attempts] == [run.error]
    with pytest.raises(AssertionError, match=r"(?s)did not succeed: Reminder.*in send\b.*does not answer") as error:
        _ = run.result
    assert error.value.__cause__ is run.exception


async def test_data_goes_through_json_as_in_production() -> None:
    seen: list[object] = []

    @backgroundjob(task_type="scheduled")
    class Keep(ScheduledBackgroundJob):
        when: datetime
        pair: list[int]

        def run_at(self) -> tuple[int, ...]:
            seen.extend([self.when, self.pair])
            return tuple(self.pair)

    pair, when = [1, 2], datetime(2026, 3, 1, tzinfo=UTC)
    run = await run_job(Keep(when=when, pair=pair))
    assert run.result == [1, 2]
    assert seen == [when, pair]
    assert seen[1] is not pair


async def test_data_that_could_not_be_scheduled_is_refused() -> None:
    with pytest.raises(InvalidData, match="'Digest' is not valid: to: "):
        await run_job(Digest, {"to": 5}, given={"mailer": Mailer()})
    with pytest.raises(InvalidData, match="tooo"):
        await run_job(Digest, {"tooo": "eve"}, given={"mailer": Mailer()})
    with pytest.raises(InvalidData, match="takes_s"):
        await run_job(Digest(to="eve", takes_s="soon", mailer=Mailer()))  # type: ignore[arg-type]  # on purpose


async def test_what_is_missing_or_misspelt_is_refused() -> None:
    with pytest.raises(UnsatisfiedDependency, match="asks for 'mailer: Mailer'"):
        await run_job(Digest, {"to": "eve"})
    with pytest.raises(NobodyAsks, match=r"asks for 'mailr', .* ask for: Digest\.mailer"):
        await run_job(Digest, {"to": "eve"}, given={"mailr": Mailer()})
    with pytest.raises(NobodyAsks, match="asks for 'JobKit'"):
        await run_job(Digest, {"to": "eve"}, given={JobKit: Mailer(), "mailer": Mailer()})
    with pytest.raises(DataTwice):
        await run_job(Digest(to="eve", mailer=Mailer()), {"to": "eve"})
    with pytest.raises(NoJob, match="no background job"):
        await run_job(Mailer)


async def test_the_blocking_form_is_refused_where_a_loop_runs() -> None:
    with pytest.raises(LoopRuns, match=r"await run_job. here"):
        run_job_sync(Digest(to="eve", mailer=Mailer()))


@backgroundjob(task_type="scheduled")
class LeavesOut(ScheduledBackgroundJob):
    """Its constructor may leave the dependency out."""

    mailer: Injected[Mailer] = injected()

    async def run_at(self) -> None:
        self.mailer.send("x")


async def test_a_dependency_that_is_left_out_is_injected_all_the_same() -> None:
    mailer = Mailer()
    for run in (
        await run_job(LeavesOut(), given={Mailer: mailer}),
        await run_job(LeavesOut(mailer=mailer)),
        await run_job(LeavesOut(), container=MailContainer(mailer=providers.Object(mailer))),
    ):
        assert run.result is None
    assert mailer.sent == ["x", "x", "x"]
    with pytest.raises(UnsatisfiedDependency):
        await run_job(LeavesOut())
    with pytest.raises(DependencyNotGiven, match="without the dependency whose 'send' it wants"):
        await LeavesOut().run_at()
    assert "<not injected>" in repr(LeavesOut())


async def test_what_pytest_says_in_a_body_is_about_the_test() -> None:
    class Strict(Mailer):
        def send(self, text: str) -> None:
            pytest.fail("no mail was to be sent")

    with pytest.raises(pytest.fail.Exception, match="no mail was to be sent"):
        await run_job(Digest(to="eve", mailer=Strict()))
    with pytest.raises(pytest.fail.Exception, match="no mail was to be sent"):
        await run_job(Reminder(text="tea", mailer=Strict()))
