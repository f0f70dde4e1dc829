"""rediss://: all connections are encrypted, and each way in which that fails says what to mend."""

import asyncio
import select
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions

from application.scheduling import RecurrentTaskDescriptor
from certificates import Certificates
from domain.errors import StoreUnavailable
from external_server import ExternalServer, free_port
from infrastructure.program import Program
from infrastructure.redis import errors
from infrastructure.redis.access import StoreAccess
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.redis.tls import TlsFiles
from infrastructure.settings import Settings
from support import wait_until
from tls_front import TlsFront

Fronts = Callable[..., TlsFront]


@pytest.fixture
def certs(tmp_path: Path) -> Certificates:
    (folder := tmp_path / "certs").mkdir()
    return Certificates(folder)


@pytest.fixture
def front(valkey: EmbeddedValkey, certs: Certificates) -> Iterator[Fronts]:
    """Make TLS fronts for the shared server."""
    made: list[TlsFront] = []

    def make(cert: Path | None = None, **options: Any) -> TlsFront:
        made.append(TlsFront(valkey.socket_path, cert or certs.server(), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def url(front: TlsFront, valkey: EmbeddedValkey, host: str = "127.0.0.1", scheme: str = "rediss") -> str:
    password = valkey.url.partition("://:")[2].partition("@")[0]
    return f"{scheme}://:{password}@{host}:{front.port}/0"


def access(certs: Certificates, **files: Path | str) -> StoreAccess:
    given = {"tls_ca_file": certs.authority, **files}
    return StoreAccess(TlsFiles(**{name: str(file) for name, file in given.items()}))


async def refusal(store: RedisStore) -> errors.StoreError:
    with pytest.raises(errors.StoreError) as failure:
        await store.open()
    return failure.value


async def both_work(store: RedisStore) -> None:
    """Use the store from the loop and from a thread, on new connections."""
    await store.open()
    await store.command.set(store.key("a"), "1")
    assert await store.blocking.get(store.key("a")) == "1"

    def in_a_thread() -> list[object]:
        answers = []
        for _ in range(5):
            with store.threaded() as client:
                answers += [client.get(store.key("a")), client.get(store.key("a"))]
        return answers

    assert await asyncio.to_thread(in_a_thread) == ["1"] * 10
    await store.command.delete(store.key("a"))
    await store.close()


@pytest.mark.parametrize("newest", [None, ssl.TLSVersion.TLSv1_2], ids=["1.3", "1.2"])
async def test_all_kinds_of_connections_are_encrypted(
    front: Fronts, valkey: EmbeddedValkey, certs: Certificates, namespace: str, newest: ssl.TLSVersion | None
) -> None:
    await both_work(RedisStore(url(front(newest=newest), valkey), namespace, access=access(certs)))


def test_session_tickets_are_not_taken_for_an_answer(
    external: Callable[..., ExternalServer], certs: Certificates
) -> None:
    behind = TlsFront(external().socket_path, certs.server())  # no password: nothing is read while connecting
    with RedisStore(f"rediss://127.0.0.1:{behind.port}", access=access(certs)).threaded() as client:
        connection: Any = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        connection.connect()
        tickets, _, _ = select.select([connection._sock], [], [], 10)
        assert tickets
        assert not connection.can_read()
        connection.send_command("PING")
        assert connection.read_response() == "PONG"
        behind.cut()
        select.select([connection._sock], [], [], 10)
        with pytest.raises(exceptions.ConnectionError, match="closed"):
            connection.can_read()
        connection.disconnect()
    behind.close()


async def test_a_client_certificate_is_shown(
    front: Fronts, valkey: EmbeddedValkey, certs: Certificates, namespace: str
) -> None:
    asking = front(authority=certs.authority)
    whole = certs.client()
    await both_work(RedisStore(url(asking, valkey), namespace, access=access(certs, tls_cert_file=whole)))
    cert, key = certs.split(whole, "s3cret")
    split = access(certs, tls_cert_file=cert, tls_key_file=key, tls_key_password="s3cret")
    await both_work(RedisStore(url(asking, valkey), namespace, access=split))
    assert "s3cret" not in repr(split)


async def test_the_files_may_be_named_in_the_url(
    front: Fronts, valkey: EmbeddedValkey, certs: Certificates, namespace: str
) -> None:
    options = f"?ssl_ca_certs={certs.authority}&ssl_certfile={certs.client()}"
    await both_work(RedisStore(url(front(authority=certs.authority), valkey) + options, namespace))


async def test_checks_may_be_turned_off_with_a_warning(
    front: Fronts, valkey: EmbeddedValkey, certs: Certificates, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = front(certs.server("elsewhere.test"))
    await both_work(RedisStore(url(wrong, valkey) + "?ssl_check_hostname=false", namespace, access=access(certs)))
    assert "the name in its certificate is not checked" in caplog.text
    await both_work(RedisStore(url(wrong, valkey) + "?ssl_cert_reqs=none", namespace))
    assert "anybody may answer in its place" in caplog.text


async def test_an_authority_that_did_not_sign_it_is_named(
    front: Fronts, valkey: EmbeddedValkey, certs: Certificates
) -> None:
    error = await refusal(RedisStore(url(front(), valkey), access=access(certs, tls_ca_file=certs.stranger)))
    assert type(error) is errors.StoreNotTrusted
    assert f"in store.tls_ca_file: {certs.stranger} holds another one's" in str(error)


async def test_without_an_authority_those_of_the_system_count(front: Fronts, valkey: EmbeddedValkey) -> None:
    error = await refusal(RedisStore(url(front(), valkey)))
    assert type(error) is errors.StoreNotTrusted
    assert "store.tls_ca_file: none is named there, so that this system's are believed" in str(error)


async def test_an_authority_of_ones_own_is_believed_alone(certs: Certificates) -> None:
    tls = access(certs).check(RedisStore("rediss://host")._url)
    assert tls is not None
    assert len(tls.context().get_ca_certs()) == 1


async def test_a_certificate_that_has_expired(front: Fronts, valkey: EmbeddedValkey, certs: Certificates) -> None:
    expired = front(certs.server("127.0.0.1", expired=True))
    error = await refusal(RedisStore(url(expired, valkey), access=access(certs)))
    assert type(error) is errors.StoreNotTrusted
    assert "certificate has expired. Nothing was sent to it. Renew it at the server" in str(error)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_certificate_for_another_name(
    front: Fronts, valkey: EmbeddedValkey, certs: Certificates, host: str
) -> None:
    elsewhere = front(certs.server("elsewhere.test"))
    error = await refusal(RedisStore(url(elsewhere, valkey, host), access=access(certs)))
    assert type(error) is errors.StoreNotTrusted
    assert f"certificate is not valid for '{host}'" in str(error)
    assert "Write a name that is in the certificate into store.redis_url" in str(error)


VERSIONS = pytest.mark.parametrize("newest", [None, ssl.TLSVersion.TLSv1_2], ids=["1.3", "1.2"])


@VERSIONS
async def test_no_client_certificate(
    front: Fronts, valkey: EmbeddedValkey, certs: Certificates, newest: ssl.TLSVersion | None
) -> None:
    asking = front(authority=certs.authority, newest=newest)
    error = await refusal(RedisStore(url(asking, valkey), access=access(certs)))
    assert type(error) is errors.StoreRefusesCertificate
    assert "none is given" in str(error)
    assert "Set store.tls_cert_file and store.tls_key_file" in str(error)


@VERSIONS
@pytest.mark.parametrize(
    ("flaw", "mend"), [("expired", "It has expired: renew it"), ("strange", "signed by an authority that the server")]
)
async def test_a_client_certificate_that_is_refused(
    front: Fronts, valkey: EmbeddedValkey, certs: Certificates, newest: ssl.TLSVersion | None, flaw: str, mend: str
) -> None:
    asking = front(authority=certs.authority, newest=newest)
    ours = access(certs, tls_cert_file=certs.client(**{flaw: True}))
    error = await refusal(RedisStore(url(asking, valkey), access=ours))
    assert type(error) is errors.StoreRefusesCertificate
    assert "refuses the one in store.tls_cert_file" in str(error)
    assert mend in str(error)


async def test_tls_spoken_to_a_plain_port(
    external: Callable[..., ExternalServer], certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.redis.clients.CONNECT_TIMEOUT_S", 0.2)  # it waits for the end of a line
    port = free_port()
    external(port=port)
    error = await refusal(RedisStore(f"rediss://127.0.0.1:{port}", access=access(certs)))
    assert type(error) is errors.StoreHasNoTls
    assert "it answers unencrypted" in str(error)
    assert "redis://" in str(error)


async def test_plain_words_spoken_to_a_tls_port(front: Fronts, valkey: EmbeddedValkey) -> None:
    error = await refusal(RedisStore(url(front(), valkey, scheme="redis")))
    assert type(error) is errors.StoreWantsTls
    assert "Write rediss:// there" in str(error)


async def test_certificates_that_are_replaced_are_read_again(
    front: Fronts, valkey: EmbeddedValkey, certs: Certificates, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    ours = certs.client()
    store = RedisStore(
        url(front(authority=certs.authority), valkey), namespace, access=access(certs, tls_cert_file=ours)
    )
    await store.open()
    good = ours.read_bytes()
    ours.write_bytes(certs.client(strange=True).read_bytes())
    await store.reconnect()
    with pytest.raises(StoreUnavailable), store_errors():
        await store.command.ping()
    ours.write_bytes(b"half of it")
    await store.reconnect()
    with pytest.raises(StoreUnavailable), store_errors():
        await store.command.ping()
    assert "new connections to the store still use the files from before" in caplog.text
    ours.write_bytes(good)
    await store.reconnect()
    assert await store.command.ping()
    await store.close()


async def test_a_program_works_through_it_and_lives_when_it_is_cut(
    front: Fronts, valkey: EmbeddedValkey, certs: Certificates, namespace: str
) -> None:
    asking = front(authority=certs.authority)
    store = {"redis_url": url(asking, valkey), "namespace": namespace, "tls_ca_file": str(certs.authority)}
    program = Program(
        Settings.model_validate(
            {
                "store": {**store, "tls_cert_file": str(certs.client())},
                "background_jobs": {"modules": ["cli_jobs"], "shutdown_grace_s": 0},
                "monitoring": {"local_worker": False},
            }
        )
    )
    await program.start()
    try:
        services = program.services()
        await services.bus.schedule_task(
            RecurrentTaskDescriptor(id="tls", name="Greet", data={"label": "a"}, interval=0.05)
        )

        async def succeeded() -> int:
            info = await services.scheduler.get_task_info("tls")
            return info.counts.succeeded if info else 0

        before = await wait_until(succeeded, "the first run")
        asking.cut()

        async def more() -> bool:
            try:
                return await succeeded() > before + 3
            except errors.RoundsmanError:
                return False

        await wait_until(more, "runs after the cut")
    finally:
        await program.stop()
