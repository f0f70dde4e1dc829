"""Read where the history's database is said to be, without connecting and without loading a driver."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from domain.errors import RoundsmanError

POSTGRES = ("postgresql", "postgres")
POSTGRES_OPTIONS = frozenset({"host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword"})
"""What a PostgreSQL URL may add; timeouts and the rest are this program's to decide."""
FILE_NAME = "history.sqlite3"
SCHEMES = "postgresql://user:password@host:5432/database, or sqlite:////directory/file.sqlite3"
MALFORMED = "host and port are malformed (in a password, write / ? # @ and : as %2F %3F %23 %40 and %3A)"


class InvalidDatabaseUrl(RoundsmanError):
    """The database URL cannot be used: {why}.

    Write {schemes}, or leave it empty for SQLite in the data directory."""

    status = 500


@dataclass(frozen=True)
class DatabaseAddress:
    """Where the history is: a file, or a PostgreSQL database."""

    file: Path | None = None
    dsn: str = field(default="", repr=False)
    """The PostgreSQL URL as the driver reads it; it may hold a password."""
    shown: str = ""
    """The same without user and password."""

    def __str__(self) -> str:
        return self.shown


def read_address(url: str, data_dir: Path) -> DatabaseAddress:
    """Take ``url`` apart, '' for SQLite below ``data_dir``; raise ``InvalidDatabaseUrl`` if it is not one.

    The error quotes nothing of the URL: where it is malformed, any part of it may be a piece of the password.
    """
    if not url:
        return _file(data_dir / FILE_NAME)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _invalid(MALFORMED) from None
    if parts.scheme == "sqlite":
        if parts.netloc or not parts.path[1:] or parts.query or parts.fragment:
            raise _invalid("sqlite:// wants the path of a file, and nothing else")
        return _file(Path(unquote(parts.path[1:])).expanduser())
    if parts.scheme not in POSTGRES:
        raise _invalid("it does not begin with postgresql:// or sqlite://")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.fragment or (unknown := sorted(options.keys() - POSTGRES_OPTIONS)):
        named = "a fragment" if parts.fragment else f"'{unknown[0]}'"
        raise _invalid(f"after ? there may be {', '.join(sorted(POSTGRES_OPTIONS))}, and not {named}")
    database = unquote(parts.path[1:])
    where = options.get("host") or (f"{host}:{port}" if port else host)
    if not where or not database:
        raise _invalid("it has no host" if database else "it names no database")
    dsn = f"postgresql://{parts.netloc}{parts.path}" + (f"?{urlencode(options)}" if options else "")
    return DatabaseAddress(dsn=dsn, shown=f"PostgreSQL database '{database}' at {where}")


def _file(path: Path) -> DatabaseAddress:
    return DatabaseAddress(file=path, shown=f"SQLite file {path}")


def _invalid(why: str) -> InvalidDatabaseUrl:
    return InvalidDatabaseUrl(why=why, schemes=SCHEMES)
