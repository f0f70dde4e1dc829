"""The webhook, held against a real receiver: what it sends, and what it makes of every answer."""

import asyncio
import base64
import hashlib
import hmac
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from application.monitoring.channel import NotDelivered
from application.monitoring.channels import Channels
from certificates import Certificates
from domain.monitoring.message import make_message, make_test_message
from infrastructure.monitoring.channels.body import WebhookBody
from infrastructure.monitoring.channels.errors import InvalidChannel
from infrastructure.monitoring.channels.line import AT_ONCE, LONGEST_READ
from infrastructure.monitoring.channels.settings import WebhookSettings
from infrastructure.monitoring.channels.webhook import WebhookChannel
from receiver import Receiver, Reply
from support import wait_until
from unit.monitoring.messages import notification

SECRET = "k3y-of-the-hook-that-nobody-may-see"
MESSAGE = make_message("hook", "all", [notification(), notification("resolved", "w2", labels={"team": "db"})])


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as running:
        yield running


@asynccontextmanager
async def channel_to(receiver: Receiver, **facts: Any) -> AsyncIterator[WebhookChannel]:
    made = {"name": "hook", "type": "webhook", "url": receiver.url, "secret": SECRET, **facts}
    channel = WebhookChannel(WebhookSettings.model_validate(made))
    try:
        yield channel
    finally:
        await channel.close()


async def failure(receiver: Receiver, reply: Reply, **facts: Any) -> NotDelivered:
    receiver.replies.append(reply)
    async with channel_to(receiver, **facts) as channel:
        with pytest.raises(NotDelivered) as caught:
            await channel.send(MESSAGE)
    return caught.value


async def test_a_message_is_signed_json_with_a_key(receiver: Receiver) -> None:
    async with channel_to(receiver, headers={"Authorization": "Bearer t0ken"}) as channel:
        answer = await channel.send(MESSAGE)
    (one,) = receiver.received
    assert (answer.status, answer.text) == (200, "ok")
    assert (one.method, one.path) == ("POST", "/hooks/T0KEN-of-mine-12345")
    assert one.headers["content-type"] == "application/json"
    assert one.headers["authorization"] == "Bearer t0ken"
    assert one.headers["idempotency-key"] == one.headers["webhook-id"] == MESSAGE.key == one.json["key"]
    signed = f"{one.key}.{one.headers['webhook-timestamp']}.".encode() + one.body
    expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert one.headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(one.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
    body = WebhookBody.model_validate_json(one.body)
    assert (body.version, body.type, body.channel, body.group) == (1, "alerts", "hook", "all")
    assert [(alert.kind, alert.worker_id) for alert in body.alerts] == [("firing", "w1"), ("resolved", "w2")]
    assert body.alerts[1].labels == {"team": "db"}


async def test_a_test_says_so(receiver: Receiver) -> None:
    async with channel_to(receiver) as channel:
        await channel.send(make_test_message("hook", "msg_test_1", "ann"))
    assert (receiver.received[0].json["type"], receiver.received[0].json["alerts"]) == ("test", [])


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        *((status, "again") for status in (408, 425, 429, 500, 502, 503, 504)),
        *((status, "misconfigured") for status in (301, 302, 308, 401, 403, 404, 405, 410)),
        *((status, "refused") for status in (400, 409, 413, 415, 422)),
    ],
)
async def test_each_answer_means_something(receiver: Receiver, status: int, verdict: str) -> None:
    headers = {"location": "http://127.0.0.1:1/elsewhere"} if 300 <= status < 400 else {}
    found = await failure(receiver, Reply(status, headers, b"because"))
    assert (found.verdict, found.answer.status, found.answer.text) == (verdict, status, "because")
    assert found.why.startswith(f"it answered {status}")
    assert len(receiver.received) == 1, "redirects are not followed, and nothing is tried again in here"


async def test_retry_after_is_heard_in_seconds_and_as_a_date(receiver: Receiver) -> None:
    assert (await failure(receiver, Reply(429, {"retry-after": "17"}))).retry_after_s == 17
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < ((await failure(receiver, Reply(503, {"retry-after": at}))).retry_after_s or 0) <= 100
    assert (await failure(receiver, Reply(503, {"retry-after": "soon"}))).retry_after_s is None
    long_ago = "Wed, 21 Oct 2015 07:28:00 GMT"
    assert (await failure(receiver, Reply(503, {"retry-after": long_ago}))).retry_after_s == 0


async def test_a_receiver_that_says_nothing_is_cut_off(receiver: Receiver) -> None:
    found = await failure(receiver, Reply(instead="hang"), timeout_s=0.1)
    assert (found.why, found.verdict) == ("no answer within 0.1 s", "again")


async def test_a_connection_that_is_cut_or_refused_is_tried_again_later(receiver: Receiver) -> None:
    assert (await failure(receiver, Reply(instead="cut"))).verdict == "again"
    await receiver.stop()
    found = await failure(receiver, Reply())
    assert found.verdict == "again"
    assert "ConnectError" in found.why


async def test_why_it_failed_is_told_without_the_address(receiver: Receiver) -> None:
    found = await failure(receiver, Reply(instead="cut"))
    assert found.why == "RemoteProtocolError: it hung up without an answer"
    found = await failure(receiver, Reply(headers={"no header\x00": "x"}))
    assert (found.verdict, found.why.startswith("ClientResponseError: 400 "), "\n" in found.why) == (
        "again",
        True,
        False,
    )
    found = await failure(receiver, Reply(), url="http://nobody.invalid/secret?s=1")
    assert found.why.startswith("ConnectError: ")
    assert "secret" not in found.why


async def test_the_address_is_sent_as_it_is_written_and_its_user_as_authorization(receiver: Receiver) -> None:
    url = f"http://me%40home:p%3Aw@localhost:{receiver.port}/a%2Fb//c/../{{d}}?sp=%2Fx%2f&s=a+b~'|&u=@"
    async with channel_to(receiver, url=url, headers={"authorization": "Bearer t0ken"}) as channel:
        await channel.send(MESSAGE)
    (one,) = receiver.received
    assert one.path == "/a%2Fb//c/../%7Bd%7D?sp=%2Fx%2f&s=a+b~'%7C&u=@"
    assert one.headers["host"] == f"localhost:{receiver.port}"
    assert base64.b64decode(one.headers["authorization"].removeprefix("Basic ")) == b"me@home:p:w"


async def test_a_proxy_that_the_environment_names_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"me:pass@localhost:{receiver.port}")
    for name, direct in (("NO_PROXY", "elsewhere.invalid"), ("no_proxy", "*")):
        monkeypatch.setenv(name, direct)
        async with channel_to(receiver, url=f"http://localhost:{receiver.port}/hook") as channel:
            await channel.send(MESSAGE)
    through, past = receiver.received
    assert through.path == f"http://localhost:{receiver.port}/hook"
    assert base64.b64decode(through.headers["proxy-authorization"].removeprefix("Basic ")) == b"me:pass"
    assert (past.path, "proxy-authorization" in past.headers) == ("/hook", False)


async def test_nothing_of_one_answer_goes_into_the_next_request(receiver: Receiver) -> None:
    receiver.replies.append(Reply(headers={"set-cookie": "session=1; Path=/"}))
    async with channel_to(receiver) as channel:
        await channel.send(MESSAGE)
        await channel.send(MESSAGE)
    assert ["cookie" in one.headers for one in receiver.received] == [False, False]
    assert receiver.received[0].headers["accept-encoding"] == "identity"


async def test_an_answer_without_end_is_left_after_its_beginning(receiver: Receiver) -> None:
    receiver.replies.append(Reply(instead="endless"))
    async with channel_to(receiver) as channel:
        answer = await channel.send(MESSAGE)
        assert (answer.status, len(answer.text)) == (200, 500)
        await wait_until(lambda: receiver.connections == 0, "the connection to be closed")
    assert receiver.bytes_sent < 1000 * LONGEST_READ, "only what the buffers of the system hold"


async def test_what_an_answer_says_is_kept_without_secrets_and_control_characters(receiver: Receiver) -> None:
    said = b"no\x1b[31m hook T0KEN-of-mine-12345,\n" + SECRET.encode()
    found = await failure(receiver, Reply(404, {}, said))
    assert found.answer.text == "no [31m hook (hidden), (hidden)"


async def test_nothing_secret_is_logged_however_much_is(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with channel_to(receiver, headers={"Authorization": "Bearer t0ken-4711"}) as channel:
        await channel.send(MESSAGE)
        assert SECRET not in repr(channel)
    assert "t0ken-4711" not in caplog.text
    assert SECRET not in caplog.text
    assert "T0KEN-of-mine" not in caplog.text


async def test_a_certificate_is_checked_and_an_authority_can_be_named(tmp_path: Path) -> None:
    made = Certificates(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(made.server("localhost"))
    async with Receiver(tls) as receiver:
        found = await failure(receiver, Reply())
        assert "certificate verify failed" in found.why
        assert found.verdict == "again"
        assert "verify failed" in (await failure(receiver, Reply(), ca_file=str(made.stranger))).why
        async with channel_to(receiver, ca_file=str(made.authority)) as channel:
            channel.check()
            assert (await channel.send(MESSAGE)).status == 200


@pytest.mark.parametrize(("text", "why"), [(None, "No such file"), ("no certificate", "cannot be used")])
async def test_an_authority_that_cannot_be_read_stops_the_start(
    receiver: Receiver, tmp_path: Path, text: str | None, why: str
) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    async with channel_to(receiver, ca_file=str(file)) as channel:
        with pytest.raises(InvalidChannel, match=why):
            await Channels([channel]).start()


async def test_connections_are_kept_for_the_next_message_and_gone_after_closing(receiver: Receiver) -> None:
    async with channel_to(receiver) as channel:
        channels = Channels([channel])
        for _ in range(3):
            await channel.send(MESSAGE)
        assert receiver.connections == 1
        await channels.stop()
        await channels.stop()
        await wait_until(lambda: receiver.connections == 0, "the connection to be closed")
        assert (await channel.send(MESSAGE)).status == 200, "what was closed opens again"


async def test_many_messages_at_once_share_a_few_connections(receiver: Receiver) -> None:
    async with channel_to(receiver) as channel:
        await asyncio.gather(*(channel.send(MESSAGE) for _ in range(40)))
        assert receiver.connections <= AT_ONCE
    assert len(receiver.received) == 40
