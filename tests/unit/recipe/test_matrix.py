"""Cells of a recipe: GitHub's rules for axes, exclude and include; variants; names; --set and --cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from enginebuild.errors import RecipeError
from enginebuild.recipe import Recipe, chosen, one_of, read, read_cells
from enginebuild.recipe.matrix import MOST_CELLS

RECIPE = """\
version: 1
name: tiny
model: hf://org/tiny@main
engine: {type: vllm, version: 0.33.0}
image: {base: scratch}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("r.yaml")


def cells(file: Path, more: str, overrides: Sequence[str] = ()) -> tuple[Recipe, ...]:
    file.write_text(RECIPE + more)
    return read_cells(file, overrides)


def values(found: Sequence[Recipe]) -> list[dict[str, str]]:
    return [dict(cell.cell) for cell in found]


def refusal(file: Path, more: str, overrides: Sequence[str] = ()) -> str:
    with pytest.raises(RecipeError) as caught:
        cells(file, more, overrides)
    return caught.value.message


def test_a_recipe_without_a_matrix_is_one_cell(file: Path) -> None:
    (cell,) = cells(file, "")
    assert (cell.name, dict(cell.cell)) == ("tiny", {})
    assert cell == read(file)


def test_each_value_with_each_and_the_first_axis_varies_slowest(file: Path) -> None:
    found = cells(file, "matrix: {tensor_parallel_size: [1, 2], dtype: [float16, bfloat16]}\n")
    assert [(cell.tensor_parallel_size, cell.dtype) for cell in found] == [
        (1, "float16"),
        (1, "bfloat16"),
        (2, "float16"),
        (2, "bfloat16"),
    ]


def test_a_cell_is_the_recipe_written_out(file: Path) -> None:
    matrix = "matrix: {engine.args.max_model_len: [64, 128], quantization: [none, {method: w8a16}]}\n"
    found = cells(file, matrix + "builder: {image: registry.example.com/q:1}\n")
    for cell, length, method in zip(found, (64, 64, 128, 128), ("none", "w8a16") * 2, strict=True):
        written = file.with_name("written.yaml")
        written.write_text(
            RECIPE.replace("name: tiny", f"name: {cell.name}").replace(
                "version: 0.33.0}", f"version: 0.33.0, args: {{max_model_len: {length}}}}}"
            )
            + f"quantization: {method}\nbuilder: {{image: registry.example.com/q:1}}\n"
        )
        assert cell == read(written)


#: The example of GitHub's own documentation (docs.github.com, "Running variations of jobs in a workflow",
#: Expanding or adding matrix configurations), whose six cells are listed there.
GITHUB = """\
matrix:
  fruit: [apple, pear]
  animal: [cat, dog]
  include:
    - color: green
    - {color: pink, animal: cat}
    - {fruit: apple, shape: circle}
    - fruit: banana
    - {fruit: banana, animal: cat}
variants:
  - {when: {fruit: [apple, pear, banana]}, dtype: float16}
  - {when: {animal: cat}, dtype: float16}
  - {when: {color: green}, dtype: float16}
  - {when: {shape: circle}, dtype: float16}
"""


def test_include_is_githubs(file: Path) -> None:
    assert values(cells(file, GITHUB)) == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_exclude_takes_every_cell_that_has_its_values_and_comes_before_include(file: Path) -> None:
    matrix = """\
matrix:
  gpu: [L4, T4]
  tensor_parallel_size: [1, 2]
  exclude:
    - {gpu: T4}
    - {gpu: L4, tensor_parallel_size: 2}
  include:
    - {gpu: T4, tensor_parallel_size: 2, dtype: float16}
"""
    assert values(cells(file, matrix)) == [
        {"gpu": "L4", "tensor_parallel_size": "1"},
        {"gpu": "T4", "tensor_parallel_size": "2", "dtype": "float16"},
    ]


def test_a_matrix_of_include_alone_is_a_list_of_cells(file: Path) -> None:
    found = cells(file, "matrix: {include: [{gpu: L4}, {gpu: T4, dtype: float16}]}\n")
    assert [(cell.gpu, cell.dtype) for cell in found] == [("L4", "auto"), ("T4", "float16")]


def test_variants_are_merged_and_the_later_wins(file: Path) -> None:
    matrix = """\
matrix: {size: [small, large]}
variants:
  - when: {size: [small, large]}
    engine: {args: {max_model_len: 64, max_num_seqs: 2}}
    image: {labels: {org.example.a: x}}
  - when: {size: large}
    engine: {args: {max_model_len: 4096}}
"""
    small, large = cells(file, matrix)
    assert small.engine.args == {"max_model_len": 64, "max_num_seqs": 2}
    assert large.engine.args == {"max_model_len": 4096, "max_num_seqs": 2}
    assert large.image.labels == {"org.example.a": "x"}
    assert (small.engine.version, small.image.base) == ("0.33.0", "scratch")


def test_a_variant_of_a_key_that_the_recipe_writes_follows_set(file: Path) -> None:
    variants = "gpu: L4\nvariants: [{when: {gpu: [L40S]}, engine: {args: {max_model_len: 4096}}}]\n"
    file.write_text(RECIPE + variants)
    (changed,) = read_cells(file, ["gpu=L40S"])
    assert changed.engine.args == {"max_model_len": 4096}
    (unchanged,) = read_cells(file, ["gpu=T4"])
    assert unchanged.engine.args == {}
    assert "variants[0] is for no cell" in refusal(file, variants)


def test_what_set_says_wins_over_a_variant(file: Path) -> None:
    matrix = "matrix: {gpu: [L4]}\nvariants: [{when: {gpu: L4}, engine: {args: {max_model_len: 64}}}]\n"
    (cell,) = cells(file, matrix, ["engine.args.max_model_len=32"])
    assert cell.engine.args == {"max_model_len": 32}


def test_set_gives_an_axis_other_values_and_does_not_stand_for_one(file: Path) -> None:
    matrix = "matrix: {gpu: [L4, T4]}\n"
    assert values(cells(file, matrix, ["matrix.gpu=[L40S]"])) == [{"gpu": "L40S"}]
    assert refusal(file, matrix, ["gpu=L40S"]) == (
        "--set gpu=…: gpu is an axis of the recipe's matrix\n"
        "  gpu=L40S\n"
        "  ^\n"
        "  hint: choose cells with --cell gpu=…, or give it values: --set 'matrix.gpu=[…]'"
    )


def test_names(file: Path) -> None:
    matrix = """\
matrix:
  engine.version: [0.32.0, 0.33.0]
  tensor_parallel_size: [2]
  engine.args.enable_prefix_caching: [true]
  quantization: [none, {method: w8a16, tool: llm-compressor}]
builder: {image: registry.example.com/q:1}
"""
    assert [cell.name for cell in cells(file, matrix)] == [
        "tiny-0.32.0-tp2-enable_prefix_caching-true-none",
        "tiny-0.32.0-tp2-enable_prefix_caching-true-w8a16-llm-compressor",
        "tiny-0.33.0-tp2-enable_prefix_caching-true-none",
        "tiny-0.33.0-tp2-enable_prefix_caching-true-w8a16-llm-compressor",
    ]


def test_names_that_would_be_the_same_or_too_long_end_with_digits_of_their_values(file: Path) -> None:
    lists = "matrix: {image.tags: [[a], [b]]}\n"
    first, second = (cell.name for cell in cells(file, lists))
    assert first != second
    assert first.rpartition("-")[0] == second.rpartition("-")[0] == "tiny"
    (long,) = cells(file, f"matrix: {{image.labels.org.example.text: [{'x' * 200}]}}\n")
    assert len(long.name) == 128
    assert long.name == cells(file, f"matrix: {{image.labels.org.example.text: [{'x' * 200}, z]}}\n")[0].name


def test_a_name_may_be_an_axis_or_of_a_variant(file: Path) -> None:
    assert [cell.name for cell in cells(file, "matrix: {name: [one, two]}\n")] == ["one", "two"]
    matrix = "matrix: {gpu: [L4, T4]}\nvariants: [{when: {gpu: T4}, name: old}]\n"
    assert [cell.name for cell in cells(file, matrix)] == ["tiny-l4", "old"]


def test_another_cell_changes_none(file: Path) -> None:
    few = cells(file, "matrix: {gpu: [L4], tensor_parallel_size: [1]}\n")
    many = cells(file, "matrix: {gpu: [T4, L4], tensor_parallel_size: [2, 1], include: [{dtype: auto}]}\n")
    assert [cell.name for cell in many] == [
        "tiny-t4-tp2-auto",
        "tiny-t4-tp1-auto",
        "tiny-l4-tp2-auto",
        "tiny-l4-tp1-auto",
    ]
    assert few[0].name == "tiny-l4-tp1"


def test_a_mistake_is_told_once_with_the_cells_that_have_it(file: Path) -> None:
    matrix = """\
matrix: {gpu: [L4, T4], tensor_parallel_size: [1, 2]}
variants: [{when: {gpu: T4}, dtype: bf16}]
"""
    assert refusal(file, matrix).splitlines()[0] == (
        "r.yaml:7:37: dtype must be auto, float16, bfloat16 or float32, not 'bf16', "
        "in 2 of 4 cells, such as gpu=T4, tensor_parallel_size=1"
    )


def test_most_cells(file: Path) -> None:
    axes = "".join(f"  engine.args.{name}: {list(range(1, 17))}\n" for name in ("max_num_seqs", "seed"))
    assert len(cells(file, f"matrix:\n{axes}  tensor_parallel_size: {list(range(1, 17))}\n")) == MOST_CELLS


MATRIX = "matrix: {gpu: [L4, T4], tensor_parallel_size: [1, 2]}\n"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ((), ["tiny-l4-tp1", "tiny-l4-tp2", "tiny-t4-tp1", "tiny-t4-tp2"]),
        (("gpu=T4",), ["tiny-t4-tp1", "tiny-t4-tp2"]),
        (("gpu=T4", "tensor_parallel_size=2"), ["tiny-t4-tp2"]),
        (("gpu=T4", "gpu=L4", "tensor_parallel_size=2"), ["tiny-l4-tp2", "tiny-t4-tp2"]),
        (("tiny-t4-tp2", "tiny-l4-tp1"), ["tiny-l4-tp1", "tiny-t4-tp2"]),
    ],
)
def test_choosing(file: Path, wanted: tuple[str, ...], found: list[str]) -> None:
    assert [cell.name for cell in chosen(cells(file, MATRIX), wanted)] == found


NAMES = "tiny-l4-tp1, tiny-l4-tp2, tiny-t4-tp1, tiny-t4-tp2"


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        (("gpu=L40S",), "--cell gpu=L40S: the axis has no such value", "it has the values L4, T4"),
        (
            ("gpus=L4",),
            "--cell gpus=…: the recipe has no axis 'gpus'",
            "its axes are gpu, tensor_parallel_size",
        ),
        (("tiny-l4-tp3",), "--cell tiny-l4-tp3: no cell has that name", "did you mean tiny-l4-tp2?"),
        (
            ("nothing-like-it",),
            "--cell nothing-like-it: no cell has that name",
            f"choose with --cell AXIS=VALUE or --cell NAME: {NAMES}",
        ),
        (
            ("tiny-l4-tp1", "gpu=T4"),
            "no cell fits --cell tiny-l4-tp1 --cell gpu=T4",
            f"choose with --cell AXIS=VALUE or --cell NAME: {NAMES}",
        ),
    ],
)
def test_what_no_cell_fits(file: Path, wanted: tuple[str, ...], message: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        chosen(cells(file, MATRIX), wanted)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_one_is_wanted(file: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        one_of(cells(file, MATRIX))
    assert caught.value.message == "r.yaml has 4 cells, and one is wanted here"
    assert caught.value.hint == f"choose with --cell AXIS=VALUE or --cell NAME: {NAMES}"
    with pytest.raises(RecipeError) as none:
        chosen(cells(file, ""), ["gpu=L4"])
    assert none.value.hint == "this recipe has no matrix"
