"""The result as Markdown tables and an SVG plot, put into docs/benchmarks.md between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

from benchmarks.images.contender import CASES, Contender
from benchmarks.images.result import Field, Limit, Result, cpu, limits, wall

BEGIN = "<!-- images: written by `python benchmarks/images --page` -->"
END = "<!-- images: end -->"

TITLES = {
    "first": "First push",
    "unchanged": "Nothing changed",
    "config": "A 1 KB config changed",
    "shard": "One shard of four changed",
    "small": "2,000 small files, first push",
    "compressible": "Data that gzip halves, first push",
}


def tables(result: Result, contenders: Sequence[Contender]) -> str:
    """One table per case, and those of the limits that were measured."""
    parts = [f"## {result.circumstances['Registry']}, {result.circumstances['Date']}", _circumstances(result)]
    for case in CASES:
        rows = [_row(result, contender, case) for contender in contenders if result.of(contender.name, case)]
        if rows:
            parts.append(f"### {TITLES[case]}\n\n" + "\n".join([_HEAD, *rows]))
    measured = [limit for limit in limits(result) if limit.measured is not None]
    if measured:
        parts.append("### What was promised\n\n" + "\n".join(_limits(measured)))
    return "\n\n".join(parts)


_HEAD = (
    "| | wall s | × | CPU s | × | client, daemons, registry | written MB | received MB | memory MB |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def _row(result: Result, contender: Contender, case: str) -> str:
    def median(field: str) -> float:
        value = result.median(contender.name, case, attrgetter(field))
        assert value is not None
        return value

    def ratio(which: str) -> str:
        value = result.ratio(contender.name, case, wall if which == "wall" else cpu)
        return "" if value is None or contender.name == "known" else f"{value:.1f}"

    cells = [
        contender.title,
        f"{median('wall'):.2f}",
        ratio("wall"),
        f"{median('cpu'):.2f}",
        ratio("cpu"),
        " + ".join(f"{median(part):.2f}" for part in _PARTS),
        *(f"{median(field) / 1e6:,.0f}" for field in ("written", "received", "memory")),
    ]
    return f"| {' | '.join(cells)} |"


def _circumstances(result: Result) -> str:
    named = result.circumstances.items()
    return "\n".join(f"- {name}: {value}" for name, value in named if name not in ("Registry", "Date"))


def _limits(all_limits: Sequence[Limit]) -> list[str]:
    marks = {True: "kept", False: "**missed**", None: ""}
    rows = [f"| {limit.promise} | {limit.shown} | {marks[limit.kept]} |" for limit in all_limits]
    return ["| promise | measured | |", "|---|--:|---|", *rows]


_COLOURS = ("#4c78a8", "#f2a25c", "#9aa0a6")  # client, daemons, registry
_PARTS = ("client", "daemons", "registry")
_LEFT, _WIDTH, _BAR, _TOP = 330, 520, 22, 66


def plot(result: Result, contenders: Sequence[Contender]) -> str:
    """Processor seconds of a first push as stacked bars, wall seconds as a mark, in the order of cost."""
    rows = [contender for contender in contenders if result.of(contender.name, "first")]
    rows.sort(key=lambda contender: result.median(contender.name, "first", cpu) or 0.0)
    longest = max(max(_seconds(result, row, cpu), _seconds(result, row, wall)) for row in rows)
    height = _TOP + len(rows) * (_BAR + 8) + 10
    box = f'viewBox="0 0 {_LEFT + _WIDTH + 90} {height}" font-family="sans-serif" font-size="13"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f'<rect width="100%" height="{height}" fill="#ffffff"/>',
        '<text x="10" y="22" font-size="15">First push: processor seconds; the line is wall time</text>',
    ]
    for place, part in enumerate(_PARTS):
        x = 10 + place * 110
        lines.append(f'<rect x="{x}" y="36" width="12" height="12" fill="{_COLOURS[place]}"/>')
        lines.append(f'<text x="{x + 18}" y="47">{part}</text>')
    for number, row in enumerate(rows):
        lines += _bar(result, row, _TOP + number * (_BAR + 8), _WIDTH / longest)
    return "\n".join([*lines, "</svg>", ""])


def _bar(result: Result, contender: Contender, y: int, scale: float) -> list[str]:
    title = contender.title.replace("**", "").replace("`", "")
    middle = y + 16
    lines = [f'<text x="{_LEFT - 10}" y="{middle}" text-anchor="end">{title}</text>']
    x = float(_LEFT)
    for part, colour in zip(_PARTS, _COLOURS, strict=True):
        width = _seconds(result, contender, attrgetter(part)) * scale
        lines.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>')
        x += width
    mark = _LEFT + _seconds(result, contender, wall) * scale
    total = _seconds(result, contender, cpu)
    lines.append(f'<path d="M{mark:.1f} {y - 2}v{_BAR + 4}" stroke="#000000" stroke-width="2"/>')
    lines.append(f'<text x="{max(x, mark) + 8:.1f}" y="{middle}">{total:.1f}</text>')
    return lines


def _seconds(result: Result, contender: Contender, field: Field) -> float:
    return result.median(contender.name, "first", field) or 0.0


def insert(page: Path, text: str) -> None:
    """Put the text between the marks of a page. Raises ValueError if it has none."""
    old = page.read_text()
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks the marks {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
