"""A draft as YAML with comments, in the order in which recipes are documented."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping

from enginebuild.importing.draft import Draft, Path
from enginebuild.recipe.format import RECIPE
from enginebuild.recipe.scalar import ScalarError, read_plain
from enginebuild.recipe.section import Section, ShortOrSection
from enginebuild.recipe.show import TOKEN, printable
from enginebuild.yaml_text import emit_value
from enginebuild_cache import Json

_WIDTH = 110
_PLAIN = re.compile(r"[A-Za-z0-9_./~](?:[A-Za-z0-9_./@:+=~-]*[A-Za-z0-9_./@+=~-])?\Z")
_PLAIN_IN_LIST = re.compile(r"[A-Za-z0-9_./-]+\Z")
#: The password in user:password@host, also of a URL.
_PASSWORD = re.compile(r"(?<=:)[^\s/@:\"']+(?=@(?!sha256:)\S)")
#: Sections between which a line is left free, for the eye.
_APART = ("engine", "image", "builder")


def write(draft: Draft) -> str:
    """The recipe's text. Equal drafts give equal texts."""
    lines = [*_head(draft), *_section(draft, draft.values, RECIPE, ())]
    return "".join(f"{line}\n" for line in lines)


def _head(draft: Draft) -> Iterator[str]:
    yield from _comment(f"Written by `enginebuild import` from {draft.origin}.")
    if draft.gaps:
        yield "#"
        yield "# To fill in first:"
        for gap in draft.gaps:
            yield from _comment(f"{'.'.join(gap.path)}: {gap.why}", "- ")
    if draft.lost:
        yield "#"
        yield "# Not carried:"
        for note in draft.lost:
            yield from _comment(f"{note.what}: {note.why}", "- ")


def _comment(text: str, mark: str = "", indent: str = "") -> list[str]:
    """Lines of a comment. Nothing of a user's text can end it."""
    safe = printable(_PASSWORD.sub("***", TOKEN.sub("***", text)).replace("\t", " "))
    return textwrap.wrap(
        safe,
        _WIDTH,
        initial_indent=f"{indent}# {mark}",
        subsequent_indent=f"{indent}# {' ' * len(mark)}",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _section(draft: Draft, values: Mapping[str, Json], section: Section | None, path: Path) -> Iterator[str]:
    names = list(section.names()) if section else []
    gaps = [gap.path[-1] for gap in draft.gaps if gap.path[:-1] == path and gap.example is not None]
    known = [name for name in names if name in values or name in gaps]
    for name in [*known, *(name for name in values if name not in names)]:
        here = (*path, name)
        if not path and name in _APART:
            yield ""
        if here in draft.remarks:
            yield from _comment(draft.remarks[here], indent="  " * len(path))
        if name in values:
            yield from _entry(draft, values[name], _inner(section, name), here)
        else:
            yield from _example(draft, here)


def _example(draft: Draft, path: Path) -> Iterator[str]:
    """A key that is missing, as a comment that may become a line."""
    gap = next(gap for gap in draft.gaps if gap.path == path)
    indent = "  " * (len(path) - 1)
    example = Draft("", {path[-1]: gap.example})
    for line in _section(example, example.values, None, ()):
        yield f"{indent}# {line}"


def _inner(section: Section | None, name: str) -> Section | None:
    kind = next((each.kind for each in section.fields if each.name == name), None) if section else None
    if isinstance(kind, ShortOrSection):
        return kind.section
    inner = getattr(kind, "section", kind)
    return inner if isinstance(inner, Section) else None


def _entry(draft: Draft, value: Json, section: Section | None, path: Path) -> Iterator[str]:
    indent = "  " * (len(path) - 1)
    key = _plain(path[-1])
    if isinstance(value, dict) and value:
        yield f"{indent}{key}:"
        yield from _section(draft, value, section, path)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        yield f"{indent}{key}:"
        yield from (f"{indent}  - {emit_value(item)}" for item in value)
    else:
        yield f"{indent}{key}: {_value(value)}"


def _value(value: Json) -> str:
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, list):
        return f"[{', '.join(_item(item) for item in value)}]"
    return emit_value(value)


def _item(value: Json) -> str:
    if isinstance(value, str) and not (_PLAIN_IN_LIST.match(value) and _is_text(value)):
        return emit_value(value)
    return value if isinstance(value, str) else emit_value(value)


def _plain(text: str) -> str:
    """A text without quotes where every reader of YAML takes it for that text."""
    return text if _PLAIN.match(text) and _is_text(text) else emit_value(text)


def _is_text(text: str) -> bool:
    try:
        return read_plain(text) == text
    except ScalarError:
        return False
