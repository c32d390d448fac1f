"""Any order of operations by two clients of one cache, against a model of what must be there.

What is used while a lease is held, and what is pinned, must outlive every gc; what is there must be true.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule

from enginebuild_cache import Digest, File, Record, Store, Tree
from parts.cache_samples import record

_CONTENT = st.binary(max_size=40)
_NUMBER = st.integers(0, 6)
_CLIENT = st.integers(0, 1)


class CacheMachine(RuleBasedStateMachine):
    """Two stores on one folder; the model is what was put, what is pinned, and what a lease saw used."""

    contents = Bundle("contents")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="enginebuild-cache-"))
        self.clients = [Store.open(self.folder / "cache") for _ in range(2)]
        self.leases: list[ExitStack] = []
        #: Used since the oldest lease that is held began; nothing of it may go.
        self.leased_files: dict[Digest, int] = {}
        self.leased_records: dict[Digest, Record] = {}
        self.pinned: dict[str, Record] = {}
        self.contents_by_digest: dict[Digest, bytes] = {}

    def teardown(self) -> None:
        for lease in self.leases:
            lease.close()
        shutil.rmtree(self.folder)

    def _used(self, digest: Digest, size: int) -> None:
        if self.leases:
            self.leased_files[digest] = size

    def _used_record(self, one: Record) -> None:
        if self.leases:
            self.leased_records[one.key] = one

    @rule(target=contents, content=_CONTENT, client=_CLIENT)
    def put_bytes(self, content: bytes, client: int) -> bytes:
        digest = self.clients[client].put_bytes(content)
        assert digest == Digest.of(content)
        self.contents_by_digest[digest] = content
        self._used(digest, len(content))
        return content

    @rule(target=contents, content=_CONTENT, broken_at=st.integers(0, 40), client=_CLIENT)
    def download(self, content: bytes, broken_at: int, client: int) -> object:
        digest = Digest.of(content)
        with self.clients[client].download(digest, len(content)) as partial:
            partial.write(content[partial.offset : max(broken_at, partial.offset)])
            if partial.offset < len(content):
                return multiple()
            partial.commit()
        self.contents_by_digest[digest] = content
        self._used(digest, len(content))
        return content

    @rule(content=contents, client=_CLIENT)
    def has(self, content: bytes, client: int) -> None:
        if self.clients[client].has(Digest.of(content)):
            self._used(Digest.of(content), len(content))

    @rule(content=contents, client=_CLIENT)
    def delete(self, content: bytes, client: int) -> None:
        digest = Digest.of(content)
        self.clients[client].delete(digest)
        self.leased_files.pop(digest, None)
        self.leased_records = {
            key: one for key, one in self.leased_records.items() if not _names(one, digest)
        }
        self.pinned = {name: one for name, one in self.pinned.items() if not _names(one, digest)}

    @rule(chosen=st.lists(contents, max_size=3), number=_NUMBER, client=_CLIENT)
    def put_record(self, chosen: list[bytes], number: int, client: int) -> None:
        store = self.clients[client]
        files = [
            File(f"{place}.bin", store.put_bytes(content), len(content))
            for place, content in enumerate(chosen)
        ]
        before = store.record(record(Tree.of([]), number).key)
        one = store.put_record(record(Tree.of(files), number))
        assert one.tree == (before.tree if before is not None else Tree.of(files))
        for file in files:
            self._used(file.digest, file.size)
        self._used_record(one)

    @rule(number=_NUMBER, client=_CLIENT)
    def hit(self, number: int, client: int) -> None:
        one = self.clients[client].record(record(Tree.of([]), number).key)
        if one is not None:
            self._used_record(one)

    @rule(number=_NUMBER, name=st.sampled_from(["live", "next"]), client=_CLIENT)
    def pin(self, number: int, name: str, client: int) -> None:
        one = self.clients[client].record(record(Tree.of([]), number).key)
        if one is not None:
            self._used_record(one)
            self.clients[client].pin(name, [one.key])
            self.pinned[name] = one

    @rule(name=st.sampled_from(["live", "next"]), client=_CLIENT)
    def unpin(self, name: str, client: int) -> None:
        self.clients[client].unpin(name)
        self.pinned.pop(name, None)

    @precondition(lambda self: len(self.leases) < 2)
    @rule(client=_CLIENT)
    def lease(self, client: int) -> None:
        time.sleep(0.005)  # the clock of files is coarser than ours
        lease = ExitStack()
        lease.enter_context(self.clients[client].lease())
        time.sleep(0.005)
        self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule()
    def end_leases(self) -> None:
        for lease in self.leases:
            lease.close()
        self.leases.clear()
        self.leased_files.clear()
        self.leased_records.clear()

    @rule(bound=st.none() | st.integers(0, 100), age=st.none() | st.just(0.0), client=_CLIENT)
    def gc(self, bound: int | None, age: float | None, client: int) -> None:
        store = self.clients[client]
        removed = store.gc(max_size=bound, max_age=age)
        assert removed.kept == sum(size for _, size in store.list())
        if bound is not None and not self.leases and not self.pinned:
            assert removed.kept <= bound

    @rule(client=_CLIENT)
    def verify(self, client: int) -> None:
        """A record may lack a file that was deleted outright; nothing is ever damaged."""
        for finding in self.clients[client].verify(repair=True).findings:
            assert finding.message.endswith("missing or damaged")

    @invariant()
    def what_is_there_is_true(self) -> None:
        for digest, size in self.clients[0].list():
            content = self.clients[1].read_bytes(File("x", digest, size))
            assert content == self.contents_by_digest[digest]

    @invariant()
    def what_is_needed_is_there(self) -> None:
        for digest, size in self.leased_files.items():
            self.clients[0].path(File("x", digest, size))
        names = {path.stem for path in (self.folder / "cache/records/fetch").glob("*.json")}
        for one in (*self.leased_records.values(), *self.pinned.values()):
            assert one.key.hex in names
            for file in one.tree:
                self.clients[0].path(file)

    @invariant()
    def nothing_is_left_over(self) -> None:
        assert list((self.folder / "cache/tmp").iterdir()) == []


def _names(one: Record, digest: Digest) -> bool:
    return any(file.digest == digest for file in one.tree)


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
