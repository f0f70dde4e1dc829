"""The channel ``sns``: a topic of Amazon SNS, through aioboto3."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any

from application.monitoring.channel import Answer, Channel, NotDelivered, Verdict
from domain.monitoring.message import Message
from infrastructure.monitoring.channels.body import WebhookBody
from infrastructure.monitoring.channels.settings import SnsSettings

if TYPE_CHECKING:
    from types_aiobotocore_sns.client import SNSClient

LARGEST = 250_000
"""Bytes of all forms of a message together; SNS takes 262,144."""
LONGEST_TEXT = 60_000
LONGEST_SUBJECT = 99
ROLE_FOR_S = 3_600
RENEW_BEFORE_S = 300.0
FOR_MACHINES = ("sqs", "lambda", "http", "https", "firehose")
MISCONFIGURED = frozenset(
    {
        "NotFound", "NotFoundException", "AuthorizationError", "AuthorizationErrorException", "AccessDenied",
        "AccessDeniedException", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch",
        "ExpiredToken", "ExpiredTokenException", "OptInRequired", "InvalidSecurity", "KMSAccessDenied", "KMSDisabled",
        "KMSNotFound", "KMSOptInRequired",
    }
)  # fmt: skip
"""Codes about the topic or the caller, whatever the message."""
REFUSED = frozenset({"InvalidParameter", "InvalidParameterValue", "ParameterValueInvalid", "ValidationError"})


class SnsChannel(Channel):
    """Publish each message to one topic: text for people, JSON (as a webhook gets it) for queues and functions."""

    type = "sns"

    def __init__(self, settings: SnsSettings) -> None:
        self.name = settings.name
        self._settings = settings
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._client: SNSClient | None = None
        self._renew_at = float("inf")

    async def open(self) -> None:
        """Make the client, and a new one before the credentials of a role end. Raises ``NotDelivered``."""
        async with self._opening:
            if self._client is not None and time.monotonic() < self._renew_at:
                return
            await self._close()
            boto = await asyncio.to_thread(import_module, "botocore.exceptions")
            try:
                self._client = await self._connect()
            except BaseException as error:
                await self._close()
                if isinstance(error, boto.BotoCoreError | boto.ClientError):
                    raise _failure(error) from None
                raise

    async def send(self, message: Message) -> Answer:
        """Publish one message; raises ``NotDelivered``."""
        from botocore.exceptions import BotoCoreError, ClientError

        await self.open()
        assert self._client is not None  # noqa: S101 - it was opened above
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                found = await self._client.publish(**self._request(message))
        except (BotoCoreError, ClientError) as error:
            raise _failure(error) from None
        return Answer(found["ResponseMetadata"]["HTTPStatusCode"], f"MessageId {found['MessageId']}")

    async def close(self) -> None:
        """Close the client."""
        async with self._opening:
            await self._close()

    async def _close(self) -> None:
        self._client, self._renew_at = None, float("inf")
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def _connect(self) -> "SNSClient":
        aioboto3 = await asyncio.to_thread(import_module, "aioboto3")
        settings = self._settings
        # Reads files: profiles and credentials.
        session = await asyncio.to_thread(aioboto3.Session, profile_name=settings.profile or None)
        keys: dict[str, str] = {}
        if settings.role_arn:
            keys = await self._assume(session)
            self._renew_at = time.monotonic() + ROLE_FOR_S - RENEW_BEFORE_S
        client: SNSClient = await self._stack.enter_async_context(session.client("sns", **self._options(), **keys))
        return client

    async def _assume(self, session: Any) -> dict[str, str]:
        """Return the keys of the role; they end after an hour."""
        async with session.client("sts", **self._options()) as sts:
            found = await sts.assume_role(
                RoleArn=self._settings.role_arn, RoleSessionName="roundsman-alerts", DurationSeconds=ROLE_FOR_S
            )
        keys = found["Credentials"]
        return {
            "aws_access_key_id": keys["AccessKeyId"],
            "aws_secret_access_key": keys["SecretAccessKey"],
            "aws_session_token": keys["SessionToken"],
        }

    def _options(self) -> dict[str, Any]:
        """Return what every client gets: one attempt, for the outbox tries again."""
        from aiobotocore.config import AioConfig

        timeout_s = self._settings.timeout_s
        config = AioConfig(connect_timeout=timeout_s, read_timeout=timeout_s, retries={"total_max_attempts": 1})
        endpoint = self._settings.endpoint_url or None
        return {"region_name": self._settings.region, "endpoint_url": endpoint, "config": config}

    def _request(self, message: Message) -> dict[str, Any]:
        request: dict[str, Any] = {
            "TopicArn": self._settings.topic_arn,
            "Subject": _subject(message.title),
            "Message": _forms(message),
            "MessageStructure": "json",
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value[:256]} for name, value in _attributes(message).items()
            },
        }
        if self._settings.is_fifo:
            request |= {"MessageGroupId": message.group[:128], "MessageDeduplicationId": message.key}
        return request


def _forms(message: Message) -> str:
    """Return a message in its forms; where the one for machines is too large, the text alone."""
    text = message.text[:LONGEST_TEXT]
    body = WebhookBody.of(message).model_dump_json()
    forms = {"default": text, "sms": message.title[:140], **dict.fromkeys(FOR_MACHINES, body)}
    found = json.dumps(forms)
    return found if len(found.encode()) <= LARGEST else json.dumps({"default": text[: LARGEST // 8]})


def _subject(title: str) -> str:
    """Return a title as SNS takes it: ASCII, one line, and not too long."""
    plain = "".join(one if " " <= one <= "~" else "?" for one in title).strip()
    return plain[:LONGEST_SUBJECT] or "Roundsman"


def _attributes(message: Message) -> dict[str, str]:
    """Return what a subscription can filter by."""
    severities = [one.severity for one in message.notifications]
    worst = next((one for one in ("critical", "warning", "info") if one in severities), "")
    kinds = {one.kind for one in message.notifications}
    rules = {one.rule_id for one in message.notifications}
    found = {
        "key": message.key,
        "type": "test" if message.is_test else "alerts",
        "group": message.group,
        "severity": worst,
        "kind": kinds.pop() if len(kinds) == 1 else "mixed",
        "rule": rules.pop() if len(rules) == 1 else "mixed",
    }
    return {name: value for name, value in found.items() if value}


def _failure(error: Any) -> NotDelivered:
    """Return what AWS, or the way there, said: by code, for texts may name accounts and keys."""
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    if not code:
        verdict: Verdict = "misconfigured" if type(error).__name__ in WRONG_SET_UP else "again"
        return NotDelivered(type(error).__name__, verdict)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    verdict = "misconfigured" if code in MISCONFIGURED else "refused" if code in REFUSED else "again"
    return NotDelivered(f"AWS answered {code}", verdict, status=status)


WRONG_SET_UP = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "NoRegionError", "TokenRetrievalError",
     "UnauthorizedSSOTokenError", "SSOTokenLoadError"}
)  # fmt: skip
