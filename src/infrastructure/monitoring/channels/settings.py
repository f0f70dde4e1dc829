"""What can be set of channels: one table each, ``[[alerts.channels]]``."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Discriminator, Field, SecretStr, StringConstraints, field_validator
from pydantic import model_validator as validator

from application.monitoring.channel import ChannelFacts
from domain.monitoring.routing import Route, check_facet
from domain.monitoring.severity import Severity
from infrastructure.monitoring.channels.signing import key_of
from infrastructure.setting_kinds import FileName, Section, no_bool, secret_of

ChannelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Timeout = Annotated[float, BeforeValidator(no_bool), Field(ge=0.1, le=9, allow_inf_nan=False)]
"""Seconds. The sender itself gives a message 10."""
Facet = Annotated[str, StringConstraints(max_length=140)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=300)]
TOPIC_ARN = re.compile(r"arn:aws[a-z-]*:sns:([a-z]{2}(?:-[a-z]+)+-\d):\d{12}:[A-Za-z0-9_-]{1,251}(\.fifo)?")
ROLE_ARN = r"^(arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+)?$"
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
OWN_HEADERS = frozenset({"content-type", "content-length", "host", "idempotency-key", "user-agent"})

DEFAULT_SCHEMES = (
    "mailto", "mailtos", "slack", "msteams", "workflows", "discord", "tgram", "matrix", "matrixs", "mmost", "mmosts",
    "rocket", "rockets", "ntfy", "ntfys", "gotify", "gotifys", "pover", "pagerduty", "opsgenie", "signal", "signals",
    "wxteams", "gchat", "zulip", "twilio",
)  # fmt: skip
"""Mail, chat and pagers. Schemes that call any address (json, xml, form), or this machine, are to be named."""


class ChannelSection(Section):
    """What every channel has. ``severities`` and ``match`` say what goes there; without them, everything."""

    name: ChannelName
    severities: tuple[Severity, ...] = ()
    match: Mapping[Facet, Pattern] = {}

    secrets: ClassVar[tuple[str, ...]] = ()
    """Keys that may stand in a file instead: ``<key>_file``."""

    @field_validator("match")
    @classmethod
    def _known_facets(cls, match: Mapping[str, str]) -> Mapping[str, str]:
        for name in match:
            check_facet(name)
        return match

    @validator(mode="before")
    @classmethod
    def _secrets_from_files(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        found = dict(values)
        for name in cls.secrets:
            if f"{name}_file" not in found:
                continue
            if found.get(name):
                raise ValueError(f"give one of {name} and {name}_file")
            found[name] = secret_of({f"{name}_file": found.pop(f"{name}_file")}, name)
        return found

    @property
    def route(self) -> Route:
        """What goes there."""
        return Route(self.severities, self.match)

    def facts(self, type_: str, target: str, **more: str) -> ChannelFacts:
        """Return what may be shown."""
        return ChannelFacts(self.name, type_, target, self.route, {name: text for name, text in more.items() if text})


class LogChannelSettings(ChannelSection):
    """The program's own log."""

    type: Literal["log"]

    @property
    def shown(self) -> ChannelFacts:
        """What may be shown."""
        return self.facts("log", "the log of the process that sends")


class WebhookSettings(ChannelSection):
    """An HTTP receiver of JSON, signed."""

    secrets: ClassVar[tuple[str, ...]] = ("url", "secret")
    from_files: ClassVar[tuple[str, ...]] = ("url_file", "secret_file")

    type: Literal["webhook"]
    url: SecretStr
    secret: SecretStr
    headers: Mapping[str, SecretStr] = {}
    ca_file: FileName = ""
    timeout_s: Timeout = 5.0

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        try:
            parts = urlsplit(text)
            is_fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            is_fine = False
        if not is_fine or not re.fullmatch(r"[!-~]+", text) or "#" in text:
            raise ValueError("must be http://host/path or https://host/path, in visible ASCII characters, without #")
        return url

    @field_validator("secret")
    @classmethod
    def _is_long(cls, secret: SecretStr) -> SecretStr:
        key_of(secret.get_secret_value())
        return secret

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, value in headers.items():
            if not HEADER.fullmatch(name) or not re.fullmatch(r"[ -~]*", value.get_secret_value()):
                raise ValueError("a header has a name of letters, digits and hyphens, and a value of ASCII characters")
            if name.lower() in OWN_HEADERS or name.lower().startswith("webhook-"):
                raise ValueError(f"the header {name} is the program's own")
        return headers

    @property
    def shown(self) -> ChannelFacts:
        """What may be shown: an address without user, path and query, which may have tokens in them."""
        parts = urlsplit(self.url.get_secret_value())
        port = f":{parts.port}" if parts.port else ""
        return self.facts("webhook", f"{parts.scheme}://{parts.hostname}{port}/…", headers=", ".join(self.headers))


class SnsSettings(ChannelSection):
    """A topic of Amazon SNS."""

    type: Literal["sns"]
    topic_arn: str
    profile: Annotated[str, StringConstraints(max_length=100)] = ""
    role_arn: Annotated[str, StringConstraints(pattern=ROLE_ARN, max_length=600)] = ""
    endpoint_url: Annotated[str, StringConstraints(pattern=r"^(https?://[^\s/@?#]+/?)?$")] = ""
    timeout_s: Timeout = 5.0

    @field_validator("topic_arn")
    @classmethod
    def _is_topic(cls, arn: str) -> str:
        if not TOPIC_ARN.fullmatch(arn):
            raise ValueError("must be the ARN of a topic, such as arn:aws:sns:eu-central-1:123456789012:alerts")
        return arn

    @property
    def region(self) -> str:
        """The region of the topic."""
        return self.topic_arn.split(":")[3]

    @property
    def is_fifo(self) -> bool:
        """Whether the topic keeps an order."""
        return self.topic_arn.endswith(".fifo")

    @property
    def shown(self) -> ChannelFacts:
        """What may be shown: an ARN is no secret."""
        return self.facts("sns", self.topic_arn, profile=self.profile, role_arn=self.role_arn)


class AppriseSettings(ChannelSection):
    """Mail, chat and pagers, through the library apprise."""

    secrets: ClassVar[tuple[str, ...]] = ("urls",)
    from_files: ClassVar[tuple[str, ...]] = ("urls_file",)

    type: Literal["apprise"]
    urls: Annotated[tuple[SecretStr, ...], Field(min_length=1, max_length=20)]
    schemes: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]{0,30}$")], ...] = DEFAULT_SCHEMES
    timeout_s: Timeout = 8.0

    @field_validator("urls", mode="before")
    @classmethod
    def _one_a_line(cls, urls: Any) -> Any:
        if not isinstance(urls, str):
            return urls
        lines = (line.strip() for line in urls.splitlines())
        return tuple(line for line in lines if line and not line.startswith("#"))

    @validator(mode="after")
    def _are_allowed(self) -> "AppriseSettings":
        for index, scheme in enumerate(self.used):
            if scheme not in self.schemes:
                named = f"'{scheme}' is not among schemes" if scheme else "it has no scheme://"
                raise ValueError(f"urls[{index}]: {named}; those of apprise are in its documentation, the allowed here")
        return self

    @property
    def used(self) -> list[str]:
        """The schemes of the URLs; '' where there is none."""
        heads = (url.get_secret_value().partition("://") for url in self.urls)
        return [
            scheme.lower() if mark and re.fullmatch(r"[A-Za-z0-9+.-]{1,30}", scheme) else ""
            for scheme, mark, _ in heads
        ]

    @property
    def shown(self) -> ChannelFacts:
        """What may be shown: of URLs of this kind the scheme alone."""
        return self.facts("apprise", ", ".join(f"{scheme}://…" for scheme in self.used))


ChannelSettings = Annotated[LogChannelSettings | WebhookSettings | SnsSettings | AppriseSettings, Discriminator("type")]
CHANNEL_TYPES = ("log", "webhook", "sns", "apprise")
