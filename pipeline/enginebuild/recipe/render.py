"""Mistakes as text: place, message, the line, a caret, a hint."""

from __future__ import annotations

from collections.abc import Sequence

from enginebuild.errors import Problem, RecipeError
from enginebuild.recipe.node import Node, locate
from enginebuild.recipe.show import excerpt, masked, printable
from enginebuild.recipe.text import Finding

#: More mistakes than this are counted, not shown.
MOST = 50


def render_problems(problems: Sequence[Problem], root: Node) -> str:
    """The text of problems whose paths lead into `root`."""
    return render([locate(root, problem) for problem in problems])


def render(findings: Sequence[Finding]) -> str:
    """All findings in the order of their places, those of the file before those of `--set`."""
    ordered = sorted(dict.fromkeys(findings), key=_order)
    blocks = [_block(finding) for finding in ordered[:MOST]]
    if len(ordered) > MOST:
        blocks.append(f"{len(ordered)} mistakes, the first {MOST} shown")
    elif len(ordered) > 1:
        blocks.append(f"{len(ordered)} mistakes")
    return "\n\n".join(blocks)


def refuse(findings: Sequence[Finding]) -> RecipeError:
    return RecipeError(render(findings))


def _order(finding: Finding) -> tuple[bool, str, int]:
    source = finding.span.source
    return source.option, source.name if source.option else "", finding.span.index


def _block(finding: Finding) -> str:
    source = finding.span.source
    line, column = source.position(finding.span.index)
    place = source.name if source.option else f"{source.name}:{line + 1}:{column + 1}"
    lines = [printable(masked(f"{place}: {finding.message}"))]
    text, caret = excerpt(source.line(line), column)
    if text.strip():
        lines += [f"  {text}", f"  {caret}"]
    if finding.hint:
        lines.append(f"  hint: {printable(masked(finding.hint))}")
    return "\n".join(lines)
