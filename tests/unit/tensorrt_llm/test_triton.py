"""Triton's model repositories: values by mode, and templates filled by the program that runs in the image.

The templates are stand-ins with the keys of each version's real ones.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from enginebuild.engines.tensorrt_llm.programs import filling
from enginebuild.engines.tensorrt_llm.settings import Settings
from enginebuild.engines.tensorrt_llm.triton import (
    REPOSITORY,
    TEMPLATES,
    model_yaml,
    repository_values,
    triton_entrypoint,
)
from enginebuild.errors import RefusedError
from parts.trtllm_parsers_standin import unknown_keys
from parts.trtllm_templates import template_files

MODELS = ("ensemble", "postprocessing", "preprocessing", "tensorrt_llm", "tensorrt_llm_bls")
VERSIONS = ("0.12.0", "0.14.0", "0.15.0", "0.17.0", "0.19.0", "0.21.0", "1.1.0", "1.2.1")


def engine(version: str = "1.2.1", **fields: Any) -> Settings:
    return Settings(version, "engine", server="triton", **fields)


def pytorch(version: str = "1.2.1", **fields: Any) -> Settings:
    return Settings(version, "pytorch", server="triton", **fields)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    for name, content in filling().items():
        (tmp_path / name).write_bytes(content)
    return tmp_path / "fill_repository.py"


def templates_standin(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / "all_models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / "all_models"


def fill(script: Path, templates: Path, values: object) -> tuple[int, str, Path]:
    document, output = script.with_name("values.json"), script.with_name("repository")
    document.write_text(json.dumps(values))
    words = [sys.executable, str(script), str(templates), str(document), str(output)]
    ended = subprocess.run(words, capture_output=True, text=True)
    assert ended.stdout == ""
    return ended.returncode, ended.stderr, output


def refused(script: Path, template: str, values: Mapping[str, Any]) -> str:
    files = {"m/config.pbtxt": template.encode(), "m/1/model.py": b""}
    code, said, _ = fill(script, templates_standin(script.parent, files), values)
    assert code == 1
    return said.replace(str(script.parent), "…")


def filled(script: Path, template: str, values: Mapping[str, Any]) -> str:
    files = {"m/config.pbtxt": template.encode(), "m/1/model.py": b""}
    code, said, output = fill(script, templates_standin(script.parent, files), values)
    assert (code, said) == (0, "")
    return (output / "m/config.pbtxt").read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_versions_templates_are_filled_to_the_last_key(version: str, script: Path) -> None:
    templates = templates_standin(script.parent, template_files(version)) / "inflight_batcher_llm"
    settings = engine(version, runtime={"kv_cache_free_gpu_mem_fraction": 0.8, "decoupled_mode": True})
    code, said, output = fill(script, templates, repository_values(settings, {"max_batch_size": 16}))
    assert (code, said) == (0, "")
    assert sorted(path.name for path in output.iterdir()) == list(MODELS)
    for model in MODELS:
        text = (output / model / "config.pbtxt").read_text()
        assert "${" not in text
        assert "max_batch_size: 16\n" in text
        assert any((output / model / "1").iterdir())
    text = (output / "tensorrt_llm/config.pbtxt").read_text()
    assert 'backend: "tensorrtllm"' in text
    assert "decoupled: true" in text
    assert _parameter(text, "gpt_model_path") == "/engine"
    assert _parameter(text, "gpt_model_type") == "inflight_fused_batching"
    assert _parameter(text, "kv_cache_free_gpu_mem_fraction") == "0.8"
    assert _parameter(text, "max_beam_width") == "1"
    assert _parameter(text, "decoding_mode") == ""
    for model in ("preprocessing", "postprocessing"):
        assert _parameter((output / model / "config.pbtxt").read_text(), "tokenizer_dir") == "/tokenizer"


def _parameter(text: str, key: str) -> str:
    match = re.search(rf'key: "{key}"\s*value: {{\s*string_value: "([^"]*)"', text)
    assert match, key
    return match[1]


def test_without_what_was_built_the_recipes_size_counts() -> None:
    values: Any = repository_values(engine(build={"max_batch_size": 4, "max_beam_width": 2}))
    assert values["required"]["ensemble"] == {"triton_max_batch_size": "4"}
    assert values["required"]["tensorrt_llm"]["max_beam_width"] == "2"


def test_logits_have_the_engines_type() -> None:
    ours: Any = repository_values(engine(build={"logits_dtype": "float16"}))
    default: Any = repository_values(engine())
    assert ours["if_present"]["logits_datatype"] == "TYPE_FP16"
    assert default["if_present"]["logits_datatype"] == "TYPE_FP32"


def test_lists_have_commas() -> None:
    values: Any = repository_values(engine(runtime={"max_attention_window_size": [8, 16]}))
    assert values["asked"] == {"max_attention_window_size": "8,16"}


def test_a_checkpoint_needs_one_file(script: Path) -> None:
    settings = pytorch(tensor_parallel_size=2, runtime={"max_seq_len": 4096})
    templates = templates_standin(script.parent, template_files("1.2.1")) / "llmapi"
    code, said, output = fill(script, templates, repository_values(settings))
    assert (code, said) == (0, "")
    assert (output / "tensorrt_llm/1/model.yaml").read_bytes() == model_yaml(settings)
    assert (output / "tensorrt_llm/config.pbtxt").read_bytes() == (
        templates / "tensorrt_llm/config.pbtxt"
    ).read_bytes()
    assert (output / "tensorrt_llm/1/model.py").exists()


def test_the_yaml_of_a_checkpoint() -> None:
    text = model_yaml(pytorch(dtype="bfloat16", runtime={"max_seq_len": 4096}))
    assert text.decode() == (
        "# Written by enginebuild for TensorRT-LLM 1.2.1 and Triton's llmapi model.\n"
        'model: "/model"\n'
        'backend: "pytorch"\n'
        "tensor_parallel_size: 1\n"
        "pipeline_parallel_size: 1\n"
        'dtype: "bfloat16"\n'
        "max_seq_len: 4096\n"
        'triton_config: {"max_batch_size": 0, "decoupled": false}\n'
    )
    document = yaml.safe_load(text)
    assert document.pop("triton_config") == {"max_batch_size": 0, "decoupled": False}
    assert unknown_keys("1.2.1", document) == []


def test_old_images_load_no_checkpoint() -> None:
    with pytest.raises(RefusedError) as caught:
        model_yaml(Settings("0.18.2", "pytorch"))
    assert caught.value.message == (
        "Triton's image with TensorRT-LLM 0.18.2 has no template that loads a checkpoint"
    )
    assert caught.value.hint == "it came with 0.19.0"


def test_one_triton_for_each_rank() -> None:
    assert " ".join(triton_entrypoint(engine(tensor_parallel_size=2))) == (
        "mpirun --allow-run-as-root "
        "-n 1 tritonserver --model-repository=/model_repository --grpc-port=8001 --http-port=8000 "
        "--metrics-port=8002 --disable-auto-complete-config "
        "--backend-config=python,shm-region-prefix-name=prefix0_ : "
        "-n 1 tritonserver --model-repository=/model_repository --model-control-mode=explicit "
        "--load-model=tensorrt_llm --grpc-port=8001 --http-port=8000 --metrics-port=8002 "
        "--disable-auto-complete-config --backend-config=python,shm-region-prefix-name=prefix1_"
    )


def test_a_checkpoint_has_one_triton_that_starts_its_ranks() -> None:
    assert " ".join(triton_entrypoint(pytorch(tensor_parallel_size=2))) == (
        "mpirun --allow-run-as-root "
        "-n 1 tritonserver --model-repository=/model_repository --grpc-port=8001 --http-port=8000 "
        "--metrics-port=8002 --backend-config=python,shm-region-prefix-name=prefix0_"
    )


def test_where_the_templates_are() -> None:
    assert dict(TEMPLATES) == {
        "engine": "/app/all_models/inflight_batcher_llm",
        "pytorch": "/app/all_models/llmapi",
    }
    assert REPOSITORY == "/model_repository"


def test_the_program_runs_with_python_3_8() -> None:
    ast.parse(filling()["fill_repository.py"], feature_version=(3, 8))


def test_what_is_asked_for_wins_over_what_is_required_and_that_over_the_rest(script: Path) -> None:
    values = {
        "required": {"m": {"a": "1", "b": "2"}},
        "if_present": {"b": "8", "c": "3"},
        "asked": {"a": "9"},
    }
    assert filled(script, "${a} ${b} ${c}\n", values) == "9 2 3\n"


def test_a_text_is_escaped(script: Path) -> None:
    values = {"required": {"m": {"a": "x\"y\\z'\n\t"}}}
    assert filled(script, 'k: "${a}"\n', values) == 'k: "x\\"y\\\\z\\\'\\n\\t"\n'


def test_quotes_within_quotes_are_seen(script: Path) -> None:
    assert filled(script, 'k: "\\"${a}"\n', {"required": {"m": {}}}) == 'k: "\\""\n'


def test_comments_stay_as_they_are(script: Path) -> None:
    template = '  # string_value: "${gone}"\nk: "${unset}"\n'
    assert filled(script, template, {"required": {"m": {}}}) == '  # string_value: "${gone}"\nk: ""\n'


def test_a_folder_without_files_is_not_lost_on_the_way(script: Path) -> None:
    templates = templates_standin(script.parent, {"m/config.pbtxt": b"", "m/1/__pycache__/model.pyc": b""})
    code, _, output = fill(script, templates, {"required": {"m": {}}})
    assert code == 0
    assert [path.name for path in (output / "m/1").iterdir()] == [".keep"]


def test_a_key_that_must_be_there_and_is_not(script: Path) -> None:
    assert refused(script, "${a}\n", {"required": {"m": {"a": "1", "b": "2"}}}) == (
        "fill_repository.py: the template of m has no key b, which it must have\n"
    )


def test_a_key_in_a_comment_is_not_there(script: Path) -> None:
    assert refused(script, "# ${b}\n", {"required": {"m": {"b": "2"}}}) == (
        "fill_repository.py: the template of m has no key b, which it must have\n"
    )


def test_a_key_of_the_recipe_that_no_template_has(script: Path) -> None:
    assert refused(script, "\n", {"required": {"m": {}}, "asked": {"max_q": "1"}}) == (
        "fill_repository.py: no template has the key max_q; engine.runtime names it\n"
    )


def test_a_key_without_a_value_where_there_must_be_one(script: Path) -> None:
    assert refused(script, "type: ${new_type}\n", {"required": {"m": {}}}) == (
        "fill_repository.py: the template of m has the key new_type, and no value is known for it\n"
    )


def test_a_value_that_would_change_the_file(script: Path) -> None:
    assert refused(script, "n: ${a}\n", {"required": {"m": {"a": "1 }"}}}) == (
        "fill_repository.py: the template of m takes a plain word for a, not '1 }'\n"
    )


def test_templates_that_are_not_there(script: Path) -> None:
    assert refused(script, "\n", {"required": {"n": {}}}) == (
        "fill_repository.py: there is no …/all_models/n/config.pbtxt: "
        "the image's templates are elsewhere, or of another version\n"
    )


def test_a_file_that_the_templates_do_not_have(script: Path) -> None:
    assert refused(script, "\n", {"files": {"m/1/model.yaml": ""}}) == (
        "fill_repository.py: there is no …/all_models/m/1/model.yaml: "
        "the image's templates are elsewhere, or of another version\n"
    )


def test_values_that_are_no_json(script: Path) -> None:
    script.with_name("values.json").write_text("{")
    words = [sys.executable, str(script), ".", str(script.with_name("values.json")), "out"]
    ended = subprocess.run(words, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.partition(":")[0]) == (1, "fill_repository.py")


def test_it_says_what_it_wants(script: Path) -> None:
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr == "usage: fill_repository.py TEMPLATES VALUES OUTPUT\n"
