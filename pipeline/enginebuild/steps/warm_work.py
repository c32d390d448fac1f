"""Making a compile cache: two starts of the finished image, the second from what the first one left."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from enginebuild.engines.vllm import warm
from enginebuild.errors import StepError
from enginebuild.events import Note, Report
from enginebuild.recipe.warming import Warming
from enginebuild.step import Result
from enginebuild.steps.commands import LOG, LOG_FILE
from enginebuild.steps.warm_start import NAME, FailedStartError, Started, Starter
from enginebuild.steps.warmth import Warmth
from enginebuild.verify.server import Subject
from enginebuild_cache import Digest, File, Json, Store, Tree, canonical_json
from enginebuild_images.image import Image
from enginebuild_images.index import Variant

if TYPE_CHECKING:  # imports Docker's SDK: slow
    from enginebuild.runners.served import Start

_REFUSED = "an unproven cache is not shipped; warm: false builds without one"


@dataclass(frozen=True)
class WarmWork:
    """One run of the step for the recipe `name`, in the workspace `folder`.

    `image` is the finished one without a cache; `stack` ends what is started.
    """

    name: str
    warming: Warming
    warmth: Warmth
    image: Image
    folder: Path
    store: Store
    report: Report
    stack: ExitStack

    def result(self, key: Digest) -> Result:
        from enginebuild.runners.served import Start

        hardware = self.warmth.hardware
        assert hardware is not None
        starter = self._starter()
        seed = self.folder / "seed"
        cache = seed / warm.FILES
        cache.mkdir(parents=True)
        self._say("starting the image for its compile cache")
        cold = self._started(starter, Start(NAME), cache, "it did not come up without its cache")
        count, size = len(warm.entries(cold.files)), sum(path.stat().st_size for path in _files(cache))
        if not count:
            raise self._refusal("the server left no compile cache", cold.log)
        about: dict[str, Json] = {"key": str(key), "hardware": hardware.to_json()}
        self._write(seed, about)
        self._say(f"compiled in {cold.seconds:.0f} s to the first completion; starting it from that cache")
        words = warm.warm_entrypoint(_entrypoint(starter.subject))
        variables = warm.FORCED if hardware.kind == "gpu" else {}
        how = Start(NAME, variables, words, self._archive(seed))
        warmed = self._started(starter, how, None, "it did not come up from its cache")
        found = warm.proof(hardware.kind, warmed.log.decode("utf-8", "replace"), cold.files, warmed.files)
        if found not in ("aot", "inductor"):
            raise self._refusal(f"the compile cache does not hit: {found}", warmed.log)
        about |= {"proven": found, "entries": count, "bytes": size}
        self._write(seed, about)
        self._say(f"{warmed.seconds:.0f} s with the cache, proven: {found}")
        return self._kept(seed, about, cold, warmed)

    def _starter(self) -> Starter:
        from enginebuild.runners.served import gpus_for, loaded, reserved_gpus

        config = Variant(self.image, {}).config.get("config")
        subject = Subject(self.name, str(self.image.digest), config if isinstance(config, dict) else {})
        need = self.warmth.need
        if subject.is_for_gpus and not need.wanted:
            raise StepError(
                "warm starts the image on its GPU, and the recipe names none",
                "add gpu, such as gpu: H100-SXM-80GB, or take a base for CPUs",
            )
        gpus, missing = gpus_for(need)
        if missing:
            raise StepError(f"the step warm cannot start: {'; '.join(missing)}")
        try:
            name = self.stack.enter_context(loaded(self.image, self.report, NAME))
        except StepError as error:
            raise StepError(error.message.replace("verified", "warmed"), error.hint) from error
        gpus = self.stack.enter_context(reserved_gpus(gpus, name, NAME, self.report))
        return Starter(name, subject, self.warming, gpus, self.report)

    def _started(self, starter: Starter, how: Start, cache: Path | None, trouble: str) -> Started:
        try:
            return starter.start(how, cache)
        except FailedStartError as error:
            lines = [f"{trouble}: {error}"]
            if last := error.lines():
                lines += ["the last lines of its log:", *(f"  {line}" for line in last)]
            raise self._refusal("\n".join(lines), error.log) from error

    def _refusal(self, why: str, log: bytes) -> StepError:
        when = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        kept = self.store.logs / f"{NAME}-{when}"
        kept.mkdir(parents=True)
        (kept / LOG_FILE).write_bytes(log)
        return StepError(
            f"the step warm failed: {why}", f"{_REFUSED}\nthe server's whole log is {kept / LOG_FILE}"
        )

    def _write(self, seed: Path, about: Mapping[str, Json]) -> None:
        (seed / warm.ABOUT).write_bytes(canonical_json(dict(about)))

    def _archive(self, seed: Path) -> Path:
        """The seed as the image will have it: owned by root, and read by everybody."""

        def entry(info: tarfile.TarInfo) -> tarfile.TarInfo:
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mode = 0o755 if info.isdir() else 0o644
            return info

        path = self.folder / "seed.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(seed, warm.SEED.lstrip("/"), filter=entry)
        return path

    def _kept(self, seed: Path, about: Mapping[str, Json], cold: Started, warmed: Started) -> Result:
        log = b"".join((b"--- without a cache\n", cold.log, b"--- from the cache\n", warmed.log))
        tree = self.store.collect(seed)
        provenance: dict[str, Json] = {
            **about,
            "seconds": {"cold": round(cold.seconds, 1), "warm": round(warmed.seconds, 1)},
        }
        kept = Tree.of([File(LOG_FILE, self.store.put_bytes(log), len(log))])
        return Result(tree, {NAME: provenance}, {LOG: kept})

    def _say(self, text: str) -> None:
        self.report(Note(f"{NAME}: {text}"))


def _entrypoint(subject: Subject) -> tuple[str, ...]:
    words = subject.config.get("Entrypoint")
    return tuple(map(str, words)) if isinstance(words, list) else ()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
