"""What each step of a plan has to do, as far as its time depends on it: bytes, tokens, GPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from enginebuild.durations import Kind, Work, reference_gpu
from enginebuild.lock import ModelLock
from enginebuild.models import ModelFacts
from enginebuild.past import method_of, weights_of
from enginebuild.plan import PlannedStep
from enginebuild.quantizers.forms import FORMS, ToolName
from enginebuild.recipe import Recipe
from enginebuild.recipe.gpu import Gpu, catalogue
from enginebuild.recipe.verification import Verification
from enginebuild.resolve import Unresolved
from enginebuild.step import Step
from enginebuild.steps.environment import gpu_count
from enginebuild.steps.fetch import Fetch
from enginebuild_cache import Store

#: Bits of a weight where config.json does not tell.
_BITS = 16


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the model: bytes as they are fetched and as they are served, and how many work on each token."""

    fetched: int
    served: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Sent:
    """Where the image would be published, as `Publisher.place` has it; `size` in bytes, None: not known."""

    place: str = ""
    size: int | None = None


def works_of(
    recipe: Recipe,
    model: ModelLock | Unresolved,
    facts: ModelFacts | None,
    steps: Sequence[PlannedStep],
    store: Store,
    sent: Sent = Sent(),
) -> Mapping[str, Work]:
    """By name, for the steps that are not here; without those of which not even the model is known."""
    weights = weights_known(recipe, model, facts) if isinstance(model, ModelLock) else None
    asked = _Asked(recipe, weights, store, sent)
    found = {each.step.name: asked.work(each) for each in steps if each.remote or each.status in _TO_DO}
    return {
        name: replace(work, method=work.method or asked.method(name, steps, work))
        for name, work in found.items()
        if work is not None
    }


_TO_DO = ("miss", "unresolved")


def weights_known(recipe: Recipe, model: ModelLock, facts: ModelFacts | None) -> Weights:
    """Without `facts`, every weight has 16 bits."""
    fetched = weights_of(model.tree)
    counted = facts.parameters if facts is not None else 0
    parameters = counted or fetched * 8 // _BITS
    active = facts.active_parameters if facts is not None and counted else parameters
    bits = _served_bits(recipe)
    served = fetched if bits is None else min(fetched, parameters * bits // 8)
    return Weights(fetched, served, active)


def _served_bits(recipe: Recipe) -> int | None:
    """Of a weight that is quantized while building; None: as it is fetched."""
    if recipe.quantization is None:
        return None
    method = recipe.quantization.method
    forms = (by_method[method] for by_method in FORMS.values() if method in by_method)
    return next((form.bits for form in forms), _BITS // 2)


@dataclass(frozen=True)
class _Asked:
    """A recipe whose steps are looked at; `weights` None: nothing is known of the model."""

    recipe: Recipe
    weights: Weights | None
    store: Store
    sent: Sent

    def work(self, planned: PlannedStep) -> Work | None:
        step = planned.step
        if planned.remote:
            return Work("download", self._missing(planned), method="remote cache")
        if isinstance(step.action, Fetch):
            return Work("copy" if step.action.model.commit is None else "download", self._missing(planned))
        if self.weights is None:
            return None
        made = _WORKS.get(step.name)
        return Work("small") if made is None else made(self, self.weights, step)

    def method(self, name: str, steps: Sequence[PlannedStep], work: Work) -> str:
        """See `Work.method`."""
        if work.kind == "serve":
            return "cpu" if work.gpu is None else "gpu"
        fields = next(each.step.fields for each in steps if each.step.name == name)
        quantization = self.recipe.quantization
        if name == "quantize" and not fields and quantization is not None:
            return f"{quantization.tool} {quantization.method}"
        return method_of(name, fields)

    def _missing(self, planned: PlannedStep) -> int:
        tree = planned.output or planned.step.output
        files = {} if tree is None else {file.digest: file.size for file in tree}
        return sum(size for digest, size in files.items() if not self.store.has(digest))

    @property
    def ranks(self) -> int:
        return self.recipe.tensor_parallel_size * self.recipe.pipeline_parallel_size

    def quantize(self, weights: Weights, step: Step) -> Work:
        quantization = self.recipe.quantization
        assert quantization is not None
        texts = quantization.calibration
        tokens = 0 if texts is None else texts.num_samples * texts.max_seq_length
        form = FORMS.get(cast("ToolName", quantization.tool), {}).get(quantization.method)
        algorithm = form.algorithm if form is not None else quantization.method
        names = (name for name in ("gptq", "awq") if name in algorithm)
        gpu = self._target() or reference_gpu() if gpu_count(self.recipe) else None
        return Work("quantize", weights.fetched, weights.parameters, tokens, next(names, ""), gpu)

    def convert(self, weights: Weights, step: Step) -> Work:
        return Work("convert", weights.fetched)

    def compile(self, weights: Weights, step: Step) -> Work:
        workers = max(1, min(self.ranks, gpu_count(self.recipe)))
        return Work("compile", weights.served, ranks=self.ranks, workers=workers)

    def warm(self, weights: Weights, step: Step) -> Work:
        """Started twice, once without a compile cache."""
        return replace(self._served(weights), starts=2, compiling=1)

    def verify(self, weights: Weights, step: Step) -> Work:
        """With a bound on quality the unquantized image is served, too."""
        wanted = self.recipe.verification
        assert wanted is not None
        starts = 1 if wanted.quality is None else 2
        compiling = 0 if self.recipe.warm is not None or self.recipe.engine.type != "vllm" else starts
        generated = generated_tokens(wanted)
        return replace(self._served(weights), starts=starts, compiling=compiling, generated=generated)

    def _served(self, weights: Weights) -> Work:
        return Work("serve", weights.served, gpu=self._target(), ranks=self.ranks)

    def image(self, weights: Weights, step: Step) -> Work:
        """The digests of what is fetched are taken on the way; what was made is read once more."""
        compressed = self.recipe.image.compression != "none"
        read = compressed or not self.recipe.holds_model
        return Work("pack", weights.served if read else 0, compressed=compressed)

    def publish(self, weights: Weights, step: Step) -> Work:
        """At least the weights: how large a base is that nobody read is not known."""
        return Work(_way(self.sent.place), weights.served if self.sent.size is None else self.sent.size)

    def validate(self, weights: Weights, step: Step) -> Work:
        return Work("validate")

    def _target(self) -> Gpu | None:
        return None if self.recipe.gpu is None else catalogue()[self.recipe.gpu]


_WORKS: Mapping[str, Callable[[_Asked, Weights, Step], Work]] = {
    "quantize": _Asked.quantize,
    "convert": _Asked.convert,
    "compile": _Asked.compile,
    "warm": _Asked.warm,
    "verify": _Asked.verify,
    "image": _Asked.image,
    "publish": _Asked.publish,
    "validate": _Asked.validate,
}


def _way(place: str) -> Kind:
    if place.startswith("oci:"):
        return "layout"
    return "docker" if place.startswith("docker:") else "upload"


def generated_tokens(wanted: Verification) -> int:
    """That a verification asks for, one after another; what is asked at one time counts once."""
    smoke = 100 + 2 * sum(prompt.max_tokens for prompt in wanted.prompts)
    quality, performance = wanted.quality, wanted.performance
    compared = 0 if quality is None else 2 * len(quality.prompts) * quality.max_tokens
    measured = 0
    if performance is not None:
        asked = performance.requests * performance.output_len
        measured = sum(-(-asked // concurrency) for concurrency in performance.concurrency)
    return smoke + compared + measured
