"""What a job's body may raise to steer its run, and what can be wrong with a job class or a run."""

from domain.errors import RoundsmanError


class JobTerminationException(Exception):
    """Raised in a body: this job has no more work; take its schedule out of the store."""


class TransientError(Exception):
    """Raised in a body: it may work later; retry, after ``retry_after_s`` seconds when that is known."""

    retry_after_s: float | None = None

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PermanentError(Exception):
    """Raised in a body: trying again cannot help; fail now, whatever the retry policy says."""


class JobDefinitionError(RoundsmanError):
    """The background job '{job}' is not usable: {why}. Mend its class, or the containers that give it what it asks for,
    and start again."""

    status = 500


class DuplicateJob(JobDefinitionError):
    """Two background jobs are named '{name}': {first} and {second}. Rename one, or give one
    @backgroundjob(..., name="…")."""


class JobModuleError(JobDefinitionError):
    """The job module '{module}' did not import: {why}. Mend it, or take it out of background_jobs.modules."""


class UnsatisfiedDependency(JobDefinitionError):
    """The background job '{job}' asks for '{field}: {type}', and no provider in the containers gives it ({known}).
    Add a provider, or name a container that has one in background_jobs.containers."""


class AmbiguousDependency(JobDefinitionError):
    """The background job '{job}' asks for '{field}: {type}', and these providers give it equally: {providers}. Name the
    one it wants: {field}: Annotated[{type}, Inject("<provider>")]; or take one out of background_jobs.containers."""


class DependencyNotGiven(JobDefinitionError):
    """This job was constructed by hand without the dependency whose '{wanted}' it wants. Give it to the constructor, or
    let it be injected: by the program, or in a test by run_job(job, container=…)."""


class UnknownJob(RoundsmanError):
    """No background job is named '{name}'. {hint}"""

    status = 422


class WrongTaskType(RoundsmanError):
    """'{name}' is a {actual} job and cannot be scheduled as a {wanted} one. Recurrent jobs take a
    RecurrentTaskDescriptor, scheduled ones a ScheduledTaskDescriptor."""

    status = 422


class UnknownVersion(RoundsmanError):
    """The payload of '{name}' has version {version}; this program knows version {known}. Leave the version out, or
    schedule where that version runs."""

    status = 422


class InvalidData(RoundsmanError):
    """The data of '{name}' is not valid: {why}. Give each field as its class declares it."""

    status = 422


class NotUpgraded(InvalidData):
    """The data of '{name}' has version {version} and cannot become version {known}, which this program has: {why}.
    Write or mend upgrade(version, data) of the class, or give the data anew."""


class InvalidTransition(RoundsmanError):
    """A run that is {status} cannot become {wanted}. Others were faster: look at it anew."""

    status = 409


class UnusableResult(RoundsmanError):
    """What '{job}' returned cannot be kept: {why}. Return JSON of at most {limit} bytes, or a reference to where it
    is."""
