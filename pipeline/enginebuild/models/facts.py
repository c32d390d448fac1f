"""What a config.json tells of a model, without its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from enginebuild.models.config import Config
from enginebuild.models.families import ALIASES, FAMILIES
from enginebuild.models.layers import count_parts
from enginebuild.models.named import Named, named
from enginebuild.models.parts import KINDS, Kind, Part, parameters
from enginebuild.models.quantized import BYTES, Quantized, is_quantized, stored_quantization
from enginebuild.models.shape import Shape, shape_of
from enginebuild.models.tensors import Stored, Tensor, cached_layers, parts_of, stored
from enginebuild.models.vision import vision_is_known
from enginebuild_cache import Json, Tree


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """`shape` None: not even layers and heads are written. `parts` empty: a family that is not known.

    `dtype` is that of what is not quantized. `unknown` says in words what could not be known. `stored_bytes`
    is the size of the weights' files where they are listed; None: not looked at. `stored`: what the files'
    headers say; then `parts` are counted from them. `largest_file`: bytes of the largest of them.
    """

    architecture: str
    family: str | None
    dtype: str
    shape: Shape | None
    parts: tuple[Part, ...]
    quantization: Quantized | None
    quantized: bool
    unknown: tuple[str, ...]
    licence: str | None = None
    stored_bytes: int | None = None
    stored: Stored | None = None
    largest_file: int | None = None
    named: Named = field(default_factory=Named)

    @property
    def parameters(self) -> int:
        """All that a server loads. 0 where the family is not known."""
        return parameters(self.parts)

    @property
    def active_parameters(self) -> int:
        """Those that work on each token: of the experts only the chosen ones, of images nothing."""
        experts = self.shape.experts if self.shape else None
        idle = parameters(self.parts, "vision")
        if experts is not None:
            of_all = parameters(self.parts, "experts")
            idle += of_all - of_all * experts.top_k // experts.count
        return self.parameters - idle

    def by_kind(self) -> dict[Kind, int]:
        """Parameters."""
        return self._by_kind(lambda part: part.total)

    def stored_by_kind(self) -> dict[Kind, int]:
        """Bytes as the files have them; empty where no headers were read."""
        return {} if self.stored is None else self._by_kind(lambda part: (part.size or 0) * len(part.layers))

    def _by_kind(self, amount: Callable[[Part], int]) -> dict[Kind, int]:
        here = {part.kind for part in self.parts}
        return {
            kind: sum(amount(part) for part in self.parts if part.kind == kind)
            for kind in KINDS
            if kind in here
        }

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of the weights' files: by their headers, as listed, or counted. 0 where nothing is known."""
        if self.stored is not None:
            return self.stored.size
        return self.counted_bytes if self.stored_bytes is None else self.stored_bytes

    @property
    def counted_bytes(self) -> int:
        """Bytes by config.json alone, where no headers were read. 0 where the family is not known."""
        return round(sum(part.total * self.bytes_per_weight(part) for part in self.parts))

    @property
    def doubtful(self) -> bool:
        """Whether config.json leaves to the headers what GPUs must hold: of an unknown family or encoder, of
        weights that are quantized with exceptions, of files that are larger or smaller than was counted.
        """
        if self.stored is not None:
            return False
        listed, counted = self.stored_bytes or self.counted_bytes, self.counted_bytes
        return bool(self.unknown) or self.quantized or abs(listed - counted) > 0.02 * listed

    def bytes_per_weight(self, part: Part) -> float:
        """Of a part as it is stored."""
        quantized = self.quantization
        if quantized is not None and part.linear and part.kind in quantized.kinds:
            return quantized.bits / 8
        return BYTES[self.dtype]


def facts_of(
    config: Mapping[str, Json],
    *,
    licence: str | None = None,
    tree: Tree | None = None,
    tensors: Sequence[Tensor] | None = None,
) -> ModelFacts:
    """The facts of a model. Pure; never raises: what cannot be known is said in `unknown`.

    `tree` is the list of its files, whose sizes are more exact than any count; `tensors` are what their
    headers name, from which all is counted that config.json need not tell.
    """
    plain = Config(config)
    name = ALIASES.get(plain.model_type, plain.model_type)
    family = FAMILIES.get(name)
    full = plain if family is None else plain.with_defaults(family.defaults)
    shape = shape_of(full)
    parts = count_parts(full, shape, family) if family is not None and shape is not None else ()
    quantization = stored_quantization(full)
    found = stored(tensors) if tensors else None
    if tensors and found is not None:
        # Without an lm_head in the files the embeddings are one, whatever a silent config.json means.
        shape = shape if shape is None or found.head else replace(shape, tied=True)
        parts = parts_of(tensors, shape, quantization)
        if shape is not None and family is None:
            shape = replace(shape, cached=cached_layers(parts))
    return ModelFacts(
        architecture=full.architecture,
        family=name if family is not None else None,
        dtype=_dtype(full, found),
        shape=shape,
        parts=parts,
        quantization=quantization,
        quantized=is_quantized(full),
        unknown=tuple(_unknown(full, shape, parts, quantization, found)),
        licence=licence,
        stored_bytes=None if tree is None else _listed(tree),
        stored=found,
        largest_file=None if tree is None else max(_weights(tree), default=None),
        named=named(full),
    )


def _dtype(config: Config, found: Stored | None) -> str:
    """vLLM, too, looks into the files where config.json is silent (0.33.0, config/model.py, _find_dtype)."""
    said = config.text("dtype", "torch_dtype") or (found.dtype if found else None) or "float32"
    return said if (said := said.removeprefix("torch.")) in BYTES else "bfloat16"


def _unknown(
    config: Config,
    shape: Shape | None,
    parts: tuple[Part, ...],
    quantization: Quantized | None,
    stored: Stored | None,
) -> list[str]:
    found = []
    if shape is None:
        found.append("layers and heads: config.json does not name them")
    if not parts:
        found.append(f"parameters by kind: no family is known for {config.architecture or 'this model'}")
    if stored is None and not vision_is_known(config):
        found.append("the size of its image encoder")
    if is_quantized(config) and quantization is None:
        section = config.section("quantization_config") or config.section("compression_config")
        found.append(f"the quantization {section.get('quant_method')}")
    return found


def _listed(tree: Tree) -> int | None:
    """The size of the weights at the top of a repository; None for one without safetensors there."""
    return sum(_weights(tree)) or None


def _weights(tree: Tree) -> list[int]:
    return [file.size for file in tree if file.path.endswith(".safetensors") and "/" not in file.path]
