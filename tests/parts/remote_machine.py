"""A machine with a cache of its own that builds one small recipe, with or without a remote cache."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from enginebuild.bases import Bases
from enginebuild.events import Event, Note
from enginebuild.locking import Cells, Locked, lock_cells
from enginebuild.publish.layout import LayoutPublisher
from enginebuild.recipe import read
from enginebuild.remote.cache import RemoteCache
from enginebuild.remote.place import Place
from enginebuild.remote.shared import Shared
from enginebuild.run import Built, run
from enginebuild_cache import Store
from enginebuild_images.registry import Registry
from parts import recipes

#: The steps whose records travel.
STEPS = ("fetch", "configure", "image")


@dataclass
class Machine:
    """`folder` has recipe, model, store and the image's layout. `notes` are the last build's."""

    folder: Path
    notes: list[Note] = field(default_factory=list)

    @classmethod
    def at(cls, folder: Path) -> Machine:
        """A machine with a recipe of a local model, and nothing else."""
        shutil.copytree(recipes.QUICKSTART_MODEL, folder / "model")
        recipes.write(folder, "file:./model")
        return cls(folder)

    @property
    def store(self) -> Store:
        return Store.open(self.folder / "store")

    @property
    def warnings(self) -> list[str]:
        return [note.text for note in self.notes if note.level == "warning"]

    def build(self, source: Place | None = None, target: Place | None = None) -> Built:
        """Run the recipe into a layout that did not exist before."""
        self.notes.clear()
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        bases, cells = Bases(self.folder, _no_registry), Cells([read(self.folder / "tiny.yaml")])
        (locked,) = lock_cells(cells, self.store, bases, self._hear, keep=False)
        assert isinstance(locked, Locked), locked
        return run(
            locked,
            self.store,
            bases,
            lambda tags: [LayoutPublisher(self.folder / "out", tags)],
            self._hear,
            elsewhere=Shared(
                RemoteCache(source) if source is not None else None,
                RemoteCache(target) if target is not None else None,
            ),
        )

    def statuses(self, built: Built) -> dict[str, str]:
        return {outcome.step: outcome.status for outcome in built.outcomes if outcome.step in STEPS}

    def _hear(self, event: Event) -> None:
        if isinstance(event, Note):
            self.notes.append(event)


def _no_registry() -> Registry:
    raise AssertionError("this build needs no registry of its own")
