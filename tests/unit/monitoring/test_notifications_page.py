"""docs/how-to/notifications.md shows the body that a webhook gets, with all of its fields."""

import json
import re
from pathlib import Path

from application.monitoring.retrying import (
    GIVE_UP_AFTER,
    LONGEST_DELAY_S,
    MISCONFIGURED_FOR,
    MISCONFIGURED_HOLD_S,
)
from application.monitoring.sender import LEASE_S, SEND_TIMEOUT_S
from domain.monitoring.message import make_message
from domain.monitoring.routing import FACETS
from infrastructure.monitoring.channels.body import WebhookBody
from infrastructure.monitoring.outbox import OutboxOptions
from unit.monitoring.messages import notification

PAGE = (Path(__file__).resolve().parents[3] / "docs/how-to/notifications.md").read_text()


def test_the_body_on_the_page_is_what_is_sent() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    one = notification(
        worker_id="build-7",
        alert_id="high-cpu@build-7@1795500000000",
        rule_id="high-cpu",
        severity="critical",
        worker_name="Build machine 7",
        provider="aws",
        region="eu-central-1",
        labels={"team": "db"},
        reason="> 0.9 for 60 s",
        value=0.97,
    )
    body = WebhookBody.of(make_message("on-call", "high-cpu@build-7", [one]))
    assert json.loads(example) == json.loads(body.model_dump_json())


def test_the_page_tells_the_times_and_numbers_of_the_code() -> None:
    options = OutboxOptions()
    for said in (
        f"up to {LONGEST_DELAY_S / 60:.0f} minutes",
        f"one message every {MISCONFIGURED_HOLD_S / 60:.0f} minutes, for an hour",
        f"({GIVE_UP_AFTER.total_seconds() / 3600:.0f} h)",
        f"left alone for {options.rest_s:.0f} s",
        f"up to {options.messages} notifications",
        f"lease of {LEASE_S:.0f} s",
        f"arrive, for up to {SEND_TIMEOUT_S:.0f} s",
    ):
        assert said in " ".join(PAGE.split()), said
    assert MISCONFIGURED_FOR.total_seconds() == 3600
    assert (options.failures, options.longest_rest_s) == (5, 120.0)
    assert all(f"`{name}`" in PAGE for name in FACETS)
