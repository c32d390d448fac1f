"""What the benchmark measured, drawn: times and throughput over the concurrency, as one SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from enginebuild_cache import Json

_NAMESPACE = "http://www.w3.org/2000/svg"
_WIDTH, _HEIGHT, _LEFT, _TOP = 300, 160, 60, 34
_PANELS = (
    ("ttft_ms", "time to first token, ms"),
    ("tpot_ms", "time per output token, ms"),
    ("output_throughput", "output tokens per second"),
)


def plot(rows: Sequence[Mapping[str, Json]], title: str) -> bytes:
    """Three panels beside each other; equal rows give equal bytes. Each axis begins at 0."""
    width = len(_PANELS) * (_WIDTH + _LEFT) + 20
    height = _HEIGHT + _TOP + 40
    parts = [
        f'<svg xmlns="{_NAMESPACE}" viewBox="0 0 {width} {height}" width="{width}" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="16" font-size="13">{_escaped(title)}</text>',
    ]
    for number, (key, label) in enumerate(_PANELS):
        parts += _panel(rows, key, label, number * (_WIDTH + _LEFT) + _LEFT)
    return "\n".join([*parts, "</svg>", ""]).encode()


def _panel(rows: Sequence[Mapping[str, Json]], key: str, label: str, left: int) -> list[str]:
    values = [_number(row[key]) for row in rows]
    most = max(values, default=0.0) or 1.0
    bottom = _TOP + _HEIGHT
    step = _WIDTH / max(len(values), 1)
    points = [
        (left + step * (number + 0.5), bottom - (_HEIGHT - 20) * value / most)
        for number, value in enumerate(values)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts = [
        f'<text x="{left}" y="{_TOP - 4}">{label}</text>',
        f'<path d="M{left} {_TOP}V{bottom}H{left + _WIDTH - 20}" fill="none" stroke="#888"/>',
        f'<polyline points="{line}" fill="none" stroke="#1f6fb2" stroke-width="2"/>',
    ]
    for (x, y), value, row in zip(points, values, rows, strict=True):
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#1f6fb2"/>',
            f'<text x="{x:.1f}" y="{y - 7:.1f}" text-anchor="middle">{value:.4g}</text>',
            f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{row["concurrency"]}</text>',
        ]
    return [
        *parts,
        f'<text x="{left + _WIDTH / 2:.0f}" y="{bottom + 30}" text-anchor="middle">at a time</text>',
    ]


def _number(value: Json) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
