"""What a webhook gets as its body, and SNS as a message for machines. A change of it is a change of the API."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from domain.monitoring.message import Message
from domain.monitoring.notification import Notification


class AlertInBody(BaseModel):
    """One thing that is told of one alert."""

    key: str = Field(description="Names this notification; the same again is the same one.")
    kind: str = Field(description="`firing`, `repeat`, `escalated` or `resolved`.")
    alert_id: str = Field(description="The alert. A `resolved` has the id of its `firing`.")
    number: int = Field(description="Counts repeats and escalations of one alert; 0 for firing and resolved.")
    rule_id: str
    worker_id: str
    worker_name: str
    severity: str = Field(description="`info`, `warning` or `critical`.")
    metric: str
    value: float | None = Field(description="Utilisation is a fraction: 0.9 is 90 %.")
    subject: str | None = Field(description="Which of several, such as a mount point.")
    at: datetime = Field(description="When it happened.")
    fired_at: datetime = Field(description="When the alert began to fire.")
    reason: str
    summary: str = Field(description="All of it in one line, for people.")
    text: str | None = Field(description="The rule's own words, if it has any.")
    provider: str
    region: str
    labels: dict[str, str] = Field(description="Labels of the worker.")

    @classmethod
    def of(cls, one: Notification) -> "AlertInBody":
        """Return a notification as it is sent."""
        facts = one.model_dump(include=set(cls.model_fields) - {"key", "summary"})
        return cls(**facts, key=one.key, summary=one.summary)


class WebhookBody(BaseModel):
    """One message: the notifications of one group, oldest first."""

    version: Literal[1] = Field(default=1, description="Grows when something is taken away or changes its meaning.")
    key: str = Field(description="Names the message, as the header `webhook-id` does; the same in every try.")
    type: Literal["alerts", "test"] = Field(description="`test` is sent by hand, and about nothing.")
    channel: str = Field(description="The name of the channel in the settings.")
    group: str = Field(description="What the notifications have in common, by `alerts.group_by`.")
    title: str
    text: str = Field(description="For people; several lines.")
    alerts: list[AlertInBody]

    @classmethod
    def of(cls, message: Message) -> "WebhookBody":
        """Return a message as it is sent."""
        return cls(
            key=message.key,
            type="test" if message.is_test else "alerts",
            channel=message.channel,
            group=message.group,
            title=message.title,
            text=message.text,
            alerts=[AlertInBody.of(one) for one in message.notifications],
        )
