"""Fill a copy of Triton's own templates: `fill_repository.py TEMPLATES VALUES OUTPUT`.

TEMPLATES is a folder of Triton's image, VALUES a JSON file, OUTPUT the model repository to write. Each
`${key}` outside of comments gets its value: of `asked` (by the recipe, filled wherever the key is), of
`required` (by model: the template must have it), or of `if_present`. A key of the first two that no template
has is an error, as it is for NVIDIA's fill_template.py; one without a value is an error outside of quotes,
where the file could not be parsed, and an empty text within, which the backend takes for not given
(TensorRT-LLM 0.12 to 0.19). `files` are written as they are, over files that the templates have.

Exits with 1 and says why if anything does not fit; OUTPUT is then not complete.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

CONFIG = "config.pbtxt"
KEEP = ".keep"

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
_COMPILED = shutil.ignore_patterns("__pycache__", "*.pyc")
_ELSEWHERE = "the image's templates are elsewhere, or of another version"
_BARE = re.compile(r"[A-Za-z0-9_.+-]+\Z")


class UnfitError(Exception):
    """Templates and values do not fit each other."""


class Values:
    """What may be filled, and which of it was."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.required: dict[str, dict[str, str]] = document.get("required", {})
        self.if_present: dict[str, str] = document.get("if_present", {})
        self.asked: dict[str, str] = document.get("asked", {})
        self.files: dict[str, str] = document.get("files", {})
        self.used: set[str] = set()

    @property
    def models(self) -> list[str]:
        return sorted(self.required) or sorted({path.split("/")[0] for path in self.files})

    def of(self, model: str) -> dict[str, str]:
        return {**self.if_present, **self.required.get(model, {}), **self.asked}

    def check(self) -> None:
        """What the recipe asked for was filled somewhere."""
        unused = sorted(set(self.asked) - self.used)
        if unused:
            raise UnfitError(f"no template has the key {unused[0]}; engine.runtime names it")


def filled(model: str, text: str, values: Values) -> str:
    """A template with its values."""
    known = values.of(model)
    found: set[str] = set()
    lines = []
    for line in text.split("\n"):
        if not line.lstrip().startswith("#"):
            found.update(_PLACEHOLDER.findall(line))
            lines.append(_filled_line(line, known, model))
        else:
            lines.append(line)
    missing = sorted(set(values.required.get(model, {})) - found)
    if missing:
        raise UnfitError(f"the template of {model} has no key {missing[0]}, which it must have")
    values.used |= found
    return "\n".join(lines)


def _filled_line(line: str, known: dict[str, str], model: str) -> str:
    return _PLACEHOLDER.sub(lambda match: _value(match, line, known, model), line)


def _value(match: re.Match[str], line: str, known: dict[str, str], model: str) -> str:
    key = match.group(1)
    value = known.get(key)
    if _quoted(line, match.start()):
        return escaped(value or "")
    if value is None:
        raise UnfitError(f"the template of {model} has the key {key}, and no value is known for it")
    if not _BARE.match(value):
        raise UnfitError(f"the template of {model} takes a plain word for {key}, not {value!r}")
    return value


def _quoted(line: str, place: int) -> bool:
    """Whether a place of a line is within a quoted text."""
    return line[:place].replace('\\"', "").count('"') % 2 == 1


def escaped(value: str) -> str:
    """A value within the quotes of a protobuf text."""
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("'", "\\'")
    return text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def fill(templates: Path, values: Values, output: Path) -> None:
    """Write the model repository. Raises UnfitError."""
    for model in values.models:
        source = templates / model
        if not (source / CONFIG).is_file():
            raise UnfitError(f"there is no {source / CONFIG}: {_ELSEWHERE}")
        shutil.copytree(str(source), str(output / model), ignore=_COMPILED)
        version = output / model / "1"
        version.mkdir(exist_ok=True)
        if not any(version.iterdir()):
            (version / KEEP).touch()  # Triton wants the folder, and folders without files are lost on the way
        config = output / model / CONFIG
        text = config.read_text(encoding="utf-8")
        config.write_text(filled(model, text, values), encoding="utf-8")
    for path, text in values.files.items():
        if not (output / path).is_file():
            raise UnfitError(f"there is no {templates / path}: {_ELSEWHERE}")
        (output / path).write_text(text, encoding="utf-8")
    values.check()


def main(words: list[str]) -> int:
    if len(words) != 3:
        sys.stderr.write("usage: fill_repository.py TEMPLATES VALUES OUTPUT\n")
        return 2
    templates, document, output = map(Path, words)
    try:
        fill(templates, Values(json.loads(document.read_text(encoding="utf-8"))), output)
    except (OSError, ValueError, UnfitError) as error:
        sys.stderr.write(f"fill_repository.py: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
