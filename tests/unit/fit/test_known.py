"""Failures that users reported, each refused by `check` in the first second with a suggestion that works; and
combinations that vendors publish, each of which passes. See parts/known.py for the files' form.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from enginebuild.cli.main import main
from parts.known import Combination, Failure, combinations, failures

_HERE = Path(__file__).parent
FAILURES = failures(_HERE / "known_failures")
GOOD = combinations(_HERE / "known_good")


@dataclass(frozen=True, slots=True)
class Checked:
    """What `enginebuild check` did, in this process; `seconds` of processor time: others add none to it."""

    code: int
    said: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Check:
    """Runs it as the program does, with an empty cache."""

    recipe: Path
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def __call__(self, *overrides: str) -> Checked:
        words = ["enginebuild", "check", self.recipe.name, "--cache-dir", "cache"]
        for each in overrides:
            words += ["--set", each]
        self.patch.chdir(self.recipe.parent)
        self.patch.setattr(sys, "argv", words)
        began = time.process_time()
        with pytest.raises(SystemExit) as ended:
            main()
        seconds = time.process_time() - began
        return Checked(int(ended.value.code or 0), self.capture.readouterr().err, seconds)


def _check(
    which: Combination, folder: Path, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
) -> Check:
    return Check(which.write(folder), capture, patch)


@pytest.mark.parametrize("name", FAILURES)
def test_a_known_failure_is_refused_and_its_suggestion_works(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = FAILURES[name]
    check = _check(failure, tmp_path, capsys, monkeypatch)
    found = check()
    assert found.code == failure.exit, found.said
    assert found.seconds < 1
    assert _reason(found.said, failure, check.recipe), found.said
    if failure.checks:
        assert check(f"allow=[{', '.join(failure.checks)}]").code == 0
    assert failure.mends
    for mend in failure.mends:
        assert all(_advised(change, found.said, failure) for change in mend), (mend, found.said)
        after = check(*mend, *failure.entails)
        assert after.code == 0, (mend, after.said)


def _reason(said: str, failure: Failure, recipe: Path) -> bool:
    """Whether the message stands at the line of the field, and shows it."""
    lines = [line.removeprefix("error: ") for line in said.splitlines()]
    written = recipe.read_text().splitlines()
    for index, line in enumerate(lines):
        if not line.startswith("recipe.yaml:") or failure.says not in line:
            continue
        number = int(line.split(":")[1])
        shown = written[number - 1].strip()
        if shown.startswith(f"{failure.at}:") and lines[index + 1].strip() == shown:
            return bool(failure.says)
    return False


def _advised(change: str, said: str, failure: Failure) -> bool:
    """Whether it was said: the last key and the value. A mistake's hint may say the value or the key alone,
    and no hint can name an image of the user's own.
    """
    path, _, value = change.partition("=")
    key = path.rpartition(".")[2]
    if path == "image.base" and "registry.example.com" in value:
        return "image.base" in said
    return f"{key}: {value}" in said or (failure.exit == 2 and (value in said or key in said))


@pytest.mark.parametrize("name", GOOD)
def test_a_published_combination_passes(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _check(GOOD[name], tmp_path, capsys, monkeypatch)()
    assert found.code == 0, found.said
    assert found.seconds < 1


def test_there_are_forty_of_each_and_each_has_a_source() -> None:
    assert len(FAILURES) >= 40
    assert len({failure.source for failure in FAILURES.values()}) >= 40
    assert len(GOOD) >= 40
    everything: Sequence[Combination] = [*FAILURES.values(), *GOOD.values()]
    assert all(each.source and each.engine in ("vllm", "pytorch", "engine") for each in everything)
    assert all(failure.seen for failure in FAILURES.values())
