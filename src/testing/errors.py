"""What can be wrong with how a test uses the kit. What a job did wrong is an ``AssertionError``."""

from domain.errors import RoundsmanError


class TestKitError(RoundsmanError):
    """The test kit cannot be used like this."""

    __test__ = False


class NobodyAsks(TestKitError):
    """No job of this test asks for '{given}', which was given by hand. Its jobs ask for: {wanted}. Take it out, or
    name what they ask for."""


class NoKitJobs(TestKitError):
    """The module '{module}' has no background job. Define or import one there, or override the fixture 'kit_jobs'."""


class ClockGoesForward(TestKitError):
    """The kit's time is {now} and cannot go back to {wanted}. Make the kit with an earlier start: JobKit(..., at=…)."""


class KitNotOpen(TestKitError):
    """This kit is not open. Use it as 'async with JobKit(...) as kit:', or take the fixture 'job_kit'."""


class LoopUnusable(TestKitError):
    """The kit keeps the time of asyncio's own event loop, and this loop is a {loop}. Run tests of jobs without it."""


class LoopRuns(TestKitError):
    """This is an async test, whose event loop must not be blocked. Write 'await {instead}' here."""


class NoJob(TestKitError):
    """{what} is no background job. Decorate its class with @backgroundjob."""


class DataTwice(TestKitError):
    """Data is given beside a job that was constructed with its own. Give the class and data, or the job alone."""
