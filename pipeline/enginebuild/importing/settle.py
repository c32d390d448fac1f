"""The last step of every import: what `enginebuild check` refuses is taken out and becomes a comment."""

from __future__ import annotations

import re

from enginebuild.check import check_engine
from enginebuild.errors import Problem
from enginebuild.importing.draft import Draft, Path
from enginebuild.importing.text import write
from enginebuild.recipe import examine
from enginebuild_cache import Json

#: Parts of a recipe from which single settings can go, and what a message calls one of them.
_SETTINGS = (("engine", "args"), ("engine", "build"), ("engine", "runtime"))
#: Of these settings one key alone may go; half of another would mean something else.
_APART = ("kv_cache_config",)
#: Advice that was followed by taking the setting out.
_FOLLOWED = re.compile(
    r"(?:remove|delete|leave) (?:it|the (?:line|key))\b[^;:]*[;:]? ?|leave the line out:? ?"
)
#: Each round can bring out what needed a setting that is gone now; more than a chain of three is not known.
_ROUNDS = 8

#: What may be suggested for a key that only the user knows.
EXAMPLES: dict[Path, Json] = {
    ("model",): "hf://org/name",
    ("gpu",): "H100-SXM-80GB",
    ("quantization", "calibration"): {"dataset": "hf://datasets/neuralmagic/LLM_compression_calibration"},
}
_MISSING = re.compile(r"missing key '(\w+)'")
_NEEDS_TEXTS = "needs texts to calibrate with"


def settle(draft: Draft) -> str:
    """The text of a draft that passes the check but for its gaps. Changes the draft.

    Raises RecipeError for values that no recipe can hold (a number of more than 64 bits, say).
    """
    problems: list[Problem] = []
    for _ in range(_ROUNDS):
        problems = list(examine(write(draft).encode(), draft.origin, check_engine))
        if not [True for problem in problems if _taken(draft, problem)]:
            break
    for problem in problems:
        _gap(draft, problem)
    return write(draft)


def _taken(draft: Draft, problem: Problem) -> bool:
    """Whether a problem was with a single setting, which is then gone."""
    path = tuple(str(step) for step in problem.path)
    if path[:2] not in _SETTINGS or len(path) < 3:
        return False
    place = path[:4] if len(path) > 3 and path[2] in _APART else path[:3]
    if draft.get(place) is None and place[-1] not in draft.mapping(place[:-1]):
        return True  # gone with an earlier problem of this round
    draft.lose(_called(draft, place), _why(problem))
    draft.take(place)
    return True


def _called(draft: Draft, place: Path) -> str:
    return draft.spelled.get(place) or draft.spelled.get(place[:3]) or ".".join(place[2:])


def _why(problem: Problem) -> str:
    hint = _FOLLOWED.sub("", problem.hint).strip()
    return f"{problem.message}; {hint}" if hint else problem.message


def _gap(draft: Draft, problem: Problem) -> None:
    path = tuple(str(step) for step in problem.path)
    if missing := _MISSING.match(problem.message):
        path = (*path, missing[1])
    if _NEEDS_TEXTS in problem.message:
        path = ("quantization", "calibration")
        if isinstance(draft.get(("quantization",)), str):
            draft.put(path[:1], {"method": draft.get(path[:1])})
    draft.gap(path, _why(problem), EXAMPLES.get(path))
