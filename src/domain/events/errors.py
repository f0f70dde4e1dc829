"""What can be wrong with an event."""

from domain.errors import RoundsmanError


class EventError(RoundsmanError):
    """An event cannot be published or subscribed to as asked."""

    status = 422


class InvalidTopic(EventError):
    """Topic or pattern '{topic}' is not valid. Use dotted lower-case words that begin with {families}, such as
    'worker.metrics.collected', or a pattern such as 'job.*' where patterns are allowed."""


class InvalidPayload(EventError):
    """The payload of '{topic}' cannot travel: {why}. Publish a small JSON object with named fields, and of what is
    large only where it is."""


class InvalidGroup(EventError):
    """The subscriber group '{group}' is not valid. Use 1 to 100 letters, digits and any of . _ : - and begin with a
    letter or digit."""


class GroupTaken(EventError):
    """The group '{group}' has a subscription in this process already, and each event goes to one member only. Give
    every handler a group of its own."""

    status = 409


class InvalidCursor(EventError):
    """The cursor '{cursor}' is not one of this event bus. Send what came with the last event, unchanged, or none to
    begin now."""


class NotParked(EventError):
    """There is no parked event '{id}': it was requeued by somebody else, or its retention ended. List them anew."""

    status = 404


class BusNotRunning(EventError):
    """The event bus of this process is not running, so there is nothing to read. Start it first."""

    status = 503
