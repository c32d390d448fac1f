"""Which versions of TensorRT-LLM exist, what each can do and what belongs to it: versions.json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from enginebuild.errors import Problem

#: `engine`: trtllm-build compiles an engine. `pytorch`: a Hugging Face checkpoint is served as it is.
Mode = Literal["engine", "pytorch"]

#: The newest version that is no candidate, and the newest of all that compiles engines.
STABLE = "1.2.1"
LAST_WITH_ENGINES = "1.3.0rc20"

_FILE = Path(__file__).parent / "versions.json"
_RELEASE_IMAGE = "nvcr.io/nvidia/tensorrt-llm/release"
_TRITON_IMAGE = "nvcr.io/nvidia/tritonserver"


@dataclass(frozen=True, slots=True)
class Release:
    """One version. `tensorrt`, `cuda` and `driver` (Linux) are None where they are not known.

    `triton_tags` are Triton's releases with this version, newest last (`26.07`). `tables` are the option
    tables that stand for it: its own if `exact`, else one other's, or the two around it. `published`: whether
    there are packages of it and not only source, None where that is not known.
    """

    version: str
    modes: tuple[Mode, ...]
    tensorrt: str | None
    cuda: str | None
    driver: str | None
    triton_tags: tuple[str, ...]
    tables: tuple[str, ...]
    exact: bool
    published: bool | None

    @property
    def triton_images(self) -> tuple[str, ...]:
        """The references of Triton's images with this version, newest last."""
        return tuple(f"{_TRITON_IMAGE}:{tag}-trtllm-python-py3" for tag in self.triton_tags)

    @property
    def triton_image(self) -> str | None:
        """The newest of them."""
        return self.triton_images[-1] if self.triton_tags else None


def _release(entry: Mapping[str, Any]) -> Release:
    return Release(
        version=entry["version"],
        modes=tuple(entry["modes"]),
        tensorrt=entry.get("tensorrt"),
        cuda=entry.get("cuda"),
        driver=entry.get("driver"),
        triton_tags=tuple(entry.get("triton", ())),
        tables=tuple(entry["tables"]),
        exact=entry.get("exact", False),
        published=entry["published"],
    )


@cache
def releases() -> Mapping[str, Release]:
    """Every version, oldest first. Reads the file once."""
    entries = json.loads(_FILE.read_text(encoding="utf-8"))["releases"]
    return MappingProxyType({entry["version"]: _release(entry) for entry in entries})


def release(version: str) -> Release | None:
    return releases().get(version)


def default_mode(version: str, has_build: bool) -> Mode:
    """The mode of a recipe that names none: who gives build options wants an engine, others get the version's
    own default, PyTorch since 1.0. Whether the version can do that is for the check to say.
    """
    known = release(version)
    if has_build or (known is not None and "pytorch" not in known.modes):
        return "engine"
    return "pytorch"


def release_image(version: str) -> str:
    """NVIDIA's image with the library, its commands and its examples."""
    return f"{_RELEASE_IMAGE}:{version}"


def spans(versions: Iterable[str]) -> str:
    """Versions in words, three neighbours and more as one: `0.12.0 to 0.14.0, 1.2.1`."""
    known = list(releases())
    runs: list[list[str]] = []
    for version in sorted(versions, key=known.index):
        if runs and known.index(runs[-1][-1]) + 1 == known.index(version):
            runs[-1].append(version)
        else:
            runs.append([version])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def check_version(version: str) -> Problem | None:
    """Why no such version of TensorRT-LLM can be built for, None if it can."""
    if version in releases():
        return None
    message = f"TensorRT-LLM {version} is not a version that enginebuild knows"
    return Problem(("engine", "version"), message, _version_hint(version))


def _version_hint(version: str) -> str:
    plain = re.sub(r"[-._]?(rc|post)[-._]?(?=\d)", r"\1", version.lower().strip().removeprefix("v"))
    plain = re.sub(r"(?<=\d)post", ".post", plain)
    if plain in releases():
        without = ", without the v" if version[:1] in "vV" and plain == version[1:] else ""
        return f"write {plain}{without}"
    whole = _of_minor(plain)
    if whole and plain.count(".") == 1:
        return f"write all three parts: {_newest(whole)}"
    if whole and all("rc" in each for each in whole):
        return f"there are only candidates of it yet: {spans(whole)}"
    known = f"known versions: {spans(releases())}"
    return f"{known}; of that minor version, {spans(whole)}" if whole else known


def _newest(versions: list[str]) -> str:
    final = [each for each in versions if "rc" not in each and each.count(".") == 2]
    return (final or versions)[-1]


def _of_minor(version: str) -> list[str]:
    minor = re.match(r"\d+\.\d+(?=\.|\Z)", version)
    return [each for each in releases() if minor and each.startswith(f"{minor[0]}.")]
