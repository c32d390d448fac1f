"""The argument tables: which versions, what is in them, what every rule and every file of ours relies on."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources

import pytest

from enginebuild.engines.vllm.render import VllmSettings, render
from enginebuild.engines.vllm.reserved import FORMER, RESERVED
from enginebuild.engines.vllm.table import VERSIONS, table

_FOLDER = resources.files("enginebuild.engines.vllm") / "tables"


def test_there_is_a_table_for_each_version_and_no_other() -> None:
    assert sorted(entry.name for entry in _FOLDER.iterdir()) == [f"{version}.json" for version in VERSIONS]


def test_an_unknown_version_has_no_table() -> None:
    with pytest.raises(KeyError, match="0\\.1\\.0"):
        table("0.1.0")


@pytest.mark.parametrize("version", VERSIONS)
class TestEveryTable:
    def test_is_whole_and_says_where_it_is_from(self, version: str) -> None:
        found = table(version)
        assert found.version == version
        assert version in found.source
        assert len(found.arguments) > 310

    def test_is_compact_one_argument_a_line_in_order(self, version: str) -> None:
        text = (_FOLDER / f"{version}.json").read_text(encoding="utf-8")
        names = [json.loads(f"[{line.split(':')[0]}]")[0] for line in text.splitlines()[3:-1]]
        assert names == sorted(table(version).arguments)
        assert len(text) < 32_000

    def test_has_the_kinds_that_were_read_from_the_parser(self, version: str) -> None:
        arguments = table(version).arguments
        assert {
            name: arguments[name].kind
            for name in (
                "enable_prefix_caching",
                "disable_log_stats",
                "max_model_len",
                "kv_cache_memory_bytes",
                "gpu_memory_utilization",
                "served_model_name",
                "compilation_config",
                "speculative_config",
                "hf_overrides",
                "allowed_origins",
                "optimization_level",
                "cudagraph_capture_sizes",
            )
        } == {
            "enable_prefix_caching": "bool",
            "disable_log_stats": "bool",
            "max_model_len": "readable_int_or_auto",
            "kv_cache_memory_bytes": "readable_int",
            "gpu_memory_utilization": "float",
            "served_model_name": "str",
            "compilation_config": "object",
            "speculative_config": "object",
            "hf_overrides": "str_or_object",
            "allowed_origins": "json_list",
            "optimization_level": "int",
            "cudagraph_capture_sizes": "int",
        }
        assert arguments["served_model_name"].many
        assert not arguments["max_model_len"].many
        assert arguments["speculative_config"].keys is None
        assert "mode" in (arguments["compilation_config"].keys or ())

    def test_only_plain_flags_cannot_be_negated(self, version: str) -> None:
        flags = {a.name for a in table(version).arguments.values() if not a.negatable}
        assert flags == {
            "aggregate_engine_logging",
            "data_parallel_multi_port_external_lb",
            "disable_log_stats",
            "grpc",
            "headless",
        }
        assert all(table(version).arguments[flag].default is False for flag in flags)

    def test_has_every_argument_that_a_rule_names(self, version: str) -> None:
        arguments = table(version).arguments
        assert set(RESERVED) - set(arguments) == {"model_tag"}
        assert set(FORMER.values()) <= set(arguments)
        assert not set(FORMER) & set(arguments), "a former word that this version has again"

    def test_has_every_argument_that_is_always_written(self, version: str) -> None:
        written = render(VllmSettings(version, served_model_name="m", fingerprint="f")).decode()
        names = [line.split(":")[0].replace("-", "_") for line in written.splitlines()[2:]]
        assert set(names) <= set(table(version).arguments)

    def test_short_names_stand_for_one_argument_each(self, version: str) -> None:
        aliases = table(version).aliases
        assert aliases["tp"] == "tensor_parallel_size"
        assert aliases["cc"] == "compilation_config"
        assert len(aliases) == sum(len(a.aliases) for a in table(version).arguments.values())


def test_what_the_two_versions_have_apart() -> None:
    old, new = table("0.32.0").arguments, table("0.33.0").arguments
    assert set(old) - set(new) == set()
    assert set(new) - set(old) == {
        "monokernel",
        "reasoning_effort_map",
        "sleep_mode_backend",
        "watchdog_config",
    }
    assert old["kv_cache_dtype"].choices != ()
    assert new["kv_cache_dtype"].choices == ()
    assert "octave_k3v3" in new["kv_cache_dtype"].known


def test_checking_arguments_is_quick_and_imports_nothing_heavy() -> None:
    script = """
import sys, time
import enginebuild_cache, enginebuild.errors
started = time.process_time()
from enginebuild.engines.vllm import check_arguments
assert check_arguments("0.33.0", {"max_model_len": 8192, "enable_prefix_caching": False}) == []
print(time.process_time() - started)
print(sorted({"vllm", "torch", "yaml", "pydantic", "httpx2", "click", "difflib"} & set(sys.modules)))
"""
    runs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        for _ in range(3)
    ]
    assert all(run.splitlines()[1] == "[]" for run in runs)
    assert min(float(run.splitlines()[0]) for run in runs) < 0.06
