"""What can be wrong with jobs that somebody submits and follows."""

from domain.errors import RoundsmanError


class UnknownQueue(RoundsmanError):
    """There is no queue '{queue}'. There are {known}; [queues] in the settings names them."""

    status = 422


class QueueFull(RoundsmanError):
    """The queue '{queue}' is full: {waiting} jobs wait in it. Try again in {retry_after_s} s, or use another queue."""

    status = 429


class IdempotencyConflict(RoundsmanError):
    """The idempotency key '{key}' was used for another request, which made the job '{id}'. Use a new one."""

    status = 409


class JobNotFound(RoundsmanError):
    """There is no job '{id}'. It never was, or is no longer kept."""

    status = 404


class NoResultYet(RoundsmanError):
    """The job '{id}' has no result: it is {status}."""

    status = 409


class JobIsOver(RoundsmanError):
    """The job '{id}' is {status}, and cannot be cancelled any more."""

    status = 409


class JobNotRetryable(RoundsmanError):
    """The job '{id}' is {status}; only one that failed, was cancelled or expired can be queued again."""

    status = 409


class InvalidJob(RoundsmanError):
    """The job cannot be taken: {why}"""

    status = 422


class InvalidQuery(RoundsmanError):
    """The jobs cannot be listed: {why}."""

    status = 422
