"""`enginebuild import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from enginebuild.importing.sources import Imported

_EPILOG = """\b
  enginebuild import "vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 2" -o recipe.yaml
  enginebuild import "docker run --gpus all vllm/vllm-openai:v0.33.0 --model …"
  enginebuild import vllm-recipe Qwen3-8B.yaml --hardware h200 --feature spec_decoding
  enginebuild import trtllm-build "trtllm-build …" "python convert_checkpoint.py …"
  enginebuild import "trtllm-serve …" --config extra.yaml
  enginebuild import --engine tensorrt_llm recipe.yaml
"""


@click.command("import", epilog=_EPILOG)
@click.argument("source", nargs=-1, required=True)
@click.option("--version", help="Version of the engine (default: the image's, else the newest known).")
@click.option("--gpu", help="The GPU that will serve.")
@click.option("--name", help="Name of the recipe (default: made of the model's).")
@click.option("--engine", type=click.Choice(["vllm", "tensorrt_llm"]), help="Switch a recipe to this engine.")
@click.option(
    "--mode",
    type=click.Choice(["pytorch", "engine"]),
    default="pytorch",
    show_default=True,
    help="With --engine tensorrt_llm: how it is served.",
)
@click.option("--variant", default="default", help="With vllm-recipe: which variant.")
@click.option(
    "--feature",
    "features",
    multiple=True,
    metavar="NAME",
    help="With vllm-recipe: a feature to switch on; no-NAME: off; NAME=MODE: in this mode. Again for more.",
)
@click.option("--hardware", metavar="GPU", help="With vllm-recipe: what it is for, such as h200.")
@click.option("--config", type=click.Path(path_type=Path), help="With trtllm-serve: its YAML.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file, not to stdout.")
@click.option("--force", is_flag=True, help="Replace the file of --output.")
def command(
    source: tuple[str, ...],
    version: str | None,
    gpu: str | None,
    name: str | None,
    engine: str | None,
    mode: str,
    variant: str,
    features: tuple[str, ...],
    hardware: str | None,
    config: Path | None,
    output: Path | None,
    force: bool,
) -> None:
    """Write a recipe from what you have: a command, a file of another tool, a recipe for the other engine.

    What a recipe cannot hold becomes a comment at its head that says why, and what only you know is listed
    there to be filled in. Exits with 2, and every mistake, for a command that cannot be understood.
    """
    from enginebuild.errors import RecipeError
    from enginebuild.importing.sources import Request, imported
    from enginebuild.importing.vllm_recipe import Choice

    if output is not None and output.exists() and not force:
        raise RecipeError(f"{output}: exists already", "give --force to replace it, or another --output")
    request = Request(
        source,
        version,
        engine,  # type: ignore[arg-type] # click has checked the choice
        mode,  # type: ignore[arg-type] # and this one
        Choice(variant, features, hardware),
        config,
        gpu,
        name,
    )
    found = imported(request)
    if output is None:
        click.echo(found.text, nl=False)
    else:
        _write(output, found.text)
    _summary(found, output)


def _write(output: Path, text: str) -> None:
    from enginebuild.errors import RecipeError

    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{output}: cannot be written: {error.strerror}", "check the folder") from error


def _summary(found: Imported, output: Path | None) -> None:
    """On stderr: the recipe says the same at its head, and may be going into a file."""
    for gap in found.gaps:
        click.echo(f"to fill in: {gap}", err=True)
    if found.lost:
        click.echo(f"not carried: {len(found.lost)}, listed at the head of the recipe", err=True)
    if output is not None:
        click.echo(f"{output}: written", err=True)
