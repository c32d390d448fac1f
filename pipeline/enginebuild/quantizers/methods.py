"""What a quantizing program is asked, how it is started, and what decides its result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Protocol, cast

from enginebuild.execution import INPUT, OUTPUT, SCRIPTS
from enginebuild.quantizers.forms import FORMS, NEVER_QUANTIZED, TOOLS, Form, Tool, ToolName
from enginebuild_cache import Digest, Json

#: Raise it when the same request gives another result and no program changed.
QUANTIZE_VERSION = 1

#: Threads of the numeric libraries. Their number decides bytes (GPTQ's sums), so it is the same everywhere.
THREADS = 8

#: The steps that are read, which are the names of the input folders.
MODEL, CALIBRATION = "fetch", "calibration"


class Calibration(Protocol):
    """A recipe's calibration."""

    @property
    def num_samples(self) -> int: ...
    @property
    def max_seq_length(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def seed(self) -> int: ...


class Quantization(Protocol):
    """A recipe's quantization by one of the tools of TOOLS."""

    @property
    def method(self) -> str: ...
    @property
    def tool(self) -> str | None: ...
    @property
    def kv_cache_dtype(self) -> str | None: ...
    @property
    def group_size(self) -> int | None: ...
    @property
    def exclude_modules(self) -> tuple[str, ...] | None: ...
    @property
    def calibration(self) -> Calibration | None: ...


def tool_of(quantization: Quantization) -> Tool:
    """The tool. Raises KeyError for one that is not of this package, such as quantize.py."""
    return TOOLS[cast("ToolName", quantization.tool)]


def form_of(quantization: Quantization) -> Form:
    """The method as the tool makes it. Raises KeyError for one that it does not make (`recipe.methods`)."""
    return FORMS[tool_of(quantization).name][quantization.method]


def request(quantization: Quantization, threads: int = THREADS) -> dict[str, Json]:
    """What the program reads: the document that request.json holds."""
    form = form_of(quantization)
    return {
        "method": quantization.method,
        "scheme": form.scheme,
        "algorithm": form.algorithm,
        "group_size": quantization.group_size or form.group if form.adjustable else form.group,
        "adjustable": form.adjustable,
        "exclude_modules": list(_excluded(quantization)),
        "never_quantized": list(NEVER_QUANTIZED),
        "kv_cache_dtype": quantization.kv_cache_dtype,
        "calibration": _calibration(quantization.calibration),
        "threads": threads,
        "versions": dict(tool_of(quantization).versions),
        "input": str(INPUT / MODEL),
        "output": str(OUTPUT),
    }


def _excluded(quantization: Quantization) -> tuple[str, ...]:
    return ("lm_head",) if quantization.exclude_modules is None else quantization.exclude_modules


def _calibration(calibration: Calibration | None) -> Json:
    if calibration is None:
        return None
    return {
        "folder": str(INPUT / CALIBRATION),
        "num_samples": calibration.num_samples,
        "max_seq_length": calibration.max_seq_length,
        "batch_size": calibration.batch_size,
        "seed": calibration.seed,
    }


def scripts(tool: str, asked: Mapping[str, Json]) -> dict[str, bytes]:
    """The files of SCRIPTS by name: the program, what it is made of, and the request."""
    folder = files("enginebuild.quantizers")
    program = TOOLS[cast("ToolName", tool)].script
    return {
        program: (folder / "scripts" / program).read_bytes(),
        "staging.py": (folder / "scripts" / "staging.py").read_bytes(),
        "calibration.py": (folder / "calibration.py").read_bytes(),
        "layers.py": (folder / "layers.py").read_bytes(),
        "request.json": (json.dumps(asked, indent=1, sort_keys=True) + "\n").encode(),
    }


def command(tool: str, *, calibrated: bool) -> tuple[str, ...]:
    """How the program is started. Its folders are on the command line, where every runner finds them."""
    program = SCRIPTS / TOOLS[cast("ToolName", tool)].script
    words = [
        *("python3", str(program), str(SCRIPTS / "request.json")),
        *("--input", str(INPUT / MODEL), "--output", str(OUTPUT)),
    ]
    return (*words, "--calibration", str(INPUT / CALIBRATION)) if calibrated else tuple(words)


def key_fields(quantization: Quantization, threads: int = THREADS) -> dict[str, Json]:
    """What decides the result beside the inputs (model, calibration data) and the environment.

    The request holds tool versions, method, groups, exclusions, KV cache, calibration, seed and threads; the
    programs count by their digest.
    """
    tool = tool_of(quantization).name
    asked = request(quantization, threads)
    made_of = scripts(tool, asked)
    del made_of["request.json"]
    return {
        "tool": tool,
        "request": asked,
        "scripts": {name: str(Digest.of(content)) for name, content in sorted(made_of.items())},
    }
