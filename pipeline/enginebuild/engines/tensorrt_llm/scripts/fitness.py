"""Whether a machine can load an image or an engine: the one answer of `enginebuild doctor` and of start.py.

Pure, the standard library alone, for Python 3.8 and newer: images run it from a file of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

#: refusal: it will not load; warning: it loads, and may disappoint; unknown: could not be compared.
Level = Literal["refusal", "warning", "unknown"]

_LABELS = {"refusal": "error", "warning": "warning", "unknown": "not checked"}

#: Our name of a library → what people call it.
TITLES = {"tensorrt_llm": "TensorRT-LLM", "tensorrt": "TensorRT", "vllm": "vLLM"}


@dataclass(frozen=True)
class Needs:
    """What is asked of a machine.

    `tied`: a compiled engine, which loads only on the compute capability and with the `versions` that built
    it; else they are what the image was made for. `gpu` is nvidia-smi's name of it. `lowest_driver` is the
    oldest that runs programs of this major CUDA, `own_driver` the one that came with it.
    """

    tied: bool
    world_size: int = 1
    compute_capability: str | None = None
    gpu: str | None = None
    cuda: str | None = None
    lowest_driver: str | None = None
    own_driver: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def noun(self) -> str:
        return "engine" if self.tied else "image"

    @property
    def libraries(self) -> Sequence[tuple[str, str]]:
        """Names and versions in one order, the engine's library first."""
        known = [name for name in TITLES if name in self.versions]
        others = [name for name in self.versions if name not in TITLES]
        return [(name, self.versions[name]) for name in (*known, *sorted(others))]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> Needs:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        names = [each.name for each in fields(cls)]
        if not isinstance(document, dict) or sorted(document) != sorted(names):
            raise ValueError(f"it must have the fields {', '.join(names)}")
        texts = ("compute_capability", "gpu", "cuda", "lowest_driver", "own_driver")
        count, asked = document["world_size"], document["versions"]
        if (
            not isinstance(document["tied"], bool)
            or not isinstance(count, int)
            or isinstance(count, bool)
            or count < 1
            or not all(document[name] is None or isinstance(document[name], str) for name in texts)
            or not isinstance(asked, dict)
            or not all(isinstance(version, str) for version in asked.values())
        ):
            raise ValueError("a field has a value of the wrong type")
        return cls(**document)


@dataclass(frozen=True)
class Gpu:
    """A GPU that is visible. `product` is nvidia-smi's name."""

    name: str
    product: str
    compute_capability: str | None


@dataclass(frozen=True)
class Machine:
    """What was found.

    `cuda`: the version that the driver's library says it serves, forward compatibility included; None where
    nobody asked it. A library that is missing in `versions` was not looked for; None: looked for, not found.
    `reason`: why there are no GPUs.
    """

    gpus: Sequence[Gpu]
    driver: str | None = None
    cuda: str | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that differs, and what to do about it."""

    level: Level
    message: str
    hint: str = ""

    @property
    def label(self) -> str:
        return _LABELS[self.level]


def fits(findings: Sequence[Finding]) -> bool:
    """Whether it will load, as far as could be compared."""
    return all(finding.level != "refusal" for finding in findings)


def compare(needs: Needs, machine: Machine) -> tuple[Finding, ...]:
    """Everything that speaks against loading it here, the GPUs first."""
    return (*_gpus(needs, machine), *_driver(needs, machine), *_versions(needs, machine))


def number(version: str) -> tuple[int, ...]:
    """`590.44.01` as numbers; what is no number ends it."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def wanted_gpus(needs: Needs) -> str:
    """`2 × NVIDIA L4 (compute capability 8.9)`, as far as it is known."""
    count = f"{needs.world_size} × {needs.gpu or 'a GPU'}"
    return f"{count} (compute capability {needs.compute_capability})" if needs.compute_capability else count


def _gpus(needs: Needs, machine: Machine) -> list[Finding]:
    if not machine.gpus:
        return [_no_gpu(needs, machine)]
    known = [gpu for gpu in machine.gpus if gpu.compute_capability is not None]
    wrong = [gpu for gpu in known if needs.compute_capability not in (None, gpu.compute_capability)]
    right = [gpu for gpu in machine.gpus if gpu not in wrong]
    found = []
    if needs.tied and needs.compute_capability is None:
        found.append(
            Finding(
                "unknown",
                "the engine does not say which GPU built it, so compute capability was not compared",
                "TensorRT says so when it loads the engine, and so would an engine that enginebuild built",
            )
        )
    elif needs.tied and len(known) < len(machine.gpus):
        unknown = _listed([gpu for gpu in machine.gpus if gpu not in known])
        found.append(Finding("unknown", f"nvidia-smi does not tell the compute capability of {unknown}"))
    if needs.tied and wrong:
        found.append(_tied_to_another(needs, machine, wrong, right))
    elif wrong:
        found.append(_made_for_another(needs, wrong))
    if len(machine.gpus) < needs.world_size:
        found.append(_too_few(needs, machine))
    return found or _other_board(needs, right)


def _no_gpu(needs: Needs, machine: Machine) -> Finding:
    why = f" ({machine.reason})" if machine.reason else ""
    if not needs.tied and needs.gpu is None and needs.cuda is None:
        return Finding(
            "unknown",
            f"no GPU is visible here{why}, and the image does not say whether it needs one",
            "an image for CPUs runs without; name the GPU in the recipe, and the image says so",
        )
    return Finding(
        "refusal",
        f"the {needs.noun} needs {wanted_gpus(needs)}, and no GPU is visible here{why}",
        "on a machine with NVIDIA's driver: docker run --gpus all",
    )


def _tied_to_another(needs: Needs, machine: Machine, wrong: Sequence[Gpu], right: Sequence[Gpu]) -> Finding:
    here = _listed(wrong)
    if len(right) >= needs.world_size:
        chosen = ",".join(gpu.name for gpu in right[: needs.world_size])
        return Finding(
            "warning",
            f"the engine loads only on compute capability {needs.compute_capability}; here is also {here}",
            f"CUDA_VISIBLE_DEVICES={chosen} leaves those that fit",
        )
    return Finding(
        "refusal",
        f"the engine loads only on compute capability {needs.compute_capability} "
        f"({needs.gpu or 'of an unknown GPU'}), and here is {here}",
        "build it again for this machine's GPU, or run it on the one that it was built for",
    )


def _made_for_another(needs: Needs, wrong: Sequence[Gpu]) -> Finding:
    return Finding(
        "warning",
        f"the image was made for {needs.gpu} (compute capability {needs.compute_capability}), and here is "
        f"{_listed(wrong)}: its quantization and settings may not run there, or run slower",
    )


def _too_few(needs: Needs, machine: Machine) -> Finding:
    count = len(machine.gpus)
    return Finding(
        "refusal",
        f"the {needs.noun} needs {needs.world_size} GPUs (tensor × pipeline parallel size), and {count} "
        f"{'is' if count == 1 else 'are'} visible here",
        "give it more (docker run --gpus, CUDA_VISIBLE_DEVICES), or build it with smaller parallel sizes",
    )


def _other_board(needs: Needs, gpus: Sequence[Gpu]) -> list[Finding]:
    """H100 and H200, L4 and L40S: TensorRT loads the engine and warns (NVIDIA/TensorRT#2900)."""
    others = [gpu for gpu in gpus if needs.gpu not in (None, gpu.product)]
    if not others:
        return []
    made = "built on" if needs.tied else "made for"
    return [
        Finding(
            "warning",
            f"the {needs.noun} was {made} {needs.gpu}, and here is {_listed(others)}: it loads, but was "
            "tuned for other speeds and another size of memory",
        )
    ]


def _listed(gpus: Sequence[Gpu]) -> str:
    """`NVIDIA L4 (8.9)`, each product once, in order."""
    kinds = dict.fromkeys((gpu.product, gpu.compute_capability) for gpu in gpus)
    return " and ".join(f"{product} ({capability or 'unknown'})" for product, capability in kinds)


def _driver(needs: Needs, machine: Machine) -> list[Finding]:
    if needs.cuda is None or not machine.gpus:
        return []
    if machine.cuda is not None:
        return _served_cuda(needs.cuda, machine.cuda)
    if machine.driver is None or needs.lowest_driver is None:
        what = "the driver is not known" if machine.driver is None else "no driver is known to be its oldest"
        return [Finding("unknown", f"CUDA {needs.cuda} was not compared with the driver: {what}")]
    here = number(machine.driver)
    if here < number(needs.lowest_driver):
        return [
            Finding(
                "refusal",
                f"CUDA {needs.cuda} needs driver {needs.lowest_driver} or newer, here is {machine.driver}",
                "update the driver; on data centre GPUs the image's own cuda-compat may do instead",
            )
        ]
    if needs.own_driver is not None and here < number(needs.own_driver):
        return [
            Finding(
                "warning",
                f"CUDA {needs.cuda} came with driver {needs.own_driver}, here is {machine.driver}: it runs, "
                "but what is compiled from PTX at run time may not",
            )
        ]
    return []


def _served_cuda(needed: str, served: str) -> list[Finding]:
    text = f"this image has CUDA {needed}, and the driver here serves CUDA {served}"
    if number(served)[:1] < number(needed)[:1]:
        return [Finding("refusal", text, "update the driver")]
    if number(served)[:2] < number(needed)[:2]:
        more = ": it runs, but what is compiled from PTX at run time may not"
        return [Finding("warning", text + more)]
    return []


def _versions(needs: Needs, machine: Machine) -> list[Finding]:
    found = []
    for name, wanted in needs.libraries:
        if name not in machine.versions:
            continue
        here, title = machine.versions[name], TITLES.get(name, name)
        if here is None:
            text = f"{title} is not among the packages here, so it was not compared with {wanted}"
            found.append(Finding("unknown", text))
        elif _plain(name, here) != _plain(name, wanted):
            found.append(_other_version(needs, title, wanted, here))
    return found


def _plain(name: str, version: str) -> str:
    """Without what a package adds: a local version; TensorRT's .post1 is the same library packed again."""
    version = version.partition("+")[0]
    return re.sub(r"\.post\d+$", "", version) if name == "tensorrt" else version


def _other_version(needs: Needs, title: str, wanted: str, here: str) -> Finding:
    """TensorRT refuses another last digit (tensorrtllm_backend#194); plugins are TensorRT-LLM's own."""
    if needs.tied:
        return Finding(
            "refusal",
            f"the engine was built with {title} {wanted}, and here is {here}",
            f"an engine loads only with what built it: use an image with {title} {wanted}, or build it again",
        )
    return Finding(
        "warning",
        f"the image was configured for {title} {wanted}, and here is {here}: arguments may be unknown there, "
        "or mean something else",
    )
