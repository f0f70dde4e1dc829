"""What opens the store is checked when the settings are loaded: before anything is started or connected."""

from collections.abc import Callable
from pathlib import Path

import pytest

from certificates import Certificates
from infrastructure.redis.settings import StoreSettings
from infrastructure.settings import InvalidSettings, load_settings

TLS = "rediss://host"


@pytest.fixture
def certs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    (folder := tmp_path / "certs").mkdir()
    monkeypatch.chdir(folder)
    return Certificates(folder)


def load(**values: object) -> StoreSettings:
    return load_settings(None, {f"ROUNDSMAN_STORE__{name.upper()}": str(value) for name, value in values.items()}).store


def problem(**values: object) -> str:
    with pytest.raises(InvalidSettings) as failure:
        load(**values)
    assert "s3cret" not in str(failure.value)
    _, *found, _ = str(failure.value).splitlines()
    assert len(found) == 1
    return found[0]


def test_files_and_secrets_are_read(certs: Certificates) -> None:
    cert, key = certs.split(certs.client(), "s3cret")
    Path("password").write_text("s3cret\n")
    access = load(
        redis_url=TLS,
        tls_ca_file=certs.authority,
        tls_cert_file=cert,
        tls_key_file=key,
        tls_key_password_file="password",
    ).access
    assert access.files.tls_key_password == "s3cret"
    assert access.files.tls_cert_file == str(cert)
    url = "redis+sentinel://h/main"
    access = load(redis_url=url, sentinel_user="judge", sentinel_password_file="password").access
    assert (access.sentinel_user, access.sentinel_password) == ("judge", "s3cret")


def test_a_path_may_begin_at_home(certs: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(certs.authority.parent))
    assert load(redis_url=TLS, tls_ca_file="~/authority.pem").tls_ca_file == str(certs.authority)


def test_secrets_are_not_shown(certs: Certificates) -> None:
    settings = load(redis_url="redis+sentinel://h/main", sentinel_password="s3cret")
    assert "s3cret" not in f"{settings!r} {settings.access!r} {settings.model_dump()}"


Case = Callable[[Certificates], dict[str, object]]
CASES: dict[str, tuple[Case, str]] = {
    "no such authority": (lambda _: {"tls_ca_file": "nowhere.pem"}, "tls_ca_file is not valid: nowhere.pem cannot be"),
    "a folder": (lambda _: {"tls_ca_file": "."}, "store.tls_ca_file is not valid: . cannot be read: Is a directory"),
    "an authority that is none": (
        lambda certs: {"tls_ca_file": certs.split(certs.client())[1]},
        "holds no certificate in PEM form",
    ),
    "no such certificate": (lambda _: {"tls_cert_file": "nowhere.pem"}, "tls_cert_file is not valid: nowhere.pem"),
    "a key alone": (lambda certs: {"tls_key_file": certs.client()}, "there is a key and no certificate; set tls_cert_"),
    "a certificate without its key": (
        lambda certs: {"tls_cert_file": certs.split(certs.client())[0]},
        "store.tls_cert_file is not valid: ",
    ),
    "no such key": (
        lambda certs: {"tls_cert_file": certs.client(), "tls_key_file": "nowhere.key"},
        "store.tls_key_file is not valid: nowhere.key cannot be read: No such file",
    ),
    "another one's key": (
        lambda certs: {"tls_cert_file": certs.split(certs.client())[0], "tls_key_file": certs.client(strange=True)},
        "store.tls_key_file is not valid: the key is not the one of the certificate",
    ),
    "a key that is none": (
        lambda certs: {"tls_cert_file": certs.client(), "tls_key_file": certs.authority},
        "store.tls_key_file is not valid: ",
    ),
    "an encrypted key": (
        lambda certs: dict(zip(("tls_cert_file", "tls_key_file"), certs.split(certs.client(), "s3cret"), strict=True)),
        "the key is encrypted; set tls_key_password",
    ),
    "the wrong password": (
        lambda certs: {
            **dict(zip(("tls_cert_file", "tls_key_file"), certs.split(certs.client(), "s3cret"), strict=True)),
            "tls_key_password": "s3cret wrong",
        },
        "store.tls_key_password is not valid: the key cannot be read with it",
    ),
    "in the URL too": (
        lambda certs: {"redis_url": f"{TLS}?ssl_ca_certs=x", "tls_ca_file": certs.authority},
        "store.tls_ca_file is not valid: store.redis_url has ssl_ca_certs too",
    ),
    "only in the URL": (lambda _: {"redis_url": f"{TLS}?ssl_ca_certs=x.pem"}, "tls_ca_file is not valid: x.pem cannot"),
    "without TLS": (
        lambda certs: {"redis_url": "redis://host", "tls_ca_file": certs.authority},
        "store.tls_ca_file is not valid: it is for TLS; write store.redis_url with rediss://",
    ),
    "for the embedded server": (
        lambda certs: {"redis_url": "", "tls_cert_file": certs.client()},
        "store.tls_cert_file is not valid: it is for TLS",
    ),
    "a password for no Sentinels": (
        lambda _: {"redis_url": TLS, "sentinel_password": "s3cret"},
        "store.sentinel_password is not valid: there are no Sentinels",
    ),
    "a user without password": (
        lambda _: {"redis_url": "redis+sentinel://h/main", "sentinel_user": "judge"},
        "store.sentinel_user is not valid: a user has a password; set sentinel_password too",
    ),
    "no such file with a password": (
        lambda _: {"redis_url": TLS, "tls_key_password_file": "nowhere"},
        "tls_key_password_file: nowhere cannot be read: No such file",
    ),
    "a home that is not there": (lambda _: {"tls_ca_file": "~nobodyhere/x"}, "tls_ca_file: has no home directory"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_will_not_do_is_named(certs: Certificates, case: str) -> None:
    values, says = CASES[case]
    assert says in problem(**{"redis_url": TLS, **values(certs)})


def test_a_password_may_not_be_given_twice(certs: Certificates) -> None:
    Path("settings.toml").write_text(
        f'[store]\nredis_url = "{TLS}"\ntls_key_password = "a"\ntls_key_password_file = "b"'
    )
    with pytest.raises(InvalidSettings, match="give one of tls_key_password and tls_key_password_file"):
        load_settings(None, {})


def test_a_path_that_is_none_is_refused(certs: Certificates) -> None:
    Path("settings.toml").write_text(f'[store]\nredis_url = "{TLS}"\ntls_ca_file = 1')
    with pytest.raises(InvalidSettings, match=r"store\.tls_ca_file: must be the path of a file"):
        load_settings(None, {})
