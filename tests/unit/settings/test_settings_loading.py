"""Settings come from defaults, one file and the environment, in this order."""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from domain.monitoring.rule import DEFAULT_RULES
from infrastructure.settings import Settings, _keys, load_settings

SHIPPED = Path(__file__).parents[3] / "settings.toml"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty directory, so that no settings.toml is found by chance."""
    monkeypatch.chdir(tmp_path)


def load(toml: str = "", environ: Mapping[str, str] | None = None) -> Settings:
    file = Path("given.toml")
    file.write_text(toml)
    return load_settings(file, environ or {})


def test_without_a_file_there_are_defaults() -> None:
    settings = load_settings(environ={})
    assert settings == Settings()
    assert settings.data_dir == Path("var")
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8000)
    assert settings.store.redis_url.get_secret_value() == ""
    assert settings.alerts.rules == DEFAULT_RULES


def test_the_shipped_file_says_the_defaults_and_every_key() -> None:
    assert load_settings(SHIPPED, {}) == Settings()
    text = SHIPPED.read_text()
    values = tomllib.loads(text)
    for key in _keys(Settings):
        *sections, name = key.path
        table = values
        for section in sections:
            table = table[section]
        assert name in table or re.search(rf"^#.*\b{name}\b", text, re.MULTILINE), f"{key.path} is not explained"
        if name in table:
            explained = re.search(rf"^# .*\n{name} = ", text, re.MULTILINE)
            assert explained, f"{key.path} has no comment above it"


def test_the_example_rule_of_the_shipped_file_is_valid() -> None:
    text = SHIPPED.read_text()
    example = "\n".join(re.findall(r"^#   ((?:\[|\w+ = (?!\[\{)).*)$", text, re.MULTILINE))
    assert load(example).alerts.rules[0].id == "high-cpu"


def test_a_file_in_the_working_directory_is_found() -> None:
    Path("settings.toml").write_text("[server]\nport = 1234")
    assert load_settings(environ={}).server.port == 1234


def test_a_file_that_was_named_wins_over_that() -> None:
    Path("settings.toml").write_text("[server]\nport = 1234")
    Path("other.toml").write_text("[server]\nport = 2345")
    assert load_settings(environ={"ROUNDSMAN_CONFIG": "other.toml"}).server.port == 2345
    assert load_settings(Path("settings.toml"), {"ROUNDSMAN_CONFIG": "other.toml"}).server.port == 1234


def test_the_environment_wins_over_the_file() -> None:
    environ = {
        "ROUNDSMAN_DATA_DIR": "/data",
        "ROUNDSMAN_SERVER__PORT": "8123",
        "ROUNDSMAN_MONITORING__LOCAL_WORKER": "false",
        "ROUNDSMAN_BACKGROUND_JOBS__MODULES": '["my_jobs", "more.jobs"]',
        "ROUNDSMAN_BACKGROUND_JOBS__LEASE_S": "2.5",
        "ROUNDSMAN_ALERTS__RULES": '[{"id": "a", "metric": "cpu_utilization", "fire": 0.5}]',
    }
    settings = load('data_dir = "elsewhere"\n[server]\nport = 1\nbase_path = "/a"', environ)
    assert settings.data_dir == Path("/data")
    assert (settings.server.port, settings.server.base_path) == (8123, "/a")
    assert settings.monitoring.local_worker is False
    assert settings.background_jobs.modules == ("my_jobs", "more.jobs")
    assert settings.background_jobs.lease_s == 2.5
    assert [rule.id for rule in settings.alerts.rules] == ["a"]


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDSMAN_SERVER__PORT", "4321")
    assert load_settings().server.port == 4321


def test_what_is_the_command_lines_is_left_alone() -> None:
    environ = {"ROUNDSMAN_URL": "http://x", "ROUNDSMAN_API_KEY": "k", "OTHER": "x", "ROUNDSMANLY": "x"}
    assert load_settings(environ=environ) == Settings()


def test_home_is_expanded() -> None:
    assert load('data_dir = "~/data"').data_dir == Path.home() / "data"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().server.port = 1  # type: ignore[misc]


def test_an_api_key_is_kept_as_its_hash_alone() -> None:
    Path("key").write_text("s3cret-2\n")
    hashed = hashlib.sha256(b"s3cret-3").hexdigest()
    settings = load(
        f"""[server]
        host = "0.0.0.0"
        api_keys = [
            {{ name = "a", role = "viewer", key = "s3cret-1" }},
            {{ name = "b", role = "operator", key_file = "key" }},
            {{ name = "c", role = "admin", key_sha256 = "{hashed}" }},
        ]"""
    )
    wanted = [hashlib.sha256(key).hexdigest() for key in (b"s3cret-1", b"s3cret-2", b"s3cret-3")]
    assert [key.key_sha256 for key in settings.server.api_keys] == wanted
    assert "s3cret" not in repr(settings) + settings.model_dump_json()
    assert hashed not in repr(settings)


def test_the_stores_password_is_shown_nowhere() -> None:
    settings = load('[store]\nredis_url = "redis://:s3cret@host"')
    assert settings.store.redis_url.get_secret_value() == "redis://:s3cret@host"
    assert "s3cret" not in repr(settings) + str(settings.store) + settings.model_dump_json()


def test_a_secret_may_be_in_a_file_named_by_either_source() -> None:
    Path("url").write_text("redis://:s3cret@host\n")
    environ = {"ROUNDSMAN_STORE__REDIS_URL_FILE": "url"}
    for settings in (
        load('[store]\nredis_url_file = "url"'),
        load("", environ),
        load('[store]\nredis_url = "redis://other"', environ),
        load('[store]\nredis_url_file = "nowhere"', {"ROUNDSMAN_STORE__REDIS_URL": "redis://:s3cret@host"}),
    ):
        assert settings.store.redis_url.get_secret_value() == "redis://:s3cret@host"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert load(f'[server]\nhost = "{host}"').server.is_loopback


def test_levels_are_in_any_case() -> None:
    assert load('[telemetry]\nlog_level = "DEBUG"').telemetry.log_level == "debug"
