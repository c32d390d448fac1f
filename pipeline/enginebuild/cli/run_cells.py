"""`enginebuild run` for several: cells of a matrix, or several recipes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from enginebuild.bases import Bases
from enginebuild.cell_process import Ended
from enginebuild.cell_runs import CellResult, CellRuns
from enginebuild.cli.asked import Asked
from enginebuild.cli.tools import Tools, opened
from enginebuild.errors import EngineBuildError, Exit
from enginebuild.events import Event, Note, Progress, Report, in_cell
from enginebuild.lock_file import LockFile, write_lock_file
from enginebuild.locking import Cells, Locked, lock_cells
from enginebuild.recipe import Recipe
from enginebuild.run import is_here
from enginebuild.runners.machine import this_machine
from enginebuild.terminable import terminable
from enginebuild_cache import Json

_WIDTH = 100


@dataclass(frozen=True)
class _ToBuild:
    """A cell that needs a process of its own, and the lock that it builds from."""

    recipe: Recipe
    resolved: Path


def run_cells(files: Sequence[Cells], asked: Asked, parallel: int | None, *, fail_fast: bool) -> None:
    """Deliver all, and say in one table what became of each. Raises the class of the first failure."""
    cells = [cell for file in files for cell in file.chosen]
    with (
        terminable(),
        tempfile.TemporaryDirectory(prefix="enginebuild-") as folder,
        opened(Path(), asked.cache_dir, jobs=asked.jobs, as_json=asked.as_json) as tools,
        tools.store.lease(),
    ):
        for cell in cells:
            # These raise for what an option lacks or cannot be.
            asked.places(cell, several=True)
            asked.shared(cell, tools)
        found = [
            each
            for number, file in enumerate(files)
            for each in _found(file, asked, tools, Path(folder, f"{number}.lock"))
        ]
        results = _built(found, asked, tools.output, parallel, fail_fast=fail_fast)
        document: dict[str, Json] = {
            "cells": [result.to_json() for result in results],
            "failed": sum(result.status == "failed" for result in results),
        }
        tools.output.result(tuple(_table(results)), document)
    _raise_first(results)


def _built(
    found: Sequence[CellResult | _ToBuild],
    asked: Asked,
    report: Report,
    parallel: int | None,
    *,
    fail_fast: bool,
) -> list[CellResult]:
    """What became of all, in their order: those that are to be built run now."""
    waiting = {each.recipe.name: each for each in found if isinstance(each, _ToBuild)}
    failed = any(isinstance(each, CellResult) and each.status == "failed" for each in found)
    runs = CellRuns(
        lambda recipe: asked.words(recipe, waiting[recipe.name].resolved),
        parallel or max(1, len(this_machine().gpus)),
        fail_fast,
        report,
        over=fail_fast and failed,
    )
    made = iter(runs.run([each.recipe for each in waiting.values()]))
    return [next(made) if isinstance(each, _ToBuild) else each for each in found]


def _found(cells: Cells, asked: Asked, tools: Tools, resolved: Path) -> list[CellResult | _ToBuild]:
    """The cells of one file: what fails now, what is here and delivered now, and what is to be built."""
    at = replace(tools, bases=Bases(cells.chosen[0].folder, tools.registry))
    locks = lock_cells(cells, at.store, at.bases, at.output, locked=asked.locked, keep=asked.keeps_lock)
    if known := [each.lock for each in locks if isinstance(each, Locked)]:
        write_lock_file(resolved, LockFile.of(known))
    return [_of(recipe, lock, asked, at, resolved) for recipe, lock in zip(cells.chosen, locks, strict=True)]


def _of(
    recipe: Recipe, lock: Locked | EngineBuildError, asked: Asked, tools: Tools, resolved: Path
) -> CellResult | _ToBuild:
    report = in_cell(recipe.name, tools.output)
    begun = time.monotonic()
    try:
        if isinstance(lock, EngineBuildError):
            raise lock
        if not is_here(lock, tools.store, tools.bases, report):
            return _ToBuild(recipe, resolved)
        built = asked.build(lock, tools, asked.places(recipe, several=True), _quiet(report))
    except EngineBuildError as error:
        report(Note(error.message + (f"\nhint: {error.hint}" if error.hint else ""), "error"))
        return CellResult.of_error(recipe, error)
    return CellResult(recipe, "cached", Ended(Exit.DONE, time.monotonic() - begun, built.to_json()))


def _quiet(report: Report) -> Report:
    """What moves and what needs attention: of a thousand cells that are all here nobody reads the steps."""

    def told(event: Event) -> None:
        if isinstance(event, Note | Progress):
            report(event)

    return told


def _table(results: Sequence[CellResult]) -> list[str]:
    width = max(len(result.recipe.name) for result in results)
    lines = []
    for result in results:
        said = " ".join(result.names) or result.ended.message.partition("\n")[0]
        code = f" (exit {int(result.ended.exit)})" if result.status == "failed" else ""
        lines.append(
            f"{result.recipe.name:<{width}}  {result.status:<7}{code}  {result.ended.seconds:7.1f} s  {said}"
        )
    return lines


def _raise_first(results: Sequence[CellResult]) -> None:
    failed = [result for result in results if result.status == "failed"]
    if not failed:
        return
    error = EngineBuildError(f"{len(failed)} of {len(results)} failed: {_names(failed)}")
    error.exit = failed[0].ended.exit
    raise error


def _names(failed: Sequence[CellResult]) -> str:
    names = ", ".join(result.recipe.name for result in failed)
    return names if len(names) <= _WIDTH else f"{names[:_WIDTH]}…"
