"""What `enginebuild run` was asked for, beside its recipes: the same for each of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from enginebuild.cli.places import Places
from enginebuild.cli.remote import mounting, shared_of
from enginebuild.cli.runner import made_runner
from enginebuild.run import Built, run

if TYPE_CHECKING:
    from enginebuild.cli.tools import Tools
    from enginebuild.events import Report
    from enginebuild.locking import Locked
    from enginebuild.recipe import Recipe
    from enginebuild.remote.shared import Shared


@dataclass(frozen=True)
class Asked:
    """The options of a run by name. `resolved`: a lock file to read instead of the recipe's own."""

    overrides: Sequence[str]
    cache_dir: Path | None
    locked: bool
    push: bool
    load: bool
    output: Path | None
    cache_from: str | None
    cache_to: str | None
    runner: Literal["docker", "local"] | None
    jobs: int
    as_json: bool
    resolved: Path | None

    @property
    def keeps_lock(self) -> bool:
        """A lock holds what the file says; with --set it would hold what one command line said."""
        return not self.overrides and self.resolved is None

    def places(self, recipe: Recipe, *, several: bool = False) -> Places:
        """Where the image goes; of several, each into a folder of its own. Raises RecipeError."""
        return Places.of(recipe, push=self.push, load=self.load, output=self._output(recipe, several))

    def shared(self, recipe: Recipe, tools: Tools) -> Shared | None:
        """The remote caches. Raises RecipeError for a place that none can be at."""
        return shared_of(recipe, self.cache_from, self.cache_to, tools.registry, self.jobs)

    def build(self, locked: Locked, tools: Tools, places: Places, report: Report) -> Built:
        """Build the image and bring it there. Raises EngineBuildError, CacheError."""
        recipe, shared = locked.recipe, self.shared(locked.recipe, tools)
        return run(
            locked,
            tools.store,
            tools.bases,
            lambda tags: places.publishers(tags, mounting(tools.registry, shared)),
            report,
            jobs=self.jobs,
            repository=places.repository,
            send=places.send(tools.registry),
            elsewhere=shared,
            runner=lambda: made_runner(recipe, tools),
        )

    def words(self, recipe: Recipe, resolved: Path) -> list[str]:
        """The command that does the same for one of several, with the lock that all were given."""
        return [
            *(sys.executable, "-m", "enginebuild", "run", str(recipe.path)),
            *("--cell", recipe.name, "--resolved", str(resolved), "--jobs", str(self.jobs), "--json"),
            *self._options(recipe),
        ]

    def _options(self, recipe: Recipe) -> Iterator[str]:
        for text in self.overrides:
            yield from ("--set", text)
        for option, value in (
            ("--cache-dir", self.cache_dir),
            ("--output", self._output(recipe, several=True)),
            ("--cache-from", self.cache_from),
            ("--cache-to", self.cache_to),
            ("--runner", self.runner),
        ):
            if value is not None:
                yield from (option, str(value))
        yield from (option for option, on in (("--push", self.push), ("--load", self.load)) if on)

    def _output(self, recipe: Recipe, several: bool) -> Path | None:
        return self.output / recipe.name if several and self.output is not None else self.output
