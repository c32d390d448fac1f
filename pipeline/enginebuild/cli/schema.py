"""`enginebuild schema`: for editors and for CI."""

from __future__ import annotations

import json

import click


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of a recipe.

    Editors complete and check recipes with it: begin the recipe with
    `# yaml-language-server: $schema=recipe.schema.json`.
    """
    from enginebuild.recipe import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
