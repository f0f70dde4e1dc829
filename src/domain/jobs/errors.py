"""What can be wrong with jobs that somebody submits and follows."""

from domain.errors import RoundsmanError


class UnknownQueue(RoundsmanError):
    """There is no queue '{queue}'; there are {known}.

    Use one of them, or add it to [queues.names] in the settings."""

    status = 422


class QueueFull(RoundsmanError):
    """The queue '{queue}' is full: {waiting} jobs wait in it.

    Submit again in {retry_after_s} s, or into another queue; max_waiting in [queues.names] is what it may hold."""

    status = 429


class IdempotencyConflict(RoundsmanError):
    """The idempotency key '{key}' was used for another request, which made the job '{id}'.

    Use a new key for a new job, and the very same request to ask about that one."""

    status = 409


class JobNoLongerKept(RoundsmanError):
    """The job '{id}', which the idempotency key '{key}' made, is over, and no longer kept.

    It was accepted then, and is not made again. Use a new key for a new job."""

    status = 410


class JobNotFound(RoundsmanError):
    """There is no job '{id}'.

    Look for it in the list of jobs; one that ended long ago is no longer kept."""

    status = 404


class NoResultYet(RoundsmanError):
    """The job '{id}' has no result: it is {status}.

    Ask again when it has succeeded; its status and its error are at the job itself."""

    status = 409


class JobIsOver(RoundsmanError):
    """The job '{id}' is {status} and cannot be cancelled any more.

    There is nothing to do; one that failed can be queued again."""

    status = 409


class JobNotRetryable(RoundsmanError):
    """The job '{id}' is {status} and cannot be queued again.

    Only one that failed, was cancelled or expired can; submit a new one instead."""

    status = 409


class InvalidJob(RoundsmanError):
    """The job cannot be taken: {why}.

    Mend that and submit it again; nothing was accepted."""

    status = 422


class InvalidJobQuery(RoundsmanError):
    """The jobs cannot be listed: {why}.

    Ask without a cursor to begin from the start."""

    status = 422


class JobIsPast(RoundsmanError):
    """The job '{id}' is in the history alone, and cannot be queued again: what it was to do is no longer kept.

    Submit a new one."""

    status = 409


class HistoryUnavailable(RoundsmanError):
    """The history of jobs cannot be asked: {why}.

    Jobs run on, and what is over waits for it; health says when it is back. Ask again then."""

    status = 503


class HistoryIsOff(RoundsmanError):
    """There are no statistics: no history of jobs is kept.

    Set history.enabled to true."""

    status = 404
