"""The program as its users start it: a process of its own, whose streams and exit code are looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT = 300.0  # seconds; a command that takes longer hangs


@dataclass(frozen=True, slots=True)
class Ended:
    """A finished command. A test that fails shows both streams."""

    code: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON objects on stdout, one per line."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON object that the whole stdout is."""
        document: dict[str, Any] = json.loads(self.stdout)
        return document

    @property
    def result(self) -> dict[str, Any]:
        """The last JSON object: the result, or the error."""
        return self.events[-1]

    @property
    def statuses(self) -> dict[str, str]:
        """Step name → hit or built."""
        return {step["name"]: step["status"] for step in self.result["steps"]}

    @property
    def digest(self) -> str:
        return str(self.result["image"]["digest"])

    def ok(self) -> Ended:
        """Itself, if the command succeeded."""
        assert self.code == 0, f"exit {self.code}\n{self.stdout}\n{self.stderr}"
        return self


def argv(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "enginebuild", *map(str, words)]


def start(
    *words: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[str]:
    """Start a command and go on; `end` waits for it."""
    return subprocess.Popen(
        argv(*words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )


def end(process: subprocess.Popen[str]) -> Ended:
    try:
        stdout, stderr = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Ended(process.returncode, stdout, stderr)


def enginebuild(*words: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ended:
    """Run a command to its end."""
    return end(start(*words, env=env, cwd=cwd))
