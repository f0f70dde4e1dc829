"""Channels in the settings: checked whole, secrets from files, nothing secret in any text."""

from pathlib import Path
from typing import Any

import pytest

from infrastructure.monitoring.channels.masking import Mask
from infrastructure.monitoring.channels.settings import AppriseSettings, WebhookSettings
from infrastructure.monitoring.channels.signing import key_of, signature
from infrastructure.settings import AlertsSettings, InvalidSettings, load_settings

SECRET = "k3y-of-the-hook-that-nobody-may-see"
TOKEN = "T0KEN-in-the-path-0815"
HOOK = {"name": "hook", "type": "webhook", "url": f"https://ann:pa55@hooks.example.com/{TOKEN}?q=1", "secret": SECRET}
TOPIC = {"name": "topic", "type": "sns", "topic_arn": "arn:aws:sns:eu-central-1:123456789012:alerts"}
CHAT = {"name": "chat", "type": "apprise", "urls": [f"slack://{TOKEN}/B/C", "mailto://u:p@example.com"]}


def load(*channels: dict[str, Any], **alerts: Any) -> AlertsSettings:
    return load_settings(environ={}, inline={"alerts": {"channels": list(channels), **alerts}}).alerts


def refusal(*channels: dict[str, Any], **alerts: Any) -> str:
    with pytest.raises(InvalidSettings) as caught:
        load(*channels, **alerts)
    return str(caught.value)


def test_without_any_there_is_the_log() -> None:
    settings = load_settings(environ={}, inline={}).alerts
    assert [(one.name, one.type) for one in settings.channels] == [("log", "log")]
    assert settings.routing.grouping.by == ("rule", "worker")


def test_all_four_kinds_load_and_show_no_secret() -> None:
    settings = load({"name": "log", "type": "log"}, HOOK, TOPIC, CHAT, group_by=["worker"], group_wait_s=5)
    shown = [(one.name, one.shown.type, one.shown.target) for one in settings.channels]
    assert shown == [
        ("log", "log", "the log of the process that sends"),
        ("hook", "webhook", "https://hooks.example.com/…"),
        ("topic", "sns", "arn:aws:sns:eu-central-1:123456789012:alerts"),
        ("chat", "apprise", "slack://…, mailto://…"),
    ]
    for text in (repr(settings), str(settings), repr(shown), settings.model_dump_json()):
        assert SECRET not in text
        assert TOKEN not in text
        assert "pa55" not in text


@pytest.mark.parametrize(
    ("channel", "why"),
    [
        ({**HOOK, "url": "ftp://x"}, "must be http://host/path or https://host/path"),
        ({**HOOK, "url": "https://"}, "must be http://host/path"),
        ({**HOOK, "url": "https://x:99999/"}, "must be http://host/path"),
        ({**HOOK, "url": "https://x/ y"}, "must be http://host/path"),
        ({**HOOK, "secret": "short"}, "must have 24 bytes or more"),
        ({**HOOK, "secret": "whsec_c2hvcnQ="}, "must have 24 bytes or more"),
        ({**HOOK, "secret": "whsec_***"}, "what follows whsec_ must be base64"),
        ({**HOOK, "headers": {"Host": "x"}}, "the header Host is the program's own"),
        ({**HOOK, "headers": {"webhook-id": "x"}}, "the header webhook-id is the program's own"),
        ({**HOOK, "headers": {"a b": "x"}}, "a header has a name of letters"),
        ({**HOOK, "headers": {"a": "x\r\nb: c"}}, "a header has a name of letters"),
        ({**HOOK, "timeout_s": 20}, "timeout_s: must be less than or equal to 9"),
        ({**HOOK, "severities": ["bad"]}, "alerts.channels[0].severities[0]: must be 'info', 'warning' or 'critical'"),
        ({**HOOK, "match": {"team": "x"}}, "there is no 'team'; use one of rule"),
        ({**HOOK, "secret_file": "/nowhere"}, "give one of secret and secret_file"),
        ({**HOOK, "retries": 3}, "alerts.channels[0].retries is not known"),
        ({"name": "hook", "type": "webhook", "secret": SECRET}, "alerts.channels[0].url: is missing"),
        ({**HOOK, "name": "a:b"}, "alerts.channels[0].name: must match pattern"),
        ({**HOOK, "type": "webhoook"}, "does not match any of the expected tags: 'log', 'webhook', 'sns', 'apprise'"),
        ({"name": "x"}, "alerts.channels[0]"),
        ({**TOPIC, "topic_arn": "arn:aws:sqs:eu-central-1:123456789012:alerts"}, "must be the ARN of a topic"),
        ({**TOPIC, "role_arn": "admin"}, "alerts.channels[0].role_arn"),
        ({**TOPIC, "endpoint_url": "localhost"}, "alerts.channels[0].endpoint_url"),
        ({**CHAT, "urls": []}, "alerts.channels[0].urls"),
        ({**CHAT, "urls": [f"json://{TOKEN}"]}, "urls[0]: 'json' is not among schemes"),
        ({**CHAT, "urls": [TOKEN]}, "urls[0]: it has no scheme://"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_named_without_secrets(channel: dict[str, Any], why: str) -> None:
    said = refusal(channel)
    assert why in said
    assert not [secret for secret in (SECRET, TOKEN, "pa55") if secret in said]


def test_two_channels_of_one_name_and_groups_of_nothing_known_are_refused() -> None:
    assert "[0] and [1] have the same name" in refusal(HOOK, {**TOPIC, "name": "hook"})
    assert "there is no 'team'" in refusal(HOOK, group_by=["team"])
    assert "alerts.group_wait_s" in refusal(HOOK, group_wait_s=-1)


def test_secrets_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    (tmp_path / "url").write_text("http://localhost:1/x\n")
    (tmp_path / "urls").write_text("# chat\nslack://a/b/c\n\nntfy://topic\n")
    hook = {"name": "hook", "type": "webhook", "url_file": str(tmp_path / "url")}
    chat = {"name": "chat", "type": "apprise", "urls_file": str(tmp_path / "urls")}
    first, second = load({**hook, "secret_file": str(tmp_path / "secret")}, chat).channels
    assert isinstance(first, WebhookSettings)
    assert first.secret.get_secret_value() == SECRET
    assert first.url.get_secret_value() == "http://localhost:1/x"
    assert isinstance(second, AppriseSettings)
    assert second.used == ["slack", "ntfy"]
    assert "secret_file: /nowhere cannot be read: No such file" in refusal({**hook, "secret_file": "/nowhere"})


def test_channels_come_from_the_environment() -> None:
    variable = '[{"name": "only", "type": "log"}]'
    settings = load_settings(environ={"ROUNDSMAN_ALERTS__CHANNELS": variable}, inline={})
    assert list(settings.alerts.routing.routes) == ["only"]


def test_a_mask_hides_what_may_be_secret_and_leaves_words() -> None:
    mask = Mask([SECRET], [HOOK["url"], f"slack://{TOKEN}/services/B0815x4711"])
    said = mask(
        f"POST {HOOK['url']} with {SECRET}: no such hook {TOKEN} of services at hooks.example.com B0815x4711 pa55"
    )
    assert said == (
        "POST (hidden) with (hidden): no such hook (hidden) of services at hooks.example.com (hidden) (hidden)"
    )
    assert Mask()("nothing to hide") == "nothing to hide"
    assert Mask(urls=["http://[broken"])("http://[broken") == "(hidden)"


def test_a_signature_is_that_of_standard_webhooks() -> None:
    """The example of https://www.standardwebhooks.com, whose libraries verify what this program signs."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265331, body) != signed
