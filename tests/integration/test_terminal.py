"""What a person sees: bars and colours on a terminal, plain lines in CI, help, completion."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from enginebuild import __version__
from parts import cli, recipes
from parts.checkpoints import write_checkpoint
from parts.hub_server import Fault, HubServer

COMMANDS = (
    "run",
    "import",
    "check",
    "plan",
    "why",
    "diff",
    "lock",
    "verify",
    "index",
    "inspect",
    "advise",
    "doctor",
    "cache",
    "schema",
    "completion",
)


def on_a_terminal(words: list[str | Path], env: Mapping[str, str]) -> str:
    """Everything that a command shows on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    process = subprocess.Popen(
        cli.argv(*words),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", **env},
    )
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 1)[0]:
            try:
                piece = os.read(ours, 1 << 16)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    assert process.wait(10) == 0, shown.decode()
    return shown.decode()


@pytest.fixture
def words(tmp_path: Path) -> list[str | Path]:
    write_checkpoint(tmp_path / "hub" / "org" / "tiny", shards=1, shard_size=8 << 20)
    recipe = recipes.write(tmp_path, "hf://org/tiny@main")
    return ["run", recipe, "--cache-dir", tmp_path / "cache", "--output", tmp_path / "out"]


def test_a_terminal_shows_bars_and_colours(tmp_path: Path, words: list[str | Path]) -> None:
    with HubServer(tmp_path / "hub") as hub:
        hub.faults.append(Fault("slow", "*.safetensors", times=None, seconds=0.005))
        shown = on_a_terminal(words, {"HF_ENDPOINT": hub.endpoint})
    assert "model-00001-of-00001.safetensors:" in shown
    assert "B/s" in shown
    assert "\x1b[36mbuilt\x1b[0m" in shown


def test_no_color(tmp_path: Path, words: list[str | Path]) -> None:
    with HubServer(tmp_path / "hub") as hub:
        shown = on_a_terminal(words, {"HF_ENDPOINT": hub.endpoint, "NO_COLOR": "1"})
    assert "fetch      built" in shown
    assert "\x1b[3" not in shown


def test_ci_gets_plain_lines_even_on_a_terminal(tmp_path: Path, words: list[str | Path]) -> None:
    with HubServer(tmp_path / "hub") as hub:
        hub.faults.append(Fault("slow", "*.safetensors", times=None, seconds=0.015))
        shown = on_a_terminal(words, {"HF_ENDPOINT": hub.endpoint, "CI": "true", "NO_COLOR": "1"})
    assert "\r\x1b" not in shown
    assert "  model-00001-of-00001.safetensors  8.4 MB of 8.4 MB  " in shown


def test_help_names_every_command_and_exit_code() -> None:
    shown = cli.enginebuild("--help").ok().stdout
    for command in COMMANDS:
        assert f"\n  {command} " in shown
        assert cli.enginebuild(command, "--help").ok().stdout.startswith("Usage: ")
    for code in (0, 2, 3, 4, 5, 6, 7, 8, 9, 130, 1):
        assert f" {code} " in shown


def test_version() -> None:
    assert cli.enginebuild("--version").ok().stdout == f"enginebuild {__version__}\n"


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    ended = cli.enginebuild("biuld")
    assert ended.code == 2
    assert ended.stderr.endswith(f"Error: No such command 'biuld'. Commands: {', '.join(COMMANDS)}.\n")
    assert cli.enginebuild("pln").stderr.endswith("Error: No such command 'pln'. Did you mean 'plan'?\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    script = cli.enginebuild("completion", shell).ok().stdout
    assert "_ENGINEBUILD_COMPLETE" in script


def test_completion_completes() -> None:
    env = {"_ENGINEBUILD_COMPLETE": "bash_complete", "COMP_WORDS": "enginebuild ins", "COMP_CWORD": "1"}
    command = Path(cli.argv()[0]).with_name("enginebuild")
    ended = subprocess.run([command], env={**os.environ, **env}, capture_output=True, text=True, check=True)
    assert ended.stdout == "plain,inspect\n"


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    ended = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" | head -c 10', "-", *cli.argv("schema")],
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_schema_is_json() -> None:
    assert json.loads(cli.enginebuild("schema").ok().stdout)["title"]
