"""Kinds of settings: what a section is, and what its values may be."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from domain.errors import RoundsmanError

YEAR_S = 366 * 86_400.0


def no_bool(value: object) -> object:
    """Refuse true and false, which Python takes for numbers."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


def directory(value: object) -> object:
    """Return a path, with its ~ resolved."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("must be the path of a directory")
    return _at_home(value)


def file_name(value: object) -> object:
    """Return the path of a file as text, with its ~ resolved; nothing stays nothing."""
    if not isinstance(value, str | Path) or "\0" in str(value):
        raise ValueError("must be the path of a file")
    return str(_at_home(value)) if str(value) else ""


def _at_home(value: str | Path) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(f"has no home directory for its ~: {error}") from error


Count = Annotated[int, BeforeValidator(no_bool), Field(ge=1, le=10_000_000)]
Seconds = Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=YEAR_S, allow_inf_nan=False)]
ModuleName = Annotated[str, StringConstraints(pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*$")]
ObjectName = Annotated[str, StringConstraints(pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*$")]
Directory = Annotated[Path, BeforeValidator(directory)]
FileName = Annotated[str, BeforeValidator(file_name)]


class Section(BaseModel):
    """A table of settings: frozen, and without room for what nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    from_files: ClassVar[tuple[str, ...]] = ()
    """Keys that name a file with a secret; resolved while validating, so that they are no fields."""


def secret_of(values: dict[str, Any], name: str) -> Any:
    """Return the secret ``name``, or what is in the file that ``name_file`` names, without the line's end."""
    if name in values:
        return values[name]
    file = Path(str(values[f"{name}_file"])).expanduser()
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ValueError(f"{name}_file: {file} cannot be read: {why}") from None


def as_value_error(check: Any, value: object) -> None:
    """Run ``check`` and raise what it says in the form that pydantic collects."""
    try:
        check(value)
    except RoundsmanError as error:
        raise ValueError(str(error)) from None
