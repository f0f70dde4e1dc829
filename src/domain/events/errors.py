"""What can be wrong with an event."""

from domain.errors import RoundsmanError


class EventError(RoundsmanError):
    """An event cannot be published or subscribed to as asked."""

    status = 422


class InvalidTopic(EventError):
    """Topic or pattern '{topic}' is not valid: use dotted lower-case words that begin with {families}, such as
    'worker.metrics.collected', or a pattern such as 'job.*' where patterns are allowed."""


class InvalidPayload(EventError):
    """The payload of '{topic}' cannot travel: {why}."""
