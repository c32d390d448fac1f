"""What is verified and where: an image as a value, and the Protocol of a server in a container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol, cast

from enginebuild.execution import GpuNeed
from enginebuild_cache import Json

#: Where our program, its questions and results lie in the container.
FOLDER = PurePosixPath("/enginebuild/verify")

#: For images that name no port.
_PORT = 8000
#: Variables by which an image tells that it is one for NVIDIA's GPUs: those of nvidia/cuda, of which vLLM's
#: and TensorRT-LLM's images are made, and vLLM's own.
_GPU_VARIABLES = ("NVIDIA_VISIBLE_DEVICES", "NVIDIA_REQUIRE_CUDA", "CUDA_VERSION", "CUDA_HOME")


@dataclass(frozen=True)
class Subject:
    """An image that is to be verified. `config` is the section of that name in its image config."""

    name: str
    digest: str
    config: Mapping[str, Json]

    @property
    def labels(self) -> Mapping[str, str]:
        return cast("Mapping[str, str]", self.config.get("Labels") or {})

    @property
    def engine(self) -> str:
        """Our word for the engine; vllm where the image does not say."""
        return self.labels.get("enginebuild.engine", "vllm")

    @property
    def port(self) -> int:
        """The first that the image exposes."""
        exposed = self.config.get("ExposedPorts")
        ports = [int(name.partition("/")[0]) for name in exposed] if isinstance(exposed, dict) else []
        return min(ports, default=_PORT)

    @property
    def is_for_gpus(self) -> bool:
        words = self.config.get("Env")
        names = {str(word).partition("=")[0] for word in words} if isinstance(words, list) else set()
        return self.engine == "tensorrt_llm" or not names.isdisjoint(_GPU_VARIABLES)

    @property
    def ranks(self) -> int:
        """GPUs that its engine spreads over, as its labels say."""
        sizes = ("enginebuild.tensor_parallel_size", "enginebuild.pipeline_parallel_size")
        first, second = (self.labels.get(size, "1") for size in sizes)
        return int(first) * int(second) if first.isdecimal() and second.isdecimal() else 1

    @property
    def options(self) -> frozenset[str]:
        """Names of the options among its words, such as tool_call_parser, with underscores."""
        words = [*_words(self.config.get("Entrypoint")), *_words(self.config.get("Cmd"))]
        return frozenset(
            word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words if word[:2] == "--"
        )

    def gpus(self, gpu: str | None) -> GpuNeed:
        """The GPUs that it is served with; `gpu` is the recipe's, None: it is to be served without."""
        return GpuNeed(count=self.ranks) if gpu is not None and self.is_for_gpus else GpuNeed()


def _words(value: Json) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []


@dataclass(frozen=True, slots=True)
class Ran:
    """A program that ran beside the server, with its exit code and both streams."""

    code: int
    out: bytes
    err: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """A server that runs no more. `out_of_memory`: the kernel killed it for its limit; `over`: we did, when
    its time was over."""

    code: int
    out_of_memory: bool = False
    over: bool = False


class Server(Protocol):
    """A server that was started, in a container."""

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files into FOLDER of the container."""
        ...

    def run(self, words: Sequence[str]) -> Ran:
        """Run a program of the container beside the server, to its end."""
        ...

    def read(self, path: PurePosixPath) -> bytes | None:
        """A file of the container; None if there is none."""
        ...

    def ended(self) -> Ended | None:
        """How the server ended; None while it runs."""
        ...

    def log(self) -> bytes:
        """All that it wrote so far."""
        ...
