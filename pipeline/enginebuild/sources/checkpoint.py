"""Whether a tree is a checkpoint that can be served: every reason why not, at once and by file.

Reads the first bytes of each file and the whole of small JSON files, never the weights, so it costs
milliseconds. Files whose bytes are not here yet are judged by name and size only; it is called again when
they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from enginebuild.errors import SourceError
from enginebuild.sources.model import ReadHead
from enginebuild.sources.safetensors import BrokenHeaderError, Tensor, read_header
from enginebuild.sources.selection import is_pickle
from enginebuild_cache import File, Tree

#: JSON up to this size is parsed; larger files (tokenizer.json) are judged by their first byte.
JSON_LIMIT = 4 << 20
#: An index of weights names every tensor: a few MiB for the largest models.
INDEX_LIMIT = 64 << 20
INDEX_SUFFIX = ".safetensors.index.json"

_LFS = b"version https://git-lfs.github.com/spec/v1"
_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body|\?xml)\b", re.IGNORECASE)
_NEVER_EMPTY = (".safetensors", ".json", ".model", ".tiktoken", ".jinja", ".bin")
_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.safetensors|\.bin)\Z")
_SHOWN = 20

HINT_BROKEN = (
    "fetch the named files again from their origin; with git, `git lfs pull` replaces pointers by the files"
)


def check(source: str, tree: Tree, read_head: ReadHead, pickles: Sequence[str] = ()) -> None:
    """Refuse with one SourceError what cannot be served.

    `pickles` are weights that were left out because they are pickles. Raises OSError as read_head does.
    """
    findings = list(_find(tree, read_head, _Headers()))
    missing = list(_missing_parts(tree, pickles))
    if findings or missing:
        raise _unservable(source, (*findings, *missing), _hint(findings, pickles))


def check_config(source: str, tree: Tree, read_head: ReadHead) -> None:
    """Refuse with a SourceError a config.json that is none."""
    only = [file for file in tree if file.path == "config.json"]
    findings = list(_find(Tree.of(only), read_head, _Headers()))
    if findings:
        raise _unservable(source, findings, HINT_BROKEN)


def check_headers(source: str, tree: Tree, read_head: ReadHead) -> Mapping[str, Mapping[str, Tensor]]:
    """The tensors of each safetensors file of the tree, by its path, whose first bytes are here.

    Refuses with one SourceError headers that are broken or do not fit the file, and an index that names
    tensors which are not there.
    """
    headers = _Headers()
    only = [file for file in tree if file.path.endswith((".safetensors", INDEX_SUFFIX))]
    findings = list(_find(Tree.of(only), read_head, headers))
    if findings:
        raise _unservable(source, findings, HINT_BROKEN)
    return headers.tensors


def indexed(content: bytes) -> Mapping[str, str] | None:
    """The file of each tensor by an index of weights, None for what is none."""
    try:
        return _weight_map(json.loads(content))
    except (ValueError, RecursionError):
        return None


def _unservable(source: str, findings: Sequence[str], hint: str) -> SourceError:
    lines = [f"  {line}" for line in findings]
    if len(lines) > _SHOWN:
        lines[_SHOWN:] = [f"  … and {len(lines) - _SHOWN} more"]
    return SourceError("\n".join([f"{source} is not a checkpoint that can be served:", *lines]), hint)


def require_data(source: str, tree: Tree) -> None:
    """Refuse with a SourceError a dataset that has no file to calibrate with."""
    if not len(tree):
        raise SourceError(
            f"{source} has no calibration data",
            "a dataset is one or more *.jsonl, *.json, *.parquet or *.txt files",
        )


def _hint(findings: Sequence[str], pickles: Sequence[str]) -> str:
    if findings:
        return HINT_BROKEN
    if pickles:
        return (
            "pickled weights run code when they are loaded: convert them to safetensors, "
            "or set model.allow_pickle: true if you trust their author"
        )
    return "name a model in Hugging Face format: config.json, tokenizer and *.safetensors in one folder"


def _missing_parts(tree: Tree, pickles: Sequence[str]) -> Iterator[str]:
    names = {file.path for file in tree}
    if not any(path.endswith(".safetensors") or is_pickle(path) for path in names):
        yield _no_weights(names, pickles)
    if "config.json" not in names and "params.json" not in names:
        lora = "adapter_config.json" in names
        yield "config.json is missing" + (" (this is a LoRA adapter, not a whole model)" if lora else "")


def _no_weights(names: set[str], pickles: Sequence[str]) -> str:
    if pickles:
        listed = ", ".join(pickles[:3]) + (f" and {len(pickles) - 3} more" if len(pickles) > 3 else "")
        return f"its only weights are pickles: {listed}"
    if any(path.endswith(".gguf") for path in names):
        return "its only weights are GGUF"
    return "there are no weights (*.safetensors)"


@dataclass
class _Headers:
    """The tensors of each file that could be read, and the files that could not be."""

    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)


def _find(tree: Tree, read_head: ReadHead, headers: _Headers) -> Iterator[str]:
    for file in tree:
        problem = _problem(file, read_head, headers)
        if problem is not None:
            headers.broken.add(file.path)
            yield f"{file.path} {problem}"
    yield from _missing_shards(tree)
    for file in tree:
        if file.path.endswith(INDEX_SUFFIX) and file.path not in headers.broken:
            yield from _index_problems(file, tree, read_head, headers)


def _problem(file: File, read_head: ReadHead, headers: _Headers) -> str | None:
    if file.size == 0:
        return "is empty" if file.path.endswith(_NEVER_EMPTY) else None
    start = read_head(file, 512)
    if start is None:
        return None
    if start.startswith(_LFS):
        return "is a Git LFS pointer, not the file itself"
    if _HTML.match(start) and not file.path.endswith((".jinja", ".py")):
        return "is an HTML page, not the file itself"
    if file.path.endswith(".safetensors"):
        return _safetensors_problem(file, read_head, headers)
    if file.path.endswith(".json"):
        return _json_problem(file, start, read_head)
    return None


def _safetensors_problem(file: File, read_head: ReadHead, headers: _Headers) -> str | None:
    try:
        headers.tensors[file.path] = read_header(lambda count: read_head(file, count) or b"", file.size)
    except BrokenHeaderError as error:
        return str(error)
    return None


def _json_problem(file: File, start: bytes, read_head: ReadHead) -> str | None:
    limit = INDEX_LIMIT if file.path.endswith(".index.json") else JSON_LIMIT
    if file.size > limit:
        return None if start.lstrip()[:1] in (b"{", b"[") else "is not JSON"
    content = read_head(file, file.size) or b""
    if len(content) < file.size:
        return f"is cut short: {len(content)} of {file.size} bytes"
    try:
        value = json.loads(content)
    except ValueError as error:
        return f"is not JSON: {_where(error)}"
    except RecursionError:
        return "is not JSON: nested too deeply"
    if file.path == "config.json" and not isinstance(value, dict):
        return "is not a JSON object"
    return None


def _where(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (line {error.lineno} column {error.colno})"
    return "not UTF-8"


def _missing_shards(tree: Tree) -> Iterator[str]:
    """Shards that the numbers in the other shards' names promise; for checkpoints without an index."""
    names = {file.path for file in tree}
    for stem, count, suffix in sorted(
        {
            (match["stem"], int(match["count"]), match["suffix"])
            for name in names
            if (match := _SHARD.match(name))
        }
    ):
        index = f"{stem}{suffix}.index.json"
        if index in names:
            continue
        for number in range(1, count + 1):
            name = f"{stem}-{number:05}-of-{count:05}{suffix}"
            if name not in names:
                yield f"{name} is missing: other shards name it as one of {count}"


def _index_problems(index: File, tree: Tree, read_head: ReadHead, headers: _Headers) -> Iterator[str]:
    content = read_head(index, index.size)
    if content is None or index.size > INDEX_LIMIT:
        return
    weight_map = _weight_map(json.loads(content))
    if weight_map is None:
        yield f"{index.path} has no weight_map of tensor names to file names"
        return
    folder = PurePosixPath(index.path).parent
    names = {file.path for file in tree}
    for shard in sorted(set(weight_map.values())):
        path = (folder / shard).as_posix()
        if path not in names:
            yield f"{path} is missing: {index.path} names it"
        elif path in headers.tensors:
            named = {tensor for tensor, place in weight_map.items() if place == shard}
            yield from _missing_tensors(path, index.path, sorted(named - headers.tensors[path].keys()))


def _weight_map(index: Any) -> dict[str, str] | None:
    match index:
        case {"weight_map": dict() as weight_map} if weight_map:
            return weight_map if all(isinstance(place, str) for place in weight_map.values()) else None
    return None


def _missing_tensors(path: str, index: str, tensors: Sequence[str]) -> Iterator[str]:
    if tensors:
        more = f" and {len(tensors) - 1} more" if len(tensors) > 1 else ""
        yield f"{path} lacks the tensor {tensors[0]!r}{more}, which {index} says it holds"
