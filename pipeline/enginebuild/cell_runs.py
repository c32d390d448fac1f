"""Several runs at once: each in a process of its own, and a failure of one stops the others only if asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Literal

from enginebuild.cell_process import CellProcess, Ended
from enginebuild.errors import EngineBuildError, Exit
from enginebuild.events import Note, Report, in_cell
from enginebuild.recipe import Recipe
from enginebuild_cache import Json

#: `cached`: nothing was made, everything was here. `skipped`: another cell failed first, with --fail-fast.
Status = Literal["built", "cached", "failed", "skipped"]

#: Seconds that a process has to clean up when it is stopped.
_GRACE = 60.0


@dataclass(frozen=True)
class CellResult:
    """What became of one cell."""

    recipe: Recipe
    status: Status
    ended: Ended

    @classmethod
    def of_error(cls, recipe: Recipe, error: EngineBuildError) -> CellResult:
        return cls(recipe, "failed", Ended(error.exit, 0.0, message=error.message, hint=error.hint))

    def to_json(self) -> dict[str, Json]:
        error: Json = None
        if self.status == "failed":
            error = {"message": self.ended.message, "hint": self.ended.hint or None}
        return {
            "name": self.recipe.name,
            "recipe": str(self.recipe.path),
            "cell": dict(self.recipe.cell),
            "status": self.status,
            "exit": int(self.ended.exit),
            "seconds": round(self.ended.seconds, 3),
            "image": self.ended.result.get("image"),
            "steps": self.ended.result.get("steps"),
            "error": error,
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The image by digest at each place it went to."""
        image = self.ended.result.get("image")
        names = image.get("names") if isinstance(image, dict) else None
        return tuple(str(name) for name in names) if isinstance(names, list) else ()


@dataclass
class CellRuns:
    """`words`: the command of a cell's run. `parallel`: how many at the same time.

    `over`: begin nothing any more, for one has failed already.
    """

    words: Callable[[Recipe], Sequence[str]]
    parallel: int
    fail_fast: bool
    report: Report
    over: bool = False
    _processes: list[CellProcess] = field(default_factory=list)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def run(self, cells: Sequence[Recipe]) -> list[CellResult]:
        """In the order of the cells. KeyboardInterrupt stops all of them and is raised again."""
        with ThreadPoolExecutor(self.parallel, "cell") as pool:
            futures = [pool.submit(self._run, cell) for cell in cells]
            try:
                wait(futures)
            except KeyboardInterrupt:
                self._stop_all()
                self._end(futures)
                raise
        return [future.result() for future in futures]

    def _run(self, cell: Recipe) -> CellResult:
        process = CellProcess(self.words(cell))
        with self._mutex:
            if self.over:
                return CellResult(cell, "skipped", Ended(Exit.INTERRUPTED, 0.0))
            self._processes.append(process)
        report = in_cell(cell.name, self.report)
        ended = process.run(report)
        with self._mutex:
            self._processes.remove(process)
            if ended.exit is Exit.INTERRUPTED and self.over:
                return CellResult(cell, "skipped", ended)
        if ended.exit is Exit.DONE:
            return CellResult(cell, "built", ended)
        report(Note(ended.message + (f"\nhint: {ended.hint}" if ended.hint else ""), "error"))
        if self.fail_fast:
            self._stop_all()
        return CellResult(cell, "failed", ended)

    def _stop_all(self) -> None:
        with self._mutex:
            self.over = True
            for process in self._processes:
                process.stop()

    def _end(self, futures: Sequence[Future[CellResult]]) -> None:
        if wait(futures, timeout=_GRACE).not_done:
            with self._mutex:
                for process in self._processes:
                    process.kill()
