"""What a command works with: the cache, registries and an output, opened once and closed in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from enginebuild.bases import Bases
from enginebuild.cli.options import default_cache_dir
from enginebuild.cli.output import Output, make_output
from enginebuild.events import Progress, Report, silent
from enginebuild_cache import Store

if TYPE_CHECKING:
    from enginebuild_images.registry import Registry


@dataclass(frozen=True)
class Tools:
    """`registry` is made when first asked for: one client, so that a base on the same host is mounted."""

    store: Store
    bases: Bases
    registry: Callable[[], Registry]
    output: Output


@contextmanager
def registries(jobs: int = 4, report: Report = silent) -> Iterator[Callable[[], Registry]]:
    """A client of all registries, made when first asked for, with the credentials that Docker has."""
    with ExitStack() as stack:

        @cache
        def registry() -> Registry:
            from enginebuild_images.credentials import DockerCredentials
            from enginebuild_images.registry import Registry

            return stack.enter_context(
                Registry(
                    DockerCredentials.from_environment(),
                    jobs=jobs,
                    report=lambda label, done, total: report(Progress(label, done, total)),
                )
            )

        yield registry


@contextmanager
def opened(folder: Path, cache_dir: Path | None, *, jobs: int, as_json: bool) -> Iterator[Tools]:
    """`folder` is what relative paths of the recipe are relative to."""
    output = make_output(as_json)
    try:
        with registries(jobs, output) as registry:
            store = Store.open(cache_dir or default_cache_dir())
            yield Tools(store, Bases(folder, registry), registry, output)
    finally:
        output.close()
