"""`enginebuild advise`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from enginebuild.cli.options import cache_option, cells_option, json_option, overrides_option

if TYPE_CHECKING:
    from enginebuild.advise.advice import Candidate
    from enginebuild.advise.figure import Figure


@click.command("advise")
@click.argument("recipe", required=False, type=click.Path(path_type=Path))
@overrides_option
@cells_option
@click.option(
    "--tokens-per-month", default="100M,1B,10B", show_default=True, help="Volumes, such as 500k,100M,1.5B."
)
@click.option("--gpu-price", required=True, metavar="DOLLARS/h", help="Of one GPU.")
@click.option(
    "--throughput",
    "throughputs",
    multiple=True,
    metavar="ENGINE[:QUANTIZATION][xGPUS]=TOKENS",
    help="Tokens per GPU-hour, such as vllm=667k or tensorrt_llm:fp8x2=1.1M. May be given again.",
)
@click.option("--compile-minutes", type=click.FloatRange(0), help="Of one compilation of an engine.")
@click.option("--recompiles-per-month", type=click.FloatRange(0), help="Compilations a month.")
@click.option(
    "--fixed-cost",
    "fixed",
    multiple=True,
    metavar="ENGINE=DOLLARS",
    help="A month, for what no GPU does: people, build machines. May be given again.",
)
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw cost over volume: .svg or .png."
)
@cache_option
@json_option
def command(
    recipe: Path | None,
    overrides: tuple[str, ...],
    cells: tuple[str, ...],
    tokens_per_month: str,
    gpu_price: str,
    throughputs: tuple[str, ...],
    compile_minutes: float | None,
    recompiles_per_month: float | None,
    fixed: tuple[str, ...],
    plot: Path | None,
    cache_dir: Path | None,
    as_json: bool,
) -> None:
    """Compare what engines cost at a volume, and what each one loses.

    With RECIPE, what verify measured of its model on GPUs and how long its engine took to compile come from
    the cache. What is given here goes before that; only where nothing is measured or given, cited figures
    stand in. The output says of each number where it is from.

    GPU-hours are those of GPUs at full load, to three digits; costs follow from these.
    """
    from enginebuild.advise.advice import Advice
    from enginebuild.advise.candidates import Circumstances, candidates, fixed_costs, given
    from enginebuild.advise.chart import write_chart
    from enginebuild.advise.figure import Figure, amount
    from enginebuild.advise.text import lines
    from enginebuild.estimate import gpu_price as priced

    def said(value: float | None, option: str) -> Figure | None:
        return None if value is None else Figure(value, "given", f"{option} {value:g}")

    volumes = tuple(amount(text, "--tokens-per-month") for text in tokens_per_month.split(","))
    asked, price = given(throughputs), priced(gpu_price)
    known = _Known() if recipe is None else _of_recipe(recipe, overrides, cells, cache_dir)
    circumstances = Circumstances(
        said(compile_minutes, "--compile-minutes") or known.minutes,
        said(recompiles_per_month, "--recompiles-per-month"),
        known.compile_gpus,
        fixed_costs(fixed),
    )
    advice = Advice(candidates(asked, known.measured, circumstances), volumes, price, known.subject)
    if plot is not None:
        write_chart(advice, plot)
    document = json.dumps(advice.to_json(), indent=2, ensure_ascii=False)
    click.echo(document if as_json else "\n".join(lines(advice)))


@dataclass(frozen=True)
class _Known:
    """What a recipe and the cache tell. `minutes`: how long its engine took to compile."""

    subject: str = ""
    measured: tuple[Candidate, ...] = ()
    minutes: Figure | None = None
    compile_gpus: int = 1


def _of_recipe(
    path: Path, overrides: tuple[str, ...], cells: tuple[str, ...], cache_dir: Path | None
) -> _Known:
    from enginebuild.advise.measured import compile_minutes, measured
    from enginebuild.check import read_checked
    from enginebuild.cli.tools import opened
    from enginebuild.locking import previous_lock
    from enginebuild.resolve import lock_for
    from enginebuild.steps.environment import gpu_count

    recipe = read_checked(path, overrides, cells)
    locked = lock_for(recipe, previous_lock(path))
    with opened(recipe.folder, cache_dir, jobs=1, as_json=False) as tools:
        found = measured(tools.store, recipe, None if locked is None else locked.model.tree.digest)
        minutes = compile_minutes(tools.store, recipe)
    return _Known(recipe.name, found, minutes, max(1, gpu_count(recipe)))
