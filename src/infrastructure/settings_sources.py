"""Read settings as they are written: one TOML file, and the environment, which wins."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

PREFIX = "ROUNDSMAN_"
CONFIG_VARIABLE = "ROUNDSMAN_CONFIG"
OTHER_VARIABLES = (CONFIG_VARIABLE, "ROUNDSMAN_URL", "ROUNDSMAN_API_KEY")
"""Known, and not settings: the path of the file, and what the command line needs to reach a running program."""
DEFAULT_FILE = Path("settings.toml")
INLINE = "Roundsman(settings=…)"
"""Where an application that embeds the program writes settings, instead of in a file."""

KeyPath = tuple[str, ...]


@dataclass(frozen=True)
class Key:
    """One key that can be set."""

    path: KeyPath
    is_json: bool
    """Lists and tables are JSON in the environment; everything else is plain text."""

    @property
    def variable(self) -> str:
        """The name of its environment variable."""
        return PREFIX + "__".join(self.path).upper()


@dataclass
class Sources:
    """What was written, where, and what could not be read."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    """Keys that the environment has set -> the variable."""
    file: Path | None = None
    is_inline: bool = False
    problems: list[str] = field(default_factory=list)

    def origin(self, path: KeyPath) -> str:
        """Return where the value at ``path`` was written; a table may have been written in several places."""
        for length in range(len(path), 0, -1):
            if variable := self.origins.get(path[:length]):
                return variable
        below = [variable for key, variable in self.origins.items() if key[: len(path)] == path]
        return " and ".join([*([INLINE] if self.is_inline else []), *([str(self.file)] if self.file else []), *below])


def read_sources(
    file: Path | None, environ: Mapping[str, str], keys: list[Key], inline: Mapping[str, Any] | None = None
) -> Sources:
    """Read the file that was named, or a ``settings.toml`` where the program runs; then the environment.

    With ``inline``, settings as the file has them, only a file that was named is read, and it wins over them.
    """
    sources = Sources(is_inline=inline is not None)
    _lay(inline or {}, sources.values)
    named = file or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    if named is not None or (inline is None and DEFAULT_FILE.exists()):
        sources.file = named or DEFAULT_FILE
        _read_file(sources.file, sources)
    _read_environ(environ, keys, sources)
    return sources


def _read_file(file: Path, sources: Sources) -> None:
    try:
        _lay(tomllib.loads(file.read_text(encoding="utf-8")), sources.values)
    except tomllib.TOMLDecodeError as error:
        sources.problems.append(f"{file} is not valid TOML: {error}")
    except UnicodeDecodeError as error:
        sources.problems.append(f"{file} is not UTF-8 text: byte {error.start} is not")
    except OSError as error:
        sources.problems.append(f"{file} cannot be read: {error.strerror}")


def _read_environ(environ: Mapping[str, str], keys: list[Key], sources: Sources) -> None:
    known = {key.variable: key for key in keys}
    for variable, text in sorted(environ.items()):
        if not variable.upper().startswith(PREFIX) or variable in OTHER_VARIABLES:
            continue
        key = known.get(variable)
        if key is None:
            meant = nearest(variable.upper(), [*known, *OTHER_VARIABLES])
            hint = f"did you mean {meant}?" if meant else "settings.toml lists what there is"
            sources.problems.append(f"{variable} is not known: {hint}")
            continue
        try:
            value = json.loads(text) if key.is_json else text
        except json.JSONDecodeError as error:
            what = f"{error.msg} at character {error.pos + 1}"
            sources.problems.append(f"""{variable} is not JSON: {what}; write a list as '["a", "b"]'""")
            continue
        _set(sources.values, key.path, value)
        sources.origins[key.path] = variable


def _lay(table: Mapping[str, Any], values: dict[str, Any]) -> None:
    """Put each key of a table at its place, over what is there: a secret also over the file for it, and vice versa."""
    for name in [name for name in values if _twin(name) in table and name not in table]:
        del values[name]
    for name, value in table.items():
        if isinstance(value, Mapping):
            below = values.get(name)
            values[name] = dict(below) if isinstance(below, Mapping) else {}
            _lay(value, values[name])
        else:
            values[name] = value


def _twin(name: str) -> str:
    """Return the key of the file for a secret, or of the secret for a file."""
    return name.removesuffix("_file") if name.endswith("_file") else f"{name}_file"


def _set(values: dict[str, Any], path: KeyPath, value: object) -> None:
    """Put ``value`` at ``path``, displacing a secret by the file for it and the other way round."""
    *sections, name = path
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            return  # the file has something else there, which validation will name
        values = inner
    values.pop(_twin(name), None)
    values[name] = value


def nearest(wrong: str, right: list[str]) -> str | None:
    """Return the name in ``right`` that ``wrong`` was probably meant to be, or None."""
    return next(iter(get_close_matches(wrong, right, n=1, cutoff=0.6)), None)
