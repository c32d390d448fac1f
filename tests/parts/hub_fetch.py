"""Resolves and fetches one model in a process of its own, for tests that kill it.

python -m parts.hub_fetch CACHE SOURCE      (in tests/) prints each complete file, then the tree's digest
"""

from __future__ import annotations

import sys
from pathlib import Path

from enginebuild.engines.vllm import MODEL_PATH
from enginebuild.errors import SourceError
from enginebuild.events import Event, Note, Progress
from enginebuild.sources import ModelRequest, fetch, resolve
from enginebuild.sources.origin import Patience
from enginebuild.steps.layers import followers
from enginebuild_cache import CacheError, Store

QUICK = Patience(attempts=3, base=0.01, cap=0.05, longest=1.0)


def main() -> int:
    """Exit code 3 for a SourceError, 9 for a CacheError, with the message on stderr."""
    cache, source = sys.argv[1:]
    request = ModelRequest(source, None, Path())
    try:
        store = Store.open(Path(cache))
        resolved = resolve(request, store, _print, patience=QUICK)
        watching = followers(MODEL_PATH, resolved.tree, 0)  # as `enginebuild run` takes layers' digests
        fetch(request, resolved, store, _print, patience=QUICK, followers=watching)
    except (SourceError, CacheError) as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return 3 if isinstance(error, SourceError) else 9
    print("tree", resolved.tree.digest, flush=True)
    return 0


def _print(event: Event) -> None:
    match event:
        case Progress(label, done, total) if done == total:
            print("complete", label, flush=True)
        case Note(text, level):
            print(level, text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
