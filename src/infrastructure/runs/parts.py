"""What a script needs of the shared Lua texts: a server makes all that a script defines anew for each of its calls."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

DEFINED = re.compile(r"^local (?:function (\w+)|(\w+(?:, *\w+)*))", re.MULTILINE)
NUMBER = re.compile(r"^local ([A-Z_]+) = (\d+)$", re.MULTILINE)
MAIN = "\n-- main\n"
TOKENS = re.compile(r"--[^\n]*|'(?:[^'\\\n]|\\.)*'|(?<![\w.])[A-Za-z_]\w*|(?<=\.\.)[A-Za-z_]\w*")
"""Comments, strings, and names that are no fields."""


@dataclass(frozen=True)
class Part:
    """A paragraph of Lua text, between blank lines: what it defines for those behind it, and the names in it."""

    text: str
    defines: frozenset[str]
    uses: frozenset[str]


def parts_of(text: str) -> list[Part]:
    """Return the paragraphs of a text, without the comments before them."""
    text = re.sub(r"^--.*\n?", "", text, flags=re.MULTILINE)
    parts = (_part(paragraph.strip()) for paragraph in re.split(r"\n\s*\n", text))
    return [part for part in parts if part.text]


def _part(text: str) -> Part:
    defined = (name or names for name, names in DEFINED.findall(text))
    return Part(text, frozenset(name for names in defined for name in names.split(", ")), _names(text))


def _names(text: str) -> frozenset[str]:
    """Return the names that stand in a text, but for fields. One too many does no harm, and none is missing."""
    return frozenset(token for token in TOKENS.findall(text) if token[0] not in "-'")


def numbers_in(texts: Iterable[str]) -> dict[str, int]:
    """Return the names that texts give to whole numbers."""
    return {name: int(value) for text in texts for name, value in NUMBER.findall(text)}


def with_numbers(text: str, numbers: Mapping[str, int]) -> str:
    """Return a text with the numbers in the place of their names."""
    named = re.compile(rf"\b({'|'.join(numbers)})\b")
    return named.sub(lambda match: str(numbers[match[1]]), NUMBER.sub("", text))


def program(script: str, shared: Sequence[Part], closing: Mapping[str, str], rare: frozenset[str]) -> str:
    """Return what ``script`` needs of the shared parts, and itself. What stands in it before ``MAIN`` are more parts.

    Where a part is needed that defines a name in ``closing``, the function named there is too: it is called when the
    script has ended or failed, in the order given. What only the functions ``rare`` need, and what only the closing of
    that needs, is made when the first of these functions is called.
    """
    own, found, main = script.rpartition(MAIN)
    parts = [*shared, *parts_of(own)]
    script = main if found else script
    often = _needed(script, parts, closing, rare)
    seldom = [part for part in _needed(script, parts, closing, frozenset()) if part not in often]
    closings = [end for end in closing.values() if any(end in part.defines for part in (*often, *seldom))]
    offered = {name for part in seldom for name in part.defines} & {*rare, *closings}
    calls = [f"if made then made.{end}() end" if end in offered else f"{end}()" for end in closings]
    texts = [part.text for part in often]
    if seldom:
        texts = ["local made, rarely", *_called(texts, offered), _made_once(seldom, offered)]
        (script,) = _called([script], offered)
    if not calls:
        return "\n".join([*texts, script])
    end = ["end", "local done, reply = pcall(main)", *calls, "if not done then error(reply, 0) end", "return reply\n"]
    return "\n".join([*texts, "local function main()", script, *end])


def _needed(script: str, parts: Sequence[Part], closing: Mapping[str, str], but_for: frozenset[str]) -> list[Part]:
    """Return the parts that a script needs, in their order, and what these need in turn."""
    defining = {name: part for part in parts for name in part.defines - but_for}
    needed: set[Part] = set()
    wanted = set(_names(script))
    while wanted:
        found = {defining[name] for name in wanted if name in defining} - needed
        needed |= found
        wanted = {name for part in found for name in part.uses}
        wanted |= {closing[name] for part in found for name in part.defines & closing.keys()}
    return [part for part in parts if part in needed]


def _called(texts: Sequence[str], offered: set[str]) -> list[str]:
    """Return the texts with calls of what is offered turned to where it is made."""
    calls = re.compile(rf"(?<![\w.])({'|'.join(sorted(offered))})\(")
    return [calls.sub(r"rarely().\1(", text) for text in texts]


def _made_once(parts: Sequence[Part], offered: set[str]) -> str:
    fields = ", ".join(f"{name} = {name}" for name in sorted(offered))
    made = [f"made = {{ {fields} }}", "return made", "end"]
    return "\n".join(["function rarely()", "if made then return made end", *(part.text for part in parts), *made])
