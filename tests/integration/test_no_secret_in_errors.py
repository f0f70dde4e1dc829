"""No message has a secret in it: not in what a start says of settings, not in an answer, not at the command line."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api_kit import API_KEYS, Api
from cli_support import roundsman
from infrastructure.settings import InvalidSettings, load_settings

SECRET = "s3cret-0123456789"
URL = f"redis://ops:{SECRET}@127.0.0.1:1"


@pytest.mark.parametrize(
    "toml",
    [
        f'store = "{URL}"',
        f'[[store]]\nredis_url = "{URL}"',
        f'redis_url = "{URL}"',
        f'[store]\nredis_urls = "{URL}"',
        f'[store]\nredis_url = ["{URL}"]',
        f'[store.redis_url]\nurl = "{URL}"',
        f'[store]\nredis_url_file = "{URL}"',
        f'[store]\nredis_url = "{URL}/x"',
        f'[store]\nnamespace = "{URL}"',
        f'[store]\nsentinel_password = "{SECRET}"',
        f'[store]\ndurability = "{URL.replace("ops", "o" * 60)}"',
        f'[server]\nhost = "http://ops:{SECRET * 4}@127.0.0.1"',
        f'[store]\ndurability = "{URL}"',
        f'[store]\ndurability = {{ url = "{URL}" }}',
        f'data_dir = ["{URL}"]',
        f'[[server]]\napi_keys = [{{ name = "a", role = "admin", key = "{SECRET}" }}]',
        f'[server]\napi_keys = "{SECRET}"',
        f'[server]\napi_keys = ["{SECRET}"]',
        f'[server]\napi_keys = [{{ name = "a", role = "{SECRET}", key = "x" }}]',
        f'[server]\napi_keys = [{{ name = "a", role = "admin", key = ["{SECRET}"] }}]',
        f'[server]\napi_keys = [{{ name = "a", role = "admin", key_sha256 = "{SECRET}" }}]',
        f'[server]\nhost = "http://ops:{SECRET}@127.0.0.1"',
        f'[telemetry]\notlp_endpoint = "ftp://ops:{SECRET}@127.0.0.1:1"',
        f'[telemetry]\nmetrics_address = "ops:{SECRET}@127.0.0.1:1"',
        f'[store]\nredis_url = "{URL}',
    ],
)
def test_settings_that_cannot_be(toml: str, tmp_path: Path) -> None:
    file = tmp_path / "given.toml"
    file.write_text(toml)
    with pytest.raises(InvalidSettings) as found:
        load_settings(file, {})
    assert SECRET not in str(found.value)
    assert SECRET not in repr(found.value.facts)
    assert found.value.__cause__ is None


@pytest.mark.parametrize("name", ["STORE__REDIS_URL", "STORE", "STORE__NAMESPACE", "SERVER__API_KEYS", "REDIS_URL"])
def test_an_environment_that_cannot_be(name: str, tmp_path: Path) -> None:
    file = tmp_path / "given.toml"
    file.touch()
    with pytest.raises(InvalidSettings) as found:
        load_settings(file, {f"ROUNDSMAN_{name}": f"{URL}/x"})
    assert SECRET not in str(found.value)
    assert f"ROUNDSMAN_{name}" in str(found.value)


@pytest.fixture
async def api(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    async with Api(redis_url, namespace, api_keys=API_KEYS) as running:
        yield running


@pytest.mark.parametrize(
    "data",
    [
        {"team": {"password": SECRET}},
        {"team": "ops", "rows": SECRET},
        {"team": "ops", "rows": 1, "password": SECRET},
        SECRET,
        [SECRET],
    ],
)
async def test_data_of_jobs(api: Api, data: object, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        body = {"id": "r", "name": "Report", "data": data, "trigger": {"interval_s": 60}}
        refused = await api.post("/schedules", body, key="admin")
    assert refused.status_code == 422
    assert SECRET not in refused.text
    assert SECRET not in caplog.text


async def test_keys_that_are_refused(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="infrastructure"):
        for value in (f"Bearer {SECRET}", f"Basic {SECRET}", SECRET, f"Bearer {SECRET} x"):
            refused = await api.call("GET", "/schedules", headers={"Authorization": value})
            assert refused.status_code == 401
            assert SECRET not in refused.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("url", "key"),
    [
        (f"http://ops:{SECRET}@127.0.0.1:1", "k"),
        (f"ftp://ops:{SECRET}@127.0.0.1:1", "k"),
        (f"http://ops:{SECRET}@127.0.0.1:port", "k"),
        ("http://127.0.0.1:1", SECRET),
        ("http://127.0.0.1:1", f"{SECRET}é"),
    ],
)
def test_addresses_and_keys_of_commands(url: str, key: str) -> None:
    for flags in ((), ("--json",)):
        answer = roundsman("schedules", "list", *flags, url=url, env={"ROUNDSMAN_API_KEY": key})
        assert answer.status in (2, 5)
        assert SECRET not in answer.out + answer.err
        if flags:
            assert json.loads(answer.err)["detail"]
