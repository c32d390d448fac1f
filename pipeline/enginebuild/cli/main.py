"""The command group, and the one place where an exception becomes a message and an exit code."""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import NoReturn

import click

from enginebuild import __version__
from enginebuild.errors import EngineBuildError, Exit
from enginebuild_cache import CacheError

#: Command → what `--help` says of it. A command's module is imported when it is called, not before.
COMMANDS = {
    "run": "Build the image of a recipe and deliver it.",
    "import": "Write a recipe from a command, a file of another tool, or for the other engine.",
    "check": "Refuse what cannot work, before anything is downloaded.",
    "plan": "Show each step with its key, whether it is cached, and why not.",
    "why": "Say which field made a step a miss, old → new, and since when.",
    "diff": "Compare two recipes, locks or images by what decides the result.",
    "lock": "Resolve names to digests and write them beside the recipe.",
    "verify": "Start an image, ask it, and say whether it answers as it must.",
    "index": "Publish several images under one name, as an OCI index.",
    "inspect": "Show what an image or an engine holds and what it was made from.",
    "advise": "Compare what engines cost at a volume, and what each one loses.",
    "doctor": "Say whether this machine can load an image or an engine, and why not.",
    "cache": "List, show, verify and clean the local cache; carry it elsewhere and back.",
    "schema": "Print the JSON Schema of a recipe.",
    "completion": "Print a shell's completion script.",
}

#: Modules that cannot be called as their command is: a keyword of Python.
_MODULES = {"import": "import_"}


class LazyGroup(click.Group):
    """A group that knows its commands' names and summaries without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(
            f"enginebuild.cli.{_MODULES.get(cmd_name, cmd_name)}"
        ).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, 1)
            ask = f" Did you mean '{close[0]}'?" if close else f" Commands: {', '.join(COMMANDS)}."
            raise click.UsageError(f"No such command '{args[0]}'.{ask}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="enginebuild", message="%(prog)s %(version)s")
def cli() -> None:
    """Turn open-weight LLMs into deployable images: locked, cached by content, pushed by digest.

    \b
    Exit codes:
      0 done   2 recipe or usage   3 source   4 drift   5 refused before building
      6 step failed   7 verification failed   8 publish failed   9 cache
      130 interrupted   1 a bug of ours
    """


def main() -> NoReturn:
    """Run the command line and exit with a documented code (see errors.Exit)."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = Exit.RECIPE
    except (click.Abort, KeyboardInterrupt):
        code = _interrupted()
    except EngineBuildError as error:
        code = _fail(error.exit, error.message, error.hint)
    except BrokenPipeError:
        # The reader of our output has gone (| head): nothing failed, and nobody would read a message.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.DONE
    except CacheError as error:
        code = _fail(Exit.CACHE, error.message, error.hint)
    sys.exit(code if isinstance(code, int) else Exit.DONE)


def _fail(code: Exit, message: str, hint: str) -> Exit:
    if "--json" in sys.argv:
        document = {"event": "error", "exit": int(code), "message": message, "hint": hint or None}
        click.echo(json.dumps(document, ensure_ascii=False))
    color = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    click.echo(click.style("error: ", fg="red") + message, err=True, color=color)
    if hint:
        click.echo(click.style("hint: ", fg="cyan") + hint, err=True, color=color)
    return code


def _interrupted() -> Exit:
    click.echo("interrupted; run the same command again to go on from here", err=True)
    return Exit.INTERRUPTED
