"""The repository keeps its own rules: sizes, no traces of a machine, documents that agree with the code."""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from enginebuild import __version__
from enginebuild.cli.main import COMMANDS, cli
from enginebuild.errors import Exit
from parts.checkout import ROOT, make_targets, texts, tracked
from parts.services import PACKAGES

LARGEST = 2_000_000  # bytes

THIS = "tests/unit/test_house.py"

TRACES = {
    "a path of somebody's machine": r"/(?:home|Users)/[a-z]+/|/work/(?:main|shared)\b|/opt/(?:pypi|wheels)",
    "a package index": r"files\.pythonhosted\.org|pypi\.org/simple|--(?:extra-)?index-url +\S*//",
    "a token of the Hub": r"\bhf_[A-Za-z0-9]{34}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a token of GitHub or AWS": r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bAKIA[A-Z0-9]{16}\b",
}


def test_no_large_file_is_tracked() -> None:
    large = {str(p.relative_to(ROOT)): p.stat().st_size for p in tracked() if p.stat().st_size > LARGEST}
    assert large == {}


@pytest.mark.parametrize("what", TRACES)
def test_no_file_holds(what: str) -> None:
    found = {name: m.group() for name, text in texts().items() if (m := re.search(TRACES[what], text))}
    found.pop(THIS, None)
    assert found == {}


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a path of somebody's machine", "/home/ada/model"),
        ("a package index", "https://files.pythonhosted.org/packages"),
        ("a token of the Hub", "hf_" + "a" * 34),
        ("a private key", "-----BEGIN RSA PRIVATE KEY-----"),
        ("a token of GitHub or AWS", "ghp_" + "0" * 36),
    ],
)
def test_the_search_would_find_it(what: str, text: str) -> None:
    assert re.search(TRACES[what], text)


def test_the_changelog_names_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[(?:Unreleased|{re.escape(__version__)})\]", changelog, re.MULTILINE)
    assert __version__ in changelog


def test_every_documented_make_target_exists() -> None:
    documents = ("README.md", "CONTRIBUTING.md", ".ci/run", *(n for n in texts() if n.startswith("docs/")))
    named = {
        t for d in documents for t in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", texts()[d], re.MULTILINE)
    }
    assert {"quickstart", "test"} <= named
    assert named <= set(make_targets())


def test_the_two_first_commands_say_how_long_they_take() -> None:
    for target in ("quickstart", "test"):
        assert re.search(r"\b(?:seconds?|minutes?)\b", make_targets()[target])
        (line,) = re.findall(rf"^ *make {target} .*$", texts()["README.md"], re.MULTILINE)
        assert re.search(r"\b(?:seconds?|minutes?)\b", line)


def test_the_readme_names_every_command_and_exit_code() -> None:
    readme = texts()["README.md"]
    assert [c for c in COMMANDS if f"`enginebuild {c}" not in readme] == []
    rows = re.findall(r"^\| (\d+) +\| (.+?) *\|$", readme, re.MULTILINE)
    assert {int(code) for code, _ in rows} == {int(code) for code in Exit}
    assert set(cli.list_commands(None)) == set(COMMANDS)  # type: ignore[arg-type] # not looked at


def _options(command: click.Command) -> set[str]:
    found = {option for parameter in command.params for option in parameter.opts}
    if isinstance(command, click.Group):
        context = click.Context(command)
        inner = (command.get_command(context, name) for name in command.list_commands(context))
        found.update(*(_options(each) for each in inner if each is not None))
    return found


def test_every_option_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", texts()["README.md"]))
    assert {"--push", "--locked", "--json"} <= named
    assert named - _options(cli) == set()


def test_links_between_documents_lead_somewhere() -> None:
    link = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)")
    broken = [
        f"{name}: {target}"
        for name, text in texts().items()
        if name.endswith(".md")
        for target in link.findall(text)
        if not (ROOT / name).parent.joinpath(target).exists()
    ]
    assert broken == []


def _locked() -> dict[str, list[tuple[Version, int]]]:
    """Name → each locked version with the number of its digests (more than one version: markers decide)."""
    found: dict[str, list[tuple[Version, int]]] = {}
    for block in re.split(r"\n(?=[a-z0-9])", texts()["requirements-dev.txt"]):
        if head := re.match(r"([a-z0-9._-]+)==(\S+)", block):
            entry = (Version(head.group(2)), block.count("--hash=sha256:"))
            found.setdefault(canonicalize_name(head.group(1)), []).append(entry)
    return found


def test_every_dependency_is_locked_with_its_digests() -> None:
    project = tomllib.loads(texts()["pyproject.toml"])
    wanted = map(Requirement, [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]])
    locked = _locked()
    assert [str(r) for r in wanted if not _satisfied(r, locked)] == []
    assert [name for name, entries in locked.items() if not all(digests for _, digests in entries)] == []


def _satisfied(wanted: Requirement, locked: dict[str, list[tuple[Version, int]]]) -> bool:
    return any(version in wanted.specifier for version, _ in locked.get(canonicalize_name(wanted.name), []))


@pytest.mark.parametrize("name", [".ci/run", "tests/install-services"])
def test_scripts_are_executable_and_strict(name: str) -> None:
    assert (ROOT / name).stat().st_mode & stat.S_IXUSR
    text = texts()[name]
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text


def test_what_tests_start_is_installed_for_them() -> None:
    listed = dict(re.findall(r"\[([a-z0-9.-]+)\]=(\S+)", texts()["tests/install-services"]))
    assert listed == PACKAGES


def test_every_python_file_says_what_it_is() -> None:
    silent = [n for n, t in texts().items() if n.endswith(".py") and not re.match(r'(?:#!.*\n)?r?"""\S', t)]
    assert silent == []


def test_tests_lie_where_their_kind_does() -> None:
    kinds = {Path(n).parts[1] for n in texts() if re.fullmatch(r"tests/.*test_\w+\.py", n)}
    assert kinds <= {"unit", "integration", "e2e", "gpu"}
