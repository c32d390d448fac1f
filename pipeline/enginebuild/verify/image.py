"""Verifying an image wherever it lies: in a Docker Engine, a layout, or a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from enginebuild.errors import RecipeError, RefusedError, SourceError
from enginebuild.events import Report as Tell
from enginebuild.execution import ContainerEnvironment, GpuNeed
from enginebuild.inspect import DOCKER, LAYOUT
from enginebuild.recipe.units import GPU_ID
from enginebuild.recipe.verification import Verification
from enginebuild.verify.gate import Bring, Gpus, Question
from enginebuild.verify.report import Report
from enginebuild.verify.server import Subject
from enginebuild_cache import Json, Store
from enginebuild_images.errors import ImageError
from enginebuild_images.manifest import Platform
from enginebuild_images.reference import Reference

if TYPE_CHECKING:  # its HTTP client takes longer to import than everything else here
    from enginebuild_images.registry import Registry


@dataclass(frozen=True)
class Found:
    """An image and how it gets into the engine."""

    subject: Subject
    bring: Bring


def verify_image(
    name: str,
    gpus: str | None,
    wanted: Verification,
    registry: Callable[[], Registry],
    store: Store,
    tell: Tell,
) -> Report:
    """Start the image and ask it. `gpus`: `none`, how many, or ids with commas; None: what the image needs.

    Raises SourceError, RefusedError, StepError, and VerificationError, with the server's log in the store.
    """
    found = _find(name, registry)
    need = _need(gpus, found.subject)
    question = Question(found.subject, found.bring, wanted, _gpus(need), published=False)
    return question.report(None, store, tell)


def _find(name: str, registry: Callable[[], Registry]) -> Found:
    try:
        if name.startswith(DOCKER):
            return _in_docker(name)
        if name.startswith(LAYOUT):
            return _in_layout(name)
        return _in_registry(name, registry())
    except ImageError as error:
        raise SourceError(error.message, error.hint) from error


def _in_docker(name: str) -> Found:
    from enginebuild.publish.docker import inspect_loaded

    attributes = inspect_loaded(name.removeprefix(DOCKER))
    digest = str(attributes.get("Id"))

    @contextmanager
    def bring(_tell: Tell) -> Iterator[str]:
        yield digest

    return Found(Subject(name, digest, _object(attributes.get("Config"))), bring)


def _in_layout(name: str) -> Found:
    from enginebuild_images.index import Variant
    from enginebuild_images.layout import read_layout

    image = read_layout(name.removeprefix(LAYOUT))
    subject = Subject(name, str(image.digest), _object(Variant(image, {}).config.get("config")))

    def bring(tell: Tell) -> AbstractContextManager[str]:
        from enginebuild.runners.served import loaded  # imports Docker's SDK: slow

        return loaded(image, tell)

    return Found(subject, bring)


def _in_registry(name: str, registry: Registry) -> Found:
    from enginebuild_images.index import Variant, remote_image

    reference = Reference.parse(name, "latest")
    platform = Platform.parse("linux/amd64")
    pinned = reference.with_digest(registry.resolve(reference, platform).digest)
    image = remote_image(registry, pinned)
    subject = Subject(str(pinned), str(image.digest), _object(Variant(image, {}).config.get("config")))

    def bring(tell: Tell) -> AbstractContextManager[str]:
        from enginebuild.runners.served import pulled

        return pulled(ContainerEnvironment(name, image.digest, str(platform)), tell)

    return Found(subject, bring)


def _need(gpus: str | None, subject: Subject) -> GpuNeed:
    if gpus is None:
        return subject.gpus(subject.labels.get("enginebuild.gpu"))
    if gpus == "none":
        return GpuNeed()
    import re

    if re.fullmatch(r"[1-9][0-9]{0,2}", gpus):
        return GpuNeed(count=int(gpus))
    ids = gpus.removeprefix("device=").split(",")
    if not all(re.fullmatch(GPU_ID, each) for each in ids):
        raise RecipeError(
            f"--gpus must be none, a count or ids of GPUs with commas, not {gpus!r}",
            "write for example --gpus none, --gpus 2 or --gpus device=0,1",
        )
    return GpuNeed(ids=tuple(ids))


def _gpus(need: GpuNeed) -> Gpus:
    if not need.wanted:
        return Gpus()
    from enginebuild.runners.served import gpus_for

    gpus, missing = gpus_for(need)
    if missing:
        raise RefusedError(f"this machine cannot serve the image: {'; '.join(missing)}", "see --gpus")
    return gpus


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}
