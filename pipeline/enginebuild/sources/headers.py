"""The headers of a model's safetensors files: name, dtype and shape of every tensor, without the weights.

A file begins with its header (safetensors.py). Of files that are not here it is asked for by range requests,
as much as the index of weights lets expect, and the rest where that was too little. A server that gives no
ranges is read to the end of the header and no further. What came is kept as a record, keyed by the digests of
the files: a commit's headers never change.

A header is held against the size that the Hub lists for its file. That its bytes are those of the digest is
known only of a whole file; once a file is in the store, its own header counts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from enginebuild.errors import SourceError
from enginebuild.sources import folder, hub_words
from enginebuild.sources.checkpoint import INDEX_LIMIT, INDEX_SUFFIX, check_headers, indexed
from enginebuild.sources.heads import read_first
from enginebuild.sources.hub import Hub
from enginebuild.sources.model import ModelRequest, ReadHead, hub_repository
from enginebuild.sources.origin import JOBS, PATIENCE, Body, Patience, RemoteFile, TransientError
from enginebuild.sources.safetensors import BrokenHeaderError, Tensor, read_header
from enginebuild_cache import Digest, File, Json, Record, Store, Tree

#: What is asked for first of a file of whose tensors nothing is known: about 300 of them.
FIRST = 32 << 10
#: Bytes of a header's entry beside the tensor's name: dtype, shape and offsets of ten digits.
_ENTRY = 96
#: The name of the records.
STEP = "headers"


class UnavailableError(SourceError):
    """The Hub does not answer now; a later try may succeed."""


@dataclass(frozen=True, slots=True)
class Headers:
    """All tensors that a server would load. `fetched`: bytes that came for it, in so many `requests`."""

    tensors: tuple[Tensor, ...]
    files: int
    fetched: int = 0
    requests: int = 0


def headers_at_hand(request: ModelRequest, tree: Tree, store: Store) -> Headers | None:
    """Without a network: of stored files, or of headers that were asked for before.

    None where one is neither, or where there are no safetensors. Raises SourceError for broken ones.
    """
    index = _index(tree, store)
    files = _weights(tree, index)
    heads = {} if all(store.has(file.digest) for file in files) else _recorded(files, store)
    if not files or heads is None:
        return None
    return _checked(request, tree, files, _reader(store, heads))


def folder_headers(request: ModelRequest) -> Headers | None:
    """Of a folder on this machine, looked at where it lies. Raises SourceError."""
    places = folder.selected(request)
    sizes = {path: place.stat().st_size for path, place in places.items()}
    tree = Tree.of(File(path, _NO_DIGEST, size) for path, size in sizes.items())
    index = _index_of(tree)
    files = _weights(tree, None if index is None else indexed(read_first(places[index.path], INDEX_LIMIT)))
    if not files:
        return None
    return _checked(request, tree, files, lambda file, count: read_first(places[file.path], count))


def ask_headers(
    request: ModelRequest, commit: str | None, tree: Tree, store: Store, patience: Patience = PATIENCE
) -> Headers | None:
    """What is not at hand is asked of the Hub; None for a model without safetensors.

    Raises SourceError, UnavailableError where patience ended, CacheError.
    """
    if (found := headers_at_hand(request, tree, store)) is not None:
        return found
    repository, index = hub_repository(request.source), _index(tree, store)
    files = _weights(tree, index)
    if repository is None or not files:
        return None
    hub = Hub(request, repository, commit)
    absent = [file for file in files if not store.has(file.digest)]
    asked = _ask(hub, absent, _expected(index), patience)
    heads = {each.file.digest: each.head for each in asked}
    checked = _checked(request, tree, files, _reader(store, heads))
    _keep(request, files, store, heads)
    return Headers(
        checked.tensors,
        checked.files,
        sum(each.fetched for each in asked),
        sum(each.requests for each in asked),
    )


_NO_DIGEST = Digest("0" * 64)


def _weights(tree: Tree, index: Mapping[str, str] | None) -> list[File]:
    """The files that engines load: those that an index names, else all at the top."""
    named = None if index is None else set(index.values())
    return [
        file
        for file in tree
        if file.path.endswith(".safetensors")
        and "/" not in file.path
        and (named is None or file.path in named)
    ]


def _index(tree: Tree, store: Store) -> Mapping[str, str] | None:
    file = _index_of(tree)
    return indexed(store.read_bytes(file)) if file is not None and store.has(file.digest) else None


def _index_of(tree: Tree) -> File | None:
    """The index at the top, Hugging Face's own before Mistral's; None for none of a likely size."""
    found = [file for file in tree if _is_index(file) and file.size <= INDEX_LIMIT]
    return max(found, key=lambda file: file.path == f"model{INDEX_SUFFIX}", default=None)


def _is_index(file: File) -> bool:
    return file.path.endswith(INDEX_SUFFIX) and "/" not in file.path


def _expected(index: Mapping[str, str] | None) -> Mapping[str, int]:
    """Bytes that each file's header likely has, by the names of its tensors."""
    sizes: dict[str, int] = {}
    for tensor, path in (index or {}).items():
        sizes[path] = sizes.get(path, 128) + len(tensor.encode()) + _ENTRY
    return sizes


def _reader(store: Store, heads: Mapping[Digest, bytes]) -> ReadHead:
    def read(file: File, count: int) -> bytes | None:
        if store.has(file.digest):
            return read_first(store.path(file), count)
        head = heads.get(file.digest)
        return None if head is None else head[:count]

    return read


def _checked(request: ModelRequest, tree: Tree, files: Sequence[File], read: ReadHead) -> Headers:
    paths = {file.path for file in files}
    looked = Tree.of(file for file in tree if file.path in paths or file == _index_of(tree))
    found = check_headers(request.source, looked, read)
    tensors = tuple(tensor for path in sorted(paths) for tensor in found[path].values())
    return Headers(tensors, len(files))


def _document(files: Iterable[File]) -> dict[str, Json]:
    return {"step": STEP, "fields": {"files": Tree.of(files).to_json()}}


def _recorded(files: Sequence[File], store: Store) -> Mapping[Digest, bytes] | None:
    record = store.record(Digest.of_json(_document(files)))
    if record is None:
        return None
    return {file.digest: store.read_bytes(record.tree.file(file.path)) for file in files}


def _keep(request: ModelRequest, files: Sequence[File], store: Store, heads: Mapping[Digest, bytes]) -> None:
    """The headers of all files, those that were in the store too: they may leave it."""
    kept = []
    for file in files:
        head = heads.get(file.digest) or _head(partial(read_first, store.path(file)))
        kept.append(File(file.path, store.put_bytes(head), len(head)))
    document = _document(files)
    store.put_record(
        Record(Digest.of_json(document), STEP, document, Tree.of(kept), {"subject": request.source})
    )


def _head(read: Callable[[int], bytes]) -> bytes:
    return read(8 + int.from_bytes(read(8), "little"))


@dataclass
class _Asked:
    """The beginning of a file of the Hub, as far as it was asked for; `first` bytes to begin with."""

    hub: Hub
    file: File
    first: int
    patience: Patience
    stop: threading.Event
    content: bytearray = field(default_factory=bytearray)
    fetched: int = 0
    requests: int = 0

    @property
    def head(self) -> bytes:
        """The length and the header; of a broken one what came."""
        return _head(lambda count: bytes(self.content[:count]))

    def ask(self) -> _Asked:
        """Bring the header in. Raises SourceError. One that is broken is left to the check of all."""
        with suppress(BrokenHeaderError):
            read_header(self._read, self.file.size)
        return self

    def _read(self, count: int) -> bytes:
        if len(self.content) < count:
            self._until(min(max(count, self.first), self.file.size))
        return bytes(self.content[:count])

    def _until(self, end: int) -> None:
        failures = 0
        while len(self.content) < end and not self.stop.is_set():
            before = len(self.content)
            try:
                with self.hub.open(self.file.path, before, end) as body:
                    self.requests += 1
                    self._receive(body, before, end)
                if len(self.content) < end:
                    raise hub_words.wrong_size(
                        self.hub.name, self.file.path, end - before, len(self.content) - before
                    )
            except TransientError as error:
                failures = failures + 1 if len(self.content) <= before else 1
                if failures >= self.patience.attempts or error.refused:
                    raise UnavailableError(error.final.message, error.final.hint) from error
                self.stop.wait(self.patience.pause(failures, error.wait))

    def _receive(self, body: Body, before: int, end: int) -> None:
        name, path, size = self.hub.name, self.file.path, self.file.size
        if body.offset not in (0, before):
            raise hub_words.wrong_range(name, path, before, body.offset)
        if body.total is not None and body.total != size:
            raise hub_words.wrong_size(name, path, size, body.total)
        if body.offset != before:
            self.content.clear()
        endless = body.length is None or body.offset + body.length > end
        for chunk in body.chunks:
            self.content += chunk
            self.fetched += len(chunk)
            if endless and len(self.content) >= end:
                break  # the connection is closed, with all that the server would still send


def _ask(hub: Hub, files: Sequence[File], expected: Mapping[str, int], patience: Patience) -> list[_Asked]:
    """Of each file, as many at once as are downloaded at once; the first failure ends them all."""
    stop = threading.Event()
    asked = []
    for file in files:
        each = _Asked(hub, file, expected.get(file.path, FIRST), patience, stop)
        copy = hub.cached(RemoteFile(file.path, file.size, "", file.digest.hex))
        if copy is not None:
            with suppress(BrokenHeaderError, OSError):
                read_header(partial(read_first, Path(copy)), file.size)
                each.content += _head(partial(read_first, Path(copy)))
        asked.append(each)
    absent = [each for each in asked if not each.content]
    if absent and hub.forbidden_by:
        raise hub.offline([each.file.path for each in absent])
    with ThreadPoolExecutor(JOBS, "headers") as pool:
        try:
            return [*pool.map(_Asked.ask, asked)]
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
