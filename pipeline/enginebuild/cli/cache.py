"""`enginebuild cache …`: what the local cache holds, whether it is sound, and making room."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from enginebuild.cli.options import cache_option, default_cache_dir, json_option
from enginebuild.cli.output import size
from enginebuild.cli.transfer import find_record, pull, push
from enginebuild.errors import Exit

if TYPE_CHECKING:
    from enginebuild_cache import Json, Record, Store

_SIZE_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
_AGE_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Quantity(click.ParamType[int]):
    """A whole number with a unit: `50GB`, `100Gi`, `30d`."""

    def __init__(self, name: str, units: dict[str, int], example: str) -> None:
        self.name = name
        self._units = units
        self._example = example

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]+)\s*([a-zA-Z]*)", value.strip())
        unit = match[2].lower() if match else ""
        if self.name == "size":
            unit = unit.removesuffix("b")
        if match is None or unit not in self._units:
            self.fail(f"{value!r} is no {self.name}; write it like {self._example}", param, ctx)
        return int(match[1]) * self._units[unit]


@click.group("cache")
def command() -> None:
    """List, show, export, verify and clean the local cache; carry it elsewhere and back."""


command.add_command(push)
command.add_command(pull)


def _open(cache_dir: Path | None) -> Store:
    from enginebuild_cache import Store

    return Store.open(cache_dir or default_cache_dir())


@command.command("list")
@cache_option
@json_option
def list_(cache_dir: Path | None, as_json: bool) -> None:
    """Every finished step: its key, what it is, its size, and when it was used last."""
    store = _open(cache_dir)
    records = sorted(store.records(), key=store.last_used, reverse=True)
    if as_json:
        click.echo(json.dumps([_summary(store, record) for record in records], indent=2))
        return
    for record in records:
        used = datetime.fromtimestamp(store.last_used(record), UTC).strftime("%Y-%m-%d %H:%M")
        click.echo(
            f"{record.key.short}  {record.step:<10} {size(record.tree.size):>9}  {used}  "
            f"{record.provenance.get('subject', '')}"
        )
    sizes = [count for _, count in store.list()]
    click.echo(f"{len(records)} records, {len(sizes)} files, {size(sum(sizes))} in {store.root}", err=True)


@command.command("show")
@click.argument("key")
@cache_option
def show(key: str, cache_dir: Path | None) -> None:
    """One record as JSON: what its key was made of, its files, who made it and when. KEY may be shortened.

    `beside` has the keys of what the step left besides, such as its log; `cache export` writes them to files.
    """
    store = _open(cache_dir)
    record = find_record(store, key)
    document = record.to_json()
    beside: dict[str, Json] = {
        other.step: other.key.hex for other in store.records() if other.fields.get("of") == str(record.key)
    }
    if beside:
        document["beside"] = beside
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


@command.command("export")
@click.argument("key")
@click.argument("folder", type=click.Path(path_type=Path))
@cache_option
def export(key: str, folder: Path, cache_dir: Path | None) -> None:
    """Write the files of one record into FOLDER, which must be empty or not exist. KEY may be shortened."""
    store = _open(cache_dir)
    record = find_record(store, key)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise click.UsageError(f"{folder} is not an empty folder; name another one")
    folder.mkdir(parents=True, exist_ok=True)
    store.export(record.tree, folder)
    click.echo(
        f"{record.step} {record.key.short}: {len(record.tree)} files, {size(record.tree.size)} in {folder}"
    )


@command.command("verify")
@cache_option
@json_option
@click.option("--repair", is_flag=True, help="Set aside what is damaged, so that the next run makes it anew.")
def verify(cache_dir: Path | None, as_json: bool, repair: bool) -> None:
    """Read every file and record again and compare digests. Exits with 9 if damage is left."""
    result = _open(cache_dir).verify(repair=repair)
    left = [finding for finding in result.findings if not finding.repaired]
    if as_json:
        findings = [
            {"path": str(finding.path), "message": finding.message, "repaired": finding.repaired}
            for finding in result.findings
        ]
        click.echo(
            json.dumps({"files": result.files, "records": result.records, "findings": findings}, indent=2)
        )
    else:
        for finding in result.findings:
            click.echo(f"{finding.message}{' (repaired)' if finding.repaired else ''}")
        click.echo(
            f"{result.files} files ({size(result.size)}) and {result.records} records read, "
            f"{len(result.findings)} damaged",
            err=True,
        )
    if left:
        if not as_json:
            click.echo("run `enginebuild cache verify --repair`; the next run then makes them anew", err=True)
        raise SystemExit(Exit.CACHE)


@command.command("gc")
@cache_option
@click.option(
    "--max-size", type=Quantity("size", _SIZE_UNITS, "50GB"), help="Keep at most so much, such as 50GB."
)
@click.option(
    "--max-age",
    type=Quantity("age", _AGE_UNITS, "30d"),
    help="Remove what was not used for so long, such as 30d.",
)
def gc(cache_dir: Path | None, max_size: int | None, max_age: int | None) -> None:
    """Remove what was used least recently. Never touches what a running build or a pin needs."""
    if max_size is None and max_age is None:
        raise click.UsageError("say how much to keep: --max-size 50GB, --max-age 30d, or both")
    removed = _open(cache_dir).gc(max_size, max_age)
    click.echo(
        f"removed {removed.records} records and {removed.files} files, {size(removed.freed)} freed, "
        f"{size(removed.kept)} kept"
    )


@command.command("pin")
@click.argument("name")
@click.argument("keys", nargs=-1, required=True)
@cache_option
def pin(name: str, keys: tuple[str, ...], cache_dir: Path | None) -> None:
    """Keep records from gc under a NAME until `cache unpin NAME`. KEYS as `cache list` shows them."""
    store = _open(cache_dir)
    store.pin(name, [find_record(store, key).key for key in keys])
    click.echo(f"pinned {len(keys)} records as {name}")


@command.command("unpin")
@click.argument("name")
@cache_option
def unpin(name: str, cache_dir: Path | None) -> None:
    """Let gc have the records of a pin again."""
    store = _open(cache_dir)
    if not store.unpin(name):
        names = ", ".join(sorted(store.pins())) or "none"
        raise click.UsageError(f"there is no pin called {name!r}; there are: {names}")
    click.echo(f"unpinned {name}")


def _summary(store: Store, record: Record) -> dict[str, Json]:
    return {
        "key": str(record.key),
        "step": record.step,
        "size": record.tree.size,
        "files": len(record.tree),
        "last_used": datetime.fromtimestamp(store.last_used(record), UTC).isoformat(timespec="seconds"),
        "provenance": dict(record.provenance),
    }
