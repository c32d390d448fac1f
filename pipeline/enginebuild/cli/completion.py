"""`enginebuild completion`: click's own scripts, printed instead of hidden behind a variable."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a shell's completion script.

    For bash: `enginebuild completion bash > ~/.local/share/bash-completion/completions/enginebuild`.
    """
    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    root = context.find_root()
    click.echo(completion(root.command, {}, "enginebuild", "_ENGINEBUILD_COMPLETE").source())
