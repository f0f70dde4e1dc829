"""Assertions find what is there, and where it is not they print what was found instead."""

import re
from datetime import UTC, datetime

import pytest

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from testing import JobKit
from testkit.sample_kit_jobs import Digest, Mailer, Planner, Reminder

LATER = datetime(2026, 1, 6, tzinfo=UTC)


async def kit_with(kit: JobKit) -> None:
    await kit.schedule(
        RecurrentTaskDescriptor(
            id="d1", name="Digest", data={"to": "eve"}, cron="0 9 * * *", timezone="Europe/Brussels"
        )
    )
    await kit.schedule(RecurrentTaskDescriptor(id="d2", name="Digest", data={"to": "bob"}, interval=3600))
    await kit.schedule(ScheduledTaskDescriptor(id="r1", name="Reminder", data={"text": "tea"}, scheduled_at=LATER))


def said(error: pytest.ExceptionInfo[AssertionError]) -> str:
    return str(error.value)


async def test_what_was_scheduled() -> None:
    async with JobKit(Digest, Reminder, given={"mailer": Mailer()}) as kit:
        kit.assert_not_scheduled()
        with pytest.raises(AssertionError, match=r"(?s)fits Digest\. What was scheduled:\n  \(nothing\)"):
            kit.assert_scheduled(Digest)
        await kit_with(kit)
        assert kit.assert_scheduled(Digest).id == "d2"
        assert kit.assert_scheduled("Digest", {"to": "eve"}, cron="0 9 * * *").id == "d1"
        assert kit.assert_scheduled(Digest, interval=3600).id == "d2"
        assert kit.assert_scheduled(Reminder, {}, at=LATER, id="r1").id == "r1"
        kit.assert_not_scheduled(Planner)
        for wrong in (
            lambda: kit.assert_scheduled(Digest, {"to": "ann"}),
            lambda: kit.assert_scheduled(Digest, interval=60),
            lambda: kit.assert_scheduled(Digest, {"cc": None}),
            lambda: kit.assert_scheduled(Reminder, interval=60),
        ):
            with pytest.raises(AssertionError) as error:
                wrong()
            assert (
                'Digest \'d1\' again and again, cron 0 9 * * *, timezone Europe/Brussels, data {"to": "eve"}'
                in said(error)
            )
            assert 'Reminder \'r1\' once, 2026-01-06 00:00:00+00:00, data {"text": "tea"}' in said(error)
        with pytest.raises(AssertionError, match=r"fits Digest, interval=60, data \{'to': 'x'\}"):
            kit.assert_scheduled(Digest, {"to": "x"}, interval=60)
        with pytest.raises(AssertionError, match=r"(?s)Nothing was to be scheduled, and this was:\n  Reminder 'r1'"):
            kit.assert_not_scheduled(Reminder)


async def test_what_was_published() -> None:
    async with JobKit(Reminder, given={"mailer": Mailer()}) as kit:
        await kit.schedule(ScheduledTaskDescriptor(id="r1", name="Reminder", data={"text": "tea"}))
        await kit.run_due()
        assert kit.assert_published("job.succeeded", {"job_id": "r1", "result": "tea"}).topic == "job.succeeded"
        assert kit.assert_published("job.*").topic == "job.succeeded"
        kit.assert_not_published("job.failed")
        with pytest.raises(AssertionError) as error:
            kit.assert_published("job.succeeded", {"result": "coffee"})
        assert "Nothing was published that fits job.succeeded, data {'result': 'coffee'}. What was published:" in said(
            error
        )
        lines = said(error).splitlines()[1:]
        topics = [re.sub(r"^  2026-01-05 09:00:00 (\S+) .*$", r"\1", line) for line in lines]
        assert topics == ["job.queued", "job.started", "job.progress", "job.succeeded"]
        with pytest.raises(AssertionError, match=r"(?s)No job\.\* was to be published, and this was:\n  .*job\.queued"):
            kit.assert_not_published("job.*")


async def test_what_ran() -> None:
    async with JobKit(Digest, Reminder, given={"mailer": Mailer(fails=3)}) as kit:
        await kit_with(kit)
        await kit.advance(hours=1, minutes=2)
        (run,) = kit.assert_ran("d2", status="failed")
        assert run.attempt == 3
        assert kit.assert_ran(Digest, times=0) == []
        with pytest.raises(AssertionError) as error:
            kit.assert_ran(Digest, times=1)
        assert said(error).startswith(
            "Digest was to be succeeded 1 times, and that is so of 0 runs. All runs:\n  Reminder"
        )
        assert "Digest 'd2@" in said(error)
        assert "is failed after attempt 3: OSError: the mail server does not answer" in said(error)
        assert 'raise OSError("the mail server does not answer")' in said(error)
        with pytest.raises(AssertionError, match="Planner was to be succeeded, and"):
            kit.assert_ran(Planner)
        assert len(kit.assert_ran(Digest, status=None)) == 1


async def test_only_the_latest_are_printed() -> None:
    async with JobKit(Reminder, given={"mailer": Mailer()}) as kit:
        for n in range(30):
            await kit.schedule(ScheduledTaskDescriptor(id=f"r{n}", name="Reminder", data={"text": "tea"}))
        with pytest.raises(AssertionError) as error:
            kit.assert_scheduled(Digest)
        assert "... and 10 before these" in said(error)
        assert "'r10'" in said(error)
        assert "'r9'" not in said(error)
