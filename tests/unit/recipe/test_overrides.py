"""`--set key.path=value`: values replaced and added, mistakes shown where they are in the option."""

from __future__ import annotations

from pathlib import Path

import pytest

from enginebuild.errors import Problem, RecipeError
from enginebuild.recipe import Recipe, read

RECIPE = b"""\
version: 1
name: tiny
model: hf://org/tiny
dtype: bf16
engine: {type: vllm, version: 0.33.0}
image: {base: scratch}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("r.yaml")
    path.write_bytes(RECIPE.replace(b"dtype: bf16\n", b""))
    return path


def refusal(file: Path, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        read(file, overrides)
    return caught.value.message


def test_values_are_replaced_and_added(file: Path) -> None:
    recipe = read(
        file,
        [
            "image.base=oci:./base",
            "engine.args.max_model_len=1024",
            "engine.args.hf_overrides.rope.factor=2.5",
            "engine.args.enforce_eager=true",
            "image.labels.org.opencontainers.image.vendor=Example",
            'image.tags=["{key}", latest]',
            "name=other",
            "name=last",
            "gpu=L4",
        ],
    )
    assert recipe.image.base == "oci:./base"
    assert recipe.engine.args == {
        "max_model_len": 1024,
        "hf_overrides": {"rope": {"factor": 2.5}},
        "enforce_eager": True,
    }
    assert recipe.image.labels == {"org.opencontainers.image.vendor": "Example"}
    assert recipe.image.tags == ("{key}", "latest")
    assert (recipe.name, recipe.gpu) == ("last", "L4")


def test_an_override_mends_a_mistake_of_the_file(file: Path) -> None:
    file.write_bytes(RECIPE)
    assert "dtype must be" in refusal(file)
    recipe: Recipe = read(file, ["dtype=bfloat16"])
    assert recipe.dtype == "bfloat16"


def test_unknown_key(file: Path) -> None:
    assert refusal(file, "image.bse=scratch") == (
        "--set image.bse=…: unknown key 'bse' in image\n"
        "  image.bse=scratch\n"
        "        ^\n"
        "  hint: did you mean base?"
    )


def test_wrong_value(file: Path) -> None:
    assert refusal(file, "tensor_parallel_size=two") == (
        "--set tensor_parallel_size=…: tensor_parallel_size must be a whole number of at least 1, not 'two'\n"
        "  tensor_parallel_size=two\n"
        "                       ^"
    )


def test_no_value(file: Path) -> None:
    assert refusal(file, "name=") == ("--set name=…: name must be a text, not nothing\n  name=\n       ^")


def test_value_that_is_not_yaml(file: Path) -> None:
    assert refusal(file, "image.tags=[a") == (
        "--set image.tags=…: the list opened with '[' in line 1 is not closed before this\n"
        "  image.tags=[a\n"
        "               ^\n"
        "  hint: write ']' or a comma, and quote texts that hold any of [ ] { } , :"
    )


def test_boolean_of_yaml_1_1(file: Path) -> None:
    assert refusal(file, "engine.args.enforce_eager=yes") == (
        "--set engine.args.enforce_eager=…: yes is a boolean in YAML 1.1 and a text in YAML 1.2\n"
        "  engine.args.enforce_eager=yes\n"
        "                            ^\n"
        '  hint: write true, or quote it: "yes"'
    )


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("image.base", "--set image.base", "an override has no '='"),
        ("", "--set ", "an override has no '='"),
        ("=scratch", "--set =…", "a key is empty"),
        ("image..base=scratch", "--set image..base=…", "a key is empty"),
    ],
)
def test_text_that_is_no_override(file: Path, text: str, place: str, message: str) -> None:
    line = f"  {text}\n  ^\n" if text else ""
    assert refusal(file, text) == (
        f"{place}: {message}\n{line}  hint: write --set key=value, such as image.base=scratch"
    )


def test_key_below_a_text(file: Path) -> None:
    assert refusal(file, "model.revision=main") == (
        "--set model.revision=…: model is 'hf://org/tiny' in the recipe, which has no keys\n"
        "  model.revision=main\n"
        "  ^\n"
        "  hint: replace it as a whole: --set 'model={…}'"
    )


def test_mistakes_of_the_file_come_first(file: Path) -> None:
    file.write_bytes(RECIPE)
    assert refusal(file, "image.bse=scratch", "gpu=H1000") == (
        "r.yaml:4:8: dtype must be auto, float16, bfloat16 or float32, not 'bf16'\n"
        "  dtype: bf16\n"
        "         ^\n"
        "  hint: enginebuild's word for 'bf16' is bfloat16\n"
        "\n"
        "--set gpu=…: gpu must be a GPU of the catalogue, not 'H1000'\n"
        "  gpu=H1000\n"
        "      ^\n"
        "  hint: did you mean H100-PCIe-80GB, H100-SXM-80GB or H100-NVL-94GB?\n"
        "\n"
        "--set image.bse=…: unknown key 'bse' in image\n"
        "  image.bse=scratch\n"
        "        ^\n"
        "  hint: did you mean base?\n"
        "\n"
        "3 mistakes"
    )


def test_later_findings_are_located_in_overrides_too(file: Path) -> None:
    recipe = read(file, ["engine.args.max_model_len=8x"])
    problem = Problem(("engine", "args", "max_model_len"), "engine.args.max_model_len must be a number")
    assert recipe.located([problem]).message == (
        "--set engine.args.max_model_len=…: engine.args.max_model_len must be a number\n"
        "  engine.args.max_model_len=8x\n"
        "                            ^"
    )


def test_a_secret_in_an_override_is_not_shown(file: Path) -> None:
    message = refusal(file, "model={source: hf://org/tiny, auth: hf_abcdefghijklmnopqrst}")
    assert "hf_abc" not in message
    assert message == (
        "--set model=…: model.auth holds an access token; a recipe never does\n"
        "  model={source: hf://org/tiny, auth: ***********************}\n"
        "                                      ^\n"
        "  hint: write the name of the environment variable that holds it, such as HF_TOKEN, "
        "and revoke this token"
    )
