"""`enginebuild cache push` and `cache pull`: records and their files to and from other places, by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from enginebuild.cli.options import cache_option, default_cache_dir, jobs_option, json_option
from enginebuild.cli.output import size
from enginebuild.errors import Exit

if TYPE_CHECKING:
    from enginebuild.events import Report
    from enginebuild.remote.cache import RemoteCache
    from enginebuild.remote.transfer import Carried
    from enginebuild_cache import Record, Store

#: Digests of layers are records as well, and are known to whoever has the layers.
_LAYER = "layer"


@click.command("push")
@click.argument("place")
@click.argument("keys", nargs=-1)
@cache_option
@jobs_option
@json_option
def push(place: str, keys: tuple[str, ...], cache_dir: Path | None, jobs: int, as_json: bool) -> None:
    """Send finished steps with their files to PLACE: a registry's repository, or oci:FOLDER.

    KEYS as `cache list` shows them; without, all are sent. What PLACE has is not sent again.
    """
    from enginebuild.remote.transfer import push_records

    with _opened(place, cache_dir, jobs) as (store, cache, report):
        if keys:
            records = [find_record(store, key) for key in keys]
        else:
            records = [record for record in store.records() if record.step != _LAYER]
        carried = push_records(records, cache, store, report)
    _show(carried, as_json, f"in {place}")


@click.command("pull")
@click.argument("place")
@click.argument("keys", nargs=-1)
@cache_option
@jobs_option
@json_option
def pull(place: str, keys: tuple[str, ...], cache_dir: Path | None, jobs: int, as_json: bool) -> None:
    """Bring finished steps with their files from PLACE: a registry's repository, or oci:FOLDER.

    KEYS may be shortened; without, all are brought. Every byte is verified. Exits with 3 if a record there is
    of no use; the others are brought.
    """
    from enginebuild.remote.transfer import pull_records, tags_of

    with _opened(place, cache_dir, jobs) as (store, cache, report):
        tags = tags_of(cache, keys)
        for key, found in tags.items():
            if key and not found:
                raise click.UsageError(f"{place} has no record whose key begins with {key!r}")
        unique = sorted({tag for found in tags.values() for tag in found})
        carried, useless = pull_records(unique, cache, store, report)
    _show(carried, as_json, f"here from {place}")
    if useless:
        raise SystemExit(Exit.SOURCE)


def find_record(store: Store, key: str) -> Record:
    """The one record whose key begins like this. Raises UsageError."""
    digits = key.removeprefix("sha256:")
    found = [record for record in store.records() if record.key.hex.startswith(digits)]
    if not found:
        raise click.UsageError(f"no record's key begins with {key!r}; `enginebuild cache list` shows all")
    if len(found) > 1:
        keys = ", ".join(record.key.short for record in found)
        raise click.UsageError(f"{key!r} could be any of {keys}: give more digits")
    return found[0]


@contextmanager
def _opened(place: str, cache_dir: Path | None, jobs: int) -> Iterator[tuple[Store, RemoteCache, Report]]:
    """The local cache, the place, and bars on stderr whatever stdout is for."""
    from enginebuild.cli.output import make_output
    from enginebuild.cli.tools import registries
    from enginebuild.remote.cache import RemoteCache
    from enginebuild.remote.place import place_of
    from enginebuild_cache import Store
    from enginebuild_images.errors import ImageError

    output = make_output(False)
    try:
        with registries(jobs, output) as registry:
            try:
                opened = place_of(place, registry)
            except ImageError as error:
                raise click.UsageError(f"{error.message} ({error.hint})") from None
            store = Store.open(cache_dir or default_cache_dir())
            with store.lease():
                yield store, RemoteCache(opened, jobs), output
    finally:
        output.close()


def _show(carried: Sequence[Carried], as_json: bool, where: str) -> None:
    if as_json:
        click.echo(json.dumps({"records": [each.to_json() for each in carried]}, indent=2))
        return
    for each in carried:
        click.echo(f"{each.key.short}  {each.step:<10} {size(each.size):>9}  {each.status}")
    moved = [each for each in carried if each.status != "present"]
    total = size(sum(each.size for each in moved))
    click.echo(f"{len(moved)} records ({total}) moved; {len(carried)} are {where}", err=True)
