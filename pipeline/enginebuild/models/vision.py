"""Image encoders whose sizes a config.json tells: SigLIP in Gemma 3, and Llama 4's (transformers 5.17).

Engines repeat them on each GPU, or shard them by heads; here they count as repeated, the larger of the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from enginebuild.models.config import Config
from enginebuild.models.parts import FIRST, Part
from enginebuild_cache import Json


def vision_parts(config: Config, hidden: int) -> Iterator[Part]:
    """Nothing for a model of text alone; `hidden` is the language model's width."""
    vision = config.outer.get("vision_config")
    if not isinstance(vision, dict) or config.inner is config.outer:
        return
    if config.model_type == "gemma3_text":
        yield Part("vision", _siglip(vision) + _gemma_projector(vision, hidden), (FIRST,))
    elif config.model_type == "llama4_text":
        yield Part("vision", _llama4(vision, hidden), (FIRST,))


def vision_is_known(config: Config) -> bool:
    """Whether the encoder, if there is one, is counted."""
    if not isinstance(config.outer.get("vision_config"), dict) or config.inner is config.outer:
        return True
    return config.model_type in ("gemma3_text", "llama4_text")


def _size(vision: Mapping[str, Json], name: str, default: int) -> int:
    value = vision.get(name)
    return value if isinstance(value, int) else default


def _block(width: int, middle: int) -> int:
    """A layer of a vision transformer: attention and MLP of two matrices, all with biases; two norms."""
    return 4 * (width * width + width) + 2 * width * middle + middle + width + 4 * width


def _siglip(vision: Mapping[str, Json]) -> int:
    width, patch = _size(vision, "hidden_size", 1152), _size(vision, "patch_size", 14)
    layers, middle = _size(vision, "num_hidden_layers", 27), _size(vision, "intermediate_size", 4304)
    places = (_size(vision, "image_size", 896) // patch) ** 2
    patches = 3 * patch * patch * width + width + places * width
    return patches + layers * _block(width, middle) + 2 * width


def _gemma_projector(vision: Mapping[str, Json], hidden: int) -> int:
    width = _size(vision, "hidden_size", 1152)
    return width * hidden + width


def _llama4(vision: Mapping[str, Json], hidden: int) -> int:
    width, patch = _size(vision, "hidden_size", 1408), _size(vision, "patch_size", 14)
    layers, middle = _size(vision, "num_hidden_layers", 34), _size(vision, "intermediate_size", 5632)
    places = (_size(vision, "image_size", 336) // patch) ** 2 + 1
    patches = 3 * patch * patch * width + width + places * width  # patches, class, places
    projected = _size(vision, "projector_input_dim", 4096), _size(vision, "projector_output_dim", 4096)
    adapter = middle * projected[0] + projected[0] * projected[1]
    projector = _size(vision, "vision_output_dim", 4096) * hidden
    return patches + layers * _block(width, middle) + 4 * width + adapter + projector
