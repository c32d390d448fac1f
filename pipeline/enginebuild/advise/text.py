"""The comparison as people read it: a table, where costs cross, what is lost, and where numbers are from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from enginebuild.advise.advice import Advice, BreakEven, Candidate, Use
from enginebuild.advise.figure import Figure, grouped, shown_amount

_LABEL, _COLUMN = 28, 12


def lines(advice: Advice) -> list[str]:
    """All of it."""
    found = [_row("tokens per month", [shown_amount(tokens) for tokens in advice.volumes])]
    for candidate in advice.candidates:
        found += _table(candidate, advice)
    if crossing := [_crossing(each) for each in advice.break_evens]:
        found += ["", *crossing]
    found += ["", *_lost(advice.candidates), "", *_origins(advice)]
    return [line.rstrip() for line in found]


def _row(label: str, cells: Sequence[str]) -> str:
    return f"{label:<{_LABEL}}{''.join(f'{cell:>{_COLUMN}}' for cell in cells)}"


def _table(candidate: Candidate, advice: Advice) -> Iterator[str]:
    if candidate.throughput is None:
        yield f"{candidate.name}: its throughput is not known; give --throughput {candidate.name}=TOKENS"
        return
    uses = advice.uses(candidate)

    def row(label: str, cell: Callable[[Use], str]) -> str:
        return _row(f"  {label}", [cell(use) for use in uses])

    yield candidate.name
    yield row("GPU-hours", lambda use: grouped(use.hours))
    yield row("$ per month", lambda use: grouped(use.serving))
    if candidate.compiling is not None or candidate.fixed is not None:
        yield row("$ whatever the volume", lambda use: grouped(use.monthly))
        yield row("$ together", lambda use: grouped(use.total))
    yield row("GPUs busy at least", lambda use: grouped(use.gpus))
    yield row("$ if rented all month", lambda use: grouped(use.rented))


def _crossing(found: BreakEven) -> str:
    tokens = shown_amount(found.tokens) if found.tokens is not None else ""
    said = {
        "from": f"{found.name} costs less than {found.reference} from {tokens} tokens per month on",
        "up to": f"{found.name} costs less than {found.reference} up to {tokens} tokens per month",
        "always": f"{found.name} costs less than {found.reference} at every volume",
        "never": f"{found.name} does not cost less than {found.reference} at any volume",
    }[found.relation]
    if found.once is None or found.repaid is None:
        return said
    return f"{said}; a compilation of {found.once:.2f} $ is paid back by {shown_amount(found.repaid)} tokens"


def _lost(candidates: Sequence[Candidate]) -> Iterator[str]:
    """Once for each engine."""
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.engine, candidate)
    for candidate in first.values():
        yield f"lost with {candidate.engine}:"
        if candidate.weeks is not None:
            yield f"  {candidate.weeks.value:g} weeks until a new model is served: {_origin(candidate.weeks)}"
        if candidate.compiling is not None:
            often = candidate.compiling.per_month
            what = "compilation" if often.value == 1 else "compilations"
            yield f"  {often.value:g} {what} a month: {_origin(often)}"
        yield from (f"  {sentence}" for sentence in candidate.lost)


def _origins(advice: Advice) -> Iterator[str]:
    yield "where the numbers are from:"
    yield f"  {advice.price:g} $ per GPU-hour: given, --gpu-price"
    for candidate in advice.candidates:
        if candidate.throughput is not None:
            rate = f"{candidate.throughput.value:,.0f} tokens per GPU-hour"
            yield f"  {candidate.name}, {rate}: {_origin(candidate.throughput)}"
        if candidate.compiling is not None:
            minutes, gpus = candidate.compiling.minutes, candidate.compiling.gpus
            on = f" on {gpus} GPUs" if gpus > 1 else ""
            yield f"  {candidate.name}, {minutes.value:g} minutes of compiling{on}: {_origin(minutes)}"
        if candidate.fixed is not None:
            besides = f"{candidate.fixed.value:g} $ a month besides"
            yield f"  {candidate.name}, {besides}: {_origin(candidate.fixed)}"


def _origin(figure: Figure) -> str:
    return f"{figure.origin}, {figure.source}"
