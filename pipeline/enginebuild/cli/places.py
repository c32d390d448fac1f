"""Where a run's image goes, from its options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from enginebuild.errors import Problem
from enginebuild.publish import Publisher
from enginebuild.recipe import Recipe
from enginebuild.steps.layers import Send
from enginebuild_images.blob import Descriptor
from enginebuild_images.errors import RegistryError
from enginebuild_images.layer import Layer, Unaltered
from enginebuild_images.limits import check_limits
from enginebuild_images.reference import Reference

if TYPE_CHECKING:
    from enginebuild_images.registry import Registry


@dataclass(frozen=True)
class Places:
    """What was asked for: a push to a repository, a name in the Docker Engine, a layout's folder."""

    repository: Reference | None
    docker_name: str | None
    layout: Path | None

    @classmethod
    def of(cls, recipe: Recipe, *, push: bool, load: bool, output: Path | None) -> Places:
        """Raises RecipeError if the recipe lacks what an option needs."""
        repository = recipe.image.repository
        if push and repository is None:
            raise recipe.located(
                [
                    Problem(
                        ("image",),
                        "--push needs image.repository, which this recipe does not have",
                        "add it, or give --set image.repository=registry.example.com/team/name",
                        on_key=True,
                    )
                ]
            )
        if load and recipe.image.layout == "modelpack":
            raise recipe.located(
                [
                    Problem(
                        ("image", "layout"),
                        "--load needs an image, and a ModelPack artifact is none",
                        "use --push or --output, or write layout: model",
                    )
                ]
            )
        if output is None and not (push or load):
            output = Path("dist", recipe.name)
        return cls(
            Reference.parse(repository) if push and repository is not None else None,
            (repository or recipe.name) if load else None,
            output,
        )

    def publishers(self, tags: Sequence[str], registry: Callable[[], Registry]) -> list[Publisher]:
        """One per place, in the order in which a failure loses least: nearest first."""
        from enginebuild.publish.layout import LayoutPublisher
        from enginebuild.publish.registry import RegistryPublisher

        found: list[Publisher] = []
        if self.layout is not None:
            found.append(LayoutPublisher(self.layout, tags))
        if self.docker_name is not None:
            from enginebuild.publish.docker import DockerPublisher  # imports Docker's SDK: slow

            found.append(DockerPublisher([f"{self.docker_name}:{tag}" for tag in tags]))
        if self.repository is not None:
            found.append(RegistryPublisher(self.repository, tags, registry))
        return found

    def send(self, registry: Callable[[], Registry]) -> Send | None:
        """How a layer gets to the registry before its digest is known; None without --push."""
        repository = self.repository
        if repository is None:
            return None

        def send(layer: Layer, source: Unaltered) -> Descriptor:
            refusals = check_limits(repository, [(layer.summary, layer.size)], 0, 0).refusals
            if refusals:
                raise RegistryError(refusals[0].message, refusals[0].hint)
            return registry().send(layer, source, repository)

        return send
