"""What can be wrong with an event."""


class EventError(ValueError):
    """An event cannot be published or subscribed to as asked."""


class InvalidTopic(EventError):
    """Topic or pattern '{topic}' is not valid: use dotted lower-case words such as 'worker.metrics.collected'."""


class InvalidPayload(EventError):
    """The payload of '{topic}' cannot travel as JSON: {why}."""
