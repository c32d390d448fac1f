"""Calibration text in a local folder, and which of it a quantization sees, in which order.

Standard library alone and nothing of enginebuild: this file is also laid beside the programs that run in the
quantizers' environments. Formats, by a file's ending:

- `.jsonl`: one JSON object a line, with `text` (a text) or `messages` (a list of `{"role", "content"}`, which
  the model's chat template turns into text); other keys are passed over;
- `.txt`: samples are separated by blank lines;
- `.parquet`: a column `text` or `messages`; read where the environment has pyarrow.

Files count in the order of their paths. Those that begin with a dot, README*, LICENSE* and *.md are none.
"""

from __future__ import annotations

import heapq
import importlib
import json
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

#: A text, or the messages of a conversation.
Sample = str | list[dict[str, Any]]

ENDINGS = (".jsonl", ".txt", ".parquet")

_NO_TEXTS = re.compile(r"\.|readme|license|.*\.md$", re.IGNORECASE)


class CalibrationError(ValueError):
    """What is wrong with the data: the file, the place, and what to do."""


def read_samples(folder: Path) -> Iterator[Sample]:
    """Every sample of the folder, in order. Raises CalibrationError."""
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        yield from _READERS[path.suffix.lower()](path, name)


def choose(samples: Iterable[Sample], count: int, seed: int) -> list[Sample]:
    """`count` samples drawn with `seed`, in the order drawn: the same for the same data, on every machine.

    Python promises the sequence of `random.random()` for a seed. Raises CalibrationError if there are fewer.
    """
    # Reproducible choice is the point, not secrecy.
    source = random.Random(seed)  # noqa: S311 - the same texts each time are wanted
    drawn = heapq.nsmallest(
        count,
        ((source.random(), number, sample) for number, sample in enumerate(samples)),
        key=lambda entry: entry[:2],
    )
    if len(drawn) < count:
        raise CalibrationError(
            f"the calibration data have {len(drawn)} samples, quantization.calibration.num_samples is "
            f"{count}: add samples, or set num_samples to {len(drawn)}"
        )
    return [sample for _, _, sample in drawn]


def _files(folder: Path) -> list[Path]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    found = [p for p in paths if not any(_NO_TEXTS.match(part) for part in p.relative_to(folder).parts)]
    if not found:
        raise CalibrationError(f"the calibration folder has no file that ends in {_listed()}")
    for path in found:
        if path.suffix.lower() not in ENDINGS:
            raise CalibrationError(
                f"{path.relative_to(folder)}: calibration data are files that end in {_listed()}; "
                "convert it, or leave it out"
            )
    return found


def _listed() -> str:
    return f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"


def _json_lines(path: Path, name: str) -> Iterator[Sample]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _line(line, f"{name}, line {number}")


def _line(line: str, where: str) -> Sample:
    try:
        value = json.loads(line)
    except ValueError:
        raise CalibrationError(f"{where}: not JSON") from None
    return _sample(value, where)


def _sample(value: Any, where: str) -> Sample:
    match value:
        case {"text": str() as text} if text.strip():
            return text
        case {"messages": [*messages]} if messages and all(map(_is_message, messages)):
            return messages
    raise CalibrationError(
        f'{where}: neither a "text" nor "messages" of {{"role": …, "content": …}} that say something'
    )


def _is_message(value: Any) -> bool:
    match value:
        case {"role": str(), "content": str()}:
            return True
    return False


def _text(path: Path, name: str) -> Iterator[Sample]:
    blocks = re.split(r"\n\s*\n", path.read_text(encoding="utf-8"))
    yield from (block.strip() for block in blocks if block.strip())


def _parquet(path: Path, name: str) -> Iterator[Sample]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise CalibrationError(f"{name}: this environment has no pyarrow; convert it to .jsonl") from None
    file = parquet.ParquetFile(path)
    columns = [column for column in ("text", "messages") if column in file.schema_arrow.names][:1]
    if not columns:
        raise CalibrationError(f"{name}: no column text or messages; convert it to .jsonl")
    number = 0
    for batch in file.iter_batches(columns=columns):
        for row in batch.to_pylist():
            number += 1
            yield _sample(row, f"{name}, row {number}")


_READERS = {".jsonl": _json_lines, ".txt": _text, ".parquet": _parquet}
