"""`enginebuild inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from enginebuild.cli.options import cache_option, json_option
from enginebuild.cli.output import size
from enginebuild.verify.report import summary

if TYPE_CHECKING:
    from enginebuild.inspect import IndexInspection, Inspection


@click.command("inspect")
@click.argument("image", metavar="IMAGE|DIR")
@click.option("--platform", default="linux/amd64", show_default=True, help="Which image of an index.")
@cache_option
@json_option
def command(image: str, platform: str, cache_dir: Path | None, as_json: bool) -> None:
    """Show what an image or an engine holds and what it was made from.

    IMAGE is a registry's (registry.example.com/llm/llama:tag or @sha256:…), an OCI layout's
    (oci:dist/llama or oci:dist/llama:tag) or a Docker Engine's (docker:llama:tag). No layer is read.

    Of an index with several images for the platform each is listed, with what it is for.

    DIR is the folder of a TensorRT-LLM engine, and cache:KEY one in the cache: what it was built from, by and
    for, and which build arguments the library changed. Of an engine of others, what its config.json says.
    """
    from enginebuild.cli.engines import engine_lines, engine_named
    from enginebuild.cli.tools import registries
    from enginebuild.inspect import Inspection, inspect

    if (engine := engine_named(image, cache_dir)) is not None:
        document = json.dumps(engine.to_json(), indent=2, ensure_ascii=False)
        click.echo(document if as_json else "\n".join(engine_lines(engine)))
        return
    with registries() as registry:
        found = inspect(image, platform, registry)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
        return
    click.echo("\n".join(_lines(found) if isinstance(found, Inspection) else _index_lines(found)))


def _index_lines(found: IndexInspection) -> list[str]:
    lines = [found.name, f"  digest    {found.digest}", f"  variants  {len(found.variants)}"]
    for variant in found.variants:
        lines += [f"    {variant.name}", f"      platform = {variant.platform}"]
        lines += [f"      {name} = {value}" for name, value in sorted(variant.annotations.items())]
    return lines


def _lines(found: Inspection) -> list[str]:
    kind = "  artifact  ModelPack" if found.is_model else f"  platform  {found.platform}"
    lines = [found.name, f"  digest    {found.digest}", kind]
    lines.append("  annotations" if found.is_model else "  labels")
    lines += [f"    {name} = {value}" for name, value in sorted(found.labels.items())]
    if found.verification is not None:
        lines.append("  verification")
        lines += [f"    {line}" for line in summary(found.verification)]
    total = f", {size(found.size)}" if found.size else ""
    lines.append(f"  layers    {len(found.layers)}{total}")
    for layer in found.layers:
        amount = f"{size(layer.size):>9}" if layer.size else ""
        lines.append(f"    {layer.digest[:19]} {amount}  {layer.holds[:80]}".rstrip())
    return lines
