"""The SNS channel against a moto server on loopback: what arrives in a queue that listens to the topic."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer

from application.monitoring.channel import NotDelivered
from domain.monitoring.message import Message, make_message
from infrastructure.monitoring.channels.settings import SnsSettings
from infrastructure.monitoring.channels.sns import LARGEST, SnsChannel
from receiver import Receiver, Reply
from unit.monitoring.messages import notification

REGION = "eu-central-1"
ARN = f"arn:aws:sns:{REGION}:123456789012:alerts"
MESSAGE = make_message("topic", "all", [notification(severity="critical"), notification("resolved", "w2")])


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = str(tmp_path_factory.mktemp("aws") / "none")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_CONFIG_FILE", empty)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", empty)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class Inbox:
    """A queue of one test's own that gets what is published: the server and its topics outlive the test."""

    def __init__(self, session: Any, endpoint: str) -> None:
        self._session = session
        self._options = {"region_name": REGION, "endpoint_url": endpoint}
        self._url = ""

    async def subscribe(self, name: str = "alerts") -> None:
        fifo = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
        queue = {"FifoQueue": "true"} if fifo else {}
        async with (
            self._session.client("sns", **self._options) as sns,
            self._session.client("sqs", **self._options) as sqs,
        ):
            topic = (await sns.create_topic(Name=name, Attributes=fifo))["TopicArn"]
            self._url = (await sqs.create_queue(QueueName=f"inbox-{uuid4().hex}-{name}", Attributes=queue))["QueueUrl"]
            found = await sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
            arn = found["Attributes"]["QueueArn"]
            await sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    async def read(self) -> list[dict[str, Any]]:
        async with self._session.client("sqs", **self._options) as sqs:
            found = await sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            return [json.loads(one["Body"]) for one in found.get("Messages", [])]


@pytest.fixture
async def inbox(moto: str) -> Inbox:
    import aioboto3

    return Inbox(aioboto3.Session(), moto)


@pytest.fixture
async def channel(moto: str) -> AsyncIterator[SnsChannel]:
    made = SnsChannel(settings(moto))
    yield made
    await made.close()


def settings(endpoint: str, **facts: Any) -> SnsSettings:
    made = {"name": "topic", "type": "sns", "topic_arn": ARN, "endpoint_url": endpoint, **facts}
    return SnsSettings.model_validate(made)


async def failure(channel: SnsChannel, message: Message = MESSAGE) -> NotDelivered:
    try:
        with pytest.raises(NotDelivered) as caught:
            await channel.send(message)
    finally:
        await channel.close()
    return caught.value


async def test_a_message_reaches_who_listens_with_what_filters_ask_for(channel: SnsChannel, inbox: Inbox) -> None:
    await inbox.subscribe()
    answer = await channel.send(MESSAGE)
    assert answer.status == 200
    assert answer.text.startswith("MessageId ")
    (found,) = await inbox.read()
    assert found["Subject"] == "[FIRING 1, RESOLVED 1] all"
    attributes = {name: one["Value"] for name, one in found["MessageAttributes"].items()}
    assert attributes == {
        "key": MESSAGE.key,
        "type": "alerts",
        "group": "all",
        "severity": "critical",
        "kind": "mixed",
        "rule": "cpu",
    }
    assert "cpu on w1" in found["Message"]


async def test_a_topic_with_an_order_gets_group_and_key(moto: str, inbox: Inbox) -> None:
    await inbox.subscribe("ordered.fifo")
    made = SnsChannel(settings(moto, topic_arn=f"{ARN.rpartition(':')[0]}:ordered.fifo"))
    first = await made.send(MESSAGE)
    again = await made.send(MESSAGE)
    await made.close()
    assert first.status == again.status == 200


async def test_a_topic_that_is_not_there_is_for_a_person_to_mend(moto: str) -> None:
    found = await failure(SnsChannel(settings(moto, topic_arn=f"{ARN}-nowhere")))
    assert (found.verdict, found.why) == ("misconfigured", "AWS answered NotFound")


async def test_a_role_is_assumed(moto: str, inbox: Inbox) -> None:
    await inbox.subscribe()
    made = SnsChannel(settings(moto, role_arn="arn:aws:iam::123456789012:role/alerts"))
    try:
        assert (await made.send(MESSAGE)).status == 200
        made._renew_at = 0.0  # as if its hour were nearly over
        assert (await made.send(MESSAGE)).status == 200
        assert made._renew_at > 0.0
    finally:
        await made.close()


async def test_a_profile_that_is_not_there_is_for_a_person_to_mend(moto: str) -> None:
    found = await failure(SnsChannel(settings(moto, profile="nobody")))
    assert (found.verdict, found.why) == ("misconfigured", "ProfileNotFound")


async def test_credentials_that_are_not_there_are_for_a_person_to_mend(
    moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    found = await failure(SnsChannel(settings(moto)))
    assert (found.verdict, found.why) == ("misconfigured", "NoCredentialsError")


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (503, "ServiceUnavailable", "again"),
        (400, "Throttling", "again"),
        (403, "ExpiredToken", "misconfigured"),
        (400, "InvalidParameter", "refused"),
    ],
)
async def test_what_aws_answers_means_something(status: int, code: str, verdict: str) -> None:
    error = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>m</Message></Error></ErrorResponse>"
    async with Receiver() as aws:
        aws.always = Reply(status, {"content-type": "text/xml"}, error.encode())
        found = await failure(SnsChannel(settings(f"http://127.0.0.1:{aws.port}")))
        assert (found.verdict, found.why, found.answer.status) == (verdict, f"AWS answered {code}", status)
        assert len(aws.received) == 1, "the outbox tries again, not the client"


async def test_nobody_at_the_endpoint_is_tried_again() -> None:
    async with Receiver() as gone:
        endpoint = f"http://127.0.0.1:{gone.port}"
    found = await failure(SnsChannel(settings(endpoint)))
    assert (found.verdict, found.why) == ("again", "EndpointConnectionError")


async def test_what_is_too_large_is_cut_and_arrives(channel: SnsChannel, inbox: Inbox) -> None:
    await inbox.subscribe()
    labels = {f"l{number}": "x" * 200 for number in range(10)}
    many = [notification(worker_id=f"w{number}", labels=labels, text="é" * 4000) for number in range(50)]
    assert (await channel.send(make_message("topic", "all", many))).status == 200
    found = await inbox.read()
    assert all(len(one["Message"].encode()) < LARGEST for one in found)
    assert found


async def test_a_subject_is_one_line_of_ascii(channel: SnsChannel, inbox: Inbox) -> None:
    await inbox.subscribe()
    odd = notification(rule_id="r\u00fcck\nwaerts" + "x" * 200)
    await channel.send(make_message("topic", "g", [odd]))
    (found,) = await inbox.read()
    assert found["Subject"].startswith("[FIRING] warning: r?ck?waerts")
    assert len(found["Subject"]) == 99
