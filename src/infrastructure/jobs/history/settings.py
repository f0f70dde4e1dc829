"""What can be set of the history of jobs."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from infrastructure.jobs.history.address import DatabaseAddress, read_address
from infrastructure.setting_kinds import Section, as_value_error, no_bool, secret_of


class HistorySettings(Section):
    """Where jobs that are over are kept, and how many of them."""

    from_files = ("database_url_file",)

    enabled: bool = True
    database_url: SecretStr = SecretStr("")
    kept_days: Annotated[int, BeforeValidator(no_bool), Field(ge=1, le=36_500)] = 90
    jobs_kept: Annotated[int, BeforeValidator(no_bool), Field(ge=100, le=1_000_000_000)] = 1_000_000
    params: bool = False
    batch: Annotated[int, BeforeValidator(no_bool), Field(ge=1, le=5_000)] = 250
    buffer: Annotated[int, BeforeValidator(no_bool), Field(ge=100, le=10_000_000)] = 100_000

    def address(self, data_dir: Path) -> DatabaseAddress:
        """Return where the database is."""
        return read_address(self.database_url.get_secret_value(), data_dir)

    @property
    def exported_at_most(self) -> int:
        """How many jobs may wait for the history in the store; 0 where nobody keeps one."""
        return self.buffer if self.enabled else 0

    @model_validator(mode="before")
    @classmethod
    def _secret_from_file(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "database_url_file" not in values:
            return values
        if values.get("database_url"):  # an empty one, as the shipped file has it, is none
            raise ValueError("give one of database_url and database_url_file")
        found = {name: value for name, value in values.items() if name != "database_url_file"}
        file = {"database_url_file": values["database_url_file"]}
        return {**found, "database_url": secret_of(file, "database_url")}

    @field_validator("database_url")
    @classmethod
    def _is_url(cls, url: SecretStr) -> SecretStr:
        as_value_error(lambda text: read_address(text, Path()), url.get_secret_value())
        return url
