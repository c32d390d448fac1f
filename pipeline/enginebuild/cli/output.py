"""How events look: lines and bars for people on stderr, one JSON object per event for programs on stdout."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

import click

from enginebuild.event_json import document_of
from enginebuild.events import (
    Event,
    InCell,
    LogLine,
    Note,
    Progress,
    StepFinished,
    StepStarted,
    Waited,
    Waiting,
)
from enginebuild_cache import Json

#: Seconds between two plain lines about the same bytes, where there is no terminal to draw a bar on.
PLAIN_INTERVAL = 10.0


class Output(Protocol):
    """Where a command's events and its result go."""

    def __call__(self, event: Event) -> None: ...

    def result(self, lines: tuple[str, ...], document: Mapping[str, Json]) -> None:
        """The last word: `lines` for people, `document` for programs."""
        ...

    def advice(self, text: str) -> None:
        """What to do next; for people only."""
        ...

    def close(self) -> None: ...


def make_output(as_json: bool) -> Output:
    """The output that this terminal, CI system or program reads best."""
    if as_json:
        return JsonLines(sys.stdout)
    if sys.stderr.isatty() and not os.environ.get("CI"):
        return Terminal(sys.stderr)
    return Plain(sys.stderr)


def size(count: int) -> str:
    """Bytes in the decimal units that registries and the Hub use: `1.5 GB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


class Plain:
    """One line per event, for CI logs. Long transfers say where they are every PLAIN_INTERVAL seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._color = stream.isatty() and not os.environ.get("NO_COLOR")
        self._mutex = threading.Lock()
        self._begun: dict[str, float] = {}
        self._spoken: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        with self._mutex:
            self._tell(event, "")

    def _tell(self, event: Event, before: str) -> None:
        """`before`: whose event it is, where there are several runs."""
        match event:
            case InCell(cell, inner):
                self._tell(inner, f"{cell} │ ")
            case Progress(label, done, total):
                self._progress(Progress(f"{before}{label}", done, total))
            case StepStarted():
                pass
            case StepFinished(step, key, status, seconds):
                mark = click.style(f"{status:<5}", fg="green" if status == "hit" else "cyan")
                self._line(f"{before}{step:<10} {mark}  {key.short}  {seconds:.2f} s")
            case LogLine(step, text):
                self._line(before + click.style(f"{step} │ {text}", dim=True))
            case Waiting(what, holder):
                self._line(f"{before}waiting for {what}: {holder}")
            case Waited(what, seconds):
                self._line(f"{before}got {what} after {seconds:.0f} s")
            case Note(text, level):
                self._line(before + _noted(text, level))

    def result(self, lines: tuple[str, ...], document: Mapping[str, Json]) -> None:
        self.close()
        for line in lines:
            click.echo(line)

    def advice(self, text: str) -> None:
        self._line(text)

    def close(self) -> None:
        self._stream.flush()

    def _line(self, text: str) -> None:
        click.echo(text, file=self._stream, color=self._color)

    def _progress(self, event: Progress) -> None:
        now = time.monotonic()
        begun = self._begun.setdefault(event.label, now)
        finished = event.done >= event.total
        if not finished and now - self._spoken.setdefault(event.label, begun) < PLAIN_INTERVAL:
            return
        self._spoken[event.label] = now
        if finished:
            del self._begun[event.label], self._spoken[event.label]
            if now - begun < 1:
                return
        rate = size(int(event.done / max(now - begun, 1e-6)))
        self._line(f"  {event.label}  {size(event.done)} of {size(event.total)}  {rate}/s")


def _noted(text: str, level: str) -> str:
    colour = {"warning": "yellow", "error": "red"}.get(level)
    return text if colour is None else click.style(f"{level}: {text}", fg=colour)


class Terminal(Plain):
    """Like Plain, with a bar for each thing that is being moved."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._bars: dict[str, Any] = {}

    def close(self) -> None:
        for bar in self._bars.values():
            bar.close()
        self._bars.clear()
        super().close()

    def _line(self, text: str) -> None:
        if self._bars:
            next(iter(self._bars.values())).write(
                text if self._color else click.unstyle(text), file=self._stream
            )
        else:
            super()._line(text)

    def _progress(self, event: Progress) -> None:
        from tqdm import tqdm  # only a terminal pays for its import

        bar = self._bars.get(event.label)
        if bar is None:
            if event.done >= event.total:
                return
            bar = self._bars[event.label] = tqdm(
                total=event.total,
                desc=f"  {event.label}",
                unit="B",
                unit_scale=True,
                leave=False,
                file=self._stream,
                dynamic_ncols=True,
            )
        bar.update(event.done - bar.n)
        if event.done >= event.total:
            self._bars.pop(event.label).close()


class JsonLines:
    """One JSON object per event and line, the result last."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._mutex = threading.Lock()

    def __call__(self, event: Event) -> None:
        self._write(document_of(event))

    def result(self, lines: tuple[str, ...], document: Mapping[str, Json]) -> None:
        self._write({"event": "result", **document})

    def advice(self, text: str) -> None:
        pass

    def close(self) -> None:
        self._stream.flush()

    def _write(self, document: Mapping[str, Json]) -> None:
        with self._mutex:
            self._stream.write(json.dumps(document, ensure_ascii=False) + "\n")
            self._stream.flush()
