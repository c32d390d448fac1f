"""Whose container it is: of a process that is at work, of one that died, or of another host."""

from __future__ import annotations

import os
import subprocess
import sys

from enginebuild.runners.owner import is_gone, myself, owner_in, tag


def test_i_am_here() -> None:
    assert not is_gone(myself())


def test_one_that_ended_is_gone() -> None:
    words = [sys.executable, "-c", "from enginebuild.runners.owner import myself; print(myself())"]
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    assert ended.stdout.split()[0] == os.uname().nodename
    assert is_gone(ended.stdout.strip())


def test_a_number_that_is_used_again_is_another_process() -> None:
    host, number, began = myself().split()
    assert is_gone(f"{host} {number} {int(began) - 1}")


def test_other_hosts_and_other_labels_are_left_alone() -> None:
    _, number, began = myself().split()
    assert not is_gone(f"another.example 999999 {began}")
    assert not is_gone("")
    assert not is_gone(f"{os.uname().nodename} what")
    assert number.isdigit()


def test_a_tag_tells_its_owner() -> None:
    name = f"enginebuild-verify:{tag('0123456789ab')}"
    assert owner_in(name) == myself()
    assert len(tag("0123456789ab")) <= 128


def test_other_tags_tell_none() -> None:
    for name in ("", "enginebuild-verify:0123456789ab", "enginebuild:latest", "a:1-host-2-3", "a@sha256:12"):
        assert owner_in(name) == ""
    assert owner_in("a:0123456789ab-my-host.example-7-_") == "my-host.example 7 ?"
