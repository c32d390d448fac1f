"""Whether the texts that a quantization sees are enough for a model of this size. Nothing fails on too few:
the model answers, and answers worse.

The least that tools' authors take themselves for models of billions of parameters: 32 texts of 512 tokens
(TensorRT-LLM 1.3.0rc3, quantize_by_nvidia: AWQ's texts are cut down to 32), 20 texts of 2048 (llm-compressor,
examples/quantization_w4a4_fp4). Both call 512 texts usual.
"""

from __future__ import annotations

from collections.abc import Iterator

from enginebuild.fit.finding import Change, Finding
from enginebuild.models import ModelFacts
from enginebuild.recipe.model import Recipe

LEAST_SAMPLES = 20
LEAST_TOKENS = 32 * 512
#: Smaller ones are for tests and trials; so is what calibrates them.
REAL_SIZE = 1_000_000_000
_PATH = ("quantization", "calibration")


def calibration(recipe: Recipe, facts: ModelFacts) -> Iterator[Finding]:
    """Nothing for a model whose parameters are not known. Texts may be shorter than what is read of them."""
    texts = recipe.quantization.calibration if recipe.quantization is not None else None
    if texts is None or facts.parameters < REAL_SIZE:
        return
    samples, length = texts.num_samples, texts.max_seq_length
    if samples >= LEAST_SAMPLES and samples * length >= LEAST_TOKENS:
        return
    message = (
        f"{samples} texts of at most {length} tokens are {samples * length} tokens to calibrate a model of "
        f"{facts.parameters / 1e9:.1f} billion parameters with; at least {LEAST_SAMPLES} texts and "
        f"{LEAST_TOKENS} tokens are wanted"
    )
    enough = max(LEAST_SAMPLES, -(-LEAST_TOKENS // length))
    change = Change(((".".join((*_PATH, "num_samples")), enough),))
    yield Finding("calibration", _PATH, message, (change,))
