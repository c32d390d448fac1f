"""`enginebuild doctor`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from enginebuild.cli.engines import engine_named, needed
from enginebuild.cli.options import cache_option, json_option
from enginebuild.errors import Exit

if TYPE_CHECKING:
    from enginebuild.doctor import Diagnosis


@click.command("doctor")
@click.argument("name", metavar="IMAGE|DIR")
@click.option("--platform", default="linux/amd64", show_default=True, help="Which images of an index.")
@click.option(
    "--environment",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The Python environment that is to load an engine (default: the active one).",
)
@cache_option
@json_option
def command(
    name: str, platform: str, environment: Path | None, cache_dir: Path | None, as_json: bool
) -> None:
    """Say whether this machine can load an image or an engine, and why not.

    Compares GPUs, compute capability, driver, container runtime, and for an engine TensorRT-LLM and TensorRT,
    with what it was built for. IMAGE is a registry's, oci:FOLDER[:TAG] or docker:NAME; DIR has an engine, and
    cache:KEY is one in the cache. No weight is read. Of an index each variant is compared, and one that loads
    is enough.

    Exits with 0 if it will load, with 5 if it will not, and with 3 if it cannot be read.
    """
    diagnoses = _diagnoses(name, platform, environment, cache_dir)
    fit = any(diagnosis.fits for diagnosis in diagnoses)
    if as_json:
        documents = [diagnosis.to_json() for diagnosis in diagnoses]
        click.echo(json.dumps({"fits": fit, "compared": documents}, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(line for diagnosis in diagnoses for line in lines(diagnosis)))
    if not fit:
        raise SystemExit(Exit.REFUSED)


def _diagnoses(
    name: str, platform: str, environment: Path | None, cache_dir: Path | None
) -> tuple[Diagnosis, ...]:
    from enginebuild.cli.tools import registries
    from enginebuild.doctor import diagnose_engine, diagnose_image, looked_at

    if (engine := engine_named(name, cache_dir)) is not None:
        return (diagnose_engine(engine, looked_at(), environment),)
    if environment is not None:
        raise click.UsageError("--environment is for engines; an image brings its own")
    with registries() as registry:
        return diagnose_image(name, platform, registry, looked_at())


def lines(diagnosis: Diagnosis) -> list[str]:
    """What people read."""
    shown = [diagnosis.name, f"  needs  {needed(diagnosis.needs)}", f"  here   {here(diagnosis)}"]
    for finding in diagnosis.findings:
        shown.append(f"  {finding.label}: {finding.message}")
        if finding.hint:
            shown.append(f"  hint: {finding.hint}")
    return [*shown, f"  {verdict(diagnosis)}"]


def here(diagnosis: Diagnosis) -> str:
    """`8 × NVIDIA L4 (8.9), driver 580.95.05`."""
    machine = diagnosis.machine
    if not machine.gpus:
        return machine.reason or "no GPU"
    kinds = [f"{gpu.product} ({gpu.compute_capability or 'unknown'})" for gpu in machine.gpus]
    counted = [f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds)]
    return ", ".join([*counted, f"driver {machine.driver or 'unknown'}"])


def verdict(diagnosis: Diagnosis) -> str:
    if not diagnosis.fits:
        return "it will not load here"
    if any(finding.level == "unknown" for finding in diagnosis.findings):
        return "it will load here, as far as it could be compared"
    return "it will load here"
