"""The image benchmark's own sums: pairs, medians, limits, the page, and what the kernel says of a process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from parts.checkout import ROOT

sys.path.append(str(ROOT))

from benchmarks.images import page
from benchmarks.images.builders import BUILDERS
from benchmarks.images.contender import FLOORS, OURS
from benchmarks.images.meter import Command, CommandFailedError, Cost, measure, usage_of
from benchmarks.images.result import Result, Run, limits, wall
from benchmarks.images.subject import small_files

MIB = 1 << 20


def _cost(wall: float = 1.0, *, cpu: float = 1.0, received: int = 0) -> Cost:
    return Cost(wall, cpu, 0.0, 0.0, 0, 0, 0, received, 45 * 10**6)


def _result(*runs: tuple[str, str, int, Cost]) -> Result:
    return Result(
        tuple(Run(*run) for run in runs), {"Date": "2026-01-02", "Registry": "a registry", "Load": "0"}
    )


def test_a_ratio_is_the_median_of_the_pairs_and_not_the_ratio_of_the_medians() -> None:
    ours, theirs = (1.0, 10.0, 4.0), (3.0, 20.0, 40.0)
    runs = [("known", "first", number, _cost(seconds)) for number, seconds in enumerate(ours)]
    runs += [("olot", "first", number, _cost(seconds)) for number, seconds in enumerate(theirs)]
    result = _result(*runs)
    assert result.ratio("olot", "first", wall) == 3.0
    assert result.median("olot", "first", wall) == 20.0


def test_a_push_without_its_pair_is_not_compared() -> None:
    result = _result(
        ("known", "first", 0, _cost()), ("olot", "first", 1, _cost()), ("olot", "shard", 0, _cost())
    )
    assert result.ratio("olot", "first", wall) is None
    assert result.ratio("olot", "shard", wall) is None


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    result = _result(("known", "first", 0, _cost(0.5)), ("docker", "shard", 2, _cost(7.25, received=3)))
    result.write(tmp_path / "result.json")
    assert Result.read(tmp_path / "result.json") == result


def test_limits_say_what_is_kept_missed_and_not_run() -> None:
    result = _result(
        ("known", "first", 0, _cost(1.0, received=400)),
        ("known", "shard", 0, _cost(received=100)),
        ("docker", "first", 0, _cost(9.0, cpu=11.0)),
        ("buildah-bud", "first", 0, _cost(5.0, cpu=7.0)),
        ("buildah-commit", "first", 0, _cost(6.5, cpu=6.5)),
        ("sendfile", "first", 0, _cost(0.95)),
        ("known", "unchanged", 0, _cost(0.6)),
    )
    assert [(limit.promise, limit.shown, limit.kept) for limit in limits(result)] == [
        ("first push: processor time at least 10 × less than `docker build` + push", "11.00 ×", True),
        ("first push: wall time at least 10 × less than `docker build` + push", "9.00 ×", False),
        ("first push: processor time at least 6 × less than the best buildah way", "6.50 ×", True),
        ("first push: wall time at least 6 × less than the best buildah way", "5.00 ×", False),
        ("first push: processor time at least 3 × less than olot + skopeo", "not run", None),
        ("first push: wall time at least 3 × less than olot + skopeo", "not run", None),
        ("first push, digests known: wall time at most 1.1 × the floor", "1.05 ×", True),
        ("first push, digests taken in the pass: wall time at most 1.35 × the floor", "not run", None),
        ("unchanged push: at most 0.5 s", "0.60 s", False),
        ("1 KB config changed: at most 1 s", "not run", None),
        ("peak memory below 100 MB", "45.00 MB", True),
        ("no layer written: less than 1 MB to the disk, records and locks", "0.00 MB", True),
        ("one of four shards changed: a quarter of the bytes travels", "0.25 of all", True),
    ]


def test_the_page_is_written_between_its_marks_alone(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    page.insert(path, "new")
    assert path.read_text() == f"before\n{page.BEGIN}\n\nnew\n\n{page.END}\nafter\n"


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("words")
    with pytest.raises(ValueError, match="lacks the marks"):
        page.insert(path, "new")
    assert path.read_text() == "words"


def test_the_project_s_page_has_the_marks_and_names_the_command() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    assert text.count(page.BEGIN) == text.count(page.END) == 1
    assert "python benchmarks/images --size-mib 1024" in text


def test_a_table_shows_medians_ratios_and_parts() -> None:
    result = _result(("known", "first", 0, _cost(2.0)), ("docker", "first", 0, _cost(5.0, cpu=3.0)))
    contenders = (*OURS, *FLOORS, *BUILDERS)
    lines = page.tables(result, contenders).splitlines()
    assert "| **enginebuild**, digests known | 2.00 |  | 1.00 |  | 1.00 + 0.00 + 0.00 | 0 | 0 | 45 |" in lines
    assert "| `docker build` + push | 5.00 | 2.5 | 3.00 | 3.0 | 3.00 + 0.00 + 0.00 | 0 | 0 | 45 |" in lines
    assert page.plot(result, contenders).count("<path") == 2


def test_a_command_s_reading_writing_and_time_are_counted(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(4 * MIB))
    script = "import sys; x = open(sys.argv[1], 'rb').read(); sum(range(3_000_000))"
    cost = measure([Command((sys.executable, "-c", script, str(source)))], (), ())
    assert cost.read >= 4 * MIB
    assert 0 < cost.client <= cost.wall * (os.cpu_count() or 1) + 0.05
    assert cost.memory > 4 * MIB


def test_a_daemon_s_ended_children_count_as_its_own() -> None:
    before = usage_of([os.getpid()])
    measure([Command((sys.executable, "-c", "sum(range(10_000_000))"))], (), ())
    assert (usage_of([os.getpid()]) - before).cpu > 0.05


def test_a_command_that_fails_says_why() -> None:
    command = Command(("sh", "-c", "echo no room >&2; exit 3"))
    with pytest.raises(CommandFailedError) as raised:
        measure([command], (), ())
    assert str(raised.value) == "sh -c echo no room >&2; exit 3: exit 3\nno room\n"


def test_changes_are_undone_and_leave_other_files_alone(tmp_path: Path) -> None:
    subject = small_files(tmp_path / "model", 1)
    before = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in subject.folder.iterdir()}
    subject.change_config("one")
    changed = {path.name for path in subject.folder.iterdir() if path.stat().st_ino != before[path.name][0]}
    assert changed == {"config.json"}
    assert 900 < (subject.folder / "config.json").stat().st_size < 1100
    subject.restore()
    after = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in subject.folder.iterdir()}
    assert after == before
