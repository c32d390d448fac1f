"""The step `configure`: the engine's configuration, generated from the recipe's typed fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from enginebuild.events import Report
from enginebuild.step import Step
from enginebuild_cache import Digest, File, Json, Store, Tree

CONFIGURE_VERSION = 1


@dataclass(frozen=True)
class WriteFiles:
    """Put generated files into the store."""

    files: Mapping[str, bytes]

    def __call__(self, inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
        for content in self.files.values():
            store.put_bytes(content)
        return tree_of(self.files)


def tree_of(files: Mapping[str, bytes]) -> Tree:
    """The tree that the files make, known before they are written."""
    return Tree.of(File(path, Digest.of(content), len(content)) for path, content in files.items())


def configure_step(fields: Mapping[str, Json], files: Mapping[str, bytes]) -> Step:
    """Keyed by what the files were generated from, so that a miss names an argument and not a line."""
    return Step("configure", CONFIGURE_VERSION, fields, WriteFiles(files), files=files, output=tree_of(files))
