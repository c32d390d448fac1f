"""config.json files of well-known models and what was published about them: published_models.json.

Only the fields that are read. `parameters` are those of the safetensors that the model's page shows, less
what a server does not load (DeepSeek's layer for speculation) and a second copy of tied embeddings (Qwen3's
small ones, Falcon); of DeepSeek-V3 and Mixtral 8x22B what their makers say. `weight_bytes` is total_size of
the index or of a single file's tensors, where it is known; of DeepSeek-V3 the size of its 163 files. `active`
is what the makers call activated per token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from enginebuild.models import ModelFacts, facts_of
from enginebuild.models.shape import Shape


@cache
def published() -> Mapping[str, Mapping[str, Any]]:
    """Each model's facts, by its name on the Hub."""
    lines = json.loads((Path(__file__).parent / "published_models.json").read_text("utf-8"))
    return {entry["model"]: entry for entry in lines}


def config(model: str) -> dict[str, Any]:
    """A copy of its config.json."""
    return json.loads(json.dumps(published()[model]["config"]))  # type: ignore[no-any-return] # JSON


@cache
def facts(model: str) -> ModelFacts:
    return facts_of(config(model))


def shape(model: str) -> Shape:
    found = facts(model).shape
    assert found is not None
    return found
