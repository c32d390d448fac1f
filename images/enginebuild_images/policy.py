"""Which files share a layer: one layer per large file, the small ones together, what changes often last.

A registry then keeps every shard of a model once, whatever else an image holds, and a changed setting sends
a few kilobytes. Order follows the paths alone, never the order in which files were named.

Where there are more large files than layers, as many neighbours share a layer as must, always the same number
of them. Groups then depend on that number alone: a base with a layer more or less leaves them as they are, a
changed file sends its own group, and a changed small file no large one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

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
    large, small = _large(stable), _bundles(stable)
    if last and budget > 1:
        return (*_layers(_fitted(large, small, budget - 1), mtime), Layer.of(last, mtime))
    return _layers(_fitted(large, [*small, last] if last else small, budget), mtime)


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


def _fitted(large: list[list[Entry]], small: list[list[Entry]], most: int) -> list[list[Entry]]:
    """Neighbours together, as few in each group as `most` groups allow; large ones apart from small ones."""
    if most == 1 or not large or not small:
        units = [*large, *small]
        return _by(units, -(-len(units) // most))
    share = 1
    while -(-len(large) // share) + -(-len(small) // share) > most:
        share += 1
    return [*_by(large, share), *_by(small, share)]


def _by(units: list[list[Entry]], share: int) -> list[list[Entry]]:
    return [[*chain.from_iterable(units[at : at + share])] for at in range(0, len(units), max(share, 1))]


def _layers(groups: list[list[Entry]], mtime: int) -> tuple[Layer, ...]:
    return tuple(Layer.of(entries, mtime) for entries in groups)
