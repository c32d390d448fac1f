"""Which files share a layer: one layer per large file, the small ones together, what changes often last.

A registry then keeps every shard of a model once, whatever else an image holds, and a changed setting sends
a few kilobytes. Order follows the paths alone, never the order in which files were named.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain, pairwise

from enginebuild_cache import File
from enginebuild_images.errors import ImageError
from enginebuild_images.layer import Entry, Layer, check_paths

#: Files of at least this many bytes have a layer of their own: 64 MiB.
LARGE = 64 << 20
#: Small files are bundled up to about this many bytes a layer: 512 MiB.
BUNDLE = 512 << 20
#: Docker runs at most 125 layers and overlay file systems 128, fewer where paths are long (moby #25957,
#: #26380); base and ours together stay at this number where the base leaves room.
LAYERS = 100
#: Never more than this, base included: deeper images do not run everywhere.
MOST_LAYERS = 120

_LEAST = 8  # layers that a deep base leaves us, as far as MOST_LAYERS allows


def layer_budget(base_layers: int) -> int:
    """How many layers may stand on a base that has so many. Raises ImageError if there is no room."""
    budget = max(LAYERS - base_layers, min(_LEAST, MOST_LAYERS - base_layers))
    if budget < 1:
        raise ImageError(
            f"the base image has {base_layers} layers, and an image cannot have more than {MOST_LAYERS}",
            "squash the base image, or name another one",
        )
    return budget


def group(
    files: Mapping[str, File],
    *,
    budget: int,
    volatile: Mapping[str, File] | None = None,
    executable: Collection[str] = (),
    mtime: int = 0,
) -> tuple[Layer, ...]:
    """At most `budget` layers of files, named by their path in the image, with or without a leading slash.

    `volatile` (small generated files, which change often) are the last layer alone where the budget allows.
    `executable`: paths with the mode 0755 instead of 0644. Raises ImageError for paths that cannot be.
    """
    if budget < 1:
        raise ImageError("no layer is left for the files of the image", "name a base image with fewer layers")
    stable, last = _entries(files, executable), _entries(volatile or {}, executable)
    check_paths(entry.path for entry in (*stable, *last))
    units = [*_large(stable), *_bundles(stable)]
    if last and budget > 1:
        return (*_layers(_evenly(units, budget - 1), mtime), Layer.of(last, mtime))
    return _layers(_evenly([*units, last] if last else units, budget), mtime)


def _entries(files: Mapping[str, File], executable: Collection[str]) -> list[Entry]:
    modes = {path.removeprefix("/"): 0o755 for path in executable}
    entries = []
    for path, file in files.items():
        inside = path.removeprefix("/")
        entries.append(Entry(inside, file, modes.get(inside, 0o644)))
    return sorted(entries)


def _large(entries: Sequence[Entry]) -> list[list[Entry]]:
    return [[entry] for entry in entries if entry.file.size >= LARGE]


def _bundles(entries: Sequence[Entry]) -> list[list[Entry]]:
    bundles: list[list[Entry]] = []
    room = 0
    for entry in entries:
        if entry.file.size >= LARGE:
            continue
        if not bundles or entry.file.size > room:
            bundles.append([])
            room = BUNDLE
        bundles[-1].append(entry)
        room -= entry.file.size
    return bundles


def _evenly(units: list[list[Entry]], most: int) -> list[list[Entry]]:
    """Neighbours together, so that at most `most` groups remain and none has two units more than another."""
    count = min(len(units), most)
    edges = [position * len(units) // count for position in range(count + 1)] if count else [0]
    return [[*chain.from_iterable(units[start:end])] for start, end in pairwise(edges)]


def _layers(groups: list[list[Entry]], mtime: int) -> tuple[Layer, ...]:
    return tuple(Layer.of(entries, mtime) for entries in groups)
