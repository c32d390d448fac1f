"""What is written is read back as it was, whatever is in it; and no comment ends before its line does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from enginebuild.importing.draft import Draft
from enginebuild.importing.text import write
from enginebuild.recipe.compose import Composer
from enginebuild.recipe.node import to_json
from enginebuild.recipe.text import Source
from enginebuild_cache import Json

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_WORDS = st.sampled_from(
    ["no", "on", "null", "~", "1e5", "010", "1:30", "0.33.0", "a b", "-x", "x:", "#", "true"]
)
_SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS
    | _WORDS
)
_VALUES: st.SearchStrategy[Json] = st.recursive(
    _SCALARS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS | _WORDS, inner, max_size=3),
    max_leaves=8,
)


def _read(text: str) -> Json:
    composer = Composer(Source("a recipe", text))
    node = composer.compose()
    assert composer.findings == []
    assert node is not None
    return to_json(node)


@given(args=st.dictionaries(_TEXTS | _WORDS, _VALUES, min_size=1, max_size=4), why=_TEXTS)
def test_what_is_written_is_read(args: dict[str, Json], why: str) -> None:
    draft = Draft(why)
    draft.put(("engine", "args"), args)
    draft.lose(why, why)
    draft.gap(("gpu",), why, "L4")
    draft.remark(("engine", "args"), why)
    assert _read(write(draft)) == {"version": 1, "engine": {"args": args}}


def test_a_secret_is_starred_out_of_a_comment() -> None:
    draft = Draft("x")
    draft.lose("A=hf_abcdefghijklmnop", "https://user:pass@host sk-abcdefghijklmnopqrst")
    assert "# - A=***: https://user:***@host ***\n" in write(draft)


def test_a_value_that_is_taken_away() -> None:
    draft = Draft("x")
    draft.put(("engine", "args", "a"), 1)
    draft.remark(("engine", "args", "a"), "said of it")
    assert draft.take(("engine", "args", "a")) == 1
    assert (draft.values, draft.remarks) == ({"version": 1}, {})
    assert draft.take(("engine", "args", "a")) is None
