"""The command line: the only place that reads arguments, writes to the terminal and chooses exit codes."""

from enginebuild.cli.main import main

__all__ = ["main"]
