"""What docs/how-to/deploy.md gives for copying says what the program understands: settings, commands, files, paths."""

import configparser
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from cli_support import roundsman
from docs.blocks import ROOT, Block, blocks
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.settings import Settings, load_settings

PAGE = "docs/how-to/deploy.md"


def block(first: str) -> Block:
    (found,) = (one for one in blocks(PAGE) if one.text.startswith(first))
    return found


class Unit(configparser.RawConfigParser):
    """Keys of a systemd unit keep their capitals, and may come again."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def environment_of(pairs: list[str]) -> Settings:
    variables = dict(pair.split("=", 1) for pair in pairs)
    known = {name: value for name, value in variables.items() if name != "ROUNDSMAN_CONFIG"}
    return load_settings(Path("/dev/null"), known)


def test_the_unit_starts_what_there_is_and_waits_long_enough() -> None:
    text = block("# roundsman.service").text
    unit = Unit(strict=False)
    unit.read_string(text)
    settings = environment_of(re.findall(r"^Environment=(.*)$", text, re.MULTILINE))
    assert f"{settings.data_dir}" == "/var/lib/roundsman" == unit["Service"]["WorkingDirectory"]
    assert int(unit["Service"]["TimeoutStopSec"]) > settings.background_jobs.shutdown_grace_s + 10
    for key in ("ExecStart", "ExecStartPre"):
        program, *words = shlex.split(unit["Service"][key])
        assert Path(program).name == "roundsman"
        assert roundsman(*words, "--help").status == 0
    assert unit["Service"]["KillMode"] == "mixed"


def test_the_image_copies_what_is_there_and_sets_what_is_known() -> None:
    lines = [line.split(" ", 1) for line in block("# Dockerfile").text.splitlines()[1:]]
    copied = [word for key, words in lines if key == "COPY" for word in words.split()[:-1]]
    assert "src" in copied
    for name in copied:
        assert (ROOT / name).exists(), name
    (environ,) = (shlex.split(words) for key, words in lines if key == "ENV")
    key = {"name": "ops", "role": "operator", "key": "k" * 32}
    settings = environment_of([*environ, f"ROUNDSMAN_SERVER__API_KEYS={json.dumps([key])}"])
    assert settings.server.host == "0.0.0.0"
    assert str(settings.data_dir).startswith("/var/lib/roundsman/")
    (entry,) = (json.loads(words) for word, words in lines if word == "ENTRYPOINT")
    (rest,) = (json.loads(words) for word, words in lines if word == "CMD")
    assert entry == ["roundsman"]
    assert roundsman(*rest, "--help").status == 0


def test_the_requirements_of_the_install_are_there() -> None:
    for name in re.findall(r"-r (\S+)", (ROOT / PAGE).read_text()):
        assert "--hash=" in (ROOT / name).read_text(), name


@pytest.mark.parametrize("start", ["# Dockerfile", "# probes.yaml"])
def test_probes_ask_for_paths_that_the_api_has(start: str) -> None:
    api = (ROOT / "docs/reference/api.md").read_text()
    for path in re.findall(r"path: (/\S+?)[,}]", block(start).text):
        assert f"GET {path}" in api


def test_the_page_names_settings_that_there_are() -> None:
    page, reference = ((ROOT / name).read_text() for name in (PAGE, "docs/reference/settings.md"))
    named = set(re.findall(r"`((?:background_jobs|store|server|telemetry)\.\w+)", page))
    assert len(named) > 3
    for name in named:
        assert f"### {name}\n" in reference, name


async def test_a_copy_of_a_stopped_store_is_a_backup(tmp_path: Path) -> None:
    first = EmbeddedValkey(tmp_path / "data")
    first.open()
    store = RedisStore(first.url)
    await store.command.set(store.key("kept"), "1")
    await store.close()
    first.close()
    shutil.copytree(tmp_path / "data", tmp_path / "backup", symlinks=True)
    second = EmbeddedValkey(tmp_path / "backup")
    second.open()
    copy = RedisStore(second.url)
    assert await copy.command.get(copy.key("kept")) == "1"
    await copy.close()
    second.close()
