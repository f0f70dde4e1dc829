"""A script is given what it needs of the shared texts, and nothing else."""

import re

import pytest

from infrastructure.runs.parts import numbers_in, parts_of, program, with_numbers
from infrastructure.runs.scripts import RARE, WHERE, Retention, source

SHARED = """
-- What is often needed.
local prefix = 'p:'

local seen = {}

local function see(name) seen[#seen + 1] = prefix .. name end

local function write_seen()
  for _, name in ipairs(seen) do tell(name) end
end

local function double(n) return n * TWO end

local function seldom(n)
  return double(double(n))
end
"""
CLOSING = {"seen": "write_seen"}
KNOWN = """
and break do else elseif end false for function if in local nil not or repeat return then true until while
KEYS ARGV redis cjson string table math pcall error pairs ipairs next select type tonumber tostring unpack
"""


def assembled(script: str, rare: str = "") -> str:
    return program(script, parts_of(SHARED), CLOSING, frozenset(rare.split()))


def test_what_a_script_does_not_name_is_left_out() -> None:
    assert assembled("return 1") == "return 1"
    assert assembled("return prefix .. 'double'") == "local prefix = 'p:'\nreturn prefix .. 'double'"


@pytest.mark.parametrize("text", ["return run.double", "return 1 -- double", "return 'double'"])
def test_fields_comments_and_strings_name_nothing(text: str) -> None:
    assert assembled(text) == text


def test_what_is_needed_brings_what_that_needs() -> None:
    text = assembled("return seldom(4)")
    assert "local function double" in text
    assert "prefix" not in text


def test_what_a_script_keeps_in_mind_is_written_when_it_has_ended_or_failed() -> None:
    text = assembled("see('x')")
    assert text.index("local function main()") < text.index("pcall(main)\nwrite_seen()\nif not done then error")


def test_what_is_rare_is_made_when_it_is_called() -> None:
    text = assembled("if ARGV[1] then return seldom(double(4)) end", "seldom")
    assert "return rarely().seldom(double(4))" in text
    assert text.index("local function double") < text.index("function rarely()") < text.index("local function seldom")
    assert "made = { seldom = seldom }" in text


def test_what_only_the_rare_keeps_in_mind_is_written_when_there_is_any() -> None:
    text = assembled("if ARGV[1] then see('x') end", "see")
    assert text.index("function rarely()") < text.index("local seen") < text.index("made = { see = see, write_seen")
    assert "pcall(main)\nif made then made.write_seen() end\n" in text


def test_names_of_numbers_are_replaced() -> None:
    texts = ["local TWO = 2\n\nreturn TWO * n", "MOST + TWO_OF"]
    numbers = {"MOST": 7} | numbers_in(texts)
    assert numbers == {"MOST": 7, "TWO": 2}
    assert [with_numbers(text, numbers).strip() for text in texts] == ["return 2 * n", "7 + TWO_OF"]


@pytest.mark.parametrize("name", WHERE)
def test_no_script_names_what_nobody_defines(name: str) -> None:
    text = source(name, Retention())
    code = re.sub(r"--[^\n]*|'(?:[^'\\\n]|\\.)*'|#!.*", "''", text)
    defined = {one for names in re.findall(r"\blocal (?:function )?([\w, ]+)", code) for one in names.split(", ")}
    defined |= {one for names in re.findall(r"\bfor ([\w, ]+?) (?:=|in)", code) for one in names.split(", ")}
    defined |= {one for names in re.findall(r"\bfunction ?\w*\(([^)]*)\)", code) for one in names.split(", ")}
    defined = {one.strip().split(" ")[0] for one in defined}
    fields = set(re.findall(r"[{,]\s*(\w+) = ", code))
    used = set(re.findall(r"(?<![\w.])[A-Za-z_]\w*|(?<=\.\.)[A-Za-z_]\w*", code))
    assert used - defined - fields - set(KNOWN.split()) == set()


@pytest.mark.parametrize("name", RARE)
def test_what_is_named_as_rare_is_made_seldom(name: str) -> None:
    text = source(name, Retention())
    (offered,) = re.findall(r"made = \{ (.*) \}", text)
    assert set(re.findall(r"(\w+) =", offered)) >= RARE[name]
    assert set(re.findall(r"rarely\(\)\.(\w+)", text)) <= set(re.findall(r"(\w+) =", offered))
