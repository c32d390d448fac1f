"""Who takes part: ways to bring a folder into a registry, and the floors below which nobody gets.

A contender is opened anew for every round: no cache, no image, no storage of an earlier round is left, except
where a warm cache is what is measured. Within a round its pushes follow one another, as a user's would.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.images.floor import Plan
from benchmarks.images.meter import Command, measure
from benchmarks.images.services import Running, registry
from benchmarks.images.subject import Subject

SENDER = Path(__file__).with_name("floor_send.py")

#: In the order in which they are run: each of the last three follows the push before it.
CHAIN = ("first", "unchanged", "config", "shard")
FIRSTS = ("first", "small", "compressible")
CASES = (*CHAIN, "small", "compressible")

#: The commands of one push of the subject as it is now; what is not to be measured is done before.
Commands = Callable[[], Sequence[Command]]


@dataclass(frozen=True, slots=True)
class Round:
    """What a contender is given: a folder of its own, the subject, an empty registry, and a kept folder.

    `kept` is the contender's too, and outlives the round.
    """

    folder: Path
    kept: Path
    subject: Subject
    registry: Running

    @property
    def image(self) -> str:
        return f"{self.registry.address}/llm/model:v1"


@dataclass(frozen=True, slots=True)
class Opened:
    """A contender ready to push. `daemons`: processes whose time is a part of its cost."""

    commands: Commands
    daemons: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Contender:
    """`name`: for the command line. `title`: for tables. `cases`: those in which it has something to say."""

    name: str
    title: str
    cases: tuple[str, ...]
    open: Callable[[Round], AbstractContextManager[Opened]]


RECIPE = """\
version: 1
name: model
model: file:{folder}
dtype: float16
engine:
  type: vllm
  version: 0.33.0
  args: {{max_model_len: 256}}
image:
  base: scratch
  repository: {repository}
  tags: [v1]
  compression: {compression}
"""


def _ours(one: Round, cache: Path, registry_address: str, compression: str = "none") -> Command:
    recipe = one.folder / "recipe.yaml"
    text = RECIPE.format(
        folder=one.subject.folder, repository=f"{registry_address}/llm/model", compression=compression
    )
    recipe.write_text(text)
    argv = (sys.executable, "-m", "enginebuild", "run", str(recipe), "--push", "--cache-dir", str(cache))
    # As it is installed: with its modules compiled, which the first push that is not measured sees to.
    return Command(argv, {"PYTHONDONTWRITEBYTECODE": ""})


def _warmed(one: Round, cache: Path) -> None:
    """Everything into the cache and every digest taken, without a push to the registry that is measured."""
    with registry(one.folder / "elsewhere", "standin") as other:
        measure([_ours(one, cache, other.address)], (), ())


@contextmanager
def known(one: Round) -> Iterator[Opened]:
    """The files are in the cache, and with them the digests of their layers, taken as they came in."""
    cache = one.kept / "cache"
    _warmed(one, cache)
    command = _ours(one, cache, one.registry.address)
    yield Opened(lambda: [command])


@contextmanager
def hashed(one: Round) -> Iterator[Opened]:
    """The files are in the cache; no layer's digest is known, as after another grouping of layers."""
    cache = one.kept / "cache"
    _warmed(one, cache)
    for step in ("layer", "image"):
        shutil.rmtree(cache / "records" / step, ignore_errors=True)
    command = _ours(one, cache, one.registry.address)
    yield Opened(lambda: [command])


@contextmanager
def cold(one: Round) -> Iterator[Opened]:
    """An empty cache: the folder is digested, copied into the cache and pushed."""
    command = _ours(one, one.folder / "cache", one.registry.address)
    yield Opened(lambda: [command])


@contextmanager
def compressed(one: Round) -> Iterator[Opened]:
    """An empty cache, and layers compressed where their bytes shrink."""
    command = _ours(one, one.folder / "cache", one.registry.address, "auto")
    yield Opened(lambda: [command])


@contextmanager
def sendfile(one: Round) -> Iterator[Opened]:
    """The same bytes, sent by the kernel, with digests known: nothing is hashed or copied by the client."""
    plan = one.folder / "plan.json"
    Plan.of(one.subject, one.kept).write(plan)
    command = Command((sys.executable, str(SENDER), str(plan), one.registry.address))
    yield Opened(lambda: [command])


@contextmanager
def sha256sum(one: Round) -> Iterator[Opened]:
    """Every byte read and digested once, by coreutils, and nothing sent."""
    paths = sorted(str(path) for path in one.subject.folder.iterdir())
    yield Opened(lambda: [Command(("sha256sum", *paths))])


OURS = (
    Contender("known", "**enginebuild**, digests known", CASES, known),
    Contender("hashed", "enginebuild, digests taken in the pass", FIRSTS, hashed),
    Contender("cold", "enginebuild, empty cache", FIRSTS, cold),
    Contender("compressed", "enginebuild, empty cache, `compression: auto`", ("compressible",), compressed),
)
FLOORS = (
    Contender("sendfile", "floor: the same bytes by sendfile", FIRSTS, sendfile),
    Contender("sha256sum", "floor: `sha256sum`", FIRSTS, sha256sum),
)
