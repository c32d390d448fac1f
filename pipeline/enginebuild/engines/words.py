"""How values and choices are said in messages, and which word was probably meant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from enginebuild_cache import Json

_MAX_SHOWN = 60
_MAX_LISTED = 16


def shown(value: Json) -> str:
    """A value as it may stand in a message: JSON, shortened; NaN and the infinities as YAML writes them."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def listed(words: Iterable[str | int]) -> str:
    """All of a few words, the first of many."""
    texts = [str(word) for word in words]
    if len(texts) <= _MAX_LISTED:
        return ", ".join(texts)
    return f"{', '.join(texts[:_MAX_LISTED])} and {len(texts) - _MAX_LISTED} more"


def closest(word: str, words: Iterable[str]) -> str | None:
    """The word that was probably meant: no regard to case, dashes and underscores."""

    import difflib  # only a mistake needs it

    def plain(text: str) -> str:
        return text.lower().replace("-", "").replace("_", "")

    meant: dict[str, str] = {}
    for candidate in words:
        meant.setdefault(plain(candidate), candidate)
    near: Sequence[str] = difflib.get_close_matches(plain(word), meant, n=1, cutoff=0.75)
    return meant[near[0]] if near else None


def one_of(word: Json, words: Sequence[str | int]) -> str:
    """The hint for a value that is none of `words`."""
    near = closest(word, [w for w in words if isinstance(w, str)]) if isinstance(word, str) else None
    return f"did you mean {near}?" if near else f"one of: {listed(words)}"
