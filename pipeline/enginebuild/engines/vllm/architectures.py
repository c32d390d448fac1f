"""Whether a version of vLLM serves the classes that a model's config.json names: registries/*.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from enginebuild.engines.unserved import Unserved
from enginebuild.engines.vllm.table import VERSIONS

_FOLDER = Path(__file__).parent / "registries"

#: Ends of the names of classes that generate text, all of which `library` was looked through for. It is newer
#: than the one in vLLM's images of these versions.
GENERATING = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")


@dataclass(frozen=True, slots=True)
class Registry:
    """Classes by what one version does with them, as extract_architectures.py found them.

    `served`: in its registry. `suffixes`: ends of names that stand for one another. `former`: the last
    version that had it. `plugins`: where the plugin is. `transformers` and `refused`: outside the registry,
    what the Transformers backend takes of the classes of `library`, and what not.
    """

    source: str
    served: frozenset[str]
    suffixes: tuple[str, ...]
    former: Mapping[str, str]
    plugins: Mapping[str, str]
    library: str
    transformers: frozenset[str]
    refused: frozenset[str]

    def has(self, name: str) -> bool:
        """Whether it is registered, or a class of which vLLM makes it: a classifier of a language model
        (registry.py, _normalize_arch).
        """
        if name in self.served:
            return True
        suffix = next((suffix for suffix in self.suffixes if name.endswith(suffix)), None)
        return suffix is not None and any(
            name.replace(suffix, other) in self.served for other in self.suffixes
        )


@cache
def registry(version: str) -> Registry:
    """Of a supported version. Raises KeyError for another."""
    if version not in VERSIONS:
        raise KeyError(version)
    entry: dict[str, Any] = json.loads((_FOLDER / f"{version}.json").read_text(encoding="utf-8"))
    return Registry(
        source=entry["source"],
        served=frozenset(entry["served"]),
        suffixes=tuple(entry["suffixes"]),
        former=entry["former"],
        plugins=entry["plugins"],
        library=entry["library"],
        transformers=frozenset(entry["transformers"]),
        refused=frozenset(entry["refused"]),
    )


def unserved(
    version: str, classes: Sequence[str], *, implementation: str = "auto", remote_code: bool = False
) -> Unserved | None:
    """Why vLLM cannot serve a model, None if it can or nothing is known against it. Pure.

    `implementation` is engine.args.model_impl. The order is that of vLLM 0.33.0 (inspect_model_cls): its own
    classes, then the Transformers backend for the first one, then what it says of those that are gone.
    """
    if not classes or implementation == "terratorch":
        return None
    known, first = registry(version), classes[0]
    if implementation != "transformers" and any(known.has(name) for name in classes):
        return None
    if implementation != "vllm" and (first in known.transformers or known.has(first)):
        return None
    if remote_code and implementation != "vllm":
        message = f"vLLM {version} has no {first}; its Transformers backend may take the model's own code"
        return Unserved(message, certain=False)
    return _elsewhere(version, first) or _gone(version, known, first) or _nowhere(version, known, first)


def _elsewhere(version: str, name: str) -> Unserved | None:
    others = [each for each in VERSIONS if each != version and registry(each).has(name)]
    if not others:
        return None
    return Unserved(f"vLLM {version} has no {name}, and {others[-1]} has", version=others[-1])


def _gone(version: str, known: Registry, name: str) -> Unserved | None:
    if name in known.former:
        return Unserved(f"vLLM {version} has no {name}: {known.former[name]} was the last that had")
    if name in known.plugins:
        plugin = "/".join(known.plugins[name].split("/")[-2:])
        hint = f"write an image.base that has {plugin}: vLLM's own has it not"
        return Unserved(f"vLLM {version} has no {name}: it is in {plugin}", hint, plugged=True)
    return None


def _nowhere(version: str, known: Registry, name: str) -> Unserved:
    if name in known.refused:
        return Unserved(
            f"vLLM {version} has no {name}, and its Transformers backend does not take it ({known.library})"
        )
    message = f"vLLM {version} has no {name}, and neither has {known.library} for its Transformers backend"
    hint = "write an image.base that has it: by a plugin of vLLM's, or in a newer transformers"
    return Unserved(message, hint, certain=name.endswith(GENERATING), plugged=True)
