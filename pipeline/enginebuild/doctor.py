"""`enginebuild doctor` without its command line: what an engine or an image needs, against this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from enginebuild.engines.tensorrt_llm import scripts
from enginebuild.engines.tensorrt_llm.built import BuiltEngine
from enginebuild.engines.tensorrt_llm.scripts.fitness import Finding, Gpu, Machine, Needs, compare, fits
from enginebuild.errors import EngineBuildError, SourceError
from enginebuild.inspect import DOCKER, IndexInspection, Inspection, inspect
from enginebuild.needs import needs_of_labels
from enginebuild.runners.machine import Machine as Listed
from enginebuild.runners.machine import this_machine
from enginebuild_cache import Json

if TYPE_CHECKING:  # its HTTP client takes longer to import than everything else here
    from enginebuild_images.registry import Registry

#: Variables that name the active environment.
_ACTIVE = ("VIRTUAL_ENV", "CONDA_PREFIX")
_PATIENCE = 180.0  # seconds for a Python that describes its packages


@dataclass(frozen=True)
class Diagnosis:
    """What was compared, and everything that differs."""

    name: str
    kind: Literal["engine", "image"]
    needs: Needs
    machine: Machine
    findings: tuple[Finding, ...]

    @property
    def fits(self) -> bool:
        return fits(self.findings)

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "kind": self.kind,
            "fits": self.fits,
            "needs": self.needs.to_json(),
            "machine": asdict(self.machine),
            "findings": [asdict(finding) for finding in self.findings],
        }


def looked_at() -> Machine:
    """This machine's GPUs and driver."""
    return _machine(this_machine())


def _machine(listed: Listed) -> Machine:
    gpus = tuple(Gpu(gpu.index, gpu.name, _told(gpu.compute_capability)) for gpu in listed.gpus)
    return Machine(gpus, _told(listed.gpus[0].driver) if listed.gpus else None, reason=listed.trouble)


def _told(text: str) -> str | None:
    return text if text[:1].isdigit() else None  # [N/A], [Not Supported]


def diagnose_engine(engine: BuiltEngine, machine: Machine, environment: Path | None) -> Diagnosis:
    """An engine that programs of this machine are to load, in the Python that `python_of` finds."""
    python = python_of(environment)
    versions = installed(python) if python else {}
    if versions.get("tensorrt_llm") is None:
        library, versions = [_no_library(engine, python, environment)], {}
    else:
        library = []
    here = replace(machine, versions=versions)
    findings = (*_ranks(engine), *compare(engine.needs, here), *library)
    return Diagnosis(engine.name, "engine", engine.needs, here, findings)


def _ranks(engine: BuiltEngine) -> list[Finding]:
    if not engine.missing_ranks:
        return []
    first, size = engine.missing_ranks[0], engine.needs.world_size
    there = size - len(engine.missing_ranks)
    return [
        Finding(
            "refusal",
            f"the engine lacks rank{first}.engine: {there} of {size} ranks are there",
            "copy the whole folder, or build it again",
        )
    ]


def _no_library(engine: BuiltEngine, python: Path | None, environment: Path | None) -> Finding:
    wanted = f"TensorRT-LLM {engine.needs.versions['tensorrt_llm']}"
    where = str(python) if python else f"{environment} (without bin/python)" if environment else "PATH"
    return Finding(
        "refusal" if environment else "unknown",
        f"{wanted} is needed to load it, and {where} has no TensorRT-LLM",
        "load it in an image with that version, or name its Python environment: --environment FOLDER",
    )


def python_of(environment: Path | None) -> Path | None:
    """The Python of an environment; without one that of the active environment, else the first on PATH."""
    folders = [environment] if environment else [Path(f) for n in _ACTIVE if (f := os.environ.get(n))]
    for folder in folders:
        if (python := folder / "bin" / "python").exists():
            return python
    found = None if environment else shutil.which("python3")
    return Path(found) if found else None


def installed(python: Path) -> dict[str, str | None]:
    """TensorRT-LLM and TensorRT among a Python's packages, by describe.py; empty if it does not run."""
    program = Path(scripts.__file__).with_name("describe.py")
    try:
        ended = subprocess.run(
            [python, "-B", program, "-"], capture_output=True, timeout=_PATIENCE, check=True
        )
        described = json.loads(ended.stdout)
        return {name: described[name] for name in ("tensorrt_llm", "tensorrt")}
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return {}


def diagnose_image(
    name: str, platform: str, registry: Callable[[], Registry], machine: Machine
) -> tuple[Diagnosis, ...]:
    """An image; of an index each of its variants for the platform. Raises SourceError."""
    try:
        found = inspect(name, platform, registry)
    except EngineBuildError as error:
        raise SourceError(error.message, error.hint) from error
    if isinstance(found, IndexInspection):
        variants = [each for each in found.variants if each.platform == platform]
        return tuple(_image(each.name, each.annotations, (), machine) for each in variants)
    return (_image(found.name, found.labels, _env(found), machine),)


def _image(name: str, labels: Mapping[str, str], env: tuple[str, ...], machine: Machine) -> Diagnosis:
    needs = needs_of_labels(labels, env)
    if needs is None:
        raise SourceError(
            f"{name} does not say what it needs: it has no label enginebuild.engine",
            "images that enginebuild made with a server have it; models without a server need nothing",
        )
    findings = compare(needs, machine)
    runtime = _container_runtime(name) if machine.gpus else ()
    return Diagnosis(name, "image", needs, machine, (*findings, *runtime))


def _env(found: Inspection) -> tuple[str, ...]:
    config = found.config.get("config")
    env = config.get("Env") if isinstance(config, dict) else None
    return tuple(str(entry) for entry in env) if isinstance(env, list) else ()


def _container_runtime(name: str) -> tuple[Finding, ...]:
    """Whether the Docker Engine gives GPUs to containers; others may run what does not lie in it."""
    from enginebuild.runners.engine import NO_GPU_SUPPORT, engine, gives_gpus, host, is_here

    try:
        with engine() as client:
            facts = client.info()
    except EngineBuildError as error:
        return (Finding("unknown", f"whether containers get GPUs: {error.message}", error.hint),)
    if not gives_gpus(facts):
        level: Literal["refusal", "warning"] = "refusal" if name.startswith(DOCKER) else "warning"
        return (Finding(level, NO_GPU_SUPPORT.format(host=host())),)
    if not is_here():
        text = f"the Docker Engine is at {host()}, and the GPUs that were compared are this machine's"
        return (Finding("unknown", text, "run `enginebuild doctor` there"),)
    return ()
