"""The folders of an execution in an engine's reach: mounted where it sees our disk, else copied."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from enginebuild.events import Progress, Report
from enginebuild.execution import OUTPUT, Folders
from enginebuild.runners.container import Mounted, mounts_of
from enginebuild.runners.containers import container, mount, ran, volume
from enginebuild.runners.tar_stream import packed, size_of, unpack

if TYPE_CHECKING:
    from docker import DockerClient


@contextmanager
def mounted(client: DockerClient, image: str, folders: Folders, me: str) -> Iterator[Sequence[Mounted]]:
    """The folders themselves; what is in the output belongs to us when the block ends, however it ends.

    `me`: who we are in a container, see `engine.me_inside`.
    """
    try:
        yield mounts_of(folders)
    finally:
        _hand_back(client, image, folders.output, me)


@contextmanager
def copied(client: DockerClient, image: str, folders: Folders, report: Report) -> Iterator[Sequence[Mounted]]:
    """Inputs and scripts as copies, in volumes that are gone with the block; the output is brought back."""
    with contextlib.ExitStack() as stack:
        mounts = [
            Mounted(stack.enter_context(volume(client)), each.target, each.read_only)
            for each in mounts_of(folders)
        ]
        # It never runs: an engine writes into a container that was only made, through its mounts.
        writable = [mount(Mounted(each.source, each.target, False)) for each in mounts]
        carrier = stack.enter_context(
            container(client, image, "carrier", entrypoint=["none"], command=[], mounts=writable)
        )
        _send(client, carrier, folders, report)
        yield mounts
        pieces, _ = client.api.get_archive(carrier, str(OUTPUT), chunk_size=1 << 20)
        unpack(pieces, folders.output)


def _send(client: DockerClient, carrier: str, folders: Folders, report: Report) -> None:
    read_only = [each for each in mounts_of(folders) if each.read_only]
    total = sum(size_of(Path(each.source)) for each in read_only)
    done = 0

    def sent(count: int) -> None:
        nonlocal done
        done += count
        report(Progress("send inputs to the engine", done, total))

    for each in read_only:
        pieces = packed(Path(each.source), each.target.relative_to("/"), sent)
        client.api.put_archive(carrier, "/", pieces)


def _hand_back(client: DockerClient, image: str, output: Path, me: str) -> None:
    """Make the output ours; what cannot be handed back is found out by whoever reads it."""
    mine, group = os.geteuid(), os.getegid()
    others = [path for path in (output, *output.rglob("*")) if path.lstat().st_uid != mine]
    if others and mine != 0:
        words = ("chown", "-hR", me, str(OUTPUT))
        ran(client, image, words, mounts=[mount(Mounted(output, OUTPUT, False))])
        return
    for path in others:
        os.chown(path, mine, group, follow_symlinks=False)
