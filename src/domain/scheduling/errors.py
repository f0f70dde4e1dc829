"""What can be wrong with a schedule or a one-shot, as its caller hears it."""

from domain.errors import RoundsmanError


class InvalidTrigger(RoundsmanError):
    """The trigger of '{id}' is not usable: {why}. Give another one: docs/how-to/choose-a-trigger.md shows every
    kind."""

    status = 422


class TimeInThePast(RoundsmanError):
    """'{id}' is to run at {when}, which is {late_s} s ago. Leave the time out to run it now, or give one to come."""

    status = 422


class ScheduleNotFound(RoundsmanError):
    """There is no schedule or waiting one-shot '{id}'. It may have ended, or have been stopped. List the
    schedules to see which there are."""

    status = 404


class IdTaken(RoundsmanError):
    """The id '{id}' is taken by {what}. Choose another id."""

    status = 409


class ScheduleBusy(RoundsmanError):
    """'{id}' is executing ({running}), and its overlap policy is '{overlap}'. Wait for it, or cancel it first."""

    status = 409


class NotResumable(RoundsmanError):
    """'{id}' is neither paused nor parked, and has no parked run. There is nothing to resume: it goes on by itself."""

    status = 409


class WaitsForInstance(RoundsmanError):
    """'{id}' cannot be resumed by a person: {why}. It goes on by itself as soon as one is there."""

    status = 409


class UnreadableSchedule(RoundsmanError):
    """The schedule '{id}' in the store cannot be read by this version of the program: {why}. It was left as it is. Ask
    a newer version, or stop it."""

    status = 409


class ChangedMeanwhile(RoundsmanError):
    """'{id}' was changed by others {tries} times while this change was made. Try again."""

    status = 409


class LoopIsRunning(RoundsmanError):
    """schedule_task_sync was called on a running event loop, which it would block. Use 'await
    bus.schedule_task(...)'."""

    status = 500


class NotStarted(RoundsmanError):
    """schedule_task_sync needs the running program: {why}. Call it after the program's start, and before its end."""

    status = 503


class BackfillRefused(RoundsmanError):
    """The backfill of '{id}' is refused: {why}. Give another 'since' and 'until'."""

    status = 422
