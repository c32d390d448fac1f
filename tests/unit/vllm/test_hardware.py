"""What vLLM refuses on a GPU, by its compute capability alone."""

from __future__ import annotations

import pytest

from enginebuild.engines.vllm.hardware import hardware_problems
from enginebuild.errors import Problem
from enginebuild_cache import Json

_OWN = "registry.example.com/vllm:own"


def _values(gpu: str | None, *, base: str = _OWN, dtype: str = "auto", cache: Json = None) -> dict[str, Json]:
    args: dict[str, Json] = {} if cache is None else {"kv_cache_dtype": cache}
    return {"gpu": gpu, "dtype": dtype, "engine": {"args": args}, "image": {"base": base}}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (_values(None, dtype="bfloat16"), []),
        (_values("T4", base="docker.io/vllm/vllm-openai:v0.33.0", dtype="float16"), []),
        (_values("V100-SXM2-16GB", dtype="float16"), []),
        (_values("A100-SXM-80GB", dtype="bfloat16", cache="fp8"), []),
        # An 8-bit cache that is no FP8.
        (_values("T4", cache="int8_per_token_head"), []),
        (
            _values("V100-SXM2-32GB", base="docker.io/vllm/vllm-openai:v0.33.0"),
            [
                Problem(
                    ("gpu",),
                    "vLLM's images have no kernels for V100-SXM2-32GB (compute capability 7.0): they begin "
                    "with 7.5",
                    "write A100-PCIe-40GB, or an image.base built for it",
                )
            ],
        ),
        (
            _values("T4", dtype="bfloat16", cache="fp8_e4m3"),
            [
                Problem(
                    ("dtype",),
                    "dtype bfloat16 does not run on T4 (compute capability 7.5): it needs 8.0",
                    "write float16",
                ),
                Problem(
                    ("engine", "args", "kv_cache_dtype"),
                    "a KV cache of fp8_e4m3 does not run on T4 (compute capability 7.5): it needs 8.0",
                    "write auto",
                ),
            ],
        ),
    ],
)
def test_hardware(values: dict[str, Json], expected: list[Problem]) -> None:
    assert list(hardware_problems(values)) == expected
