"""The model without a server: an image for volumes (`model`), or a ModelPack artifact (`modelpack`).

Both have the layers that a server's image of the model has, as far as its base leaves them room, so that a
registry keeps each shard once. Neither depends on an engine: recipes that differ there give the same image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enginebuild.bases import SCRATCH
from enginebuild.engines import vllm
from enginebuild.lock import BaseLock, ModelLock
from enginebuild.recipe import Recipe
from enginebuild.recipe.model import Layout
from enginebuild.step import Step
from enginebuild.steps.fetch import FETCH_VERSION
from enginebuild.steps.image import IMAGE_VERSION
from enginebuild.steps.made import Made
from enginebuild_cache import Digest, File, Json, Store, Tree
from enginebuild_images.assemble import assemble
from enginebuild_images.base import Base
from enginebuild_images.compressed import LayerBlob
from enginebuild_images.image import Image
from enginebuild_images.layer import LAYER_FORMAT
from enginebuild_images.modelpack import ModelCard, assemble_modelpack
from enginebuild_images.policy import BUNDLE, LARGE, LAYERS
from enginebuild_images.settings import ImageSettings

LICENCES = "org.opencontainers.image.licenses"

#: Layers that are left to a server's base (vLLM's images have some 30) and its configuration, so that the
#: shards of a large model are grouped as they are in its server's image.
_LEFT = 31

_HUB = "https://huggingface.co/"
_SMALL = 1 << 20  # bytes; a config.json above it tells nothing
#: What checkpoints call a type, and ModelPack does.
_PRECISIONS = {"float8_e4m3fn": "float8_e4m3"}


@dataclass(frozen=True)
class ModelPacking:
    """What decides such an image besides the model's files. It stands on nothing.

    `checkpoint` is the step that fetched or made these files.
    """

    base: BaseLock
    layout: Layout
    card: ModelCard
    checkpoint: str
    labels: Mapping[str, str]
    created: int
    left: int = _LEFT

    @property
    def paths(self) -> Mapping[str, str]:
        return {self.checkpoint: vllm.MODEL_PATH}

    def fields(self) -> dict[str, Json]:
        fields: dict[str, Json] = {
            "layout": self.layout,
            "paths": dict(self.paths),
            "layers": {"format": LAYER_FORMAT, "large": LARGE, "bundle": BUNDLE, "most": LAYERS - self.left},
            "labels": dict(self.labels),
            "created": self.created,
        }
        if self.layout == "model":
            return fields | {"platform": self.base.platform}
        return fields | {"card": self.card.descriptor()}

    def assemble(
        self, base: Base, layers: Sequence[LayerBlob], inputs: Mapping[str, Tree], store: Store
    ) -> Image:
        """Raises ImageError."""
        if self.layout == "model":
            return assemble(base, layers, ImageSettings(labels=self.labels, created=self.created))
        return assemble_modelpack(layers, _described(self.card, inputs[self.checkpoint], store), self.labels)


def model_packing(
    recipe: Recipe, model: ModelLock, fetch: Step, made: Made, created: int
) -> tuple[ModelPacking, Digest]:
    """For a recipe with such a layout: what its image is made of, and the key that stands for the build."""
    layout = recipe.image.layout
    base = BaseLock(SCRATCH, recipe.image.platform, None)
    key = _build_key(fetch, made, layout, base)
    labels = {"enginebuild.layout": layout, **model_labels(recipe, model, key), **recipe.image.labels}
    return ModelPacking(base, layout, _card(recipe, model), made.checkpoint, labels, created), key


def model_labels(recipe: Recipe, model: ModelLock, key: Digest) -> dict[str, str]:
    """What every image says of its model."""
    labels = {"enginebuild.key": str(key), "enginebuild.model.digest": str(model.tree.digest)}
    if model.commit is not None:
        labels |= {"enginebuild.model": recipe.model.source, "enginebuild.model.commit": model.commit}
    if model.licence is not None:
        labels[LICENCES] = model.licence
    return labels


def _build_key(fetch: Step, made: Made, layout: Layout, base: BaseLock) -> Digest:
    return Digest.of_json(
        {
            "versions": {"fetch": FETCH_VERSION, "image": IMAGE_VERSION},
            "model": dict(fetch.fields),
            "layout": layout,
            "platform": base.platform if layout == "model" else None,
            **made.key_fields(),
        }
    )


def _card(recipe: Recipe, model: ModelLock) -> ModelCard:
    """A folder has neither a public name nor a revision, and a recipe's name decides no image."""
    licences = () if model.licence is None else (model.licence,)
    if model.commit is None:
        return ModelCard(licences=licences)
    repository = recipe.model.source.removeprefix("hf://")
    name = repository.rpartition("/")[2]
    return ModelCard(name, f"{_HUB}{repository}", model.commit, licences)


def _described(card: ModelCard, tree: Tree, store: Store) -> ModelCard:
    """The card with what the checkpoint's config.json tells."""
    config = _config(tree, store)
    quantization = config.get("quantization_config")
    method = quantization.get("quant_method") if isinstance(quantization, dict) else None
    precision = str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")
    return ModelCard(
        card.name,
        card.source_url,
        card.revision,
        card.licences,
        family=str(config.get("model_type") or ""),
        precision=_PRECISIONS.get(precision, precision),
        quantization=str(method or ""),
    )


def _config(tree: Tree, store: Store) -> Mapping[str, Json]:
    file: File | None = next((file for file in tree if file.path == "config.json"), None)
    if file is None or file.size > _SMALL:
        return {}
    try:
        document = json.loads(store.read_bytes(file))
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
