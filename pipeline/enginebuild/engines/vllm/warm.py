"""The compile cache of a server: what it is keyed by, what of it is kept, and whether a start used it.

vLLM's own keys are not enough: they leave out the driver and, on a CPU, what machine it is (0.32.0), and they
have left out settings that mattered (vllm issues 50891, 53366). Ours is stricter, and a cache of another key
is never put into an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Literal

from enginebuild.engines.vllm.image import ENVIRONMENT
from enginebuild.engines.vllm.render import CONFIG_PATH, MODEL_PATH, VllmSettings, arguments_of
from enginebuild.engines.vllm.scripts import start_warm
from enginebuild_cache import Digest, Json

#: Raised when the same key would give another cache.
WARM_VERSION = 1

#: The folder of the seed in an image, and what is in it.
SEED = start_warm.SEED
ABOUT = start_warm.ABOUT
FILES = start_warm.FILES
#: The entry point's program beside the configuration.
PROGRAM = "start_warm.py"
ROOT = start_warm.ROOT

#: What the image says beside vLLM's usual environment. The compile key leaves it out (0.32.0, 0.33.0).
WARM_ENVIRONMENT: Mapping[str, str] = {**ENVIRONMENT, start_warm.VARIABLE: ROOT}
#: Makes a miss an error. For a proof: a server that must not start without its cache is no good server.
FORCED: Mapping[str, str] = {"VLLM_FORCE_AOT_LOAD": "1"}

#: What a proof is: vLLM loaded its own ahead-of-time artifact, or it compiled again and inductor had it all.
#: vLLM's CPU build cannot do the first (0.32.0: 'function' object has no attribute 'finalize_loading').
Proof = Literal["aot", "inductor"]

#: Arguments that change no compiled code (0.32.0, measured one by one), and ours for what a response carries.
_FREE = (
    *("served_model_name", "host", "port", "fingerprint_mode", "fingerprint_value"),
    *("api_key", "chat_template", "tool_call_parser", "enable_auto_tool_choice", "reasoning_parser"),
    *("uvicorn_log_level", "root_path", "disable_log_stats", "enable_log_requests"),
)
#: Of a checkpoint, what decides the code: its configuration, how it is quantized, and code of its own.
_CONFIGURATIONS = ("config.json", "hf_quant_config.json", "quantize_config.json", "generation_config.json")

#: Folders and files of VLLM_CACHE_ROOT that are of one machine or one start (0.32.0).
_LEFT_OUT = ("assets", "startup_plan")
_PER_NODE = "gpu_p2p_access_cache_for_"
_LOCKS = (".lock", ".lck", ".tmp")
_COMPILED = "torch_compile_cache"
_CODE = (".so", ".cubin", ".hsaco", ".ptx")

_LOADED = "Directly load AOT compilation from path"
_AGAIN = "Compiling model again due to a load failure"


@dataclass(frozen=True, slots=True)
class Hardware:
    """What compiled code is for. `name` is a GPU with its compute capability, or an exact CPU.

    `driver` is the major version of NVIDIA's, empty without one.
    """

    kind: Literal["gpu", "cpu"]
    name: str
    driver: str = ""

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "name": self.name, "driver": self.driver}


def program() -> bytes:
    """The entry point's program."""
    return (files("enginebuild.engines.vllm.scripts") / PROGRAM).read_bytes()


def warm_entrypoint(server: tuple[str, ...]) -> tuple[str, ...]:
    """The image's entry point, from the one that it would have without a seed."""
    return ("python3", "-I", str(PurePosixPath(CONFIG_PATH).with_name(PROGRAM)), *server)


def decides_code(path: str) -> bool:
    """Whether a checkpoint's file decides what is compiled. Weights do not: only their names and types do."""
    return path in _CONFIGURATIONS or path.endswith(".py")


def key_fields(settings: VllmSettings, base: str, platform: str, hardware: Hardware) -> dict[str, Json]:
    """What decides the cache beside the checkpoint's configuration.

    `base` is the base image's digest: it stands for vLLM, torch, Triton, CUDA, installed plugins, and the
    environment that the base sets, whose VLLM_* variables are in vLLM's own key.
    """
    arguments = {name: value for name, value in arguments_of(settings).items() if name not in _FREE}
    environment: dict[str, Json] = dict(WARM_ENVIRONMENT)
    return {
        "engine": settings.version,
        "base": base,
        "platform": platform,
        "arguments": arguments,
        "environment": environment,
        "model": MODEL_PATH,
        "ranks": settings.tensor_parallel_size * settings.pipeline_parallel_size,
        "hardware": hardware.to_json(),
        "program": str(Digest.of(program())),
    }


def is_kept(path: str) -> bool:
    """Whether a file of VLLM_CACHE_ROOT is of use on another machine; `path` is relative to it."""
    parts = PurePosixPath(path).parts
    name = parts[-1]
    if path.startswith("/") or ".." in parts or parts[0] in _LEFT_OUT:
        return False
    if name.startswith((_PER_NODE, ".")) or name.endswith(_LOCKS):
        return False
    return not any(part in ("locks", "tmp") or part.startswith("tmp.") for part in parts[:-1])


def entries(paths: Iterable[str]) -> frozenset[str]:
    """The folders of compiled models, one for each of vLLM's keys: [torch_aot_compile/]KEY."""
    found = set()
    for path in paths:
        first, *more = PurePosixPath(path).parts[:-1] or ("",)
        if first == _COMPILED and more:
            found.add("/".join(more[:2] if more[0] == "torch_aot_compile" else more[:1]))
    return frozenset(found)


def proof(
    kind: Literal["gpu", "cpu"], log: str, before: frozenset[str], after: frozenset[str]
) -> Proof | str:
    """What a start from the seed has proven, or why it has proven nothing.

    `before` and `after` are the files of VLLM_CACHE_ROOT that `is_kept`.
    """
    if _LOADED in log and _AGAIN not in log:
        return "aot"
    if kind == "gpu":
        return "its log does not say that the ahead-of-time artifact was loaded"
    if not _code(before):
        return "it holds no compiled code"
    if new := entries(after) - entries(before):
        return f"it compiled under another key: {', '.join(sorted(new))}"
    if new := _code(after) - _code(before):
        listed = sorted(new)
        more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
        return f"it compiled what the cache should have: {', '.join(listed[:3])}{more}"
    return "inductor"


def _code(paths: Iterable[str]) -> frozenset[str]:
    """Compiled code. Beside it a start that compiles nothing may write an index of what it found (0.32.0)."""
    return frozenset(path for path in paths if path.endswith(_CODE))
