"""What is left of an event that a group could not handle."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from domain.events.event import Event


class ParkedEvent(BaseModel):
    """Tell which event was set aside, for which group and why. It waits for a person, or for its retention to end."""

    model_config = ConfigDict(frozen=True)

    id: str
    """Its place among the parked ones; what ``requeue`` takes."""
    group: str
    reason: str
    """The last error, or why it could not be read."""
    tries: int
    """How often it was delivered."""
    parked_at: datetime
    family: str
    event: Event | None
    """None when the entry was not an event; then ``raw`` shows it."""
    raw: dict[str, str] = {}
