"""How our layers are compressed: not at all, by gzip, by zstd, or where a sample says that it pays.

Compressed bytes are a function of the layer and of the compressing library: the level is fixed, gzip's header
has neither name nor time, and a compressor is always fed in equal pieces. The library's version is part of a
`Method`, since another one may give other bytes, and with it of every key that stands for such bytes.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from enginebuild_cache import File, Json
from enginebuild_images.base import Base
from enginebuild_images.blob import LAYER_GZIP, LAYER_ZSTD
from enginebuild_images.errors import ImageError
from enginebuild_images.layer import Layer
from enginebuild_images.pieces import in_chunks

if TYPE_CHECKING:
    from types import ModuleType

Choice = Literal["none", "gzip", "zstd", "auto"]
Format = Literal["gzip", "zstd"]

#: `auto` compresses a layer whose sample shrinks by at least this share. At level 1 of zlib, bfloat16 weights
#: (SmolLM2-135M) shrink by 0.17, JSON by 0.7 and more, quantized weights by next to nothing.
SAVING = 0.2
#: Bytes that `auto` reads at each of three places of a layer, and the least that it looks at.
SAMPLE = 64 << 10

_MEDIA_TYPES: Mapping[Format, str] = {"gzip": LAYER_GZIP, "zstd": LAYER_ZSTD}
#: The levels that gzip and zstd themselves use. Higher ones cost several times as much for a percent.
_LEVELS: Mapping[Format, int] = {"gzip": 6, "zstd": 3}
_SAMPLES = 3
_GZIP_WINDOW = 31  # zlib's word for a window of 32 KiB in gzip's frame

#: The Engine reads zstd since 23.0 (moby #41759). 20.10.24 takes it for a plain tar and fails with one or the
#: other of these words (test_compression_engines.py).
ZSTD_WARNING = (
    "image.compression is zstd: Docker Engines before 23.0 cannot pull the image and stop with 'invalid tar "
    "header' or 'unexpected EOF'; every engine reads gzip and none"
)


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Method:
    """A way to compress. `library` is what does it, with its version: "zlib 1.2.13"."""

    name: Format
    level: int
    library: str

    @classmethod
    def of(cls, name: Format) -> Method:
        """The method with the library of this process. Raises ImageError if it has none."""
        library = f"zlib {zlib.ZLIB_RUNTIME_VERSION}" if name == "gzip" else f"libzstd {_zstd().zstd_version}"
        return cls(name, _LEVELS[name], library)

    @property
    def media_type(self) -> str:
        return _MEDIA_TYPES[self.name]

    def compress(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The bytes compressed, in pieces of at most 1 MiB. Raises ImageError if the library is missing."""
        return in_chunks(self._compressed(pieces))

    def _compressed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        compressor = self._compressor()
        for piece in in_chunks(pieces):  # a compressor's answer may hang on how it is fed
            yield compressor.compress(piece)
        yield compressor.flush()

    def _compressor(self) -> _Compressor:
        if self.name == "gzip":
            return zlib.compressobj(self.level, zlib.DEFLATED, _GZIP_WINDOW)
        return cast("_Compressor", _zstd().ZstdCompressor(level=self.level))

    def to_json(self) -> dict[str, Json]:
        return {"name": self.name, "level": self.level, "library": self.library}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Method:
        """Read what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        name, level = value["name"], value["level"]
        if name not in _MEDIA_TYPES:
            raise ValueError(f"a layer is compressed by {name!r}")
        if not isinstance(level, int) or isinstance(level, bool):
            raise TypeError(f"not a level of compression: {level!r}")
        return cls(cast("Format", name), level, str(value["library"]))


def key_fields(choice: Choice) -> dict[str, Json]:
    """What decides the bytes of compressed layers, for the key of a step; empty for `none`.

    Raises ImageError if the choice is zstd and there is no library for it.
    """
    if choice == "none":
        return {}
    if choice == "auto":
        methods = [Method.of("gzip"), *([Method.of("zstd")] if _has_zstd() else [])]
        policy: dict[str, Json] = {"saving": SAVING, "sample": SAMPLE}
        return {"choice": choice, "methods": [method.to_json() for method in methods], **policy}
    return {"choice": choice, "methods": [Method.of(choice).to_json()]}


def method_for(layer: Layer, choice: Choice, base: Base, path: Callable[[File], Path]) -> Method | None:
    """How a layer is to be compressed; None: not at all. `path` says where a file lies (`Store.path`).

    `auto` takes zstd where the base has zstd layers, since whoever runs the base can read them, else gzip,
    which everybody reads. Raises ImageError if a file cannot be read or there is no library for zstd.
    """
    if choice == "none":
        return None
    if choice != "auto":
        return Method.of(choice)
    return Method.of(base_format(base)) if saving(layer, path) >= SAVING else None


def base_format(base: Base) -> Format:
    """The format in which `auto` compresses on this base."""
    types = (layer.descriptor.media_type for layer in base.layers)
    return "zstd" if any(media_type.endswith("zstd") for media_type in types) else "gzip"


def saving(layer: Layer, path: Callable[[File], Path]) -> float:
    """The share by which a sample of a layer's files shrinks: 0.2 is a fifth.

    The places depend on the files' sizes alone. A layer smaller than one sample is not worth it: 0.
    """
    files = [entry.file for entry in layer.entries]
    total = sum(file.size for file in files)
    if total < SAMPLE:
        return 0.0
    samples = [b"".join(_range(files, start, length, path)) for start, length in _places(total)]
    shrunk = sum(len(zlib.compress(sample, 1)) for sample in samples)
    return 1 - shrunk / sum(map(len, samples))


def _places(total: int) -> list[tuple[int, int]]:
    """Where samples begin and how long they are: in the middle of each third, or all that there is."""
    if total <= _SAMPLES * SAMPLE:
        return [(0, total)]
    return [((2 * third + 1) * (total - SAMPLE) // (2 * _SAMPLES), SAMPLE) for third in range(_SAMPLES)]


def _range(files: list[File], start: int, length: int, path: Callable[[File], Path]) -> Iterator[bytes]:
    """So many bytes from `start` of all files one after another."""
    begins = accumulate(chain([0], (file.size for file in files)))
    for file, begin in zip(files, begins, strict=False):
        first, last = max(start, begin), min(start + length, begin + file.size)
        if first < last:
            yield _read(path(file), first - begin, last - first)


def _read(path: Path, offset: int, length: int) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(length)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error


def _has_zstd() -> bool:
    try:
        _zstd()
    except ImageError:
        return False
    return True


def _zstd() -> ModuleType:
    """Python's own module since 3.14, else its backport, which has the same interface."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise ImageError(
            f"layers cannot be compressed with zstd: Python {version} here has no module for it",
            "pip install enginebuild[zstd], or set image.compression to gzip",
        ) from None
    return zstd
