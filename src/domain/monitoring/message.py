"""What a channel sends at once: the notifications of one group, in their order, with words for people."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from domain.monitoring.notification import Notification

LONGEST_LIST = 20
"""Notifications that the text names; the rest are counted. A receiver that wants them all takes the webhook."""


@dataclass(frozen=True)
class Message:
    """One message. ``key`` is the same in every try: a receiver that has seen it has it already.

    ``is_test`` tells a message that somebody sent by hand, to see whether it arrives.
    """

    key: str
    channel: str
    group: str
    notifications: tuple[Notification, ...]
    title: str
    text: str
    is_test: bool = False


def make_message(channel: str, group: str, notifications: Sequence[Notification]) -> Message:
    """Return the message for what was handed out of one lane; the same ones make the same message."""
    return Message(
        key=_key(channel, notifications),
        channel=channel,
        group=group,
        notifications=tuple(notifications),
        title=_title(group, notifications),
        text=_text(notifications),
    )


def make_test_message(channel: str, key: str, by: str) -> Message:
    """Return what the test button sends."""
    text = f"If you can read this, the channel {channel} works. {by} asked for it; nothing is wrong."
    return Message(key, channel, "test", (), "[TEST] Roundsman", text, is_test=True)


def _key(channel: str, notifications: Sequence[Notification]) -> str:
    """Name a message by all that is in it: a part of it, or the same and more, is another message."""
    parts = [channel, *(f"{one.key} {one.at.isoformat()}" for one in notifications)]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"msg_{digest[:32]}"


def _title(group: str, notifications: Sequence[Notification]) -> str:
    if len(notifications) == 1:
        (one,) = notifications
        return f"[{one.kind.upper()}] {one.severity}: {one.rule_id} on {one.worker_id}"
    kinds = Counter(one.kind for one in notifications)
    counted = ", ".join(f"{kind.upper()} {count}" for kind, count in sorted(kinds.items()))
    return f"[{counted}] {group or 'alerts'}"


def _text(notifications: Sequence[Notification]) -> str:
    lines = [f"{one.kind.upper()} [{one.severity}] {one.about}" for one in notifications[:LONGEST_LIST]]
    if len(notifications) == 1:
        return notifications[0].about
    more = len(notifications) - LONGEST_LIST
    return "\n".join([*lines, *([f"and {more} more"] if more > 0 else [])])
