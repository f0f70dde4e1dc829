"""Bring the schema of the history to this version, one process at a time."""

from importlib.metadata import version

from sqlalchemy import Connection, inspect, text

from domain.errors import RoundsmanError

NEWEST = "0002"
"""The version that this program writes; ``migrations/versions`` ends with it."""
KNOWN = ("0001", NEWEST)
VERSION_TABLE = "roundsman_history_version"
"""Not Alembic's usual name, as the database may belong to a program with migrations of its own."""


class HistoryTooNew(RoundsmanError):
    """The history in {address} has version {found}, and this program (version {version}) knows {known} at most.

    A newer version has been here: start that one, or set history.database_url to another database. Nothing was
    changed."""

    status = 503


def bring_up(connection: Connection, address: str) -> bool:
    """Make or upgrade the tables within the transaction of ``connection``, which must hold the lock of writers.

    Returns whether anything was done. Raises ``HistoryTooNew``, and touches nothing, when a newer program made them.
    """
    found = found_version(connection)
    if found == NEWEST:
        return False
    if found is not None and found not in KNOWN:
        raise HistoryTooNew(address=address, found=found, known=NEWEST, version=version("roundsman"))
    upgrade(connection)
    return True


def found_version(connection: Connection) -> str | None:
    """Return the version of the tables that are there; None when there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
    return None if found is None else str(found)


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the migrations up to a version."""
    from alembic.config import Config  # not loaded by starts that find their version
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "infrastructure.jobs.history:migrations")
    script = ScriptDirectory.from_config(config)
    with EnvironmentContext(config, script, fn=lambda rev, _: script._upgrade_revs(to, rev)) as environment:  # noqa: SLF001 - as Alembic's own command does
        environment.configure(connection=connection, version_table=VERSION_TABLE, transactional_ddl=True)
        environment.run_migrations()
