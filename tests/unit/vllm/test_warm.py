"""The key of a compile cache, what of it is kept, and what a second start has proven."""

from __future__ import annotations

from typing import Any

import pytest

from enginebuild.engines.vllm import VllmSettings, entrypoint
from enginebuild.engines.vllm.warm import (
    Hardware,
    decides_code,
    entries,
    is_kept,
    key_fields,
    proof,
    warm_entrypoint,
)

GPU = Hardware("gpu", "NVIDIA H100 80GB HBM3, 9.0", "590")
BASE = f"sha256:{'a' * 64}"
SETTINGS = VllmSettings("0.33.0", "org/model", "sha256:1", args={"max_model_len": 256})


def fields(settings: VllmSettings = SETTINGS, hardware: Hardware = GPU, **more: str) -> dict[str, Any]:
    given = {"base": BASE, "platform": "linux/amd64", **more}
    return key_fields(settings, given["base"], given["platform"], hardware)


def test_the_whole_key() -> None:
    found = fields()
    assert found.pop("program").startswith("sha256:")
    assert found == {
        "engine": "0.33.0",
        "base": BASE,
        "platform": "linux/amd64",
        "arguments": {
            "model": "/model",
            "dtype": "auto",
            "tensor_parallel_size": 1,
            "pipeline_parallel_size": 1,
            "generation_config": "auto",
            "max_model_len": 256,
        },
        "environment": {
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_CACHE_ROOT": "/tmp/enginebuild/vllm",
        },
        "model": "/model",
        "ranks": 1,
        "hardware": {"kind": "gpu", "name": "NVIDIA H100 80GB HBM3, 9.0", "driver": "590"},
    }


@pytest.mark.parametrize(
    "settings",
    [
        VllmSettings("0.33.0", "another", "sha256:2", args={"max_model_len": 256}),
        VllmSettings(
            "0.33.0",
            "org/model",
            "sha256:1",
            args={"max_model_len": 256, "served_model_name": "a", "port": 9000, "host": "::"},
        ),
        VllmSettings(
            "0.33.0",
            "org/model",
            "sha256:1",
            args={"max_model_len": 256, "enable_auto_tool_choice": True, "tool_call_parser": "hermes"},
        ),
    ],
)
def test_names_ports_and_what_an_answer_looks_like_are_not_in_it(settings: VllmSettings) -> None:
    assert fields(settings) == fields()


@pytest.mark.parametrize(
    "other",
    [
        fields(VllmSettings("0.32.0", "m", "f", args={"max_model_len": 256})),
        fields(VllmSettings("0.33.0", "m", "f", "float16", args={"max_model_len": 256})),
        fields(VllmSettings("0.33.0", "m", "f", tensor_parallel_size=2, args={"max_model_len": 256})),
        fields(VllmSettings("0.33.0", "m", "f", args={"max_model_len": 256, "speculative_config": {"k": 1}})),
        fields(base=f"sha256:{'b' * 64}"),
        fields(platform="linux/arm64"),
        fields(hardware=Hardware("gpu", "NVIDIA H100 PCIe, 9.0", "590")),
        fields(hardware=Hardware("gpu", GPU.name, "600")),
        fields(hardware=Hardware("cpu", "AMD EPYC 9554 (00000000)")),
    ],
)
def test_everything_else_is(other: dict[str, Any]) -> None:
    assert other != fields()


KEPT = [
    "torch_compile_cache/torch_aot_compile/ab/rank_0_0/model",
    "torch_compile_cache/torch_aot_compile/ab/inductor_cache/24/c24.so",
    "torch_compile_cache/0123456789/rank_0_0/backbone/computation_graph.py",
    "modelinfos/llama.json",
    "deep_gemm/cache/kernel.cubin",
    "flashinfer_autotune_cache/0.6/90a/ab/autotune.json",
]
LEFT = [
    "gpu_p2p_access_cache_for_0,1.json",
    "assets/picture.png",
    "startup_plan/plan.json",
    "torch_compile_cache/torch_aot_compile/ab/inductor_cache/locks/c24.lock",
    "torch_compile_cache/torch_aot_compile/ab/inductor_cache/locks/c24",
    "torch_compile_cache/torch_aot_compile/ab/model.lock",
    "torch_compile_cache/tmp.k3j/kernel.so",
    ".enginebuild-warm",
    "/etc/passwd",
    "modelinfos/../../../etc/passwd",
]


@pytest.mark.parametrize(
    ("path", "kept"), [*((path, True) for path in KEPT), *((path, False) for path in LEFT)]
)
def test_what_is_of_one_machine_or_one_start_is_left_out(path: str, kept: bool) -> None:
    assert is_kept(path) is kept


def test_the_files_that_decide_code() -> None:
    given = ["config.json", "hf_quant_config.json", "modeling.py", "model.safetensors", "tokenizer.json"]
    assert [path for path in given if decides_code(path)] == given[:3]


def test_a_compiled_model_is_a_folder_of_one_key() -> None:
    assert entries([*KEPT, *KEPT]) == {
        "torch_aot_compile/ab",
        "0123456789",
    }
    assert entries(["model", "torch_compile_cache/loose"]) == frozenset()


A, B = "torch_compile_cache/torch_aot_compile/a", "torch_compile_cache/torch_aot_compile/b"
FILES = frozenset({f"{A}/rank_0_0/model", f"{A}/inductor_cache/1/one.so"})
LOADED = f"INFO [backbone] Directly load AOT compilation from path /root/{A}/rank_0_0/model\n"
AGAIN = "WARNING Compiling model again due to a load failure from /root/model, reason: corrupted\n"
NOT_SAID = "its log does not say that the ahead-of-time artifact was loaded"


@pytest.mark.parametrize(
    ("kind", "log", "more", "expected"),
    [
        ("gpu", LOADED, (), "aot"),
        ("gpu", "", (), NOT_SAID),
        # One of several compiled models was not loaded.
        ("gpu", LOADED + AGAIN, (), NOT_SAID),
        ("cpu", LOADED, (), "aot"),
        ("cpu", AGAIN, (), "inductor"),
        ("cpu", AGAIN, (f"{A}/inductor_cache/aotautograd/x/y",), "inductor"),
        ("cpu", AGAIN, (f"{B}/rank_0_0/model",), "it compiled under another key: torch_aot_compile/b"),
        ("cpu", AGAIN, (f"{A}/2.so",), f"it compiled what the cache should have: {A}/2.so"),
        (
            "cpu",
            AGAIN,
            tuple(f"{A}/{n}.so" for n in range(2, 7)),
            f"it compiled what the cache should have: {A}/2.so, {A}/3.so, {A}/4.so and 2 more",
        ),
    ],
)
def test_what_a_start_has_proven(kind: Any, log: str, more: tuple[str, ...], expected: str) -> None:
    assert proof(kind, log, FILES, FILES | set(more)) == expected


def test_without_compiled_code_a_cpu_proves_nothing() -> None:
    assert proof("cpu", AGAIN, frozenset({f"{A}/model"}), frozenset({f"{A}/model"})) == (
        "it holds no compiled code"
    )


def test_the_entry_point_goes_before_the_servers() -> None:
    assert warm_entrypoint(entrypoint(["/entry.sh", "vllm", "serve"])) == (
        *("python3", "-I", "/etc/enginebuild/start_warm.py"),
        *("/entry.sh", "vllm", "serve", "--config", "/etc/enginebuild/vllm.yaml"),
    )
