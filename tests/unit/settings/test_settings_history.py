"""The settings of the history: where the database is, and what nobody may read of it."""

from pathlib import Path

import pytest

from infrastructure.jobs.history.address import InvalidDatabaseUrl, read_address
from infrastructure.settings import InvalidSettings, load_settings

HERE = Path("/data")


@pytest.mark.parametrize(
    ("url", "file", "shown"),
    [
        ("", "/data/history.sqlite3", "SQLite file /data/history.sqlite3"),
        ("sqlite:////srv/my%20jobs.db", "/srv/my jobs.db", "SQLite file /srv/my jobs.db"),
        ("sqlite:///jobs.db", "jobs.db", "SQLite file jobs.db"),
    ],
)
def test_a_file_is_found(url: str, file: str, shown: str) -> None:
    address = read_address(url, HERE)
    assert (address.file, str(address)) == (Path(file), shown)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@db.example.com/jobs", "PostgreSQL database 'jobs' at db.example.com"),
        ("postgres://me:s3cret@db:5433/jobs?sslmode=verify-full", "PostgreSQL database 'jobs' at db:5433"),
        ("postgresql://me:s3cret@/jobs?host=/run/postgresql", "PostgreSQL database 'jobs' at /run/postgresql"),
        ("postgresql://me:s3cret%40@[::1]:5433/jobs", "PostgreSQL database 'jobs' at ::1:5433"),
    ],
)
def test_a_postgresql_is_found_and_its_password_hidden(url: str, shown: str) -> None:
    address = read_address(url, HERE)
    assert (address.file, str(address)) == (None, shown)
    assert "s3cret" in address.dsn
    assert "s3cret" not in repr(address)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://me:s3cret@db/jobs", "does not begin with postgresql:// or sqlite://"),
        ("s3cret", "does not begin with postgresql:// or sqlite://"),
        ("postgresql://me:s3cret@db:port/jobs", "host and port are malformed"),
        ("postgresql://me:s3cret@db", "it names no database"),
        ("postgresql://me:s3cret@/jobs", "it has no host"),
        ("postgresql://me:s3cret@db/jobs?sslmod=s3cret", "and not 'sslmod'"),
        ("postgresql://me:x@db/jobs#s3cret", "and not a fragment"),
        ("sqlite://", "wants the path of a file, and nothing else"),
        ("sqlite://s3cret/jobs.db", "wants the path of a file, and nothing else"),
        ("sqlite:///jobs.db?s3cret=1", "wants the path of a file, and nothing else"),
    ],
)
def test_what_is_no_database_is_refused_without_quoting_a_password(url: str, why: str) -> None:
    with pytest.raises(InvalidDatabaseUrl, match="The database URL cannot be used") as refused:
        read_address(url, HERE)
    assert why in str(refused.value)
    assert "s3cret" not in str(refused.value)
    with pytest.raises(InvalidSettings) as invalid:
        load_settings(environ={"ROUNDSMAN_HISTORY__DATABASE_URL": url})
    assert "history.database_url" in str(invalid.value)
    assert "s3cret" not in str(invalid.value)


def test_the_url_comes_from_a_file_and_is_shown_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://me:s3cret@db/jobs\n")
    settings = load_settings(environ={"ROUNDSMAN_HISTORY__DATABASE_URL_FILE": str(secret)})
    assert settings.history.address(HERE).shown == "PostgreSQL database 'jobs' at db"
    assert "s3cret" not in repr(settings) + settings.model_dump_json()
    both = tmp_path / "both.toml"
    both.write_text(f'[history]\ndatabase_url = "sqlite:////x.db"\ndatabase_url_file = "{secret}"')
    with pytest.raises(InvalidSettings, match="give one of database_url and database_url_file"):
        load_settings(both, {})
    with pytest.raises(InvalidSettings, match="cannot be read"):
        load_settings(environ={"ROUNDSMAN_HISTORY__DATABASE_URL_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("KEPT_DAYS", "0"),
        ("JOBS_KEPT", "99"),
        ("BATCH", "0"),
        ("BATCH", "5001"),
        ("BUFFER", "99"),
        ("PARAMS", "perhaps"),
        ("ENABLED", "7"),
    ],
)
def test_absurd_limits_are_refused(key: str, value: str) -> None:
    with pytest.raises(InvalidSettings, match=f"history.{key.lower()}"):
        load_settings(environ={f"ROUNDSMAN_HISTORY__{key}": value})


def test_without_a_history_nothing_waits_for_it() -> None:
    settings = load_settings(environ={"ROUNDSMAN_HISTORY__ENABLED": "false"})
    assert settings.history.exported_at_most == 0
    assert load_settings(environ={}).history.exported_at_most == 100_000
